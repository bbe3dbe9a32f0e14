"""A node's folder: checks, the files that count, and the hash over them."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.dockerignore import special_files
from numerai_compute.errors import UsageError
from numerai_compute.models import Node
from numerai_compute.redaction import Redactor
from numerai_compute.source import (
    Source,
    build_arguments,
    check_source,
    copy_source,
    heavy_part,
    source_files,
    source_hash,
    source_of,
)


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
    assert source_files(Source(source)) == [".dockerignore", "Dockerfile", "main.py", "sub/keep.csv"]


def test_the_hash_follows_what_is_built_from(source: Path) -> None:
    seen = {source_hash(Source(source))}
    (source / "noise.log").write_text("other")
    (source / "sub" / "data.csv").write_text("other")
    os.utime(source / "main.py", (1, 1))
    assert source_hash(Source(source)) in seen
    for change in (
        lambda: (source / "main.py").write_text("print(1)"),
        lambda: (source / "main.py").rename(source / "other.py"),
        lambda: (source / "other.py").chmod(0o755),
        lambda: (source / "link").symlink_to("other.py"),
        lambda: (source / "Dockerfile").write_text("FROM other"),
    ):
        change()
        assert source_hash(Source(source)) not in seen
        seen.add(source_hash(Source(source)))


@pytest.mark.skipif(os.name == "nt", reason="sockets and pipes in folders")
def test_what_is_no_file_is_left_out(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git leaves a socket in its folder, for one."""
    before = source_hash(Source(source))
    monkeypatch.chdir(source)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    os.mkfifo("pipe")
    assert source_hash(Source(source)) == before


