"""A node's folder: checks, the files that count, and the hash over them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from numerai_compute.dockerignore import special_files
from numerai_compute.errors import UsageError
from numerai_compute.redaction import Redactor
from numerai_compute.source import check_source, copy_source, source_files, source_hash


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch")
    (folder / "main.py").write_text("print()")
    (folder / "sub" / "data.csv").write_text("1")
    (folder / "sub" / "keep.csv").write_text("2")
    (folder / ".dockerignore").write_text("# not in the image\n*.log\n\nsub/*\n!sub/keep.csv\nDockerfile\n")
    (folder / "noise.log").write_text("x")
    return folder


def test_files_are_those_of_the_build_context(source: Path) -> None:
    assert source_files(source) == [".dockerignore", "Dockerfile", "main.py", "sub/keep.csv"]


def test_the_hash_follows_what_is_built_from(source: Path) -> None:
    seen = {source_hash(source)}
    (source / "noise.log").write_text("other")
    (source / "sub" / "data.csv").write_text("other")
    os.utime(source / "main.py", (1, 1))
    assert source_hash(source) in seen
    for change in (
        lambda: (source / "main.py").write_text("print(1)"),
        lambda: (source / "main.py").rename(source / "other.py"),
        lambda: (source / "other.py").chmod(0o755),
        lambda: (source / "link").symlink_to("other.py"),
        lambda: (source / "Dockerfile").write_text("FROM other"),
    ):
        change()
        assert source_hash(source) not in seen
        seen.add(source_hash(source))


def test_a_copy_has_the_same_hash(source: Path, tmp_path: Path) -> None:
    (source / "main.py").chmod(0o755)
    (source / "link").symlink_to("main.py")
    copy_source(source, tmp_path / "copy")
    assert source_hash(tmp_path / "copy") == source_hash(source)
    assert not (tmp_path / "copy" / "noise.log").exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes and sockets as files are POSIX")
@pytest.mark.parametrize("name", ["ipc", "sub/keep.csv/ipc", "Dockerfile"])
def test_only_files_and_links_are_read(
    source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a pipe waits until somebody writes into it, and a socket cannot be opened at all."""
    (source / "sub" / "keep.csv").unlink()
    (source / name).unlink(missing_ok=True)
    before = source_hash(source)
    (source / name).parent.mkdir(exist_ok=True)
    os.mkfifo(source / name)
    monkeypatch.chdir(source)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert source_hash(source) == before
        copy_source(source, tmp_path / "copy")
        assert set(special_files(source)) == {name, "socket"} - {"Dockerfile"}  # which the ignore file names
    assert not (tmp_path / "copy" / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes as files are POSIX")
def test_an_ignore_file_that_is_a_pipe_is_refused(source: Path) -> None:
    (source / ".dockerignore").unlink()
    os.mkfifo(source / ".dockerignore")
    with pytest.raises(UsageError, match="is a pipe") as caught:
        source_hash(source)
    assert caught.value.code == "bad-dockerignore"


def test_a_fit_folder_is_accepted(source: Path, home: Path) -> None:
    check_source(source, home=home)


def test_unfit_folders_are_refused(source: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = home / "node"
    inside.mkdir(parents=True)
    (inside / "Dockerfile").touch()
    monkeypatch.setenv("HOME", str(source))
    monkeypatch.setenv("USERPROFILE", str(source))
    codes = {}
    for path in (source, source.parent, Path(source.anchor), home, inside, source / "sub", source / "nowhere"):
        with pytest.raises(UsageError) as error:
            check_source(path, home=home)
        codes[path] = error.value.code
    assert list(codes.values()) == ["folder-too-wide"] * 5 + ["no-dockerfile", "no-such-folder"]


def test_secrets_are_masked_in_every_form() -> None:
    redact = Redactor(["abc/def+1", None, "", "short", "abc/def+1-longer"])
    assert redact("x abc/def+1 y") == "x *** y"
    assert redact("?t=abc%2Fdef%2B1") == "?t=***"
    assert redact("abc/def+1-longer") == "***"
    assert redact("short") == "short"
