"""Homes of every version of the official tool: taken over without a loss, and given back byte for byte.

The shapes are what the code of numerai-cli 0.1 to 1.1.7 writes when it is run (packages on PyPI).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.adapters import official_home
from numerai_compute.adapters.official_home import OfficialHome
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Keys

INI = (
    "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = abc\nnumerai_public_id = PUBX\n"
    "numerai_secret_key = SEC%X\n\n"
)
KEYS = {
    "aws": {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "abc"},
    "numerai": {"NUMERAI_PUBLIC_ID": "PUBX", "NUMERAI_SECRET_KEY": "SEC%X"},
}
V03 = {
    "numerai-alice": {
        "provider": "aws", "cpu": "2048", "memory": "16384", "path": "C:\\models\\alice", "docker_repo": "1.dkr/alice",
        "webhook_url": "https://x.execute-api.us-east-1.amazonaws.com/v1/submit",
    },
}  # fmt: skip
V11 = {
    **V03,
    "signals-bob": {
        "provider": "azure", "cpu": 1024, "memory": 8192, "path": "/b", "model_id": "u", "cron": "0 30 13 * * SUN",
        "timeout_minutes": "90",
    },
    "crypto-carol": {"provider": "gcp", "memory": 4096, "path": "/c", "volume": {"size": 100}, "tags": [1]},
    "numerai-half": None,
    "numerai-empty": {},
    "../evil": {"provider": "aws"},
}  # fmt: skip
FOLDERS: Mapping[str, Mapping[str, bytes]] = {
    "ini in a folder": {".keys": INI.encode()},
    "ini with Windows line ends": {".keys": INI.replace("\n", "\r\n").encode()},
    "a converted file with the rest of another section": {".keys": f"[other]\nx = y\n\n{json.dumps(KEYS)}".encode()},
    "JSON over a longer INI file": {".keys": f"{json.dumps(KEYS)}\nnumerai_secret_key = OLD\n\n[x]\n".encode()},
    "INI, JSON and the rest of the INI": {".keys": f"[other]\nx = y\n\n{json.dumps(KEYS)}yyyy\n".encode()},
    "a section in capitals": {".keys": INI.replace("default", "DEFAULT").encode()},
    "INI with a mark and quotes": {".keys": ("\ufeff" + INI.replace("PUBX", "'PUBX'")).encode()},
    "0.3": {".keys": json.dumps(KEYS).encode(), "nodes.json": json.dumps(V03).encode()},
    "1.1": {".keys": json.dumps({**KEYS, "azure": None}).encode(), "nodes.json": json.dumps(V11, indent=2).encode()},
    "names in other cases": {
        "nodes.json": json.dumps({name: {"provider": "aws"} for name in ("a-b", "a-B", "A-b", "a-c")}).encode()
    },
    "nodes only": {"nodes.json": json.dumps(V03).encode()},
    "nodes.json of no bytes": {".keys": json.dumps(KEYS).encode(), "nodes.json": b""},
    "with a byte order mark": {"nodes.json": b"\xef\xbb\xbf" + json.dumps(V03).encode()},
    "utf-16": {"nodes.json": json.dumps(V03).encode("utf-16")},
}


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Everything in a folder, or the file: content and mode."""
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder.parent)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in files
    }


def make(home: Path, files: Mapping[str, bytes]) -> HomeStore:
    home.mkdir(parents=True, mode=0o700)
    for name, content in files.items():
        (home / name).write_bytes(content)
        (home / name).chmod(0o640)
    return HomeStore(home, {})


@pytest.mark.parametrize("shape", FOLDERS)
def test_a_folder_of_any_version_is_taken_over_and_given_back(tmp_path: Path, shape: str) -> None:
    store = make(tmp_path / "home", FOLDERS[shape])
    before, nodes, unusable, keys = tree(store.home), store.nodes(), store.unusable_nodes(), store.keys()
    official = OfficialHome(store)
    assert store.is_legacy() and official.found()
    backup = official.take_over()
    assert not store.is_legacy() and official.found() is None
    assert (store.nodes(), store.unusable_nodes(), store.keys()) == (nodes, unusable, keys)
    assert {name: (backup / name).read_bytes() for name in FOLDERS[shape]} == FOLDERS[shape]
    undone = official.undo()
    assert undone is not None and undone.aside == () and tree(store.home) == before
    assert official.undo() is None


