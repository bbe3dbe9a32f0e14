"""What stands in front of moto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.aws.moto_gaps import Repeated


@pytest.mark.parametrize(
    ("status", "names", "calls", "remembers"),
    [("200 OK", "aab", 2, True), ("503 Busy", "aa", 2, True), ("200 OK", "  ", 2, True), ("200 OK", "aa", 2, False)],
)
def test_what_a_client_sends_again_is_answered_as_before_unless_it_was_refused(
    status: str, names: str, calls: int, remembers: bool
) -> None:
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., None]) -> Iterator[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response(status, [("X-Number", str(len(seen)))])
        yield str(len(seen)).encode()

    guarded, answers = Repeated(application, lambda: remembers), []
    for name in names:
        begun: list[Any] = []
        environ = {"PATH_INFO": "/", **({"HTTP_AMZ_SDK_INVOCATION_ID": name} if name.strip() else {})}
        content = b"".join(guarded(environ, lambda *given: begun.extend(given)))  # noqa: B023 it is called here
        answers.append((begun[0], begun[1], content))
    assert len(seen) == calls
    assert (answers[0] == answers[1]) is (remembers and status.startswith("2") and names.startswith("aa"))
