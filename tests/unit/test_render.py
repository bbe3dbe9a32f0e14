"""What is printed of errors."""

from __future__ import annotations

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.render import Renderer


def test_an_error_that_leads_to_itself_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    error, first, second = NumeraiError("It failed."), ValueError("one"), KeyError("two")
    error.__cause__, first.__context__, second.__context__ = first, second, first
    Renderer(verbose=True).error(error)
    shown = capsys.readouterr().err
    assert shown.count("caused by") == 2
    second.__context__ = error
    Renderer(verbose=True).error(error)
    assert capsys.readouterr().err == shown