@pytest.mark.parametrize(
    "keys",
    [
        {"numerai": {"NUMERAI_PUBLIC_ID": None, "NUMERAI_SECRET_KEY": None}, "aws": ["A", "B"]},
        {"numerai": None, "aws": {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": "x"}},
        {"numerai": {}, "aws": {"AWS_ACCESS_KEY_ID": 1, "AWS_SECRET_ACCESS_KEY": {}}},
    ],
)
def test_keys_that_were_never_given_are_none(tmp_path: Path, keys: dict[str, Any]) -> None:
    store = make(tmp_path / "home", {".keys": json.dumps(keys).encode()})
    official = OfficialHome(store)
    assert store.keys() is None and official.found() is not None and official.aws_keys() is None
    official.take_over()
    assert store.keys() is None and not store.is_legacy()


@pytest.mark.parametrize(
    "content",
    [
        b'{"numerai": {"NUMERAI_PUBLIC_ID": "x",}}',
        b"[]",
        b"NUMERAI_PUBLIC_ID=x",
        b"\xff\xfe\x00",
        b'{"version": 1} tail',
    ],
)
def test_a_file_that_holds_no_keys_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    store = make(tmp_path / "home", {".keys": content, "nodes.json": json.dumps(V03).encode()})
    before = tree(store.home)
    with pytest.raises(NumeraiError) as caught:
        OfficialHome(store).found()
    assert caught.value.code == "state-corrupt" and tree(store.home) == before


def test_what_the_records_say_is_understood(tmp_path: Path) -> None:
    store = make(tmp_path / "home", FOLDERS["1.1"])
    alice, bob, carol = (store.nodes()[name] for name in ("numerai-alice", "signals-bob", "crypto-carol"))
    assert (alice.cpu, alice.memory_mib, alice.timeout_minutes, alice.path) == (2, 16384, 60, "C:\\models\\alice")
    assert (bob.cron, bob.timeout_minutes, bob.tournament) == ("30 13 * * SUN", 90, 11), "without Azure's seconds"
    assert carol.legacy and carol.legacy["volume"] == {"size": 100} and carol.tournament == 12
    assert set(store.unusable_nodes()) == {"numerai-half", "numerai-empty", "../evil"}
    assert store.keys() == Keys("PUBX", "SEC%X")
    found = OfficialHome(store).found()
    assert found is not None and found.cloud_keys == ("aws",) and OfficialHome(store).aws_keys() == ("AKIAX", "abc")
    OfficialHome(store).take_over()
    assert OfficialHome(store).aws_keys() == ("AKIAX", "abc"), "from the backup"
    assert json.loads(store.nodes_path.read_text())["nodes"]["numerai-half"] is None


def test_the_aws_keys_are_found_in_an_earlier_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(tmp_path / "home", FOLDERS["0.3"])
    official = OfficialHome(store)
    monkeypatch.setattr(official_home, "_stamp", lambda: "20260101T000000")
    official.take_over()
    for stamp, keys in (("20260102T000000", {"numerai": KEYS["numerai"]}), ("20260103T000000", None)):
        monkeypatch.setattr(official_home, "_stamp", lambda stamp=stamp: stamp)
        (store.home / ("nodes.json" if keys is None else ".keys")).write_text(json.dumps(V03 if keys is None else keys))
        official.take_over()
    assert len(list(store.home.glob("official-*/upgrade.json"))) == 3
    assert official.aws_keys() == ("AKIAX", "abc")


def test_a_copy_that_is_gone_is_said_and_nothing_is_changed(tmp_path: Path) -> None:
    store = make(tmp_path / "home", FOLDERS["1.1"])
    official = OfficialHome(store)
    (official.take_over() / "nodes.json").unlink()
    before = tree(store.home)
    with pytest.raises(NumeraiError, match=r"nodes\.json is gone"):
        official.undo()
    assert tree(store.home) == before


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_file_for_a_home_that_is_a_link_is_refused_untouched(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(INI)
    kept.chmod(0o600)
    (tmp_path / "home").symlink_to(kept)
    store = HomeStore(tmp_path / "home", {})
    with pytest.raises(NumeraiError, match="is a link to the file") as caught:
        OfficialHome(store).take_over()
    assert str(kept) in str(caught.value.hint) and store.home.is_symlink() and kept.read_text() == INI


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_file_that_0_1_and_0_2_have_for_a_home_becomes_a_folder_and_a_file_again(tmp_path: Path, mode: int) -> None:
    home = tmp_path / ".numerai"
    home.write_text(INI)
    home.chmod(mode)
    store, before = HomeStore(home, {}), tree(home)
    assert store.is_legacy() and store.nodes() == {} and store.keys() == Keys("PUBX", "SEC%X")
    with pytest.raises(NumeraiError, match="official") as refused:
        store.save_keys(Keys("a", "b" * 8))
    assert refused.value.code == "needs-upgrade"
    official = OfficialHome(store)
    official.take_over()
    assert home.is_dir() and store.keys() == Keys("PUBX", "SEC%X") and official.aws_keys() == ("AKIAX", "abc")
    undone = official.undo()
    assert undone is not None and undone.restored == (home,) and tree(home) == before
    assert list(tmp_path.iterdir()) == [home]


def test_what_was_made_since_is_kept_aside_when_a_file_takes_its_place_again(tmp_path: Path) -> None:
    home = tmp_path / ".numerai"
    home.write_text(INI)
    store = HomeStore(home, {})
    OfficialHome(store).take_over()
    (home / "rounds.db").write_bytes(b"rounds")
    store.save_keys(Keys("new", "newsecret"))
    undone = OfficialHome(store).undo()
    assert undone is not None and home.read_text() == INI
    (kept,) = undone.aside
    assert (kept / "rounds.db").read_bytes() == b"rounds"
    assert "newsecret" in (kept / ".keys").read_text()


def test_a_file_that_is_no_home_is_refused_as_before(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a letter")
    with pytest.raises(NumeraiError) as caught:
        HomeStore(home, {}).keys()
    assert "NUMERAI_HOME must name a folder" in str(caught.value.hint) and home.read_text() == "a letter"


class Killed(BaseException):
    """What ends the process, at any moment."""


def killing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the process end before its `after`-th change of a file."""
    left = [after]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **kwargs)

        return change

    for name in ("replace", "rename", "unlink", "rmdir", "mkdir", "chmod"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))  # Python 3.10's do not ask `os` for them
    listed = os.scandir

    @contextmanager
    def by_name(path: Any) -> Iterator[Iterator[os.DirEntry[str]]]:
        """The copies come before the record of them, as some file systems have it."""
        with listed(path) as entries:
            yield iter(sorted(entries, key=lambda entry: entry.name))

    monkeypatch.setattr(os, "scandir", by_name)


def shapes() -> Iterator[tuple[str, Callable[[Path], HomeStore]]]:
    yield "folder", lambda home: make(home, FOLDERS["1.1"])

    def file(home: Path) -> HomeStore:
        home.write_text(INI)
        home.chmod(0o600)
        return HomeStore(home, {})

    yield "file", file


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), [*shapes()])
@pytest.mark.parametrize("undoing", [False, True])
def test_whenever_it_is_interrupted_the_keys_are_there_and_the_next_call_goes_on(
    tmp_path: Path, name: str, setting: Callable[[Path], HomeStore], undoing: bool
) -> None:
    for after in range(99):
        store = setting(tmp_path / str(after))
        before, nodes = tree(store.home), store.nodes()
        official = OfficialHome(store)
        if undoing:
            official.take_over()
        with pytest.MonkeyPatch.context() as patch:
            killing(patch, after)
            try:
                official.undo() if undoing else official.take_over()
                break
            except Killed:
                pass
        assert store.keys() == Keys("PUBX", "SEC%X") and store.nodes() == nodes, after
        if store.is_legacy():
            official.take_over()
        assert not store.is_legacy() and store.keys() == Keys("PUBX", "SEC%X")
        while official.undo() is not None:
            pass
        assert tree(store.home) == before, after
        assert {path.name for path in store.home.parent.iterdir()} <= {str(each) for each in range(after + 1)}
    else:
        raise AssertionError("it never came to its end")
    assert after > 2


NAMES = st.text(string.ascii_letters + "-_. /", min_size=1, max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
RECORDS = SCALARS | st.dictionaries(
    st.sampled_from(("provider", "cpu", "memory", "path", "cron", "timeout_minutes", "model_id", "x")),
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2),
)


@pytest.mark.slow
@settings(max_examples=60)
@given(nodes=st.dictionaries(NAMES.filter(lambda name: name != "version"), RECORDS, max_size=4))
def test_no_record_of_the_official_tool_is_lost(
    tmp_path_factory: pytest.TempPathFactory, nodes: dict[str, object]
) -> None:
    content = json.dumps(nodes).encode()
    store = make(tmp_path_factory.mktemp("home") / "home", {"nodes.json": content})
    names = {*store.nodes(), *store.unusable_nodes()}
    assert names == nodes.keys()
    OfficialHome(store).take_over()
    assert {*store.nodes(), *store.unusable_nodes()} == nodes.keys()
    OfficialHome(store).undo()
    assert store.nodes_path.read_bytes() == content


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_the_users_own_is_never_taken_for_ours(tmp_path: Path, folder: bool) -> None:
    store = make(tmp_path / "home", FOLDERS["1.1"])
    own, other = store.home / "official-backup", tmp_path / "home.official"
    own.mkdir()
    (own / "note").write_text("mine")
    other.mkdir() if folder else other.write_text("mine")
    with pytest.raises(NumeraiError, match="is in the way"):
        OfficialHome(store).take_over()
    assert store.is_legacy() and other.exists()
    other.rmdir() if folder else other.unlink()
    OfficialHome(store).take_over()
    assert (own / "note").read_text() == "mine"


def everything(home: Path) -> list[tuple[str, int, bytes | None]]:
    """The home and what stands beside it by a name of its own: paths, modes, contents, folders among them."""
    paths = [path for path in sorted(home.parent.rglob("*")) if path.relative_to(home.parent).parts[0].startswith("h")]
    return [
        (
            str(path.relative_to(home.parent)),
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in paths
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), [*shapes()])
@pytest.mark.parametrize("again", [False, True])
def test_an_upgrade_that_was_killed_anywhere_is_undone_to_the_last_byte(
    tmp_path: Path, name: str, setting: Callable[[Path], HomeStore], again: bool
) -> None:
    """`again`: it is upgraded once more before. Else the one undo does it, and says nothing that is not so."""
    for after in range(99):
        (tmp_path / str(after)).mkdir()
        store = setting(tmp_path / str(after) / "h")
        before, official = everything(store.home), OfficialHome(store)
        with pytest.MonkeyPatch.context() as patch:
            killing(patch, after)
            try:
                official.take_over()
                break
            except Killed:
                pass
        begun = [each for each in everything(store.home) if "locks" not in each[0]] != before
        if again:
            official.take_over() if store.is_legacy() else None
        undone = official.undo()
        assert everything(store.home) == before, after
        assert undone is None or undone.aside == (), after
        assert (undone is not None) == (begun or again), after
    else:
        raise AssertionError("it never came to its end")
    assert after > 2


@pytest.mark.slow
def test_the_undo_of_an_interrupted_upgrade_may_be_interrupted_itself(tmp_path: Path) -> None:
    setting = dict(shapes())["file"]
    for number, (after, then) in enumerate(itertools.product(range(1, 14), range(10))):
        (tmp_path / str(number)).mkdir()
        store = setting(tmp_path / str(number) / "h")
        before, official = everything(store.home), OfficialHome(store)
        for act, left in ((official.take_over, after), (official.undo, then)):
            with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
                killing(patch, left)
                act()
        assert store.keys() == Keys("PUBX", "SEC%X"), (after, then)
        official.undo()
        assert everything(store.home) == before, (after, then)


def test_an_interrupted_upgrade_whose_folder_holds_more_by_now_is_brought_to_its_end_first(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    home.with_name("h.official").write_text(INI)
    (home / "rounds.db").write_bytes(b"rounds")
    before, official = everything(home), OfficialHome(HomeStore(home, {}))
    with pytest.raises(NumeraiError, match=r"was interrupted, and the folder holds rounds\.db") as caught:
        official.undo()
    assert "`numerai upgrade` brings it to its end" in str(caught.value.hint) and everything(home) == before
    official.take_over()
    undone = official.undo()
    assert undone is not None and home.read_text() == INI
    assert [(kept / "rounds.db").read_bytes() for kept in undone.aside] == [b"rounds"]


def test_previous_versions_of_what_is_given_back_do_not_stay_behind_unsaid(tmp_path: Path) -> None:
    store = make(tmp_path / "h", FOLDERS["1.1"])
    before, official = everything(store.home), OfficialHome(store)
    official.take_over()
    store.save_settings("aws", {"profile": "one"})  # the previous version is what the upgrade wrote
    store.save_keys(Keys("ONE", "onesecret"))
    store.save_keys(Keys("TWO", "twosecret"))  # here it is the user's
    undone = official.undo()
    assert undone is not None
    kept = {path.name.partition(".upgraded-")[0]: path.read_text() for path in undone.aside}
    assert kept.keys() == {"nodes.json", ".keys", ".keys.previous"}
    assert "twosecret" in kept[".keys"] and "onesecret" in kept[".keys.previous"]
    for path in undone.aside:
        path.unlink()
    assert everything(store.home) == before