@pytest.mark.parametrize("path", ["", "code", "./code"])
def test_a_folder_that_is_recorded_relative_to_nothing_is_refused(
    source: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A deploy from another folder would take other code."""
    monkeypatch.chdir(source)
    (source / "code").mkdir()
    for part in (source, source / "code"):
        (part / "Dockerfile").write_text("FROM x\n")
    with pytest.raises(UsageError) as error:
        check_source(source_of(Node("numerai-alice", "alice", "id-1", 8, "local", path, 1, 64)))
    assert error.value.code == "relative-folder"


def test_a_copy_has_the_same_hash(source: Path, tmp_path: Path) -> None:
    (source / "main.py").chmod(0o755)
    (source / "link").symlink_to("main.py")
    copy_source(source, tmp_path / "copy")
    assert source_hash(Source(tmp_path / "copy")) == source_hash(Source(source))
    assert not (tmp_path / "copy" / "noise.log").exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes and sockets as files are POSIX")
@pytest.mark.parametrize("name", ["ipc", "sub/keep.csv/ipc", "Dockerfile"])
def test_only_files_and_links_are_read(
    source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a pipe waits until somebody writes into it, and a socket cannot be opened at all."""
    (source / "sub" / "keep.csv").unlink()
    (source / name).unlink(missing_ok=True)
    before = source_hash(Source(source))
    (source / name).parent.mkdir(exist_ok=True)
    os.mkfifo(source / name)
    monkeypatch.chdir(source)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert source_hash(Source(source)) == before
        copy_source(source, tmp_path / "copy")
        assert set(special_files(source, source)) == {name, "socket"} - {"Dockerfile"}  # which the ignore file names
    assert not (tmp_path / "copy" / name).exists()


@pytest.mark.skipif(os.name != "posix", reason="pipes as files are POSIX")
def test_an_ignore_file_that_is_a_pipe_is_refused(source: Path) -> None:
    (source / ".dockerignore").unlink()
    os.mkfifo(source / ".dockerignore")
    with pytest.raises(UsageError, match="is a pipe") as caught:
        source_hash(Source(source))
    assert caught.value.code == "bad-dockerignore"


def test_a_fit_folder_is_accepted(source: Path, home: Path) -> None:
    check_source(Source(source), home=home)


def test_unfit_folders_are_refused(source: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = home / "node"
    inside.mkdir(parents=True)
    (inside / "Dockerfile").touch()
    monkeypatch.setenv("HOME", str(source))
    monkeypatch.setenv("USERPROFILE", str(source))
    codes = {}
    for path in (source, source.parent, Path(source.anchor), home, inside, source / "sub", source / "nowhere"):
        with pytest.raises(UsageError) as error:
            check_source(Source(path), home=home)
        codes[path] = error.value.code
    assert list(codes.values()) == ["folder-too-wide"] * 5 + ["no-dockerfile", "no-such-folder"]


@pytest.fixture
def shared(tmp_path: Path) -> Source:
    """A node's folder beside the code that it shares, and built from the folder of both."""
    parent = tmp_path / "project"
    for folder in ("alice", "bob", "common"):
        (parent / folder).mkdir(parents=True)
        (parent / folder / "x.py").write_text(folder)
    (parent / "alice" / "Dockerfile").write_text("FROM scratch")
    (parent / ".dockerignore").write_text("bob\nalice/Dockerfile\n.dockerignore")
    return Source(parent / "alice", parent)


def test_a_source_may_be_a_folder_above_the_node(shared: Source, home: Path) -> None:
    check_source(shared, home=home)
    assert (shared.inside, shared.dockerfile_name) == ("alice", "alice/Dockerfile")
    assert (Source(shared.folder).inside, Source(shared.folder).dockerfile_name) == (".", "Dockerfile")
    assert source_files(shared) == ["alice/Dockerfile", "alice/x.py", "common/x.py"]
    node = Node("numerai-alice", "alice", "id-1", 8, "local", str(shared.folder), 1, 64, context=str(shared.parent))
    assert source_of(node) == shared
    assert build_arguments(node) == {"SRC_PATH": "alice", "NODE": "numerai-alice", "MODEL_ID": "id-1"}


def test_the_hash_follows_the_shared_code_and_the_nodes_place(shared: Source) -> None:
    before = source_hash(shared)
    (shared.context / "bob" / "x.py").write_text("left out")
    assert source_hash(shared) == before
    (shared.context / "common" / "x.py").write_text("changed")
    assert source_hash(shared) != before
    assert source_hash(replace(shared, base_digests={})) == source_hash(shared)
    hashes = {source_hash(replace(shared, base_digests={"a": digest})) for digest in ("", "sha256:1", "sha256:2")}
    assert len({*hashes, source_hash(shared)}) == 4
    bob = Source(shared.context / "bob", shared.context)
    (shared.context / ".dockerignore").unlink()
    (bob.folder / "Dockerfile").write_text("FROM scratch")
    assert source_hash(shared) != source_hash(bob), "the same files, and another Dockerfile of them"


def test_unfit_contexts_are_refused(shared: Source, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, parent = shared.folder, shared.context
    gone = parent / "gone"
    monkeypatch.setenv("HOME", str(parent))
    monkeypatch.setenv("USERPROFILE", str(parent))
    home.mkdir(exist_ok=True)
    for context, code in (
        (parent / "bob", "bad-context"),
        (Path(alice.anchor), "folder-too-wide"),
        (parent, "folder-too-wide"),
        (home.parent, "folder-too-wide"),
        (gone, "no-such-folder"),
    ):
        with pytest.raises(UsageError) as error:
            check_source(Source(alice, context), home=home)
        assert error.value.code == code, context
        assert error.value.hint and "--context" in error.value.hint


def test_what_is_in_a_folder_above_is_said_to_be_there(
    shared: Source, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a home of the official tool, which built from the folder that one stood in."""
    dockerfile = shared.folder / "Dockerfile"
    dockerfile.write_text("FROM scratch\nARG SRC_PATH\nADD $SRC_PATH/x.py .\nADD common common\n")
    with pytest.raises(UsageError) as error:
        check_source(Source(shared.folder), home=home)
    assert error.value.code == "needs-context" and "copies common" in str(error.value)
    assert f"--context {shared.context}`" in str(error.value.hint)
    check_source(shared, home=home)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(shared.context))
    check_source(Source(shared.folder), home=home)  # it cannot be built from the user's home: the build says what lacks
    dockerfile.write_text("FROM scratch\nADD nowhere .\n")
    check_source(Source(shared.folder), home=home)


def test_a_key_in_a_build_is_refused_with_its_line(shared: Source, home: Path) -> None:
    dockerfile = shared.folder / "Dockerfile"
    dockerfile.write_text("FROM scratch\nARG NUMERAI_SECRET_KEY\nRUN KEY=$NUMERAI_SECRET_KEY train\n")
    with pytest.raises(UsageError, match=r"Line 3 of .*Dockerfile uses NUMERAI_SECRET_KEY") as error:
        check_source(shared, home=home)
    assert error.value.code == "key-in-build" and "when it starts" in str(error.value.hint)


def test_a_heavy_context_is_named_with_its_largest_part(shared: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    assert heavy_part(shared) is None
    monkeypatch.setattr("numerai_compute.source.HEAVY_BYTES", 2**20)
    with (shared.context / "common" / "data.parquet").open("wb") as file:
        file.truncate(2**31)
    with (shared.context / "bob" / "more").open("wb") as file:
        file.truncate(2**32)  # left out
    said = heavy_part(shared)
    assert said is not None and "2.0 GiB, 2.0 GiB of it common/data.parquet" in said and ".dockerignore" in said


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_link_does_not_make_a_folder_a_part_of_another(shared: Source, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shared.folder.rename(elsewhere)
    shared.folder.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(UsageError) as error:
        source_hash(shared)
    assert error.value.code == "bad-context"


def test_secrets_are_masked_in_every_form() -> None:
    redact = Redactor(["abc/def+1", None, "", "short", "abc/def+1-longer"])
    assert redact("x abc/def+1 y") == "x *** y"
    assert redact("?t=abc%2Fdef%2B1") == "?t=***"
    assert redact("abc/def+1-longer") == "***"
    assert redact("short") == "short"
