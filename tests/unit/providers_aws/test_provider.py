"""A node's life on AWS: configured, deployed, run, destroyed, and every step of it interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import botocore.session
import pytest
from msgspec.structs import replace as replaced
from numerai_compute.adapters.terraform_errors import PASSING
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError, UsageError
from numerai_compute.models import Keys
from numerai_compute.ports import ForeignImage, KnowsCapabilities
from numerai_compute.providers.aws import prices
from numerai_compute.providers.aws.node_keys import FIELDS, read_fields
from numerai_compute.providers.aws.parts import AwsParts
from numerai_compute.providers.aws.provider import AwsProvider, create
from numerai_compute.providers.aws.trigger_table import deployment_key
from numerai_compute.providers.registry import ProviderContext

from tests.fakes import FakeClock
from tests.present import present

from .conftest import ACCOUNT, KEYS, REGION, World, quiet


def secret(world: World) -> dict[str, str]:
    """What a run is given in secret."""
    return read_fields(world.clients.client("ssm"), "/numerai/numerai/")


def put_secret(world: World, **content: str) -> None:
    """Let AWS hold these fields, and no other."""
    ssm, path = world.clients.client("ssm"), "/numerai/numerai/"
    ssm.delete_parameters(Names=[f"{path}{name}" for name in FIELDS])
    for name, value in content.items():
        ssm.put_parameter(Name=f"{path}{name}", Value=value, Type="SecureString")


def of_older_version(world: World, **content: str) -> None:
    """Let the cluster be one of a version that kept the keys in a secret, which holds these."""
    put_secret(world)
    client = world.clients.client("secretsmanager")
    arn = client.create_secret(Name="numerai/numerai-keys", SecretString=json.dumps(content))["ARN"]
    kept = {name: value for name, value in world.stack().outputs.items() if name != "keys_path"}
    world.parts.cluster.file.change(
        lambda stack: replaced(stack, applied="older", outputs={**kept, "keys_secret_arn": arn})
    )


# configure


def test_configure_makes_the_cluster_and_gives_the_address(world: World) -> None:
    said: list[str] = []
    node = world.provider.configure(world.node(), said.append)
    token = world.stack().nodes[node.name].token
    assert node.webhook_url == f"https://abc.lambda-url.us-east-1.on.aws/{node.name}/{token}"
    assert len(token) >= 43
    given = world.terraform.applied[0]
    assert given["nodes"][node.name]["token_sha256"] == world.stack().nodes[node.name].token_sha256
    assert given["numerai_api_url"] == "http://host.docker.internal:9"
    assert (given["region"], given["name"]) == (REGION, "numerai")
    assert secret(world) == {
        "NUMERAI_PUBLIC_ID": KEYS.public_id,
        "NUMERAI_SECRET_KEY": KEYS.secret_key,
        "NUMERAI_NOTIFY": "none",
    }
    assert "30 to make, 0 to change, 0 to remove in AWS: this takes some minutes" in said
    assert "making vpc (10 s so far)" in said and "  made vpc" in said


def test_neither_keys_nor_tokens_reach_terraform(world: World) -> None:
    node = world.configured()
    given = json.dumps(world.terraform.applied)
    token = world.stack().nodes[node.name].token
    assert not [text for text in (KEYS.secret_key, KEYS.public_id, token) if text in given]


def test_configuring_again_changes_nothing(world: World) -> None:
    node = world.configured()
    before = world.stack()
    assert world.provider.configure(node, quiet) == node
    assert len(world.terraform.applied) == 1
    assert world.stack() == before


def test_what_was_removed_behind_our_back_is_made_again(world: World) -> None:
    node = world.configured()
    world.clients.client("ecr").delete_repository(repositoryName=f"numerai/{node.name}", force=True)
    said: list[str] = []
    assert world.provider.configure(node, said.append) == node
    assert len(world.terraform.applied) == 2
    assert said[0] == f"Not there any more: the image repository numerai/{node.name}. Making it again"


def not_ready() -> ProviderError:
    return ProviderError(
        "AWS was not ready for the next step yet (found existing JobQueue relationship).", code=PASSING
    )


def test_what_aws_was_not_ready_for_is_done_once_more(world: World) -> None:
    world.terraform.fail = not_ready()
    said: list[str] = []
    since = world.clock.elapsed
    node = world.provider.configure(world.node(), said.append)
    assert world.stack().applied and len(world.terraform.applied) == 1 and node.webhook_url
    assert [line for line in said if "Trying again in 20 seconds" in line]
    assert 20 <= world.clock.elapsed - since <= 40


def test_what_aws_is_not_ready_for_twice_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fail(*_: Any) -> Any:
        tried.append(1)
        raise not_ready()

    monkeypatch.setattr(world.terraform, "apply", fail)
    with pytest.raises(ProviderError, match="JobQueue relationship"):
        world.configured()
    assert len(tried) == 2


def test_a_removal_that_aws_was_not_ready_for_is_done_once_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node, destroy, tried = world.configured(), world.terraform.destroy, []

    def second_time(*asked: Any) -> None:
        tried.append(1)
        if len(tried) == 1:
            raise not_ready()
        destroy(*asked)

    monkeypatch.setattr(world.terraform, "destroy", second_time)
    world.provider.destroy(node.name, force=False, report=quiet)
    assert len(tried) == 2 and not world.parts.paths.stack.exists()


def test_an_interrupted_configure_is_finished_by_the_next_one(world: World) -> None:
    world.terraform.fail = ProviderError("AWS does not let you", code="access-denied")
    with pytest.raises(ProviderError):
        world.configured()
    token = world.stack().nodes["numerai-alice"].token
    assert world.stack().applied is None and world.stack().begun
    with pytest.raises(ProviderError, match="not configured"):
        world.provider.deploy(world.node(), force=False, report=quiet)
    assert world.provider.runs("numerai-alice") == []
    assert present(world.configured().webhook_url).endswith(token)


def test_a_changed_size_is_applied_and_keeps_the_address(world: World) -> None:
    node = world.configured()
    bigger = world.provider.configure(replace(node, cpu=2, memory_mib=4096), quiet)
    assert bigger.webhook_url == node.webhook_url
    assert world.terraform.applied[-1]["nodes"][node.name]["memory_mib"] == 4096


def test_a_named_size_that_fargate_lacks_is_rounded_up(world: World) -> None:
    node = world.configured(cpu=8, memory_mib=30720)
    assert node.memory_mib == 32768
    assert world.provider.configure(node, quiet) == node


def test_new_keys_replace_the_old_ones(world: World) -> None:
    node = world.configured()
    world.keys = Keys("OTHERPUBLIC", "OTHERSECRET", KEYS.api_url)
    world.provider.configure(node, quiet)
    assert secret(world)["NUMERAI_SECRET_KEY"] == "OTHERSECRET"
    assert len(world.terraform.applied) == 1


def test_whom_to_notify_is_put_beside_the_keys_and_never_told(world: World) -> None:
    assert not world.provider.notifies()
    world.configured()
    assert not world.provider.notifies()
    url = "json://user:hunter22@example.org"
    world.urls = {"phone": url}
    said: list[str] = []
    world.provider.configure(world.node(), said.append)
    assert world.provider.notifies()
    assert any("1 address(es) to notify" in line for line in said)
    assert url not in "".join(said) + json.dumps(world.terraform.applied)
    world.urls = {}
    world.configured()
    assert not world.provider.notifies()


OLD = {"NUMERAI_PUBLIC_ID": "OLD", "NUMERAI_SECRET_KEY": "OLDSECRET"}


@pytest.mark.parametrize("keys", [KEYS, None])
@pytest.mark.parametrize("notify", [{}, {"NUMERAI_NOTIFY": ""}, {"NUMERAI_NOTIFY": "json://a json://b"}])
def test_removing_one_node_of_an_older_version_lets_the_others_start(
    world: World, keys: Keys | None, notify: dict[str, str]
) -> None:
    alice, _ = world.configured(), world.configured("bob")
    of_older_version(world, **OLD, **notify)
    held_then: list[dict[str, str]] = []
    apply, world.keys = world.terraform.apply, keys
    world.terraform.apply = lambda *given: held_then.append(secret(world)) or apply(*given)  # type: ignore[method-assign]
    world.provider.destroy(alice.name, force=False, report=quiet)
    assert held_then == [{**OLD, "NUMERAI_NOTIFY": notify.get("NUMERAI_NOTIFY") or "none"}]


def test_the_keys_of_an_older_version_move_before_its_secret_is_removed(world: World) -> None:
    """The addresses are those of another machine, so that only the secret knows them."""
    node = world.configured()
    of_older_version(world, **OLD, NUMERAI_NOTIFY="json://a json://b")
    assert world.provider.notifies()
    held_then: list[dict[str, str]] = []
    apply = world.terraform.apply
    world.terraform.apply = lambda *given: held_then.append(secret(world)) or apply(*given)  # type: ignore[method-assign]
    world.provider.configure(node, quiet)
    given = {"NUMERAI_PUBLIC_ID": KEYS.public_id, "NUMERAI_SECRET_KEY": KEYS.secret_key}
    assert held_then == [{**given, "NUMERAI_NOTIFY": "json://a json://b"}] == [secret(world)]
    assert "keys_secret_arn" not in world.stack().outputs


@pytest.mark.parametrize("held", ["not JSON", "[]", None])
def test_a_secret_of_an_older_version_that_holds_nothing_is_no_crash(world: World, held: str | None) -> None:
    node = world.configured()
    of_older_version(world)
    client = world.clients.client("secretsmanager")
    if held is None:
        client.delete_secret(SecretId="numerai/numerai-keys", ForceDeleteWithoutRecovery=True)
    else:
        client.put_secret_value(SecretId="numerai/numerai-keys", SecretString=held)
    assert not world.provider.notifies()
    world.provider.configure(node, quiet)
    assert secret(world)["NUMERAI_SECRET_KEY"] == KEYS.secret_key


def test_the_keys_go_with_the_cluster_and_no_strangers_do(world: World) -> None:
    node = world.configured()
    world.provider.destroy(node.name, force=False, report=quiet)
    assert secret(world) == {}
    put_secret(world, **OLD)
    world.terraform.fail = ProviderError("the role numerai-execution is somebody else's", code="aws-refused")
    with pytest.raises(ProviderError):
        world.configured()
    assert secret(world) == OLD, "a cluster of this name is another's until the first apply has succeeded"
    world.terraform.leave_behind = True  # it has made nothing that it could remove
    with pytest.raises(ProviderError, match="the parameter"):
        world.provider.destroy(node.name, force=False, report=quiet)
    assert secret(world) == OLD


def test_more_addresses_than_aws_keeps_for_nothing_are_refused(world: World) -> None:
    world.configured()
    world.urls = {str(number): f"json://{number}.example.org/{'x' * 100}" for number in range(40)}
    with pytest.raises(UsageError, match="4096 characters") as refused:
        world.configured()
    assert refused.value.code == "too-many-addresses" and "example.org" not in str(refused.value)


def test_an_interrupted_change_is_taken_over_with_a_secret_that_is_complete(world: World) -> None:
    node = world.configured()
    put_secret(world, **OLD)
    world.parts.cluster.file.change(lambda stack: replaced(stack, applied=None))
    seen: list[dict[str, str]] = []
    plan = world.terraform.plan
    world.terraform.plan = lambda *given, **more: seen.append(secret(world)) or plan(*given, **more)  # type: ignore[method-assign]
    world.provider.configure(node, quiet)
    assert all("NUMERAI_NOTIFY" in held for held in seen) and len(seen) == 2


def test_when_aws_does_not_say_it_nobody_relies_on_runs_that_notify(world: World) -> None:
    world.urls = {"phone": "json://example.org"}
    world.configured()
    put_secret(world)
    assert not world.provider.notifies()


def test_without_keys_it_says_so(world: World) -> None:
    world.keys = None
    with pytest.raises(EnvironmentNotReady) as missing:
        world.configured()
    assert missing.value.code == "no-keys"


def test_a_schedule_is_given_in_the_form_of_eventbridge(world: World) -> None:
    node = world.configured(cron="30 12 * * TUE-SAT")
    assert world.terraform.applied[0]["nodes"][node.name]["cron"] == "30 12 ? * TUE,WED,THU,FRI,SAT *"
    assert node.cron == "30 12 * * TUE-SAT"


def test_a_pinned_data_version_is_given_and_none_is_left_out(world: World) -> None:
    node = world.configured()
    assert "data_version" not in world.terraform.applied[0]["nodes"][node.name], "nothing to apply after an upgrade"
    world.configured(data_version="v5.2")
    assert world.terraform.applied[1]["nodes"][node.name]["data_version"] == "v5.2"


OFFICIAL = "https://old.lambda-url.us-east-1.on.aws/"


@pytest.mark.parametrize("half", [{"also_on": "local"}, {"webhook_url": OFFICIAL, "legacy": {"webhook_url": OFFICIAL}}])
def test_the_watcher_is_told_which_node_is_still_being_moved_here(world: World, half: dict[str, Any]) -> None:
    node = world.configured(**half)
    assert world.terraform.applied[0]["nodes"][node.name]["moving"] is True
    world.configured()
    assert "moving" not in world.terraform.applied[1]["nodes"][node.name]


def test_a_disk_is_given_and_none_is_left_out(world: World) -> None:
    node = world.configured()
    assert "disk_gib" not in world.terraform.applied[0]["nodes"][node.name]
    assert "retrain_days" not in world.terraform.applied[0]["nodes"][node.name]
    world.configured(disk_gib=120, retrain_days=30)
    assert world.terraform.applied[1]["nodes"][node.name]["retrain_days"] == 30
    assert world.terraform.applied[1]["nodes"][node.name]["disk_gib"] == 120


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": 3},
        {"cron": "0 0 1 * MON"},
        *({"name": name} for name in ("numerai-Alice", "n" * 53, "a__-b-", "a_-b", "a-_b", "numerai-_x", "a___b")),
    ],
)
def test_what_aws_does_not_take_is_refused_before_anything_is_made(world: World, changes: dict[str, Any]) -> None:
    node = replace(world.node(), **changes)
    with pytest.raises(UsageError):
        world.provider.configure(node, quiet)
    with pytest.raises(UsageError):
        world.provider.preview(node)
    assert world.terraform.applied == []
    assert not world.parts.paths.stack.exists()


def test_another_account_region_or_cluster_is_refused(world: World) -> None:
    node = world.configured()
    file = world.parts.cluster.file
    for change, code in (
        ({"account": "999999999999"}, "account-change"),
        ({"region": "eu-west-1"}, "region-change"),
        ({"cluster": "other"}, "cluster-change"),
    ):
        kept = file.read()
        file.change(partial(replaced, **change))
        for act in (
            lambda: world.provider.preview(node),
            lambda: world.provider.configure(node, quiet),
            lambda: world.provider.destroy(node.name, force=True, report=quiet),
        ):
            with pytest.raises(UsageError) as refusal:
                act()
            assert refusal.value.code == code
        file.change(lambda _: kept)  # noqa: B023


def test_a_record_that_cannot_be_read_is_named(world: World) -> None:
    world.configured()
    world.parts.paths.stack.write_text("{")
    with pytest.raises(ProviderError) as corrupt:
        world.provider.deployment("numerai-alice")
    assert corrupt.value.code == "state-corrupt"
    assert "stack.json.previous" in (corrupt.value.hint or "")
    world.parts.paths.stack.write_text('{"version": 99}')
    with pytest.raises(ProviderError, match="another version"):
        world.provider.deployment("numerai-alice")


# preview


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a_b-c"},
        {"name": "a__b"},
        {"name": "a---b"},
        {"name": "n" * 52, "cron": "0 1 * * *"},
    ],
)
def test_every_name_that_aws_takes_is_taken(world: World, changes: dict[str, Any]) -> None:
    assert world.provider.preview(replace(world.node(), **changes))


def test_the_preview_says_what_is_made_and_what_it_costs(world: World) -> None:
    lines = world.provider.preview(world.node(cpu=8, memory_mib=30720))
    text = "\n".join(lines)
    assert lines[0].startswith(f"Make the cluster numerai in us-east-1, account {ACCOUNT}")
    assert "Make an image repository, a role and a job definition for numerai-alice" in text
    assert "8 vCPU, 32 GiB" in text and "not to be had" in text
    assert "USD a month" in lines[-1]
    assert world.terraform.applied == [] and not world.parts.paths.root.exists()


def test_a_first_cluster_is_refused_before_anything_where_terraform_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.configured()
    provider = AwsProvider(AwsParts(world.parts.context, clients=world.parts.clients))
    monkeypatch.setenv("PATH", "")
    assert provider.preview(node), "a cluster that is there may be as it should be already"
    world.provider.destroy(node.name, force=True, report=quiet)
    with pytest.raises(EnvironmentNotReady) as refusal:
        provider.preview(node)
    assert refusal.value.code == "terraform-missing"


def test_a_deploy_is_refused_before_where_no_engine_could_build(world: World) -> None:
    node = world.configured()

    def nobody() -> str:
        raise EnvironmentNotReady("no engine", code="no-engine")

    world.engine.version = nobody  # type: ignore[attr-defined]
    for force in (False, True):
        with pytest.raises(EnvironmentNotReady):
            world.provider.check_deploy(node, force=force)
    world.provider.deploy(node, force=False, report=quiet)
    world.provider.check_deploy(node, force=False)


def test_the_preview_of_what_is_there(world: World) -> None:
    node = world.configured()
    assert world.provider.preview(node)[0].startswith("Bring what numerai-alice has")
    second = world.provider.preview(world.node("bob", cron="0 1 * * *"))
    assert second[0].startswith("Make an image repository")
    assert "schedule 0 1 * * ? *" in second[1]


def test_what_nodes_share_is_counted_with_the_first(world: World) -> None:
    alice, bob = world.configured(), world.configured("bob")
    watcher = prices.WATCHER_CALLS_MONTH * prices.WATCHER_CALL + prices.WATCHER_LOOKS_MONTH * prices.WATCHER_LOOK
    assert world.provider.cost(alice).usd == pytest.approx(world.provider.cost(bob).usd + watcher)


# reachable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("endpoint", "api", "reachable"),
    [
        (None, "https://api-tournament.numer.ai", True),
        (None, "http://127.0.0.1:9", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:9", True),
        ("http://127.0.0.1:5000", "https://api-tournament.numer.ai", False),
    ],
)
def test_who_can_reach_the_webhook(
    home: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str | None, api: str, reachable: bool
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    context = ProviderContext(home, {}, lambda: KEYS, lambda: cast(Any, None), FakeClock())
    assert create(context).reachable_by(api) is reachable


def test_capabilities_are_refused_because_batch_has_no_place_for_them(world: World) -> None:
    assert isinstance(world.provider, KnowsCapabilities)
    assert "AWS Batch adds none" in present(world.provider.no_capabilities)
    batch = botocore.session.get_session().get_service_model("batch")
    assert "capabilities" not in batch.shape_for("LinuxParameters").members


# deploy


def test_deploy_pushes_the_image_and_then_lets_it_run(world: World) -> None:
    node = world.configured()
    done = world.provider.deploy(node, force=False, report=quiet)
    tag = done.source_hash[:12]
    path = f"numerai/{node.name}"
    assert done.image == f"{world.registry.host}/{path}:{tag}"
    assert world.engine.pushed == [tag]
    assert world.registry.manifest(path, "live") == world.registry.manifest(path, tag)
    assert world.engine.platforms == {"linux/amd64"}
    assert world.provider.deployment(node.name) == done
    again = world.provider.deploy(node, force=False, report=quiet)
    assert again == replace(done, changed=False)
    assert len(world.engine.built) == 1


def test_another_architecture_is_another_image_of_the_same_source(world: World) -> None:
    node = world.configured()
    intel = world.provider.deploy(node, force=False, report=quiet)
    arm = World(world.home, {"region": REGION, "architecture": "arm64"})
    arm.terraform = world.terraform
    (Path(node.path) / "predict.py").write_text("changed")
    with pytest.raises(NumeraiError, match="still runs images for linux/amd64") as early:
        arm.provider.deploy(node, force=False, report=quiet)
    assert early.value.code == "wrong-platform" and not arm.engine.platforms, "before `config` has changed the cluster"
    (Path(node.path) / "predict.py").unlink()
    said: list[str] = []
    arm.provider.configure(node, said.append)
    assert any("linux/amd64" in line and "node deploy" in line for line in said)
    done = arm.provider.deploy(node, force=False, report=quiet)
    assert arm.engine.platforms == {"linux/arm64"}
    assert (done.source_hash, done.image) == (intel.source_hash, f"{intel.image}-arm64")
    assert arm.terraform.applied[-1]["architecture"] == "arm64"
    assert arm.provider.history(node.name) == [done.image.rpartition(":")[2]]
    with pytest.raises(NumeraiError) as refused:
        arm.provider.roll_back(node.name, intel.image.rpartition(":")[2])
    assert refused.value.code == "wrong-platform"
    assert not arm.provider.deploy(node, force=False, report=quiet).changed


def test_what_a_deploy_of_changed_code_asks_of_aws(world: World) -> None:
    """Each request is a tenth of a second from home, and Terraform would be many."""
    node = world.configured()
    world.provider.deploy(node, force=False, report=quiet)
    (Path(node.path) / "predict.py").write_text("changed")
    another, asked = World(world.home, {"region": REGION}), list[str]()
    another.terraform = world.terraform
    for service in ("ecr", "dynamodb", "batch", "sts", "s3"):
        events = world.clients.client(service).meta.events
        events.register("before-call", lambda model, **_: asked.append(model.name), unique_id="asked")
    applied = len(world.terraform.applied)
    done = another.provider.deploy(node, force=False, report=quiet)
    for service in ("ecr", "dynamodb", "batch", "sts", "s3"):
        world.clients.client(service).meta.events.unregister("before-call", unique_id="asked")
    assert done.changed and len(world.terraform.applied) == applied
    assert [name for name in asked if name != "PutImage"] == [
        "BatchGetImage",  # is that very source there already?
        "GetAuthorizationToken",
        "PutLifecyclePolicy",
        "BatchGetImage",  # what is to run
        "PutItem",  # for the watcher: deployed since
    ]
    assert asked.count("PutImage") == 2, "the push of the test's engine, and the tag that runs"


def test_an_image_is_built_from_the_folder_above(world: World) -> None:
    node = world.configured()
    above = Path(node.path).parent
    (above / ".dockerignore").write_text("*\n!shared.py\n")
    node = replace(node, context=str(above))
    first = world.provider.deploy(node, force=False, report=quiet)
    source, arguments = world.engine.sources[-1]
    assert (source.folder, source.context) == (Path(node.path), above)
    assert arguments["SRC_PATH"] == Path(node.path).name
    (above / "shared.py").write_text("changed")
    assert world.provider.source_hash(node) != first.source_hash
    assert world.provider.deploy(node, force=False, report=quiet).image != first.image


def test_the_repository_keeps_what_runs_and_the_latest_five_images(world: World) -> None:
    world.provider.deploy(world.configured(), force=False, report=quiet)
    held = world.clients.client("ecr").get_lifecycle_policy(repositoryName="numerai/numerai-alice")
    rules = sorted(json.loads(held["lifecyclePolicyText"])["rules"], key=lambda rule: rule["rulePriority"])
    assert [rule["selection"] for rule in rules] == [
        {"tagStatus": "tagged", "tagPrefixList": ["live"], "countType": "imageCountMoreThan", "countNumber": 1},
        {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 5},
    ]


def test_the_watcher_learns_when_a_node_was_deployed(world: World) -> None:
    node = world.configured()
    done = world.provider.deploy(node, force=False, report=quiet)
    key = {"pk": {"S": deployment_key(node.name)}}
    item = world.clients.client("dynamodb").get_item(TableName="numerai-webhook", Key=key)["Item"]
    assert float(item["deployed_at"]["N"]) == pytest.approx(done.deployed_at.timestamp(), abs=0.01)


def test_a_forced_deploy_has_a_tag_of_its_own(world: World) -> None:
    node = world.configured()
    first = world.provider.deploy(node, force=False, report=quiet)
    forced = world.provider.deploy(node, force=True, report=quiet)
    assert forced.changed and forced.image.startswith(f"{first.image}-")
    assert world.provider.history(node.name) == sorted(
        [first.image.rpartition(":")[2], forced.image.rpartition(":")[2]]
    )


def test_an_earlier_source_is_put_in_place_without_a_build(world: World) -> None:
    node = world.configured()
    first = world.provider.deploy(node, force=False, report=quiet)
    (Path(node.path) / "model.txt").write_text("other")
    second = world.provider.deploy(node, force=False, report=quiet)
    assert second.source_hash != first.source_hash
    (Path(node.path) / "model.txt").unlink()
    back = world.provider.deploy(node, force=False, report=quiet)
    assert (back.image, back.changed, len(world.engine.built)) == (first.image, True, 2)


def test_a_failed_push_leaves_what_runs(world: World) -> None:
    node = world.configured()
    first = world.provider.deploy(node, force=False, report=quiet)
    running = world.registry.manifest(f"numerai/{node.name}", "live")
    (Path(node.path) / "model.txt").write_text("other")
    world.engine.fail["push"] = ProviderError("no", code="push-failed")
    with pytest.raises(ProviderError):
        world.provider.deploy(node, force=False, report=quiet)
    assert world.registry.manifest(f"numerai/{node.name}", "live") == running
    assert world.provider.deployment(node.name) == first


def test_a_roll_back_lets_an_earlier_image_run(world: World) -> None:
    node = world.configured()
    first = world.provider.deploy(node, force=False, report=quiet)
    (Path(node.path) / "model.txt").write_text("other")
    world.provider.deploy(node, force=False, report=quiet)
    tag = first.image.rpartition(":")[2]
    back = world.provider.roll_back(node.name, tag)
    path = f"numerai/{node.name}"
    assert back.image == first.image
    assert world.registry.manifest(path, "live") == world.registry.manifest(path, tag)
    with pytest.raises(ProviderError) as missing:
        world.provider.roll_back(node.name, "nothing")
    assert missing.value.code == "image-missing"


def test_old_images_leave_this_machine(world: World) -> None:
    node = world.configured()
    for number in range(5):
        (Path(node.path) / "model.txt").write_text(str(number))
        world.provider.deploy(node, force=False, report=quiet)
    assert world.engine.built[0] in world.engine.removed
    assert world.engine.built[-1] not in world.engine.removed


def test_a_registry_that_refuses_or_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError, EndpointConnectionError

    node = world.configured()
    answers = iter(
        [
            ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "BatchGetImage"),
            EndpointConnectionError(endpoint_url="https://api.ecr.us-east-1.amazonaws.com"),
        ]
    )

    def refuse(**_: object) -> None:
        raise next(answers)

    monkeypatch.setattr(world.clients.client("ecr"), "batch_get_image", refuse)
    with pytest.raises(ProviderError) as refused:
        world.provider.deploy(node, force=False, report=quiet)
    assert refused.value.code == "aws-forbidden"
    with pytest.raises(EnvironmentNotReady) as gone:
        world.provider.deploy(node, force=False, report=quiet)
    assert gone.value.code == "aws-unreachable"


def test_what_runs_already_is_put_in_place_once_more(world: World) -> None:
    node = world.configured()
    tag = world.provider.deploy(node, force=False, report=quiet).image.rpartition(":")[2]
    world.provider.roll_back(node.name, tag)
    assert world.provider.history(node.name) == [tag]


# destroy


def test_destroying_one_of_two_keeps_the_cluster(world: World) -> None:
    alice, bob = world.configured(), world.configured("bob")
    s3, bucket = world.clients.client("s3"), "numerai-artifacts-123456789012-us-east-1"
    for key in (f"{alice.name}/model", f"{alice.name}/model", f"{bob.name}/model"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3.delete_object(Bucket=bucket, Key=f"{alice.name}/model")
    for name in (alice.name, bob.name):
        stream = {"logGroupName": "/numerai/numerai/runs", "logStreamName": f"{name}/default/1"}
        world.clients.client("logs").create_log_stream(**stream)
        for key in (f"trigger#{name}#1", f"rate#{name}#1", deployment_key(name)):
            world.clients.client("dynamodb").put_item(TableName="numerai-webhook", Item={"pk": {"S": key}})
    world.provider.destroy(alice.name, force=False, report=quiet)
    assert list(world.stack().nodes) == [bob.name]
    assert list(world.terraform.applied[-1]["nodes"]) == [bob.name]
    left = s3.list_object_versions(Bucket=bucket)
    assert [version["Key"] for version in left["Versions"]] == [f"{bob.name}/model"]
    assert "DeleteMarkers" not in left
    streams = world.clients.client("logs").describe_log_streams(logGroupName="/numerai/numerai/runs")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [f"{bob.name}/default/1"]
    items = world.clients.client("dynamodb").scan(TableName="numerai-webhook")["Items"]
    assert {item["pk"]["S"] for item in items} == {
        f"trigger#{bob.name}#1",
        f"rate#{bob.name}#1",
        deployment_key(bob.name),
    }
    assert world.terraform.destroyed == 0


def test_destroying_the_last_node_removes_the_cluster(world: World) -> None:
    node = world.configured()
    world.provider.deploy(node, force=False, report=quiet)
    world.provider.destroy(node.name, force=False, report=quiet)
    assert world.terraform.destroyed == 1
    assert not world.parts.paths.stack.exists()
    assert world.provider.deployment(node.name) is None
    assert set(world.engine.built) <= set(world.engine.removed)
    world.provider.destroy(node.name, force=False, report=quiet)
    assert world.terraform.destroyed == 1


def test_nothing_is_forgotten_before_it_is_gone(world: World) -> None:
    alice, bob = world.configured(), world.configured("bob")
    world.terraform.leave_behind = True
    for name, what in ((alice.name, "the image repository"), (bob.name, "the cluster")):
        with pytest.raises(ProviderError) as left:
            world.provider.destroy(name, force=False, report=quiet)
        assert left.value.code == "not-gone"
        assert what in left.value.message
        assert world.stack().nodes[name].leaving
        assert world.provider.runs(name) == []
        if name == alice.name:
            world.terraform.leave_behind = False
            world.provider.destroy(name, force=False, report=quiet)
            world.terraform.leave_behind = True
    world.terraform.leave_behind = False
    world.provider.destroy(bob.name, force=False, report=quiet)
    assert not world.parts.paths.stack.exists()


def test_a_node_destroyed_halfway_can_be_configured_again_with_a_new_token(world: World) -> None:
    node = world.configured()
    world.terraform.leave_behind = True
    with pytest.raises(NumeraiError):
        world.provider.destroy(node.name, force=False, report=quiet)
    world.terraform.leave_behind = False
    assert world.configured().webhook_url != node.webhook_url


def test_an_apply_that_never_began_leaves_nothing_to_destroy(world: World) -> None:
    world.keys = None
    world.parts.cluster.file.set_node(world.node().name, world.stack_record())
    world.provider.destroy(world.node().name, force=False, report=quiet)
    assert world.terraform.destroyed == 0
    assert not world.parts.paths.stack.exists()


# moving off the official tool


def test_nodes_that_are_expected_are_made_with_the_first_of_them(world: World) -> None:
    nodes = [world.node("alice"), world.node("bob", cpu=0.5)]
    world.provider.expect(nodes, quiet)
    assert world.provider.webhook_url("numerai-bob") is None and not world.terraform.applied
    first = world.provider.configure(nodes[0], quiet)
    applied = len(world.terraform.applied)
    token = world.stack().nodes["numerai-bob"].token
    second = world.provider.configure(nodes[1], quiet)
    assert len(world.terraform.applied) == applied == 1
    assert first.webhook_url != second.webhook_url and str(second.webhook_url).endswith(f"/numerai-bob/{token}")
    world.provider.expect(nodes, quiet)
    assert world.stack().nodes["numerai-bob"].token == token, "an address is made once"


def test_an_image_of_another_registry_is_taken_as_it_is(world: World) -> None:
    node = world.configured()
    image = ForeignImage("old.example/numerai-alice:latest", "sha256:" + "ab" * 32, {"username": "o", "password": "p"})
    said: list[str] = []
    done = world.provider.take_image(node, image, said.append)
    assert world.engine.pulled == [(image.name, image.auth, "linux/amd64")]
    assert done.image.endswith(f"/numerai/numerai-alice:{'ab' * 6}") and done.source_hash == "ab" * 32
    assert world.provider.deployment(node.name) == done and world.parts.images.in_place(done.image[:-13], done)
    assert set(world.engine.removed) == {done.image, image.name}, "nothing is left on this machine"
    assert "Fetching old.example/numerai-alice:latest" in said and "p" not in said
    world.provider.take_image(node, image, quiet)
    assert len(world.engine.pulled) == 1, "it is there already"
    assert "'p'" not in repr(image)
    world.engine.local.add(image.name)
    world.registry.empty("numerai/numerai-alice")
    world.engine.removed.clear()
    world.provider.take_image(node, image, quiet)
    assert world.engine.removed == [done.image], "the user's own copy stays"
