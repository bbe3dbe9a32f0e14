"""Data files from the sandbox's store: whole, gone on with, and refused in words."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
from numerai_compute.adapters.data_files import HttpDataFiles
from numerai_compute.errors import ApiError, EnvironmentNotReady
from numerai_compute.models import DataFile

from tests.fixtures.sandbox import ServedSandbox

NAME = "validation.parquet"


class Store:
    """Downloads one file of the newest version and remembers how it arrived."""

    def __init__(self, url: str, folder: Path):
        self.files = HttpDataFiles(url, lambda text: None, sleep=lambda seconds: None)
        self.folder = folder
        self.heard: list[tuple[int, int | None]] = []

    def get(self) -> DataFile:
        return self.files.download(8, "v5.3", NAME, self.folder, lambda here, size: self.heard.append((here, size)))


@pytest.fixture
def store(sandbox: ServedSandbox, tmp_path: Path) -> Store:
    return Store(sandbox.url, tmp_path / "given")


@pytest.mark.slow
def test_a_file_is_heard_arriving_and_is_not_asked_for_again(store: Store) -> None:
    file = store.get()
    assert (file.new, file.size) == (True, file.path.stat().st_size)
    assert store.heard[-1] == (file.size, file.size)
    store.heard.clear()
    assert store.get() == DataFile(f"v5.3/{NAME}", file.path, file.size, new=False)
    assert store.heard == []


def test_a_download_that_broke_off_goes_on_and_ends_with_the_same_bytes(
    store: Store, sandbox: ServedSandbox, tmp_path: Path
) -> None:
    sandbox.set_fault("download", "drop", times=1)
    file = store.get()
    assert file.path.read_bytes() == sandbox.download(f"v5.3/{NAME}", tmp_path).read_bytes()


def test_what_never_arrives_is_said_with_what_to_do(store: Store, sandbox: ServedSandbox) -> None:
    sandbox.set_fault("download", "status", status=503, times=None)
    with pytest.raises(ApiError, match=f"downloading {NAME} failed .* times") as refused:
        store.get()
    assert (refused.value.code, refused.value.temporary) == ("download-failed", True)
    assert "goes on where it stopped" in (refused.value.hint or "")


def test_a_file_that_is_listed_and_not_served_yet_is_not_waited_for(store: Store, sandbox: ServedSandbox) -> None:
    sandbox.set_fault("download", "status", status=404, times=None)
    with pytest.raises(ApiError, match="does not serve it") as refused:
        store.get()
    assert "--version" in (refused.value.hint or "")


def test_without_a_network_it_is_the_api_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match=r"http://127.0.0.1:9 cannot be reached") as refused:
        Store("http://127.0.0.1:9", tmp_path).files.listing(8)
    assert refused.value.code == "numerai-unreachable"


def test_a_file_that_does_not_fit_is_refused_before_it_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        "numerai_compute.adapters.data_files.shutil.disk_usage", lambda folder: usage(10**9, 10**9 - 10, 10)
    )
    with pytest.raises(EnvironmentNotReady, match=r"does not fit: it has [1-9].* free") as refused:
        store.get()
    assert refused.value.code == "disk-full"
    assert "10 B free" in refused.value.message and "--to" in (refused.value.hint or "")
    assert [path for path in store.folder.iterdir() if path.suffix in (".parquet", ".part")] == []


def test_a_file_that_is_here_needs_no_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.get()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("numerai_compute.adapters.data_files.shutil.disk_usage", lambda folder: usage(10**9, 10**9, 0))
    assert not store.get().new


def test_files_of_another_numerai_lie_in_a_folder_of_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMERAI_CACHE", str(tmp_path))

    def folder(url: str) -> Path:
        return HttpDataFiles(url, lambda text: None).folder(8, "v5.3")

    assert folder("https://api-tournament.numer.ai/") == tmp_path / "v5.3"
    assert folder("http://127.0.0.1:8080") == tmp_path / "api-127.0.0.1-8080" / "v5.3"
    assert folder("http://127.0.0.1:8081") == tmp_path / "api-127.0.0.1-8081" / "v5.3"
