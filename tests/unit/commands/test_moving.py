"""`numerai node config -P OTHER` as it is typed: what is shown, who must agree, and what is said at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore

from tests.fakes import FakeProvider
from tests.unit.commands.conftest import FakeFactory, Line


class OnAws(FakeProvider):
    """A second provider beside the first."""

    name = "aws"


@pytest.fixture
def two(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A node on this machine that is deployed, and a provider `aws`."""
    there = OnAws()
    monkeypatch.setattr(FakeFactory, "provider", lambda self, name: there if name == "aws" else self.fake_provider)
    assert line("node", "config", "-p", str(folder)).exit_code == 0
    assert line("node", "deploy").exit_code == 0
    return line


def test_a_move_is_shown_and_nothing_is_done_where_nobody_can_agree(two: Line) -> None:
    dry = two("node", "config", "-P", "aws", "--dry-run")
    assert dry.exit_code == 0 and "remove everything that local holds for numerai-alice" in dry.out
    answer = two("node", "config", "-P", "aws")
    assert answer.exit_code == 2 and "--yes" in answer.err and "provision numerai-alice on aws" in answer.err
    assert HomeStore(two.home).nodes()["numerai-alice"].provider == "local"


def test_a_move_that_is_agreed_to_ends_with_the_test_of_the_node(two: Line) -> None:
    answer = two("node", "config", "-P", "aws", "-y")
    assert answer.exit_code == 0 and "is configured on aws" in answer.out
    assert answer.out.endswith("Next: numerai node -m numerai-alice test\n")
    assert two("node", "config", "-P", "local", "-y", "--json").json["deployed"] is True
    assert HomeStore(two.home).nodes()["numerai-alice"].provider == "local"
