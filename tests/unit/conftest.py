"""What makes the unit tests cheap: nothing here changes what they test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache

import pytest


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
