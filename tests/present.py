"""`present(value)`: a value that a test counts on, when its type allows None too."""

from __future__ import annotations

from typing import TypeVar

Value = TypeVar("Value")


def present(value: Value | None) -> Value:
    """The value; an AssertionError when it is None."""
    assert value is not None
    return value
