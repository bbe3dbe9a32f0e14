"""Reads the settings of a provider strictly: what cannot be is named, with what it must be."""

from __future__ import annotations

from ..errors import UsageError


def whole_number(provider: str, name: str, value: str | int, low: int, high: int) -> int:
    """The value as a number from `low` to `high`; `UsageError` with code `bad-setting` when it is none."""
    wanted = f"a whole number from {low} to {high}"
    try:
        number = int(value)
    except ValueError as error:
        raise bad_setting(provider, name, value, wanted) from error
    if not low <= number <= high:
        raise bad_setting(provider, name, value, wanted)
    return number


def bad_setting(provider: str, name: str, value: object, wanted: str) -> UsageError:
    """The error for a setting that cannot be; `wanted` says what it must be."""
    return UsageError(
        f"The setting {name} of the {provider} provider is '{value}'.", f"It must be {wanted}.", code="bad-setting"
    )
