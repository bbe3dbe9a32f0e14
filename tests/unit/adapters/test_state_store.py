"""The home folder: what is written comes back, whatever breaks in between."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.models import NUMERAI_API_URL, Keys, Node
from numerai_compute.names import is_name

from tests.present import present

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", 2.0, 4096, webhook_url="http://h/n/token")
OFFICIAL_NODES = {
    "numerai-bob": {
        "provider": "aws",
        "cpu": 2048,
        "memory": "16384",
        "path": "/old/bob",
        "model_id": "id-bob",
        "webhook_url": "https://x.execute-api/v1/submit",
        "docker_repo": "1234.dkr.ecr/x",
    },
    "signals-eve": {"provider": "aws", "cpu": 1024, "memory": 2048, "path": "/old/eve", "cron": "30 18 ? * 7 *"},
}
OFFICIAL_KEYS = {
    "numerai": {"NUMERAI_PUBLIC_ID": "PUB", "NUMERAI_SECRET_KEY": "SEC"},
    "aws": {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"},
}


@pytest.fixture
def store(home: Path) -> HomeStore:
    return HomeStore(home)


def test_an_absent_home_holds_nothing_and_is_not_created_by_reading(store: HomeStore) -> None:
    assert store.nodes() == {}
    assert store.settings("local") == {}
    assert store.keys() is None
    assert not store.home.exists()


def test_nodes_survive_and_the_previous_file_is_kept(store: HomeStore) -> None:
    store.save_node(NODE)
    store.forget_node("numerai-alice")
    assert store.nodes() == {}
    kept, count = store.previous_nodes() or (None, None)
    assert count == 1 and json.loads(present(kept).read_text())["nodes"]["numerai-alice"]["path"] == "/code"


def test_settings_and_nodes_do_not_overwrite_each_other(store: HomeStore) -> None:
    store.save_settings("local", {"port": 4000})
    store.save_node(NODE)
    store.save_settings("aws", {"region": "us-east-1"})
    assert HomeStore(store.home).nodes() == {"numerai-alice": NODE}
    assert store.settings("local") == {"port": 4000}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_files_are_for_their_owner_only(store: HomeStore) -> None:
    store.save_node(NODE)
    store.save_keys(Keys("p", "s" * 10))
    store.save_keys(Keys("p", "t" * 10))
    assert stat.S_IMODE(store.home.stat().st_mode) == 0o700
    for file in store.home.iterdir():
        if file.is_file():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


NAMES = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,79}", fullmatch=True).filter(is_name)


@pytest.mark.slow
@given(
    st.builds(
        Node,
        name=NAMES,
        model_name=NAMES,
        model_id=st.text(),
        tournament=st.sampled_from([8, 11, 12]),
        provider=st.text(),
        path=st.text(),
        cpu=st.floats(0.1, 192),
        memory_mib=st.integers(64, 10**6),
        cron=st.none() | st.text(),
        webhook_url=st.none() | st.text(),
        legacy=st.none(),
    )
)
@settings(max_examples=30)
def test_every_node_comes_back_as_it_was(store: HomeStore, node: Node) -> None:
    store.save_node(node)
    assert store.nodes()[node.name] == node


@pytest.mark.parametrize(
    "content",
    [
        b'{"version": 1, "nodes": {"numer',
        b"[]",
        b'{"version": 1, "nodes": []}',
        b'{"version": 1, "nodes": {"a": {}, "b": {}, "a": {}}}',
        b'{"version": 1, "version": 1}',
        '{"version": 1}'.encode("utf-16-le"),
        pytest.param(b'{"version": 1, "nodes": ' + b"[" * 100_000, id="deep"),
        pytest.param(b'{"version": 1, "nodes": {"a": ' + b"[" * 2000 + b"]" * 2000 + b"}}", id="a deep node"),
    ],
)
def test_a_broken_file_is_named_kept_and_can_be_restored(store: HomeStore, content: bytes) -> None:
    store.save_node(NODE)
    store.save_settings("local", {"port": 1})  # the kept previous version now holds the node
    store.nodes_path.write_bytes(content)
    with pytest.raises(NumeraiError) as caught:
        store.nodes()
    assert caught.value.code == "state-corrupt"
    assert "doctor --fix" in (caught.value.hint or "")
    with pytest.raises(NumeraiError):
        store.save_node(NODE)
    assert store.nodes_path.read_bytes() == content
    aside = store.restore_previous_nodes()
    assert aside is not None and aside.read_bytes() == content
    assert store.nodes() == {"numerai-alice": NODE}


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("../../victim", {}),
        ("numerai-a\nb", {"model_name": "a"}),
        ("", {}),
        ("CON", {}),
        ("lpt1", {}),
        ("-rf", {}),
        ("numerai-bob", {"name": "numerai-eve"}),
        ("numerai-bob", {"model_name": "../x"}),
        ("numerai-bob", {"cpu": "many"}),
        ("numerai-bob", None),
    ],
)
def test_a_node_that_cannot_be_used_blocks_no_other_and_can_be_forgotten(
    store: HomeStore, name: str, record: dict[str, object] | None
) -> None:
    store.save_node(NODE)
    raw = json.loads(store.nodes_path.read_text())
    good = raw["nodes"]["numerai-alice"]
    raw["nodes"][name] = None if record is None else {**good, "name": name, "model_name": "bob", **record}
    store.nodes_path.write_text(json.dumps(raw))
    assert store.nodes() == {"numerai-alice": NODE}
    assert list(store.unusable_nodes()) == [name]
    store.save_settings("local", {"port": 1})
    assert json.loads(store.nodes_path.read_text())["nodes"] == raw["nodes"]
    store.forget_node(name)
    assert store.unusable_nodes() == {} and store.nodes() == {"numerai-alice": NODE}


def test_a_name_that_is_none_is_not_saved(store: HomeStore) -> None:
    with pytest.raises(NumeraiError, match="has the name"):
        store.save_node(dataclasses.replace(NODE, name="../x"))
    assert not store.nodes_path.exists()


def test_of_two_names_that_differ_only_in_case_one_is_kept(store: HomeStore) -> None:
    store.save_node(NODE)
    with pytest.raises(NumeraiError, match="upper and lower case"):
        store.save_node(dataclasses.replace(NODE, name="numerai-Alice"))
    raw = json.loads(store.nodes_path.read_text())
    raw["nodes"]["numerai-ALICE"] = {**raw["nodes"]["numerai-alice"], "name": "numerai-ALICE"}
    store.nodes_path.write_text(json.dumps(raw))
    assert store.nodes() == {"numerai-alice": NODE} and list(store.unusable_nodes()) == ["numerai-ALICE"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_home_that_others_can_write_is_refused(store: HomeStore, mode: int) -> None:
    store.save_node(NODE)
    store.save_keys(Keys("p", "s" * 10))
    store.home.chmod(mode)
    for use in (store.nodes, store.keys, lambda: store.save_keys(Keys("p", "t" * 10)), lambda: store.save_node(NODE)):
        with pytest.raises(EnvironmentNotReady) as refused:
            use()
        assert refused.value.code == "home-open" and "chmod 700" in str(refused.value.hint)
    store.home.chmod(0o755)
    assert store.nodes() == {"numerai-alice": NODE}


def test_a_broken_file_without_a_previous_version_offers_none(store: HomeStore) -> None:
    store.save_node(NODE)
    store.nodes_path.write_text("{")
    with pytest.raises(NumeraiError) as caught:
        store.nodes()
    assert "doctor --fix" not in (caught.value.hint or "")
    with pytest.raises(NumeraiError):
        store.restore_previous_nodes()


def test_a_file_that_is_gone_is_no_home_without_nodes(store: HomeStore) -> None:
    store.save_node(NODE)
    store.save_settings("local", {"port": 1})  # the kept previous version now holds the node
    store.nodes_path.unlink()
    for use in (store.nodes, lambda: store.settings("local"), lambda: store.save_settings("local", {"port": 2})):
        with pytest.raises(NumeraiError, match=r"is gone. It has held 1 node") as caught:
            use()
        assert caught.value.code == "state-corrupt" and "doctor --fix" in (caught.value.hint or "")
    assert store.restore_previous_nodes() is None
    assert store.nodes() == {"numerai-alice": NODE}


def test_nodes_that_were_all_forgotten_are_not_missed(store: HomeStore) -> None:
    store.save_settings("local", {"port": 1})
    store.save_settings("local", {"port": 2})
    store.nodes_path.unlink()
    assert store.nodes() == {}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("linked", [".", "nodes.json", ".keys"])
def test_a_link_that_leads_nowhere_is_not_an_empty_file(tmp_path: Path, linked: str) -> None:
    """As when the disk is not mounted that the home, or a file in it, was put on."""
    there, away = tmp_path / "there", tmp_path / "away"
    there.mkdir(mode=0o700)
    store = HomeStore(there, {})
    store.save_node(NODE)
    store.save_keys(Keys("p", "s" * 10))
    moved = there / linked
    moved.rename(away)
    moved.symlink_to(away)
    assert store.nodes() == {"numerai-alice": NODE} and store.keys() is not None
    store.save_settings("local", {"port": 1})
    store.save_notify_url("team", "json://127.0.0.1:9")
    assert moved.is_symlink(), "what is written goes where the link leads"
    away.rename(tmp_path / "not-mounted")
    if linked != ".keys":
        with pytest.raises(NumeraiError, match=r"is a link to .*, which is not there"):
            store.nodes()
        with pytest.raises(NumeraiError):
            store.save_settings("local", {"port": 2})
    if linked != "nodes.json":
        with pytest.raises(NumeraiError, match=r"is a link to .*, which is not there"):
            store.keys()
        with pytest.raises(NumeraiError):
            store.save_notify_url("other", "json://127.0.0.1:9")
    assert moved.is_symlink() and not moved.exists()
    (tmp_path / "not-mounted").rename(away)
    assert store.nodes() == {"numerai-alice": NODE} and set(store.notify_urls()) == {"team"}


def test_a_newer_file_is_refused(store: HomeStore) -> None:
    store.save_node(NODE)
    store.nodes_path.write_text('{"version": 99, "nodes": {}}')
    with pytest.raises(NumeraiError) as caught:
        store.nodes()
    assert caught.value.code == "state-newer"


def test_keys_from_the_environment_win_and_belong_to_their_api(home: Path) -> None:
    HomeStore(home).save_keys(Keys("file", "filesecret"))
    env = {"NUMERAI_PUBLIC_ID": "env", "NUMERAI_SECRET_KEY": "envsecret", "NUMERAI_API_URL": "http://127.0.0.1:1"}
    assert HomeStore(home, env).keys() == Keys("env", "envsecret", "http://127.0.0.1:1")
    assert HomeStore(home, {}).keys() == Keys("file", "filesecret", NUMERAI_API_URL)


def test_the_files_keys_are_never_sent_to_another_api(home: Path) -> None:
    HomeStore(home).save_keys(Keys("file", "filesecret"))
    with pytest.raises(NumeraiError) as caught:
        HomeStore(home, {"NUMERAI_API_URL": "http://127.0.0.1:1"}).keys()
    assert caught.value.code == "keys-elsewhere"
    assert "filesecret" not in caught.value.message


def test_keys_of_another_api_remember_it(store: HomeStore) -> None:
    store.save_keys(Keys("p", "secretsecret", "http://127.0.0.1:77"))
    assert HomeStore(store.home, {}).keys() == Keys("p", "secretsecret", "http://127.0.0.1:77")


def test_the_repr_of_keys_hides_the_secret() -> None:
    assert "secretsecret" not in repr(Keys("p", "secretsecret"))


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[1]",
        b'{"numerai": 3}',
        b'{"secretsecret": 1, "secretsecret": 2}',
        pytest.param(b"[" * 200_000, id="deep"),
    ],
)
def test_a_broken_keys_file_never_shows_its_content(store: HomeStore, content: bytes) -> None:
    store.home.mkdir()
    store.keys_path.write_bytes(content)
    with pytest.raises(NumeraiError) as caught:
        store.keys()
    assert caught.value.code == "state-corrupt" and "secretsecret" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"version": 1}'.encode("utf-16-le"), "UTF-16"),
        (b'{"version": 1, "nodes": {"a": {}, "a": {}}}', "'a' stands there twice"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(store: HomeStore, content: bytes, says: str) -> None:
    store.home.mkdir()
    store.nodes_path.write_bytes(content)
    with pytest.raises(NumeraiError, match=says):
        store.nodes()


@pytest.mark.skipif(os.name != "posix", reason="Windows says no more than that nothing is there")
def test_a_home_that_is_a_file_is_named(store: HomeStore) -> None:
    store.home.touch(mode=0o600)
    for use in (store.nodes, lambda: HomeStore(store.home, {}).keys()):
        with pytest.raises(NumeraiError) as caught:
            use()
        assert "NUMERAI_HOME must name a folder" in str(caught.value.hint)


def test_files_of_the_official_tool_are_read_but_not_changed_before_an_upgrade(store: HomeStore) -> None:
    store.home.mkdir()
    store.nodes_path.write_text(json.dumps(OFFICIAL_NODES))
    store.keys_path.write_text(json.dumps(OFFICIAL_KEYS))
    assert store.is_legacy()
    bob, eve = store.nodes()["numerai-bob"], store.nodes()["signals-eve"]
    assert (bob.cpu, bob.memory_mib, bob.model_name, bob.tournament) == (2.0, 16384, "bob", 8)
    assert (eve.tournament, eve.cron) == (11, "30 18 ? * 7 *")
    assert HomeStore(store.home, {}).keys() == Keys("PUB", "SEC")
    changes: list[Callable[[], object]] = [lambda: store.save_node(NODE), lambda: store.save_keys(Keys("a", "b" * 8))]
    for change in changes:
        with pytest.raises(NumeraiError) as caught:
            change()
        assert caught.value.code == "needs-upgrade"
    assert json.loads(store.nodes_path.read_text()) == OFFICIAL_NODES
    assert json.loads(store.keys_path.read_text()) == OFFICIAL_KEYS


def test_a_second_command_on_the_same_node_is_told_so(store: HomeStore) -> None:
    with store.node_lock("numerai-alice"):
        with pytest.raises(NumeraiError) as caught, HomeStore(store.home).node_lock("numerai-alice"):
            pass
        assert caught.value.code == "busy"
        with store.node_lock("numerai-bob"):
            pass


def test_an_unwritable_home_is_one_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(EnvironmentNotReady) as caught:
        HomeStore(blocked / "home").save_node(NODE)
    assert "NUMERAI_HOME" in (caught.value.hint or "")


@pytest.mark.slow
def test_writers_at_the_same_time_lose_nothing(store: HomeStore) -> None:
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace;"
        "from numerai_compute.adapters.state_store import HomeStore;"
        "store = HomeStore(Path(sys.argv[1]));"
        "node = store.nodes()[sys.argv[3]];"
        "[store.save_node(replace(node, name=f'{sys.argv[2]}-{i}')) for i in range(8)]"
    )
    store.save_node(NODE)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(store.home), name, NODE.name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(store.nodes()) == 1 + 24


def test_whom_to_notify_is_kept_with_the_keys_and_nothing_else_is_touched(store: HomeStore) -> None:
    store.save_keys(Keys("p", "secretsecret"))
    raw = json.loads(store.keys_path.read_text())
    store.keys_path.write_text(json.dumps({**raw, "aws": {"AWS_ACCESS_KEY_ID": "A"}, "later": [1]}))
    store.save_notify_url("team", "slack://a/b/c")
    store.save_notify_url("me", "json://h/1")
    store.save_notify_url("me", "json://h/2")
    assert HomeStore(store.home, {}).notify_urls() == {"team": "slack://a/b/c", "me": "json://h/2"}
    store.forget_notify_url("team")
    store.forget_notify_url("nobody")
    store.save_keys(Keys("q", "othersecret"))
    held = json.loads(store.keys_path.read_text())
    assert held["notify"] == {"me": "json://h/2"}
    assert (held["aws"], held["later"], held["version"]) == ({"AWS_ACCESS_KEY_ID": "A"}, [1], 1)
    assert HomeStore(store.home, {}).keys() == Keys("q", "othersecret")
    if os.name == "posix":
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in store.home.glob(".keys*"))


def test_somebody_to_notify_can_be_listed_before_there_are_keys(store: HomeStore) -> None:
    assert store.notify_urls() == {} and not store.home.exists()
    store.save_notify_url("me", "json://h/2")
    assert store.notify_urls() == {"me": "json://h/2"} and HomeStore(store.home, {}).keys() is None
    assert not store.is_legacy()


def test_the_environment_adds_to_whom_to_notify(store: HomeStore) -> None:
    store.save_notify_url("me", "json://h/2")
    env = {"NUMERAI_NOTIFY": "  json://a\n mailto://b "}
    assert HomeStore(store.home, env).notify_urls() == {
        "me": "json://h/2",
        "env-1": "json://a",
        "env-2": "mailto://b",
    }


def test_the_official_tools_keys_file_is_not_changed_for_whom_to_notify(store: HomeStore) -> None:
    store.home.mkdir()
    store.keys_path.write_text(json.dumps(OFFICIAL_KEYS))
    assert store.notify_urls() == {}
    changes: list[Callable[[], object]] = [
        lambda: store.save_notify_url("me", "json://h"),
        lambda: store.forget_notify_url("me"),
    ]
    for change in changes:
        with pytest.raises(NumeraiError) as caught:
            change()
        assert caught.value.code == "needs-upgrade"
    assert json.loads(store.keys_path.read_text()) == OFFICIAL_KEYS


@pytest.mark.parametrize("held", ['["json://secret"]', '{"me": 7}', '"json://secret"'])
def test_a_list_of_whom_to_notify_that_is_none_is_named_without_its_content(store: HomeStore, held: str) -> None:
    store.home.mkdir()
    content = f'{{"version": 1, "notify": {held}}}'
    store.keys_path.write_text(content)
    for use in (store.notify_urls, lambda: store.save_notify_url("me", "json://h")):
        with pytest.raises(NumeraiError) as caught:
            use()
        assert caught.value.code == "state-corrupt" and "secret" not in caught.value.message
    assert store.keys_path.read_text() == content


def test_a_newer_keys_file_is_refused_and_left_alone(store: HomeStore) -> None:
    store.home.mkdir()
    content = '{"version": 99, "numerai": {}, "notify": {}}'
    store.keys_path.write_text(content)
    for use in (store.notify_urls, lambda: HomeStore(store.home, {}).keys(), lambda: store.save_keys(Keys("a", "b"))):
        with pytest.raises(NumeraiError) as caught:
            use()
        assert caught.value.code == "state-newer"
    assert store.keys_path.read_text() == content
