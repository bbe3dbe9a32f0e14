"""The settings of uploads: what `setup` recorded, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ...settings import Recorded, choice, read_all, text
from .environments import PYTHONS

SETTINGS = (
    choice("python", "the Python that Numerai runs uploads with; without one Numerai's own choice", PYTHONS, None,
           ("NUMERAI_HOSTED_PYTHON",)),
    text("module", "the module in a node's folder that defines predict", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*",
         "the name of a module, without .py", "predict", ("NUMERAI_HOSTED_MODULE",)),
)  # fmt: skip


@dataclass(frozen=True)
class HostedSettings:
    """A value for each of `SETTINGS`."""

    python: str | None = None
    module: str = "predict"


def read_settings(recorded: Recorded, environ: Mapping[str, str] = os.environ) -> HostedSettings:
    """The settings; raises `UsageError` with code `bad-setting` for values that cannot be."""
    return HostedSettings(**read_all(SETTINGS, recorded, environ))
