"""The names of numerauto's module `robust_numerapi`."""

from ..events.napi import NumerAPIError, RobustNumerAPI

__all__ = ["NumerAPIError", "RobustNumerAPI"]
