"""Setting up, finding nodes, looking at them, deploying and scaffolding."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, EnvironmentNotReady, NumeraiError, UsageError
from numerai_compute.models import Deployment, Node, TokenInfo
from numerai_compute.usecases.deploy import deploy_node, plan_deploy
from numerai_compute.usecases.forget import forget_node
from numerai_compute.usecases.inspect import list_nodes, node_status, run_log
from numerai_compute.usecases.resolve import first_steps, resolve_node
from numerai_compute.usecases.scaffold import example_names, plan_scaffold, scaffold
from numerai_compute.usecases.setup import FoundModel, set_up

from tests.fakes import KEYS, SCOPES, FakeApi, FakeProvider


def as_given(settings: Mapping[str, object]) -> dict[str, str | int]:
    return {name: value if isinstance(value, int) else str(value) for name, value in settings.items()}


def test_keys_are_recorded_only_after_numerai_took_them(store: HomeStore, api: FakeApi) -> None:
    api.fail["token_info"] = ApiError("refused", code="keys-refused")
    with pytest.raises(ApiError):
        set_up(KEYS, "local", {}, store=store, api_with=lambda keys: api, check=as_given)
    assert store.keys() is None
    api.fail.clear()
    found = set_up(KEYS, "local", {"port": 4}, store=store, api_with=lambda keys: api, check=as_given)
    assert store.keys() == KEYS and found.account and found.account.username == "tester"
    assert found.models == (FoundModel("alice", 8),)
    assert store.settings("local") == {"port": 4} and found.warnings == ()


def test_settings_add_up_and_a_dry_run_writes_nothing(store: HomeStore, api: FakeApi) -> None:
    set_up(None, "local", {"port": 4}, store=store, api_with=lambda keys: api, check=as_given)
    found = set_up(
        None, "local", {"executor": "process"}, store=store, api_with=lambda keys: api, check=as_given, dry_run=True
    )
    assert found.settings == {"port": 4, "executor": "process"} and store.settings("local") == {"port": 4}
    set_up(KEYS, "local", {}, store=store, api_with=lambda keys: api, check=as_given, dry_run=True)
    assert store.keys() is None


def test_a_key_that_can_move_stake_is_pointed_out(store: HomeStore, api: FakeApi) -> None:
    api.account = TokenInfo("me", "k", (*SCOPES, "stake"))
    found = set_up(KEYS, "local", {}, store=store, api_with=lambda keys: api, check=as_given)
    assert "stake" in found.warnings[0]


@pytest.mark.parametrize("dry_run", [False, True])
def test_keys_of_an_account_without_the_nodes_models_are_pointed_out(
    store: HomeStore, api: FakeApi, node: Node, dry_run: bool
) -> None:
    def keys_given() -> tuple[str, ...]:
        return set_up(
            KEYS, "local", {}, store=store, api_with=lambda keys: api, check=as_given, dry_run=dry_run
        ).warnings

    assert keys_given() == ()
    api.by_id.clear()
    assert "numerai-alice" in keys_given()[0] and "numerai setup" in keys_given()[0]


def test_nodes_are_found_by_model_or_node_name(node: Node, store: HomeStore) -> None:
    assert resolve_node(store, None, None) == node
    twin = replace(node, name="signals-alice", tournament=11)
    store.save_node(twin)
    assert resolve_node(store, "signals-alice", None) == twin
    assert resolve_node(store, "alice", 8) == node
    for name, tournament, words in (
        ("bob", None, "No node is configured for 'bob'"),
        (None, 12, "tournament 12"),
        ("alice", None, "Which node"),
    ):
        with pytest.raises(UsageError, match=words):
            resolve_node(store, name, tournament)
    for each in (node, twin):
        store.forget_node(each.name)
    with pytest.raises(UsageError, match="No node is configured"):
        resolve_node(store, None, None)


def test_the_first_step_is_the_one_that_can_be_taken(store: HomeStore) -> None:
    assert first_steps(store) == "numerai setup, then numerai node -m MODEL config"
    store.save_keys(KEYS)
    assert first_steps(store) == "numerai node -m MODEL config"
    store.keys_path.write_text("{")
    assert first_steps(store, "x") == "numerai doctor, then x"


def test_the_status_tells_whether_the_folder_has_changed(node: Node, provider: FakeProvider) -> None:
    assert not node_status(node, provider).changed_since_deploy
    provider.hash = "h2"
    assert node_status(node, provider).changed_since_deploy
    provider.deployments.clear()
    assert not node_status(node, provider).changed_since_deploy


def test_logs_of_the_latest_or_a_given_run(node: Node, provider: FakeProvider) -> None:
    assert run_log(node, provider, run_id=None, last=None, follow=False)[0] is None
    first, second = provider.trigger(node), provider.trigger(node)
    provider.printed = ["a", "b", "c"]
    run, lines = run_log(node, provider, run_id=None, last=2, follow=False)
    assert run and run.id == second.id and [line.text for line in lines] == ["b", "c"]
    run, lines = run_log(node, provider, run_id=first.id, last=None, follow=False)
    assert run and run.id == first.id and len(list(lines)) == 3
    _, lines = run_log(node, provider, run_id=None, last=1, follow=True)
    assert [line.text for line in lines] == ["c"]


def test_deploy_builds_only_what_has_changed(node: Node, provider: FakeProvider, store: HomeStore) -> None:
    assert "nothing" in plan_deploy(node, provider, store, force=False)[0]
    assert not deploy_node(node, provider, store, lambda _: None, force=False).changed
    assert deploy_node(node, provider, store, lambda _: None, force=True).changed
    provider.hash = "h2"
    assert plan_deploy(node, provider, store, force=False) == [f"build {node.path} for local", "replace image:h1"]
    Path(node.path, "Dockerfile").unlink()
    with pytest.raises(UsageError):
        deploy_node(node, provider, store, lambda _: None, force=False)


def test_credentials_in_the_folder_that_is_built_from_are_refused(
    node: Node, provider: FakeProvider, store: HomeStore, tmp_path: Path
) -> None:
    above = tmp_path / "above"
    (above / "common").mkdir(parents=True)
    folder = Path(node.path).rename(above / "alice")
    node = replace(node, path=str(folder), context=str(above))
    (above / "common" / ".env").write_text("A=b")
    (folder / ".dockerignore").write_text("**/.env")  # not this context's
    with pytest.raises(UsageError, match=r"common/\.env") as caught:
        deploy_node(node, provider, store, lambda _: None, force=True)
    assert str(above / ".dockerignore") in str(caught.value.hint)
    (folder / "Dockerfile.dockerignore").write_text("nothing")
    with pytest.raises(UsageError) as caught:
        deploy_node(node, provider, store, lambda _: None, force=True)
    assert "Dockerfile.dockerignore" in str(caught.value.hint)
    (folder / "Dockerfile.dockerignore").write_text("**/.env")
    assert deploy_node(node, provider, store, lambda _: None, force=True).changed


def test_a_build_gets_no_keys_and_says_so_again_where_it_fails(
    node: Node, provider: FakeProvider, store: HomeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(node.path, "Dockerfile").write_text("FROM scratch\nARG NUMERAI_SECRET_KEY\nRUN train\n")
    said: list[str] = []
    deploy_node(node, provider, store, said.append, force=True)
    note = (
        "The build gets no NUMERAI_SECRET_KEY: keys would stay in the image. The container finds them when it starts."
    )
    assert note in said

    def failing(*args: object, **options: object) -> Deployment:
        raise NumeraiError("train: no key", "Mend it.", code="build-failed")

    monkeypatch.setattr(provider, "deploy", failing)
    with pytest.raises(NumeraiError) as caught:
        deploy_node(node, provider, store, said.append, force=True)
    assert caught.value.hint == f"Mend it. {note}"


def test_two_deploys_at_once_do_not_mix(node: Node, provider: FakeProvider, store: HomeStore) -> None:
    with store.node_lock(node.name), pytest.raises(NumeraiError) as caught:
        deploy_node(node, provider, store, lambda _: None, force=False)
    assert caught.value.code == "busy"


def test_nodes_are_listed_by_name(node: Node, store: HomeStore) -> None:
    store.save_node(replace(node, name="a-first"))
    assert [item.name for item in list_nodes(store)] == ["a-first", "numerai-alice"]


@pytest.mark.parametrize("example", example_names())
def test_every_example_can_be_copied_and_copied_again(example: str, tmp_path: Path) -> None:
    plan = plan_scaffold(example, tmp_path / "x")
    written = scaffold(plan)
    names = {path.relative_to(tmp_path / "x").as_posix() for path in written}
    assert {"Dockerfile", ".dockerignore", "numerai_node/__init__.py"} <= names
    assert not any("__pycache__" in name for name in names) and "__init__.py" not in names
    assert plan_scaffold(example, tmp_path / "x").new == ()


def test_a_copy_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    first = scaffold(plan_scaffold("tournament-python3", tmp_path / "x"))
    first[0].unlink()
    assert scaffold(plan_scaffold("tournament-python3", tmp_path / "x")) == [first[0]]


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError):
        plan_scaffold("tournament-python3", tmp_path / "x")
    with pytest.raises((EnvironmentNotReady, UsageError)):
        scaffold(plan_scaffold("tournament-python3", tmp_path / "x" / "y"))


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_examples_hold_no_secret_and_no_root_user() -> None:
    from numerai_compute.usecases.runtime import templates

    for example in example_names():
        dockerfile = (templates() / example / "Dockerfile").read_text()
        assert "SECRET" not in dockerfile and "\nUSER " in dockerfile, example


def test_a_node_is_forgotten_and_nothing_else(store: HomeStore, node: Node) -> None:
    store.save_node(node)
    asked: list[str] = []
    with pytest.raises(UsageError, match="There is no node"):
        forget_node(store, "nobody", asked.append)
    forget_node(store, node.name, asked.append)
    assert store.nodes() == {} and node.provider in asked[0] and "destroy" in asked[0]


def test_a_copied_example_follows_no_link_out_of_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "numerai_node").symlink_to(outside, target_is_directory=True)
    (folder / ".predict.py.part").symlink_to(outside / "victim")
    with pytest.raises(UsageError, match="link"):
        scaffold(plan_scaffold("tournament-python3", folder))
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="pipes as files are POSIX")
def test_a_deploy_names_what_it_leaves_out(store: HomeStore, provider: FakeProvider, node: Node, folder: Path) -> None:
    said: list[str] = []
    os.mkfifo(folder / "ipc")
    deploy_node(node, provider, store, said.append, force=True)
    assert said == ["No part of the node, because neither a file nor a link: 'ipc'"]
