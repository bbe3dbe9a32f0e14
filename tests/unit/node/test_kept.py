"""The CSV that a run has sent is kept beside its artifacts, and that it could not be kept costs nothing."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numerai_node import kept
from numerai_node.errors import BadPredictions, Covered
from numerai_node.node import Node
from numerai_node.settings import from_environment

from .conftest import Stub, at
from .test_bucket import KEYS, Store, store  # noqa: F401  (a fixture)
from .test_running import predictions_file

MakeNode = Callable[..., Node]


def sent(node: Node, name: str) -> Path:
    return Path(node.settings.artifacts) / "sent" / name


@pytest.mark.parametrize(
    ("variables", "run_id"),
    [
        ({"NUMERAI_RUN_ID": "r1", "AWS_BATCH_JOB_ID": "b2"}, "r1"),
        ({"AWS_BATCH_JOB_ID": "0f1e-22"}, "0f1e-22"),
        ({"NUMERAI_RUN_ID": "../up"}, None),
        ({}, None),
    ],
)
def test_which_run_it_is(variables: dict[str, str], run_id: str | None) -> None:
    assert from_environment(variables).run_id == run_id


def test_what_a_run_has_sent_is_kept_for_its_owner_only(make_node: MakeNode, stub: Stub, tmp_path: Path) -> None:
    node = make_node(NUMERAI_RUN_ID="r1")
    node.submit(Path(predictions_file(tmp_path)))
    node.keep_artifacts()
    assert [gzip.decompress(sent(node, "r1.csv.gz").read_bytes())] == list(stub.uploads.values())
    if sys.platform != "win32":
        assert sent(node, "r1.csv.gz").stat().st_mode & 0o777 == 0o600
        assert sent(node, "").stat().st_mode & 0o777 == 0o700
    assert node.trained_on is None, "it is no model"


@pytest.mark.slow
def test_a_file_that_does_not_count_is_kept_as_well_and_one_that_was_not_sent_is_not(
    make_node: MakeNode, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(NUMERAI_RUN_ID="r1")
    with pytest.raises(BadPredictions):
        node.submit(Path(predictions_file(tmp_path, rows=199)))
    node.keep_artifacts()
    assert not sent(node, "").exists()
    monkeypatch.setattr("numerai_node.submitting.CONFIRM_SECONDS", 0.05)
    clone = {"roundNumber": 900, "status": "on-time", "id": "clone", "filename": "yesterdays.csv", "timestamp": at(-9)}
    stub.standings, stub.entries = ["none"], [clone]
    with pytest.raises(Covered):
        node.submit(Path(predictions_file(tmp_path)))
    node.keep_artifacts()
    assert sent(node, "r1.csv.gz").exists()


def test_a_run_by_hand_keeps_none(make_node: MakeNode, stub: Stub, tmp_path: Path) -> None:
    node = make_node()
    node.submit(Path(predictions_file(tmp_path)))
    node.keep_artifacts()
    assert stub.created and not sent(node, "").exists()


def test_the_newest_sixty_are_kept(make_node: MakeNode) -> None:
    for number in range(62):
        node = make_node(NUMERAI_RUN_ID=f"r{number:02}")
        kept.keep(node.settings, node.api.transport, b"id,prediction\n")
        os.utime(sent(node, f"r{number:02}.csv.gz"), (number, number))
    names = sorted(path.name for path in sent(node, "").iterdir())
    assert names == [f"r{number:02}.csv.gz" for number in range(2, 62)]


def test_what_cannot_be_kept_costs_one_line(
    make_node: MakeNode, stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = make_node(NUMERAI_RUN_ID="r1")
    sent(node, "").parent.mkdir(exist_ok=True)
    sent(node, "").write_text("a file is in the way")
    node.submit(Path(predictions_file(tmp_path)))
    node.keep_artifacts()
    said = capsys.readouterr().out
    assert said.count("the CSV that was sent is not kept") == 1 and "Traceback" not in said


@pytest.mark.slow
def test_it_goes_to_the_bucket_with_a_tag_and_no_run_fetches_it_again(
    store: Store,  # noqa: F811
    make_node: MakeNode,
    stub: Stub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": store.url}.items():
        monkeypatch.setenv(name, value)
    store.objects["numerai-alice/sent/r0.csv.gz"] = b"an earlier one"
    node = make_node(NUMERAI_RUN_ID="r1", NUMERAI_ARTIFACTS="s3://models/numerai-alice")
    node.submit(Path(predictions_file(tmp_path)))
    node.keep_artifacts()
    assert [gzip.decompress(store.objects["numerai-alice/sent/r1.csv.gz"])] == list(stub.uploads.values())
    assert store.tags == {"numerai-alice/sent/r1.csv.gz": "numerai=sent"}
    assert ("GET", "numerai-alice/sent/r0.csv.gz") not in store.seen
    store.refuse = 403
    kept.keep(node.settings, node.api.transport, b"")
    assert "answered 403" in capsys.readouterr().out
