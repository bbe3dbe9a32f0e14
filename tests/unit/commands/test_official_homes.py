"""Homes of the official tool as nobody would expect them: each command copes or says one clear thing, and nothing is
lost."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.files.locks import holding
from numerai_compute.providers.local.settings import LocalPaths

from tests.unit.adapters.test_official_home import INI, tree
from tests.unit.commands.conftest import Line

KEYS = {
    "aws": {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "abcsecret"},
    "numerai": {"NUMERAI_PUBLIC_ID": "PUBX", "NUMERAI_SECRET_KEY": "SECXSECX"},
}


FORGET = re.compile("`numerai node forget (?:-- )?(.*?)`")


def record(**values: Any) -> dict[str, Any]:
    return {"provider": "aws", "cpu": 2048, "memory": 16384, "path": "/home/me/x", "model_id": "id-alice", **values}


def odd(field: str, *values: Any) -> dict[str, Any]:
    """A node for each value, and one as it should be."""
    return {"numerai-alice": record()} | {
        f"numerai-{number}": record(**{field: value}) for number, value in enumerate(values)
    }


UNFINISHED: tuple[object, ...] = (None, {}, [], "x", 3, False, [record()])
NODES: Mapping[str, object] = {
    "names": {name: record() for name in ("al ice", "a/b", "../x", "", "CON", "-x", "ü", "x" * 200, "it's", "a\n")},
    "names in other cases": {name: record() for name in ("numerai-alice", "numerai-Alice", "NUMERAI-ALICE")},
    "nodes that is null": {"nodes": None, "numerai-alice": record()},
    "cpu": odd("cpu", "2048", 2048.5, "two", -1, True, [1], 1e300, None),
    "memory": odd("memory", "16384.0", "16GB", 0, {}),
    "timeouts": odd("timeout_minutes", "90", "90.5", "1h", 0, 10**30),
    "schedules": odd("cron", "cron(30 18 ? * 7 *)", "30 18 ? * 7 *", "rubbish", "", 5),
    "paths": odd("path", "/gone", "relative", "C:\\Users\\me", "", None, "~/x", 5, "x\0y"),
    "providers": odd("provider", "gcp", "azure", "AWS", "", None, 7, "x/\x1b[31m"),
    "records": {f"numerai-{number}": each for number, each in enumerate(UNFINISHED)},
    "webhooks": odd("webhook_url", 5, {"a": 1}, ""),
    "model ids": odd("model_id", None, 5, ""),
    "disks": odd("volume", 100, "100", 5000, True, {"size": 1}),
    "unknown keys": odd("foo", {"a": [1]}, None),
    "much": {f"numerai-{number}": record(pad="x" * 100_000) for number in range(5)},
}
REFUSED: Mapping[str, bytes] = {
    "a list": b"[]",
    "null": b"null",
    "bad UTF-8": b'{"numerai-alice": {"path": "/\xff\xfe"}}',
    "cut off": b'{"numerai-alice": {"provider":',
    "a comma too many": b'{"numerai-alice": {},}',
    "a name twice": b'{"numerai-alice": {}, "numerai-alice": {}}',
    "nested deeply": b'{"numerai-alice":' + b"[" * 100_000,
    "a version": b'{"version": "0.4", "numerai-alice": {}}',
}


def filled(home: Path, nodes: bytes) -> dict[str, tuple[bytes, int]]:
    home.mkdir(mode=0o700)
    (home / "nodes.json").write_bytes(nodes)
    (home / ".keys").write_text(json.dumps(KEYS))
    return tree(home)


def said(line: Line, *arguments: str) -> str:
    """What a command says; it is no bug, and shows no secret."""
    answer = line(*arguments)
    text = answer.out + answer.err
    assert answer.exit_code in (0, 1, 2, 3) and "This is a bug" not in text, (arguments, text)
    assert not [secret for secret in ("abcsecret", "SECXSECX", "\x1b") if secret in text]
    return text


@pytest.mark.slow
@pytest.mark.parametrize("shape", NODES)
def test_every_command_copes_and_undo_gives_the_same_bytes(line: Line, folder: Path, shape: str) -> None:
    before = filled(line.home, json.dumps(NODES[shape]).encode())
    for command in ("upgrade --dry-run", "node list", "status", "doctor", "destroy-all --yes", "uninstall --yes"):
        said(line, *command.split())
    assert {path: kept for path, kept in tree(line.home).items() if "locks" not in path} == before
    assert line("upgrade").exit_code == 0
    for command in ("node list", "status", "doctor", "cost", "destroy-all --dry-run", "uninstall --yes"):
        said(line, *command.split())
    assert line("upgrade", "--undo").exit_code == 0 and tree(line.home) == before
    assert line("upgrade").exit_code == 0
    for name in FORGET.findall(line("node", "list").err):  # as it stands in the message, by the rules of a shell
        typed = name[1:-1] if name[:1] in ("'", '"') else name
        assert line("node", "forget", "--yes", "--", typed).exit_code == 0, name
    assert line("node", "list").err == ""
    said(line, "node", "-m", "numerai-alice", "config", "-P", "local", "-p", str(folder), "--yes")
    undone = line("upgrade", "--undo")
    assert undone.exit_code == 0 and before.items() <= tree(line.home).items()


def test_a_home_that_is_a_file_is_one_again_after_an_undo(line: Line) -> None:
    line.home.write_text(INI)
    line.home.chmod(0o600)
    assert "no upgrade to undo" in line("upgrade", "--undo").out
    assert line("upgrade").exit_code == 0 and line.home.is_dir()
    undone = line("upgrade", "--undo")
    assert undone.exit_code == 0 and line.home.read_text() == INI, undone
    assert "no upgrade to undo" in line("upgrade", "--undo").out


@pytest.mark.parametrize("shape", REFUSED)
def test_a_file_that_is_none_of_nodes_is_refused_in_one_message_and_stays(line: Line, shape: str) -> None:
    before = filled(line.home, REFUSED[shape])
    refused = line("upgrade")
    assert refused.exit_code == 1 and "nodes.json cannot be read" in refused.err and "move it away" in refused.err
    assert tree(line.home) == before


def folder_for_a_file(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "nodes.json").mkdir()


def link_to_nowhere(home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "nodes.json").symlink_to("/gone/nodes.json")


def file_by_a_link(home: Path) -> None:
    home.with_name("kept").write_text(INI)
    home.with_name("kept").chmod(0o600)
    home.symlink_to(home.with_name("kept"))


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize(
    ("setting", "says"),
    [(folder_for_a_file, "A folder is where a file should be"), (link_to_nowhere, "Mount the disk"),
     (file_by_a_link, "remove the link")],
)  # fmt: skip
def test_what_is_no_home_is_refused_in_one_message(line: Line, setting: Callable[[Path], None], says: str) -> None:
    setting(line.home)
    for options in ([], ["--dry-run"]):
        refused = line("upgrade", *options)
        assert refused.exit_code == 1 and says in refused.err and refused.out == ""


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_home_on_another_disk_and_files_by_links_stay_where_they_are(line: Line, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir(mode=0o700)
    (other := tmp_path / "other.json").write_text(json.dumps({"numerai-alice": record()}))
    (elsewhere / "nodes.json").symlink_to(other)
    line.home.symlink_to(elsewhere)
    assert line("upgrade").exit_code == 0 and "numerai-alice" in line("node", "list").out
    assert (elsewhere / "nodes.json").is_symlink() and line.home.is_symlink()
    assert line("upgrade", "--undo").exit_code == 0 and json.loads(other.read_text()) == {"numerai-alice": record()}
    assert [path.name for path in elsewhere.iterdir()] == ["nodes.json"]


def test_keys_that_can_be_none_do_not_stop_an_upgrade(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMERAI_SECRET_KEY")
    line.home.mkdir(mode=0o700)
    keys = {"numerai": {"NUMERAI_PUBLIC_ID": "PUB X", "NUMERAI_SECRET_KEY": "SECXSECX"}}
    (line.home / ".keys").write_text(json.dumps(keys))
    upgraded = line("upgrade")
    assert upgraded.exit_code == 0 and "holds a blank" in upgraded.out and "numerai setup" in upgraded.out
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "fakefakefake")
    assert line("setup", "--public-id", "P").exit_code == 0


def test_records_that_are_no_nodes_are_counted_by_doctor_and_status(line: Line) -> None:
    filled(line.home, json.dumps({"numerai-half": None, "a b": record(), "numerai-c": record(cpu="two")}).encode())
    assert line("upgrade").exit_code == 0
    listed = line("node", "list").err
    assert "its cpu is 'two', which is no number" in listed and "had not finished configuring it" in listed
    for name in ("half", "numerai-half"):
        refused = line("node", "-m", name, "status")
        assert refused.exit_code == 1 and "had not finished configuring it" in refused.err
        assert "`numerai node forget numerai-half`" in refused.err
    for command in ("doctor", "status"):
        answer = line(command)
        assert "3 records in nodes.json cannot be used: 'a b', numerai-c, numerai-half" in answer.out + answer.err


def test_what_is_proposed_names_one_node_where_two_tournaments_have_a_model_of_that_name(line: Line) -> None:
    nodes = {"numerai-alice": record(), "crypto-alice": record(provider="gcp"), "signals-alice": record()}
    filled(line.home, json.dumps(nodes).encode())
    says = [said(line, "upgrade"), said(line, "doctor"), said(line, "status"), said(line, "uninstall", "--yes")]
    proposed = {name for text in says for name in re.findall(r"numerai node -m (\S+)", text)}
    assert proposed == set(nodes)


ODD: Mapping[str, bytes] = {
    "empty": b"", "blank": b" \n", "a mark": b"\xef\xbb\xbf", "null": b"null", "a list": b"[]", "a number": b"3",
    "no UTF-8": b'{"version": 1, "numerai-alice": {"path": "\xff"}}', "UTF-16": '{"a"'.encode("utf-16"),
    "cut off": b'{"version": 4, "numerai-alice": {"provider": "a', "nested deeply": b'{"a":' * 100_000,
    "other things": b'{"version": 1, "files": 5, "done": {}, "aws": [], "numerai": 1, "nodes": [], "resources": 0}',
}  # fmt: skip
READ = ("nodes.json", ".keys", "aws/terraform.tfstate", "aws/official/terraform.tfstate", "aws/move.json")
KEPT = ("nodes.json", ".keys", "upgrade.json")


@pytest.mark.slow
@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", [*READ, *(f"official-*/{name}" for name in KEPT)])
def test_the_move_off_aws_copes_with_any_file_that_it_reads(line: Line, name: str, content: bytes) -> None:
    node = record(webhook_url="https://x.lambda-url.us-east-1.on.aws/", docker_repo="1.dkr/alice")
    filled(line.home, json.dumps({"numerai-alice": node}).encode())
    line.api.set_webhook("id-alice", node["webhook_url"])
    (line.home / "aws" / "official").mkdir(parents=True)
    state = {"version": 4, "serial": 1, "lineage": "x", "outputs": {}, "resources": []}
    (line.home / "aws" / "terraform.tfstate").write_text(json.dumps(state))
    if name.startswith("official-"):
        assert line("upgrade").exit_code == 0
    (path,) = [*line.home.glob(name)] or [line.home / name]
    path.write_bytes(content)
    before = tree(line.home)
    for command in ("upgrade --move-aws --dry-run", "upgrade --move-aws"):
        text = said(line, *command.split())
        assert "bytes that are no text" not in text, "which file?"
        if "numerai upgrade --undo" in text:  # there is no node on AWS, so that the rest was taken over
            assert line("upgrade", "--undo").exit_code == 0
        assert {path: kept for path, kept in tree(line.home).items() if "locks" not in path} == {
            path: kept for path, kept in before.items() if "locks" not in path
        }


def test_a_file_for_a_home_is_given_back_by_the_command(line: Line) -> None:
    line.home.write_text(INI)
    line.home.chmod(0o644)
    before = tree(line.home)
    nothing = line("upgrade", "--undo")
    assert nothing.exit_code == 0 and "There is no upgrade to undo" in nothing.out and tree(line.home) == before
    assert line("upgrade").exit_code == 0 and line.home.is_dir()
    undone = line("upgrade", "--undo")
    assert undone.exit_code == 0 and f"✓ {line.home} is again as it was" in undone.out and undone.err == ""
    assert tree(line.home) == before and list(line.home.parent.glob(f"{line.home.name}*")) == [line.home]
    assert "There is no upgrade to undo" in line("upgrade", "--undo").out


def test_an_undo_says_that_the_daemon_still_runs(line: Line) -> None:
    filled(line.home, json.dumps({"numerai-alice": record()}).encode())
    lock = LocalPaths(line.home).lock
    for serves in (False, True):
        assert line("upgrade").exit_code == 0
        with holding(lock) if serves else nullcontext():
            undone = line("upgrade", "--undo")
        assert undone.exit_code == 0 and ("The daemon still runs: `numerai daemon stop`" in undone.err) is serves


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("shape", ["nodes and keys", "keys alone", "a file"])
def test_a_profile_that_the_upgrade_made_is_no_change_of_the_users(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, at_once: bool
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    if shape == "a file":
        line.home.write_text(INI)
        line.home.chmod(0o600)
    else:
        filled(line.home, json.dumps({"numerai-alice": record()}).encode())
        if shape == "keys alone":
            (line.home / "nodes.json").unlink()
    before = tree(line.home)
    for _ in range(2):
        if not at_once:
            assert line("upgrade").exit_code == 0
        assert line("upgrade", "--aws-profile", "old").exit_code == 0
        undone = line("upgrade", "--undo")
        assert undone.exit_code == 0 and "changed since" not in undone.out
        assert "The profile old in ~/.aws/credentials stays" in undone.out
        assert tree(line.home) == before and not list(tmp_path.glob("*upgraded*"))


def test_what_the_user_changed_beside_the_profile_is_kept(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    before = filled(line.home, json.dumps({"numerai-alice": record(), "numerai-b": record()}).encode())
    assert line("upgrade").exit_code == 0 and line("node", "forget", "--yes", "--", "numerai-b").exit_code == 0
    assert line("upgrade", "--aws-profile", "old").exit_code == 0
    undone = line("upgrade", "--undo")
    (kept,) = line.home.glob("nodes.json.upgraded-*")
    assert str(kept) in undone.out and "numerai-b" not in kept.read_text()
    assert before.items() <= tree(line.home).items()
