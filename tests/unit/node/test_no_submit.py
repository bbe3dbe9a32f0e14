"""A test that is not to submit: everything is done but the upload, and its exit code says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from numerai_node import Node, NotSubmitted
from numerai_node.errors import BadPredictions
from numerai_node.settings import from_environment

from .conftest import Stub
from .test_running import call_main, predictions_file


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_variable(value: str, wanted: bool) -> None:
    assert from_environment({"NUMERAI_NO_SUBMIT": value}).no_submit is wanted
    assert from_environment({}).no_submit is False


def test_good_predictions_are_not_sent_and_bad_ones_are_found(
    make_node: Callable[..., Node], stub: Stub, tmp_path: Path
) -> None:
    node = make_node(NUMERAI_NO_SUBMIT="1")
    with pytest.raises(NotSubmitted) as caught:
        node.submit(Path(predictions_file(tmp_path)))
    assert caught.value.exit_code == 79
    with pytest.raises(BadPredictions):
        node.submit(Path(predictions_file(tmp_path, rows=199)))
    assert not stub.asked("upload") and not stub.created


def test_the_exit_code_says_so_and_nobody_is_told(
    stub: Stub,
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**environment, "NUMERAI_NO_SUBMIT": "1", "NUMERAI_NOTIFY": "json://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    assert call_main("submit", predictions_file(tmp_path)) == 79
    shown = capsys.readouterr().out
    assert "withheld exit=79" in shown and "notif" not in shown
    assert not stub.created
