"""Live data that are not this round's are waited for, and never used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from numerai_node import Node, TemporaryFailure
from numerai_node.transport import Transport

from .conftest import Stub, a_round, at, http_time, refusal, status

LIVE = "v5.10/live.parquet"
MakeNode = Callable[..., Node]


def the_round_before(deadline: float) -> dict[str, Any]:
    """Round 900, a day ago: its late period ends as round 901 opens."""
    return {**a_round(900, opened=-1450, closes=-10), "closeStakingTime": at(deadline)}


@pytest.fixture(autouse=True)
def _second_round(stub: Stub) -> None:
    stub.round = a_round(901)
    stub.earlier_rounds = [the_round_before(deadline=-1390)]
    stub.modified[LIVE] = http_time(-30)


def publishes(stub: Stub, transport: Transport, after: int) -> list[float]:
    """Have this round's file there after so many waits; the waits are listed."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == after:
            stub.modified[LIVE] = http_time(-30)

    transport.sleep = sleep
    return waited


def test_this_rounds_file_is_used_at_once(node: Node, stub: Stub, waits: list[float]) -> None:
    assert node.live_file.is_file()
    assert waits == []


@pytest.mark.parametrize("published", [-1460, -1448, -1391])
def test_the_round_befores_file_is_waited_for(
    node: Node, stub: Stub, transport: Transport, published: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that was published only after that round had opened."""
    stub.modified[LIVE] = http_time(published)
    waited = publishes(stub, transport, after=3)
    assert node.live_file.is_file()
    assert len(waited) == 3
    assert "still the round before" in capsys.readouterr().out


@pytest.mark.parametrize("published", [-1389, -600, -11, -9, 0])
def test_a_file_that_is_published_before_the_opening_is_this_rounds_and_so_is_one_after_it(
    node: Node, stub: Stub, waits: list[float], published: float
) -> None:
    """When Numerai publishes a round's file is not known: at any time after the deadline of the round before."""
    stub.modified[LIVE] = http_time(published)
    assert node.live_file.is_file()
    assert waits == []


def test_a_file_of_the_second_of_the_deadline_is_this_rounds(node: Node, stub: Stub, waits: list[float]) -> None:
    stub.earlier_rounds = [a_round(900, opened=-1450)]
    stub.earlier_rounds[0]["closeStakingTime"] = "2025-11-21T12:00:00.900000Z"
    stub.modified[LIVE] = "Fri, 21 Nov 2025 12:00:00 GMT"
    assert node.live_file.is_file()
    assert waits == []


def test_rounds_without_a_deadline_or_a_datestamp(node: Node, stub: Stub, waits: list[float]) -> None:
    """An answer that lacks what is asked for is no error: there is only less to compare."""
    stub.earlier_rounds = [{"number": 900}]
    assert stub.round is not None
    del stub.round["dataDatestamp"]
    assert node.live_file.is_file()
    assert waits == []


def test_a_file_that_is_not_there_yet_is_waited_for(node: Node, stub: Stub, waits: list[float]) -> None:
    stub.script["download"] = [status(404)] * 2
    assert node.live_file.is_file()
    assert len(waits) == 2
    assert stub.asked("listDatasets") == 1, "Numerai takes 10 a minute from one address"


def test_a_listing_without_a_live_file_is_asked_for_again(node: Node, stub: Stub, transport: Transport) -> None:
    files, stub.files = stub.files, {"v5.10/train.parquet": b""}
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        stub.files = files

    transport.sleep = sleep
    assert node.live_file.is_file()
    assert len(waited) == 1
    assert stub.asked("listDatasets") == 2


def test_a_file_without_an_address_yet_is_waited_for(node: Node, stub: Stub, waits: list[float]) -> None:
    stub.script["dataset"] = [refusal("File not found")]
    assert node.live_file.is_file()
    assert len(waits) == 1


def test_without_times_the_same_file_as_last_round_is_waited_for(
    make_node: MakeNode, stub: Stub, transport: Transport
) -> None:
    stub.modified.clear()
    stub.round, stub.earlier_rounds = a_round(900), []
    assert make_node().live_file.is_file()
    stub.round = a_round(901)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        stub.etags[LIVE] = '"another"'

    transport.sleep = sleep
    assert make_node().live_file.is_file()
    assert len(waited) == 1


def test_the_same_bytes_published_again_are_this_rounds(make_node: MakeNode, stub: Stub, waits: list[float]) -> None:
    """A sandbox on a folder of files serves the same live rows in every round."""
    stub.round, stub.modified[LIVE] = a_round(900), http_time(-40)
    assert make_node().live_file.is_file()
    stub.round, stub.modified[LIVE] = a_round(901), http_time(-10)
    assert make_node().live_file.is_file()
    assert waits == []


def test_the_same_round_uses_its_file_again(make_node: MakeNode, waits: list[float]) -> None:
    assert make_node().live_file == make_node().live_file
    assert waits == []


def test_waiting_ends_before_the_close(
    node: Node, stub: Stub, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.modified[LIVE] = http_time(-1460)
    now = [0.0]
    transport.monotonic = transport.clock._monotonic = lambda: now[0]
    transport.clock.learn(http_time(0))
    monkeypatch.setattr(transport.clock, "learn", lambda date: None)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    transport.sleep = sleep
    stub.round = a_round(901, closes=20)
    with pytest.raises(TemporaryFailure, match=r"live data of round 901 are not published.*Nothing was submitted"):
        node.live_file  # noqa: B018
    assert 19 * 60 < now[0] <= 20 * 60


def test_between_rounds_nothing_is_waited_for(node: Node, stub: Stub, waits: list[float]) -> None:
    stub.round, stub.modified[LIVE] = None, http_time(-14600)
    assert node.live_file.is_file()
    assert waits == []
