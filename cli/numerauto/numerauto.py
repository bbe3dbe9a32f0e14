"""The names of numerauto's module `numerauto`, for scripts that import the class from where it was."""

from __future__ import annotations

from . import Numerauto

__all__ = ["Numerauto"]
