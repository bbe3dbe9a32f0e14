"""A claimed thing is done once, whoever else tries and whatever dies in between."""

from __future__ import annotations

import threading

import pytest
from numerai_compute.providers.webhooks.claims import CLAIM_SECONDS, WAIT_SECONDS, Busy, Claim, once


class Time:
    """Time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0

    def time(self) -> float:
        return 1_800_000_000 + self.passed

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Claims:
    """Claims in memory. `races` counts how often the next change comes too late."""

    def __init__(self, time: Time) -> None:
        self.kept: dict[str, Claim] = {}
        self.time = time
        self.races = 0
        self.lock = threading.Lock()

    def read(self, key: str) -> Claim | None:
        return self.kept.get(key)

    def take(self, key: str) -> bool:
        return self._change(key, None)

    def retake(self, key: str, dead: Claim) -> bool:
        return self._change(key, dead)

    def release(self, key: str) -> None:
        self.kept[key] = Claim(0.0)

    def finish(self, key: str, result: str) -> None:
        self.kept[key] = Claim(self.kept[key].claimed_at, result)

    def _change(self, key: str, expected: Claim | None) -> bool:
        with self.lock:
            if self.races or self.kept.get(key) != expected:
                self.races -= bool(self.races)
                return False
            self.kept[key] = Claim(self.time.time())
            return True


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def claims(time: Time) -> Claims:
    return Claims(time)


def never() -> str:
    raise AssertionError("it must not be done")


def test_it_is_done_once_and_the_result_is_kept(claims: Claims, time: Time) -> None:
    assert once(claims, "k", lambda: "r1", time) == ("r1", True)
    assert once(claims, "k", never, time) == ("r1", False)


def test_many_callers_at_once_do_it_once(claims: Claims, time: Time) -> None:
    done, results = [], []

    def do() -> str:
        done.append(threading.get_ident())
        return "r1"

    callers = [threading.Thread(target=lambda: results.append(once(claims, "k", do, time)[0])) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (len(done), set(results)) == (1, {"r1"})


def test_a_live_claim_is_waited_for_and_then_given_up(claims: Claims, time: Time) -> None:
    claims.kept["k"] = Claim(time.time() + WAIT_SECONDS)
    with pytest.raises(Busy):
        once(claims, "k", never, time)
    assert WAIT_SECONDS <= time.passed < WAIT_SECONDS + 1


def test_without_waiting_a_live_claim_is_busy_at_once(claims: Claims, time: Time) -> None:
    claims.kept["k"] = Claim(time.time())
    with pytest.raises(Busy):
        once(claims, "k", never, time, wait_seconds=0)
    assert time.passed == 0


def test_the_dead_owner_of_a_claim_may_have_done_it(claims: Claims, time: Time) -> None:
    claims.kept["k"] = Claim(time.time())
    time.sleep(CLAIM_SECONDS + 1)
    assert once(claims, "k", never, time, find=lambda: "found") == ("found", True)
    assert claims.kept["k"].result == "found"


def test_a_dead_owner_that_did_nothing_is_replaced(claims: Claims, time: Time) -> None:
    claims.kept["k"] = Claim(time.time() - CLAIM_SECONDS - 1)
    assert once(claims, "k", lambda: "r2", time) == ("r2", True)


def test_what_fails_is_taken_over_at_once_and_looked_for_first(claims: Claims, time: Time) -> None:
    def fail() -> str:
        raise OSError("no answer")

    with pytest.raises(OSError, match="no answer"):
        once(claims, "k", fail, time)
    assert once(claims, "k", never, time, find=lambda: "submitted all the same", wait_seconds=0)[0]


@pytest.mark.parametrize("dead", [False, True])
def test_a_lost_race_is_read_again(claims: Claims, time: Time, dead: bool) -> None:
    if dead:
        claims.kept["k"] = Claim(0.0)
    claims.races = 3
    assert once(claims, "k", lambda: "r1", time) == ("r1", True)
