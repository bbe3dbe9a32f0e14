"""A node's folder: checks, the files that count, and the hash over them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
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


@pytest.mark.skipif(os.name == "nt", reason="sockets and pipes in folders")
def test_what_is_no_file_is_left_out(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git leaves a socket in its folder, for one."""
    before = source_hash(source)
    monkeypatch.chdir(source)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    os.mkfifo("pipe")
    assert source_hash(source) == before


def test_a_copy_has_the_same_hash(source: Path, tmp_path: Path) -> None:
    (source / "main.py").chmod(0o755)
    (source / "link").symlink_to("main.py")
    copy_source(source, tmp_path / "copy")
    assert source_hash(tmp_path / "copy") == source_hash(source)
    assert not (tmp_path / "copy" / "noise.log").exists()


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
