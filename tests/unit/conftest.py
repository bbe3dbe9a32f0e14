"""What makes the unit tests cheap: nothing here changes what they test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ROOMS, _AWS = {"aws", "providers_aws"}, {"served", "stand_ins", "world"}
"""The rooms with tests on moto's AWS in this process, and the fixtures that make it."""


def pytest_configure(config: pytest.Config) -> None:
    """Where only unit tests run, their temporary folders are in memory, where 2 GiB are free and programs may be
    started: flushing files to a disk took half of their time."""
    here = Path(__file__).parent
    only = all(here in (path := Path(arg.partition("::")[0]).resolve(), *path.parents) for arg in config.args)
    if only and os.access(_MEMORY, os.W_OK):
        disk = os.statvfs(_MEMORY)
        if disk.f_bavail * disk.f_frsize > 2 << 30 and not disk.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks moto's AWS is slow: a request takes milliseconds, and these tests a third of the time of all."""
    for item in items:
        asks = _AWS & set(getattr(item, "fixturenames", ()))
        if asks and _ROOMS & set(item.path.parts):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package", autouse=True)
def _no_machine_images() -> Iterator[None]:
    """moto's AWS without its catalogue of 1,300 machine images, which every new AWS would make again: no test asks for
    one, and that took half the time of the tests that use it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        yield


@pytest.fixture(scope="package", autouse=True)
def _methods_once() -> Iterator[None]:
    """moto lists the methods of a service anew for each request, which took a tenth of the request."""
    responses = sys.modules.get("moto.core.responses")
    with pytest.MonkeyPatch.context() as patch:
        if responses is not None:
            patch.setattr(responses, "method_names_from_class", cache(responses.method_names_from_class))
        yield
