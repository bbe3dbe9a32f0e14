"""Whatever encoding a user's files have: they are read, or one clear message says what to do."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.models import Node
from numerai_compute.providers.local.dockerfile import read_command
from numerai_compute.providers.local.process_executor import ProcessExecutor
from numerai_compute.providers.local.settings import LocalPaths, LocalSettings
from numerai_compute.source import Source, check_source, source_files, source_hash

DOCKERFILE = 'FROM python:3.13-slim\nCOPY . .\nCMD ["python", "predict.py"]\n'
READ = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom")


def encoded(text: str, encoding: str) -> bytes:
    plain, bom = encoding.removesuffix("-bom"), encoding.endswith("-bom")
    return (("\ufeff" if bom else "") + text).encode(plain)


@pytest.mark.parametrize(
    "content",
    [
        encoded(DOCKERFILE, "utf-8-sig"),
        encoded("# caf\xe9\n" + DOCKERFILE, "latin-1"),
        encoded(DOCKERFILE.replace("\n", "\r\n"), "utf-8-sig"),
    ],
    ids=["mark", "latin-1", "mark and CRLF"],
)
def test_a_dockerfile_that_docker_reads(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Dockerfile").write_bytes(content)
    check_source(Source(tmp_path))
    assert read_command(tmp_path / "Dockerfile") == ["python", "predict.py"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be-bom"])
def test_a_dockerfile_that_docker_does_not_read_says_so(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "Dockerfile").write_bytes(encoded(DOCKERFILE, encoding))
    for read in (lambda: check_source(Source(tmp_path)), lambda: read_command(tmp_path / "Dockerfile")):
        with pytest.raises(UsageError, match="UTF-16") as found:
            read()
        assert found.value.code == "bad-dockerfile"


@pytest.mark.parametrize("encoding", READ)
def test_keys_and_nodes_in_any_encoding(home: Path, encoding: str) -> None:
    home.mkdir(mode=0o700)
    keys = {"version": 1, "numerai": {"NUMERAI_PUBLIC_ID": "PUBLICID", "NUMERAI_SECRET_KEY": "SECRETKEY"}}
    (home / ".keys").write_bytes(encoded(json.dumps(keys), encoding))
    (home / "nodes.json").write_bytes(encoded(json.dumps({"version": 1, "nodes": {}}), encoding))
    for name in (".keys", "nodes.json"):
        (home / name).chmod(0o600)
    store = HomeStore(home, {})
    found = store.keys()
    assert found is not None and found.secret_key == "SECRETKEY"
    assert store.nodes() == {}


@pytest.mark.parametrize("content", [b"\xff\xfe{", b"\xe9", b"\x00\xff\xfe"])
def test_what_is_no_text_is_one_message(home: Path, content: bytes) -> None:
    home.mkdir(mode=0o700)
    (home / ".keys").write_bytes(content)
    (home / "nodes.json").write_bytes(content)
    store = HomeStore(home, {})
    for read in (store.keys, store.nodes):
        with pytest.raises(NumeraiError, match="cannot be read") as found:
            read()
        assert found.value.code == "state-corrupt"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_file_names_that_are_no_utf_8(tmp_path: Path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "Dockerfile").write_text(DOCKERFILE)
    (source / "predict.py").write_text("print(1)")
    raw = os.fsencode(source) + b"/caf\xe9.txt"
    Path(os.fsdecode(raw)).write_text("x")
    assert len(source_files(Source(source))) == 3
    before = source_hash(Source(source))
    executor = ProcessExecutor(LocalPaths(tmp_path / "home"), LocalSettings(), SystemClock())
    node = Node("numerai-alice", "alice", "id", 8, "local", str(source), cpu=1, memory_mib=512)
    _, reference = executor.build(node, before, lambda line: None)
    copied = [os.fsencode(file.name) for file in Path(json.loads(reference)["source"]).iterdir()]
    assert b"caf\xe9.txt" in copied
    Path(os.fsdecode(raw)).write_text("y")
    assert source_hash(Source(source)) != before
