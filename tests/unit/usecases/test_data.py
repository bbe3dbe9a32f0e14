"""Which files a person means, and what is said of those that there are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from numerai_compute.errors import UsageError
from numerai_compute.usecases.data import download, files, versions

from tests.fakes import FakeDataFiles

OLD = dict.fromkeys(
    ("features.json", "train.parquet", "validation.parquet", "live.parquet", "meta_model.parquet"), b"1"
)
NEW = dict.fromkeys(("features.json", "live.parquet"), b"22")


@pytest.fixture
def data(tmp_path: Path) -> FakeDataFiles:
    """v5.3 is complete, and v5.4 is coming out."""
    return FakeDataFiles(tmp_path / "cache", {"v5.3": OLD, "v5.4": NEW})


def names(data: FakeDataFiles, wanted: Sequence[str], version: str | None = None) -> tuple[str, list[str]]:
    chosen, done = download(data, 8, wanted, version=version, folder=None, watch=lambda name: lambda here, size: None)
    return chosen, [file.path.name for file in done]


def test_by_default_it_is_what_a_training_needs_of_the_newest_complete_version(data: FakeDataFiles) -> None:
    assert names(data, ()) == ("v5.3", ["features.json", "train.parquet", "validation.parquet", "meta_model.parquet"])


def test_sets_and_names_may_overlap(data: FakeDataFiles) -> None:
    assert names(data, ("live.parquet", "live", "live")) == ("v5.3", ["live.parquet", "features.json"])
    assert names(data, ("all",), "v5.4") == ("v5.4", ["features.json", "live.parquet"])


def test_a_version_that_is_coming_out_says_what_it_lacks_so_far(data: FakeDataFiles) -> None:
    with pytest.raises(UsageError, match=r"coming out file by file, and train.parquet is not there yet") as refused:
        names(data, ("train",), "v5.4")
    assert refused.value.hint == "Take --version v5.3, which is complete, or try again later."
    assert [(each.version, each.coming, each.newest) for each in versions(data, 8)] == [
        ("v5.3", False, True),
        ("v5.4", True, False),
    ]


def test_unknown_names_are_answered_with_what_there_is(data: FakeDataFiles) -> None:
    with pytest.raises(UsageError, match=r"Version v5.3 of Classic has no file train.csv") as refused:
        names(data, ("train.csv",))
    assert refused.value.code == "unknown-data-file"
    assert (refused.value.hint or "").startswith("Did you mean train")
    for ask in (lambda: files(data, 8, "v4"), lambda: names(data, (), "v4")):
        with pytest.raises(UsageError, match="no version v4 of the data of Classic") as refused:
            ask()
        assert refused.value.hint == "Numerai serves: v5.3, v5.4."


def test_nothing_is_downloaded_before_all_names_are_known(data: FakeDataFiles) -> None:
    with pytest.raises(UsageError):
        names(data, ("train.parquet", "trian.parquet"))
    assert not data.place.exists()
