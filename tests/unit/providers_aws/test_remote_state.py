"""The cluster's state in a bucket: moved there, seen by a second machine, moved back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace as replaced
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.models import Keys
from numerai_compute.providers.aws.remote_state import RemoteRecord, make_state_bucket
from numerai_compute.providers.aws.stack_file import Stack

from .conftest import ACCOUNT, KEYS, REGION, World, quiet
from .test_provider import secret

BUCKET = f"numerai-state-{ACCOUNT}-{REGION}"


def machine(home: Path, like: World, **settings: str | int) -> World:
    """Another home folder on the same AWS, with what Terraform made shared."""
    other = World(home, {"region": REGION, "log_lag_seconds": 0, **settings})
    other.terraform = like.terraform
    other.clock = like.clock
    return other


def test_a_second_machine_sees_the_same_cluster(world: World, tmp_path: Path) -> None:
    node = world.configured()
    world.provider.deploy(node, force=False, report=quiet)
    assert world.provider.move_state(True, quiet) == BUCKET
    assert world.terraform.moved == [BUCKET]
    assert not world.parts.paths.stack.exists()
    (tmp_path / "second").mkdir()
    second = machine(tmp_path / "second" / "home", world)
    assert second.provider.move_state(True, quiet) == BUCKET
    assert world.terraform.moved == [BUCKET]
    second = machine(tmp_path / "second" / "home", world, state_bucket=BUCKET)
    assert second.provider.configure(node, quiet) == node
    assert len(world.terraform.applied) == 1
    bob = second.configured("bob")
    first = machine(world.home, world, state_bucket=BUCKET)
    assert first.provider.configure(bob, quiet) == bob
    assert first.provider.deployment(node.name) == second.provider.deployment(node.name)
    for name in (node.name, bob.name):
        first.provider.destroy(name, force=False, report=quiet)
    assert second.stack().nodes == {}


def test_a_second_machine_leaves_whom_the_first_one_notifies(world: World, tmp_path: Path) -> None:
    world.urls = {"team": "json://example.org"}
    node = world.configured()
    world.provider.move_state(True, quiet)
    first = machine(world.home, world, state_bucket=BUCKET)
    (tmp_path / "second").mkdir()
    second = machine(tmp_path / "second" / "home", world, state_bucket=BUCKET)

    def configured(machine: World, **urls: str) -> list[str]:
        said: list[str] = []
        machine.urls = urls
        machine.provider.configure(node, said.append)
        return [line for line in said if "address(es)" in line]

    second.keys = Keys("OTHERPUBLIC", "OTHERSECRET", KEYS.api_url)
    (line,) = configured(second)
    assert line == "1 address(es) to notify that another machine has given to AWS stay"
    assert (secret(world)["NUMERAI_PUBLIC_ID"], secret(world)["NUMERAI_NOTIFY"]) == (
        "OTHERPUBLIC",
        "json://example.org",
    )
    check = next(check for check in second.provider.checks([node]) if check.name == "AWS notifications")
    assert "told: 1 address(es) of another machine" in check.why
    (line,) = configured(second, a="json://a", b="json://b")
    assert "2 address(es) to notify instead of 1," in line
    configured(first)
    assert secret(world)["NUMERAI_NOTIFY"] == "json://a json://b"
    (line,) = configured(second)
    assert "0 address(es) to notify instead of 2," in line
    assert secret(world)["NUMERAI_NOTIFY"] == "none"


def test_back_home(world: World) -> None:
    node = world.configured()
    world.provider.move_state(True, quiet)
    remote = machine(world.home, world, state_bucket=BUCKET)
    assert remote.provider.move_state(True, quiet) == BUCKET
    assert remote.provider.move_state(False, quiet) is None
    assert world.terraform.moved == [BUCKET, None]
    again = machine(world.home, world)
    assert again.provider.configure(node, quiet) == node
    assert again.provider.move_state(False, quiet) is None
    buckets = world.clients.client("s3").list_buckets()["Buckets"]
    assert BUCKET not in [bucket["Name"] for bucket in buckets]


def test_two_clusters_are_never_mixed(world: World, tmp_path: Path) -> None:
    world.configured()
    world.provider.move_state(True, quiet)
    (tmp_path / "second").mkdir()
    second = machine(tmp_path / "second" / "home", world)
    second.parts.file_in(None).set_node("numerai-carol", world.stack_record())
    with pytest.raises(UsageError) as mixed:
        second.provider.move_state(True, quiet)
    assert mixed.value.code == "two-clusters"


def test_the_bucket_is_private_and_versioned(world: World) -> None:
    make_state_bucket(world.clients, BUCKET)
    make_state_bucket(world.clients, BUCKET)
    s3 = world.clients.client("s3")
    closed = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert all(closed.values()) and len(closed) == 4
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=BUCKET)["Policy"]


def test_a_change_that_another_machine_overtook_is_made_again_on_top(world: World) -> None:
    world.clients.client("s3").create_bucket(Bucket=BUCKET)
    file, record = world.parts.file_in(BUCKET), RemoteRecord(world.clients, BUCKET, "numerai")
    file.set_node("numerai-a", world.stack_record())
    tries: list[Stack] = []

    def change(stack: Stack) -> Stack:
        tries.append(stack)
        if len(tries) == 1:  # the other machine is faster
            content, version = record.read()
            assert content is not None and record.write(content.replace(b"numerai-a", b"numerai-b"), version)
        return replaced(stack, region="eu-west-1")

    assert list(file.change(change).nodes) == ["numerai-b"]
    assert (file.read().region, len(tries)) == ("eu-west-1", 2)


def test_one_that_is_overtaken_for_ever_gives_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.clients.client("s3").create_bucket(Bucket=BUCKET)
    monkeypatch.setattr(RemoteRecord, "write", lambda *_: False)
    with pytest.raises(NumeraiError) as busy:
        world.parts.file_in(BUCKET).set_node("a", world.stack_record())
    assert busy.value.code == "busy"
