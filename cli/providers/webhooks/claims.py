"""Do a thing once for a key, whoever else tries and whatever dies in between: a claim, then the result.

A key goes from absent to claimed to done. A claim whose owner died is taken over after a while, and the new owner first
looks whether the thing was done already: an error or a silence does not prove that it was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

CLAIM_SECONDS = 10.0
"""An owner that has no result after this is taken for dead. Whatever is done under a claim must give up earlier."""
WAIT_SECONDS = 12.0
"""How long a call waits for another one that claimed the same key."""
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Claim:
    """A key that is claimed, since `claimed_at` (seconds since 1970); with a `result` it is done."""

    claimed_at: float
    result: str | None = None


class Claims(Protocol):
    """Where claims are kept. Every change must be atomic."""

    def read(self, key: str) -> Claim | None:
        """The claim as it stands now."""

    def take(self, key: str) -> bool:
        """Claim an absent key; False when another call was faster. May raise `Refused` (429)."""

    def retake(self, key: str, dead: Claim) -> bool:
        """Claim a key whose owner died; False when it is not as `dead` any more."""

    def release(self, key: str) -> None:
        """Let the next call take over at once."""

    def finish(self, key: str, result: str) -> None:
        """Record the result."""


class Time(Protocol):
    """The part of the module `time` that is needed here."""

    def time(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Return after that many seconds."""


class Busy(Exception):
    """Another call has claimed the key and has not finished."""


def once(
    claims: Claims,
    key: str,
    do: Callable[[], str],
    time: Time,
    *,
    find: Callable[[], str | None] = lambda: None,
    wait_seconds: float = WAIT_SECONDS,
) -> tuple[str, bool]:
    """The result of `do` for this key, and whether this call did it.

    `find` looks for what a dead owner may have done without recording it. Raises `Busy` when another call holds the key
    for longer than `wait_seconds`, and whatever `do` raises: then the next call takes over.
    """
    give_up = time.monotonic() + wait_seconds
    while True:
        claim = claims.read(key)
        if claim is None:
            if claims.take(key):
                return _done(claims, key, do), True
        elif claim.result is not None:
            return claim.result, False
        elif time.time() - claim.claimed_at > CLAIM_SECONDS:
            if claims.retake(key, claim):
                return _done(claims, key, lambda: find() or do()), True
        else:
            time.sleep(min(POLL_SECONDS, wait_seconds))
        if time.monotonic() >= give_up:
            raise Busy(f"another call for {key} has not finished")


def _done(claims: Claims, key: str, do: Callable[[], str]) -> str:
    try:
        result = do()
    except Exception:
        claims.release(key)
        raise
    claims.finish(key, result)
    return result
