"""Costs: the default node is cheap, the items add up, and what they come from is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from numerai_compute.models import DEFAULT_SIZE, SIZES, Node, Run, RunState
from numerai_compute.providers.aws import prices
from numerai_compute.providers.aws.costs import RUNS_A_MONTH, estimate

SIZE = SIZES[DEFAULT_SIZE]
NODE = Node("numerai-alice", "alice", "id", 8, "aws", "/x", SIZE.cpu, SIZE.memory_mib)
WATCHER = prices.WATCHER_CALLS_MONTH * prices.WATCHER_CALL + prices.WATCHER_LOOKS_MONTH * prices.WATCHER_LOOK
NOW = datetime(2026, 1, 6, 12, tzinfo=timezone.utc)


def test_a_default_classic_node_costs_45_cents_a_month_at_most_idle_included() -> None:
    cost = estimate(NODE)
    assert 0.3 < cost.usd <= 0.45
    assert cost.usd == pytest.approx(sum(item.usd for item in cost.items))
    assert not cost.measured


def test_what_is_paid_while_nothing_runs() -> None:
    idle = [item for item in estimate(NODE).items if not item.what.startswith("runs on")]
    assert sum(item.usd for item in idle) < 0.15


def test_without_spot_the_runs_cost_what_fargate_lists() -> None:
    cost = estimate(NODE, use_spot=False)
    hours = RUNS_A_MONTH * 11 / 60
    an_hour = 2 * prices.FARGATE_VCPU_HOUR + 16 * prices.FARGATE_GIB_HOUR + prices.PUBLIC_ADDRESS_HOUR
    assert cost.items[0].usd == pytest.approx(hours * an_hour)
    assert cost.usd == pytest.approx(cost.dear_usd) == pytest.approx(estimate(NODE).dear_usd)


def test_arm_costs_a_fifth_less() -> None:
    """0.03238 and 0.00356 instead of 0.04048 and 0.004445 US dollars: aws.amazon.com/fargate/pricing."""
    for use_spot in (True, False):
        intel, arm = (estimate(NODE, use_spot=use_spot, architecture=each).items[0] for each in ("amd64", "arm64"))
        address = RUNS_A_MONTH * 11 / 60 * prices.PUBLIC_ADDRESS_HOUR
        assert arm.usd - address == pytest.approx(0.8 * (intel.usd - address))
        assert (intel.what, arm.what) == (
            f"runs on Fargate{' Spot' * use_spot}",
            f"runs on Fargate{' Spot' * use_spot} (arm64)",
        )


def test_the_history_decides_how_long_a_run_takes() -> None:
    runs = [
        Run("1", NODE.name, RunState.SUCCEEDED, NOW, started_at=NOW, ended_at=NOW + timedelta(minutes=minutes))
        for minutes in (2, 4)
    ]
    cost = estimate(NODE, [*runs, Run("2", NODE.name, RunState.QUEUED, NOW)])
    assert (cost.minutes, cost.measured) == (3.0, True)
    assert cost.usd < estimate(NODE).usd
    assert "3.0 minutes (as its latest runs took)" in cost.describe()


def test_the_table_and_the_way_are_said() -> None:
    cost = estimate(NODE)
    assert prices.TABLE_DATE.isoformat() in cost.describe()
    assert all(item.how for item in cost.items)


def test_the_watcher_costs_cents_a_month() -> None:
    assert 0 < WATCHER < 0.1
    assert next(item for item in estimate(NODE).items if item.what == "watcher").usd == pytest.approx(WATCHER)


def test_what_nodes_share_is_paid_once() -> None:
    costs = [estimate(NODE, first=first) for first in (True, False)]
    assert [len(cost.items) for cost in costs] == [7, 5]
    assert costs[0].usd == pytest.approx(costs[1].usd + WATCHER)


def test_a_node_beyond_fargate_is_priced_as_a_host() -> None:
    assert "EC2 Spot" in estimate(replace(NODE, cpu=32, memory_mib=262144)).items[0].what


def test_a_larger_disk_costs_what_is_beyond_the_free_part() -> None:
    more = estimate(replace(NODE, disk_gib=120)).usd - estimate(replace(NODE, disk_gib=20)).usd
    assert more == pytest.approx(100 * 0.000111 * RUNS_A_MONTH * 11 / 60) and estimate(NODE).usd == pytest.approx(
        estimate(replace(NODE, disk_gib=20)).usd
    )
