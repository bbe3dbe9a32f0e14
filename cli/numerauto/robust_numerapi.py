"""The names of numerauto's module `robust_numerapi`."""

from .napi import NumerAPIAuthorizationError, NumerAPIError, RobustNumerAPI

__all__ = ["NumerAPIAuthorizationError", "NumerAPIError", "RobustNumerAPI"]
