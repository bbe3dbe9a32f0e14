"""Each command as a user types it: what is printed, as text and as JSON, and the exit code."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError
from numerai_compute.factory import Factory
from numerai_compute.main import COMMANDS, cli
from numerai_compute.models import (
    Check,
    CheckStatus,
    Deployment,
    EntryStatus,
    Node,
    Run,
    RunState,
    Submission,
    SubmissionEntry,
    WebhookCall,
)
from numerai_compute.ports import Report

from tests.fakes import KEYS, NOW, FakeProvider, unreachable
from tests.listeners import http_inbox
from tests.present import present
from tests.unit.commands.conftest import Line

GCP_WEBHOOK = "https://us-central1-p.cloudfunctions.net/x"


@pytest.fixture
def ready(line: Line, folder: Path) -> Line:
    """A node that is configured and deployed."""
    assert line("node", "-m", "alice", "config", "-p", str(folder)).exit_code == 0
    assert line("node", "deploy").exit_code == 0
    return line


def test_help_lists_every_command_with_the_help_of_the_command_itself() -> None:
    import click

    context = click.Context(cli)
    for name, (_, _, help_line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None and command.get_short_help_str(200).rstrip(".") == help_line.rstrip("."), name
    assert cli.get_command(context, "nonsense") is None


def test_the_whole_life_of_a_node(line: Line, folder: Path) -> None:
    configured = line("node", "-m", "alice", "config", "-p", str(folder), "-s", "cpu-sm")
    assert configured.exit_code == 0 and "Numerai calls its webhook" in configured.out
    assert "token-of" not in configured.out
    assert "is deployed" in line("node", "deploy").out
    assert "nothing has changed" in line("node", "-m", "alice", "deploy").out
    assert "numerai-alice" in line("node", "list").out
    assert "run-1" in line("node", "trigger").out
    assert "run-1" in line("node", "status").out
    assert line("node", "destroy", "--yes", "--force").exit_code == 0
    assert "No node is configured" in line("node", "list").out


def test_how_a_node_is_built_and_what_it_may_is_set_shown_and_taken_back(
    ready: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = f"sha256:{'1' * 64}"
    monkeypatch.setattr(DockerEngine, "digest", lambda self, image: digest)
    (folder / "Dockerfile").write_text("FROM python:3.13-slim\n")
    above, inside = folder.parent / "above", folder.parent / "above" / "alice"
    above.mkdir()
    folder.rename(inside)
    options = ("--context", str(above), "--pin-base", "--capability", "CHOWN", "--capability", "cap_setuid")
    assert ready("node", "config", "-p", str(inside), *options).exit_code == 0
    shown = ready("node", "status").out
    for row in (f"built from {above}", f"docker.io/library/python:3.13-slim@{digest}", "CHOWN, SETUID"):
        assert "".join(row.split()) in "".join(shown.split())
    status = ready("node", "status", "--json").json["node"]
    assert (status["context"], status["capabilities"]) == (str(above), ["CHOWN", "SETUID"])
    assert ready("node", "config", "--context", "", "--no-pin-base", "--capability", "").exit_code == 0
    status = ready("node", "status", "--json").json["node"]
    assert (status["context"], status["base_digests"], status["capabilities"]) == (None, None, [])
    for wrong, words in ((("--capability", "FLY"), "'FLY'"), (("--context", str(above.parent / "no")), "no folder")):
        answer = ready("node", "config", *wrong)
        assert answer.exit_code == 2 and words in answer.err


def test_a_deploy_names_the_runtime_that_it_leaves_alone_or_replaces(ready: Line, folder: Path) -> None:
    (folder / "numerai_node").mkdir()
    (folder / "numerai_node" / "__init__.py").write_text("mine = True\n")
    plan = ready("node", "deploy", "--dry-run").out
    assert "1. nothing" in plan and "with changes of your own" in plan and "--runtime replace" in plan
    assert "1. replace numerai_node" in ready("node", "deploy", "--dry-run", "--runtime", "replace").out
    assert "with changes of your own" in ready("node", "deploy").err
    assert "replace numerai_node" in ready("node", "deploy", "--runtime", "replace").err
    assert (folder / "numerai_node" / "_version.py").is_file()
    assert ready("node", "deploy", "--runtime", "other").exit_code == 2


def test_results_as_json_never_hold_the_webhooks_token(ready: Line) -> None:
    for command in (("list",), ("status",), ("config",)):
        answer = ready("node", *command, "--json")
        assert answer.exit_code == 0 and "token-of" not in answer.out and json.loads(answer.out)
    assert ready("--json", "node", "list").json[0]["webhook_url"].endswith("/***")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names that are no text")
def test_a_folder_whose_name_is_no_text_is_named(ready: Line, folder: Path) -> None:
    odd = folder.rename(os.fsdecode(os.fsencode(folder) + b"\xe9"))
    for command in (
        ("node", "config", "--path", str(odd)),
        ("node", "config", "--path", str(odd), "-e", "hello-world"),
    ):
        answer = ready(*command)
        assert answer.exit_code == 2 and "\\udce9" in answer.err and "UTF-8" in answer.err, answer
        assert "PYTHONIOENCODING" not in answer.err


def test_a_webhook_that_is_no_address_is_masked_and_stops_no_command(ready: Line) -> None:
    store = HomeStore(ready.home)
    store.save_node(replace(store.nodes()["numerai-alice"], webhook_url="http://[::1/x/a-token"))
    for command in (("node", "status"), ("node", "list"), ("status",), ("doctor",), ("--json", "node", "list")):
        answer = ready(*command)
        assert "bug" not in answer.err and "a-token" not in answer.out + answer.err


def test_the_model_option_may_stand_before_or_after(ready: Line) -> None:
    for arguments in (("node", "-m", "alice", "status"), ("node", "status", "-m", "alice", "-t", "8")):
        assert ready(*arguments).exit_code == 0
    refused = ready("node", "-m", "bob", "status")
    assert refused.exit_code == 2 and "'bob'" in refused.err


def test_node_test_shows_the_facts_and_ends_with_0(ready: Line) -> None:
    def play(model: object, trigger_id: str) -> None:
        node = HomeStore(ready.home).nodes()["numerai-alice"]
        ready.provider.trigger(node, trigger_id)
        ready.api.held.append(Submission("sub", 100, trigger_id, "f.csv", NOW))
        ready.api.entries_by["id-alice"] = [SubmissionEntry(100, EntryStatus.ON_TIME, "sub", "f.csv", NOW)]

    ready.api.on_trigger = play
    ready.provider.printed = ["the container says hello"]
    answer = ready("node", "test")
    assert answer.exit_code == 0 and answer.out.count("✓") == 4 and "sub, round 100" in answer.out
    assert "hello" not in answer.out + answer.err
    assert "hello" in ready("node", "test", "-v").err
    as_json = ready("node", "test", "--json")
    assert [fact["holds"] for fact in as_json.json["facts"]] == [True] * 4


def test_node_test_names_the_fact_that_fails_and_ends_with_1(ready: Line) -> None:
    ready.api.fail["trigger"] = ApiError("Error received from your webhook server: 404", code="webhook-failed")
    answer = ready("node", "test")
    assert answer.exit_code == 1 and "✗ Numerai reached the webhook" in answer.out and "-> numerai doctor" in answer.out


def test_node_test_before_a_deploy(line: Line, folder: Path) -> None:
    line("node", "config", "-p", str(folder))
    answer = line("node", "test")
    assert answer.exit_code == 1 and "not deployed" in answer.err and "deploy" in answer.err


def test_a_command_override_needs_local(ready: Line) -> None:
    assert ready("node", "test", "--command", "python x.py").exit_code == 2


def test_logs_of_runs_and_of_the_webhook(ready: Line) -> None:
    assert "has not run yet" in ready("node", "logs").out
    ready("node", "trigger")
    ready.provider.printed = [f"line {number}" for number in range(30)]
    assert ready("node", "logs", "-n", "2").out.split("\n")[-3:-1] == ["12:00:00 line 28", "12:00:00 line 29"]
    assert json.loads(ready("node", "logs", "-n", "1", "--json").out)["text"] == "line 29"
    assert "line 29" in ready("node", "status", "-n", "1").out
    ready.provider.calls = [WebhookCall(NOW, "numerai-alice", 404, '{"error":"x"}', "t-1")]
    for command in ("logs", "status"):
        assert "404" in ready("node", command, "-l", "webhook").out


def test_cancel_stops_the_latest_run(ready: Line) -> None:
    assert ready("node", "cancel").exit_code == 1
    ready("node", "trigger")
    assert "cancelled" in ready("node", "cancel").out
    assert ready.provider.all_runs[0].state is RunState.CANCELLED


def test_without_a_terminal_nothing_is_asked(line: Line, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv("NUMERAI_SECRET_KEY")
    answer = line("setup")
    assert answer.exit_code == 2 and "NUMERAI_SECRET_KEY" in answer.err
    monkeypatch.setenv("NUMERAI_SECRET_KEY", "SECRET-SECRET")
    line("node", "config", "-p", str(folder))
    answer = line("node", "destroy")
    assert answer.exit_code == 2 and "--yes" in answer.err and "numerai-alice" in line("node", "list").out


def test_setup_checks_and_records(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = line("setup", "--executor", "process", "--port", "4000", "--public-url", "https://tunnel.example")
    assert answer.exit_code == 0 and "knows you as tester" in answer.out
    for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"):
        monkeypatch.delenv(name)
    store = HomeStore(line.home, {})
    assert store.keys() is not None
    assert store.settings("local") == {"executor": "process", "port": 4000, "public_url": "https://tunnel.example"}
    assert line("setup", "-s", "--concurrency", "3").exit_code == 0
    assert store.settings("local")["concurrency"] == 3


def test_setup_refuses_unknown_providers_and_open_addresses(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no provider 'moon'" in line("setup", "-P", "moon").err
    monkeypatch.setenv("NUMERAI_API_URL", "http://example.com")
    assert "not encrypted" in line("setup").err
    assert HomeStore(line.home, {}).keys() is None


def test_a_secret_is_never_an_option() -> None:
    import click

    context = click.Context(cli)

    def walk(command: click.Command) -> list[str]:
        own = [name for parameter in command.params for name in parameter.opts]
        nested = command.commands.values() if isinstance(command, click.Group) and command is not cli else ()
        return own + [name for child in nested for name in walk(child)]

    options = [name for command in COMMANDS for name in walk(cli.get_command(context, command) or cli)]
    assert options and not any("secret" in name or "password" in name for name in options)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("node", "config", "-s", "huge"), 2, "no size 'huge'"),
        (("node", "config", "--cpu", "abc"), 2, "abc"),
        (("node", "config", "--timeout-minutes", "abc"), 2, "abc"),
        (("node", "config", "-P", "moon"), 2, "no provider"),
        (("node", "config", "--data-version", "5.3"), 2, "must be a version such as v5.3, or newest or trained"),
        (("node", "-t", "9", "list"), 2, "'9'"),
        (("nonsense",), 2, "No such command"),
        (("node", "status"), 2, "No node is configured"),
        (("copy-example", "-e", "nope"), 2, "no example"),
    ],
)
def test_bad_input_is_one_message_with_a_way_out(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    monkeypatch.chdir(folder)
    if "moon" in arguments:
        monkeypatch.setattr(
            "tests.unit.commands.conftest.FakeFactory.provider",
            lambda self, name: __import__("numerai_compute.providers.registry", fromlist=["x"]).provider_factory(name),
        )
    answer = line(*arguments)
    assert answer.exit_code == exit_code and words in answer.err and len(answer.err.splitlines()) <= 4
    assert answer.err.startswith("Error: ") and answer.out == ""
    as_json = line(*arguments, "--json")
    assert as_json.exit_code == exit_code and words in as_json.json["error"]["message"]


def test_no_keys_and_no_network(line: Line, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    line.api.fail["models"] = unreachable()
    answer = line("node", "config", "-p", str(folder))
    assert answer.exit_code == 1 and "cannot be reached" in answer.err
    monkeypatch.delenv("NUMERAI_PUBLIC_ID")
    answer = line("node", "config", "-p", str(folder))
    assert answer.exit_code == 3 and "no Numerai keys" in answer.err and "numerai setup" in answer.err


def test_dry_runs_change_nothing(ready: Line, tmp_path: Path) -> None:
    before = HomeStore(ready.home).nodes_path.read_bytes()
    for arguments in (
        ("node", "config", "-s", "cpu-xs", "--dry-run"),
        ("node", "deploy", "--force", "--dry-run"),
        ("node", "destroy", "--dry-run"),
        ("setup", "--port", "99", "--dry-run"),
        ("config", "set", "port", "99", "--dry-run"),
        ("node", "forget", "numerai-alice", "--dry-run"),
        ("copy-example", "-d", str(tmp_path / "x"), "--dry-run"),
    ):
        assert ready(*arguments).exit_code == 0
        assert ready(*arguments, "--json").json
    assert HomeStore(ready.home).nodes_path.read_bytes() == before and not (tmp_path / "x").exists()
    assert ready.provider.configured and not HomeStore(ready.home).keys_path.exists()


def test_doctor_ends_with_3_when_something_failed(ready: Line) -> None:
    assert ready("doctor").exit_code == 0
    ready.provider.found = [Check("engine", CheckStatus.FAILED, "does not answer", "start Docker")]
    answer = ready("doctor")
    assert answer.exit_code == 3 and "✗ engine: does not answer" in answer.out and "-> start Docker" in answer.out
    assert ready("doctor", "--json").json["ok"] is False


def test_doctor_fixes_what_is_safe(ready: Line) -> None:
    ready.api.set_webhook("id-alice", None)
    answer = ready("doctor", "--fix", "--json")
    assert answer.exit_code == 0 and answer.json["fixed"] == ["registered the webhook of numerai-alice"]


def test_a_webhook_of_another_place_is_taken_only_by_who_agrees(ready: Line) -> None:
    theirs = "https://abc.lambda-url.example/numerai-alice/their-token"
    ready.api.set_webhook("id-alice", theirs)
    refused = ready("node", "config")
    assert refused.exit_code == 2 and "https://abc.lambda-url.example" in refused.err and "--yes" in refused.err
    fixed = ready("doctor", "--fix", "--json")
    assert fixed.exit_code == 3 and fixed.json["fixed"] == []
    assert "https://abc.lambda-url.example until now: that ends" in ready("node", "config", "--dry-run").out
    assert ready.api.by_id["id-alice"].webhook == theirs and "their-token" not in refused.err
    assert ready("node", "config", "--yes").exit_code == 0
    assert ready("doctor").exit_code == 0


def test_constants_and_examples(line: Line, tmp_path: Path) -> None:
    listed = line("list-constants", "--json").json
    assert listed["sizes"]["mem-md"] == {"cpu": 2.0, "memory_mib": 16384} and "local" in listed["providers"]
    assert "mem-md (default)" in line("list-constants").out
    copied = line("copy-example", "-d", str(tmp_path / "n"))
    assert copied.exit_code == 0 and (tmp_path / "n" / "predict.py").exists()


def official_home(line: Line, folder: Path) -> dict[str, bytes]:
    """A home of the official tool with a node of each of its providers, and what it holds."""
    nodes = {
        "numerai-alice": {"provider": "gcp", "path": str(folder), "model_id": "id-alice", "webhook_url": GCP_WEBHOOK},
        "numerai-bob": {"provider": "aws", "path": "/x", "cpu": 1024},
        "numerai-half": None,
    }
    keys = {"numerai": {}, "aws": {"AWS_ACCESS_KEY_ID": "AKIAOLD", "AWS_SECRET_ACCESS_KEY": "oldsecret"}}
    line.home.mkdir()
    (line.home / "nodes.json").write_text(json.dumps(nodes))
    (line.home / ".keys").write_text(json.dumps(keys))
    return {name: (line.home / name).read_bytes() for name in ("nodes.json", ".keys")}


def test_upgrade_takes_over_the_official_tools_home_and_gives_it_back(line: Line, folder: Path) -> None:
    assert "Nothing to upgrade" in line("upgrade").out and "no upgrade to undo" in line("upgrade", "--undo").out
    before = official_home(line, folder)
    assert "official" in line("node", "-m", "bob", "config", "-p", str(folder)).err
    planned = line("upgrade", "--dry-run").out
    assert "numerai-bob (aws, 1 vCPU" in planned and "Nothing was changed" in planned and "oldsecret" not in planned
    assert "numerai-alice (gcp" in planned and "numerai node -m numerai-alice config -P local" in planned
    assert "numerai-half: kept as it is, but cannot be used" in planned
    upgraded = line("upgrade")
    assert upgraded.exit_code == 0 and "numerai upgrade --aws-profile numerai" in upgraded.out
    assert "numerai upgrade --move-aws" in upgraded.out
    steps = ["numerai doctor", *(f"numerai node -m numerai-bob {step}" for step in ("config", "deploy", "test"))]
    assert [text.strip() for text in upgraded.out.partition("Next:\n")[2].splitlines()][:4] == steps
    assert "numerai-bob" in line("node", "list").out
    assert line("upgrade", "--undo").exit_code == 0
    assert {name: (line.home / name).read_bytes() for name in before} == before
    assert line("upgrade", "--undo", "--dry-run").exit_code == 2


def test_the_old_tools_aws_keys_become_a_profile_on_demand(
    line: Line, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    shared.write_text("# mine\n[default]\naws_access_key_id = MINE")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    before = official_home(line, folder)
    for profile in ("default", "a]b"):
        assert line("upgrade", "--aws-profile", profile).exit_code == 2
        assert {path.name: path.read_bytes() for path in line.home.iterdir()} == before, "refused before the take-over"
    assert "become the profile numerai" in line("upgrade", "--aws-profile", "numerai", "--dry-run").out
    assert line("upgrade").exit_code == 0 and "AKIAOLD" not in shared.read_text()
    kept = line("upgrade", "--aws-profile", "numerai")
    assert kept.exit_code == 0 and "oldsecret" not in kept.out
    assert shared.read_text().startswith("# mine\n[default]\naws_access_key_id = MINE\n\n[numerai]\n")
    assert "aws_secret_access_key = oldsecret" in shared.read_text()
    assert json.loads((line.home / "nodes.json").read_text())["settings"]["aws"] == {"profile": "numerai"}
    assert line("upgrade", "--aws-profile", "numerai").exit_code == 0, "the same keys again"
    refused = line("upgrade", "--aws-profile", "default")
    assert refused.exit_code == 2 and "other keys" in refused.err
    assert line("upgrade", "--aws-profile", "a]b").exit_code == 2


@pytest.mark.slow
def test_a_node_of_a_provider_that_is_not_there_is_shown_moved_or_forgotten(line: Line, folder: Path) -> None:
    official_home(line, folder)
    line.api.set_webhook("id-alice", GCP_WEBHOOK)
    line("upgrade")
    for command in ("status", "list"):
        assert line("node", "-m", "alice", command).exit_code == 0, command
    for command in ("logs", "deploy", "test", "destroy --yes", "destroy --force --yes"):
        refused = line("node", "-m", "alice", *command.split())
        assert refused.exit_code != 0 and "config -P local" in refused.err and "bug" not in refused.err, command
    assert "not known here" in line("cost").out and line("status").exit_code == 0
    checks = line("doctor").out
    assert (
        "numerai-alice on gcp" in checks and "Numerai calls it there; whether it answers cannot be seen here" in checks
    )
    line.provider.reachable = False
    assert "no provider 'gcp'" in line("node", "-m", "alice", "config", "-P", "gcp").err
    plan = line("node", "-m", "alice", "config", "-P", "local", "--dry-run").out
    assert "take the webhook of alice off Numerai, which calls it on gcp until now" in plan
    assert line("node", "-m", "alice", "config", "-P", "local", "--yes").exit_code == 0
    assert line.api.by_id["id-alice"].webhook is None, "never two that submit"
    assert "local" in line("node", "list", "--json").out


def test_forgetting_leaves_what_runs_elsewhere_as_it_is(line: Line, folder: Path) -> None:
    official_home(line, folder)
    line.api.set_webhook("id-alice", GCP_WEBHOOK)
    line("upgrade")
    assert (
        line("node", "forget", "numerai-alice", "--yes").exit_code == 0
        and line.api.by_id["id-alice"].webhook == GCP_WEBHOOK
    )
    assert "numerai-alice" not in line("node", "list").out


def test_interrupts_and_bugs_are_said_in_one_line(line: Line, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    line.api.fail["models"] = KeyboardInterrupt()  # type: ignore[assignment]
    answer = line("node", "config", "-p", str(folder))
    assert answer.exit_code == 130 and "Interrupted" in answer.err
    line.api.fail["models"] = RuntimeError("what now")
    answer = line("node", "config", "-p", str(folder))
    assert answer.exit_code == 1 and "This is a bug" in answer.err and "what now" in answer.err
    traced = line("node", "config", "-p", str(folder), "--verbose")
    assert traced.exit_code == 1 and "Traceback" in traced.err and "This is a bug" in traced.err


def test_a_bug_shows_no_secret_even_with_its_traceback(line: Line, folder: Path) -> None:
    line.api.fail["models"] = RuntimeError(f"a header {KEYS.secret_key}\n\x1b]0;title\x07")
    for options in ([], ["--verbose"], ["--json"], ["--verbose", "--json"]):
        answer = line("node", "config", "-p", str(folder), *options)
        assert KEYS.secret_key not in answer.out + answer.err and "***" in answer.out + answer.err
        assert "\x1b" not in answer.out + answer.err


def test_the_system_is_no_bug(line: Line, folder: Path) -> None:
    line.api.fail["models"] = PermissionError(13, "Permission denied", "/some/file")
    answer = line("node", "config", "-p", str(folder))
    assert answer.exit_code == 3 and "bug" not in answer.err and "/some/file" in answer.err


def test_verbose_adds_the_causes(line: Line, folder: Path) -> None:
    error = unreachable()
    error.__cause__ = OSError("connection refused")
    line.api.fail["models"] = error
    assert "connection refused" in line("node", "config", "-p", str(folder), "-v").err
    assert "connection refused" not in line("node", "config", "-p", str(folder)).err


def test_a_fresh_machine_is_only_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from numerai_compute.main import run

    monkeypatch.setenv("NUMERAI_EXECUTOR", "process")
    for command in (["doctor"], ["node", "list"], ["daemon", "status"], ["setup", "--skip-key-setup", "--dry-run"]):
        run(command, Factory())
    assert not home.exists()


class CloudProvider(FakeProvider):
    """A provider that charges and keeps earlier images."""

    name = "cloud"

    def preview(self, node: Node) -> list[str]:
        return ["Make a cluster"]

    def cost(self, node: Node) -> SimpleNamespace:
        item = SimpleNamespace(what="runs", usd=0.61, how="22 runs")
        return SimpleNamespace(items=(item,), usd=0.61, describe=lambda: "About 0.61 USD")

    def history(self, node_name: str) -> list[str]:
        return ["h2", "h1"]

    def roll_back(self, node_name: str, tag: str) -> Deployment:
        self.deployments[node_name] = Deployment(node_name, f"image:{tag}", tag, NOW)
        return self.deployments[node_name]

    def move_state(self, remote: bool, report: object) -> str | None:
        return "state-bucket" if remote else None

    def policy(self, note: Report) -> dict[str, str]:
        return {"Version": "2012-10-17"}


def test_a_provider_that_charges_is_agreed_to(line: Line, folder: Path) -> None:
    line.provider = CloudProvider()
    refused = line("node", "config", "-p", str(folder))
    assert refused.exit_code == 2 and "--yes" in refused.err and "Make a cluster" in refused.err
    assert line("node", "config", "-p", str(folder), "--yes").exit_code == 0
    answer = line("cost")
    assert answer.exit_code == 0 and "0.61 USD a month in all" in answer.out
    assert line("cost", "--json").json["usd_a_month"] == 0.61


def test_nodes_on_this_machine_cost_nothing(ready: Line) -> None:
    assert "0.00 USD a month in all" in ready("cost").out
    assert ready("cost", "--json").json["nodes"] == {"numerai-alice": None}


def test_an_earlier_image_runs_again(line: Line, folder: Path) -> None:
    line.provider = CloudProvider()
    line("node", "config", "-p", str(folder), "-y")
    line.provider.hash = "h2"
    line("node", "deploy")
    assert "let h1 run again" in line("node", "rollback", "--dry-run").out
    assert "runs h1 again" in line("node", "rollback").out
    assert line.provider.deployments["numerai-alice"].image == "image:h1"
    unknown = line("node", "rollback", "h9")
    assert unknown.exit_code == 2 and "no image h9" in unknown.err


def test_a_provider_without_earlier_images_says_so(ready: Line) -> None:
    answer = ready("node", "rollback")
    assert answer.exit_code == 1 and "keeps no earlier images" in answer.err


def test_setup_takes_any_setting_of_a_provider(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert line("setup", "-s", "--set", "attempts=5", "--set", "host=127.0.0.1").exit_code == 0
    assert HomeStore(line.home, {}).settings("local") == {"attempts": 5, "host": "127.0.0.1"}
    assert line("setup", "-s", "--set", "nonsense").exit_code == 2
    assert "no permissions" in line("setup", "--print-policy").err
    line.provider = CloudProvider()
    assert line("setup", "--print-policy").json == {"Version": "2012-10-17"}


def test_the_state_of_a_cloud_moves_to_a_bucket_and_back(line: Line) -> None:
    store = HomeStore(line.home, {})
    assert "keeps its state on this machine" in line("setup", "-s", "--remote-state").err
    line.provider = CloudProvider()
    line.provider.name = "aws"
    line("setup", "-s", "-P", "aws", "--region", "eu-west-1", "--remote-state")
    assert store.settings("aws") == {"region": "eu-west-1", "state_bucket": "state-bucket"}
    refused = line("setup", "-s", "-P", "aws", "--local-state")
    assert refused.exit_code == 2 and "--yes" in refused.err and "state_bucket" in store.settings("aws")
    assert line("setup", "-s", "-P", "aws", "--local-state", "--yes").exit_code == 0
    assert store.settings("aws") == {"region": "eu-west-1"}


def test_history_and_status_at_a_glance(ready: Line) -> None:
    ready.provider.trigger(HomeStore(ready.home).nodes()["numerai-alice"], "t-1")
    ready.provider.run("run-1")
    ready.api.held.append(Submission("sub", 100, "t-1", inserted_at=NOW))
    entry = SubmissionEntry(100, EntryStatus.ON_TIME, "sub", "f.csv", NOW)
    ready.api.entries_by["id-alice"] = [entry]
    shown = ready("history", "-m", "alice")
    assert shown.exit_code == 0
    assert all(word in shown.out for word in ("100", "12:00:00 Numerai", "run-1 succeeded", "12:00:00 sub", "on time"))
    record = ready("history", "--json").json["rounds"][0]
    assert (record["standing"], record["runs"][0]["submission_id"]) == ("on-time", "sub")
    glance = ready("status")
    assert glance.exit_code == 0 and "Classic: round 100, deadline in 1 h" in glance.out
    assert "-> numerai daemon start" in glance.out and "-> numerai notify add NAME" in glance.out
    assert ready("status", "--json").json["nodes"][0]["latest"]["standing"] == "on-time"
    earlier = replace(entry, round_number=99, status=EntryStatus.LATE)
    ready.api.entries_by["id-alice"].append(earlier)
    assert "sub (earlier file)" in ready("history").out and "(earlier file)" in ready("status").out


class KeepingProvider(FakeProvider):
    """A provider that keeps what nodes have left."""

    def __init__(self, kept: dict[str, bytes]):
        super().__init__()
        self.kept = kept

    def artifact(self, node_name: str, name: str) -> bytes | None:
        return self.kept.get(f"{node_name}/{name}")


def test_history_writes_the_csv_that_a_run_has_sent(
    line: Line, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv, elsewhere = b"id,prediction\nn1,0.5\n", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    line.provider = KeepingProvider(
        {"numerai-alice/sent/r1.csv.gz": gzip.compress(csv), "numerai-alice/sent/r2.csv.gz": b"no gzip"}
    )
    line("node", "-m", "alice", "config", "-p", str(folder))
    answer = line("history", "--csv", "r1")
    assert answer.exit_code == 0 and "what run r1 of numerai-alice has sent" in answer.out
    path = elsewhere / "r1.csv"
    assert path.read_bytes() == csv
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    named = line("history", "-m", "alice", "--csv", "r1", "-o", "sent.csv", "--json").json
    assert named == {"node": "numerai-alice", "run": "r1", "csv": str(elsewhere / "sent.csv")}
    for run_id, code, words in (
        ("r2", 1, "is damaged"),
        ("r3", 1, "none is kept"),
        ("../nodes", 2, "is not a run's id"),
    ):
        refused = line("history", "--csv", run_id)
        assert refused.exit_code == code and words in refused.err, refused.err
    refused = line("history", "--csv", "r1", "-o", str(elsewhere / "none" / "sent.csv"))
    assert refused.exit_code == 1 and "cannot be written" in refused.err
    assert line("history", "-o", "sent.csv").exit_code == 2
    line.provider = FakeProvider()
    assert "none is kept" in line("history", "--csv", "r1").err


def test_a_run_id_may_be_shortened_as_long_as_it_is_one_runs(
    line: Line, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = {name: Run(name, "numerai-alice", RunState.SUCCEEDED, NOW) for name in ("acc19f", "acc20f", "b1")}
    kept = {f"numerai-alice/sent/{name}.csv.gz": gzip.compress(name.encode()) for name in ("acc19f", "acc20f", "acc2")}
    line.provider = KeepingProvider(kept)
    line.provider.all_runs = list(runs.values())
    line("node", "-m", "alice", "config", "-p", str(folder))
    found = line("history", "--csv", "acc19", "-o", "one.csv", "--json").json
    assert found["run"] == "acc19f" and Path(found["csv"]).read_bytes() == b"acc19f"
    assert line("history", "--csv", "acc2", "-o", "exact.csv", "--json").json["run"] == "acc2"
    several = line("history", "--csv", "acc", "--json")
    assert several.exit_code == 2 and several.json["error"]["code"] == "ambiguous-run-id"
    assert "acc19f, acc20f" in several.out
    assert "none is kept" in line("history", "--csv", "b").err, "its run is known, and has sent nothing"
    unknown = line("history", "--csv", "c")
    assert unknown.exit_code == 1 and "no run that is known begins with that" in unknown.err


def test_a_file_that_is_there_is_replaced_only_when_asked(line: Line, folder: Path, tmp_path: Path) -> None:
    line.provider = KeepingProvider({"numerai-alice/sent/r1.csv.gz": gzip.compress(b"sent")})
    line("node", "-m", "alice", "config", "-p", str(folder))
    path = tmp_path / "mine.csv"
    path.write_bytes(b"mine")
    write = ("history", "--csv", "r1", "-o", str(path))
    refused = line(*write, "--json")
    assert refused.exit_code == 2 and refused.json["error"]["code"] == "would-overwrite" and "--force" in refused.out
    assert path.read_bytes() == b"mine"
    assert line(*write, "--force").exit_code == 0 and path.read_bytes() == b"sent"
    assert line(*write).exit_code == 0, "it is the same"
    assert line("history", "--force").exit_code == 2


def test_status_says_how_old_a_model_is_that_is_trained_again(line: Line, folder: Path) -> None:
    line.provider = KeepingProvider({})
    refused = line("node", "-m", "alice", "config", "-p", str(folder), "--retrain-days", "30", "--json")
    assert refused.exit_code == 2 and refused.json["error"]["code"] == "no-retraining"
    (folder / "predict.py").write_text("node.retrain()\n")
    line("node", "-m", "alice", "config", "-p", str(folder), "--retrain-days", "30")
    assert "not known yet, again when it is 30 days old" in line("node", "status").out
    record: dict[str, str | None] = {"trained_at": "2020-01-01T00:00:00+00:00", "failed_at": None, "why": None}
    line.provider.kept["numerai-alice/training.json"] = json.dumps(record).encode()
    assert "days ago, again when it is 30 days old" in line("node", "status").out
    record |= {"failed_at": "2020-02-01T00:00:00+00:00", "why": "train.py ended with exit code 1"}
    line.provider.kept["numerai-alice/training.json"] = json.dumps(record).encode()
    shown = line("node", "status").out
    assert "has failed since 2020-02-01 00:00 UTC: train.py ended with exit code 1" in " ".join(shown.split())
    assert line("node", "status", "--json").json["training"]["why"] == "train.py ended with exit code 1"
    assert "could not be trained again since 2020-02-01: train.py ended with exit code 1" in line("doctor").out
    line.provider.kept["numerai-alice/training.json"] = b"{"
    assert "not known yet" in line("node", "status").out
    assert line("node", "config", "--retrain-days", "-1").exit_code == 2


def test_a_model_with_an_assigned_pickle_is_named_and_configured_only_at_a_terminal(
    ready: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.api.by_id["id-alice"] = replace(ready.api.by_id["id-alice"], pickle="p-1")
    for answer in (ready("status"), ready("doctor")):
        assert "Numerai runs that, and will neither call the node nor accept" in answer.out
        assert "-> at numer.ai (Submissions, Settings" in answer.out
    for arguments in (("node", "config", "--yes"), ("node", "config")):
        refused = ready(*arguments)
        assert refused.exit_code == 1 and "model upload (pickle)" in refused.err and "without --yes" in refused.err
    assert ready("node", "config", "--json", "-y").json["error"]["code"] == "pickle-assigned"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda question, err: "all the same" in question)
    answer = ready("node", "config")
    assert answer.exit_code == 0 and "No webhook is registered" in answer.out


def test_doctor_compares_the_api_and_keeps_a_record(ready: Line, tmp_path: Path) -> None:
    ready.probe.data["rounds"] = ready.probe.data["rounds"][:1]
    ready.probe.data["model"] = {"latestSubmissions": []}
    ready.probe.data["listDatasets"] = ["v5.3/live.parquet", "v5.3/train.parquet"]
    path = tmp_path / "record.json"
    answer = ready("doctor", "--api", "--save", str(path))
    assert answer.exit_code == 0, answer.out
    assert "✓ late-period: Classic 23 h" in answer.out
    assert "introspection is off" in answer.out and "docs/truth.md" in answer.out and path.is_file()
    again = ready("doctor", "--api", "--save", str(path))
    assert again.exit_code == 2 and "is there already" in again.err
    ready.probe.data["rounds"][0]["closeTime"] = ready.probe.data["rounds"][0]["closeStakingTime"]
    answer = ready("doctor", "--api")
    assert answer.exit_code == 3 and "✗ late-period: Classic 0 h" in answer.out
    assert "closeTime may have its old meaning, the deadline" in answer.out
    as_json = ready("doctor", "--api", "--json").json
    assert as_json["ok"] is False and {"rule", "verdict", "why", "consequence", "broken"} == set(as_json["findings"][0])
    for arguments in (("doctor", "--save", "x"), ("doctor", "--api", "--fix")):
        assert ready(*arguments).exit_code == 2


def test_history_and_status_without_nodes_keys_or_numerai(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("history", "status"):
        nothing = line(command)
        assert "No node is configured" in nothing.out and nothing.err == ""
    assert line.api.calls == []
    refused = line("history", "-m", "alice")
    assert refused.exit_code == 2 and "No node is configured" in refused.err
    assert line("history", "-n", "0").exit_code == 2
    line("node", "-m", "alice", "config", "-p", str(folder))
    refused = line("history", "-m", "bob")
    assert refused.exit_code == 2 and "numerai-alice" in refused.err
    line.api.fail |= {name: unreachable() for name in ("rounds", "submissions", "entries")}
    for command in ("history", "status"):
        answer = line(command)
        assert answer.exit_code == 0 and "cannot be reached" in answer.err
    monkeypatch.delenv("NUMERAI_SECRET_KEY")
    for command in ("history", "status"):
        answer = line(command)
        assert answer.exit_code == 0 and "There are no Numerai keys" in answer.err


def test_one_look_of_the_watcher_and_its_exit_codes(ready: Line) -> None:
    ready.api.entries_by["id-alice"] = [SubmissionEntry(100, EntryStatus.ON_TIME, "sub", "f.csv", NOW)]
    looked = ready("watch", "--once")
    assert looked.exit_code == 0 and "numerai-alice, round 100: submitted" in looked.out
    assert ready("watch", "--once", "--json").json["well"] is True
    ready.api.fail["entries"] = unreachable()
    ready.api.round = replace(present(ready.api.round), number=101)
    answer = ready("watch", "--once", "--json")
    assert answer.exit_code == 1 and answer.json["findings"][0]["step"] == "unseen"
    assert ready("watch", "--once", "--grace-minutes", "-1").exit_code == 2


@pytest.mark.slow
def test_a_watcher_says_what_it_cannot_do(ready: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.api.entries_by["id-alice"] = [SubmissionEntry(100, EntryStatus.ON_TIME, "sub", "f.csv", NOW)]
    assert ready("watch", "--once").err == "", "a success is no warning, where nobody is listed to be told either"
    ready.api.round = replace(present(ready.api.round), number=101)
    ready.api.entries_by["id-alice"].append(SubmissionEntry(101, EntryStatus.ON_TIME, "sub-2", "g.csv", NOW))
    monkeypatch.setenv("NUMERAI_NOTIFY", "json://127.0.0.1:9")
    answer = ready("watch", "--once", "--json")
    assert "'numerai-alice: round 101 is submitted' did not reach env-1" in answer.err and answer.json["well"]
    ready.api.fail["rounds"] = unreachable()
    answer = ready("watch", "--once")
    assert answer.exit_code == 1 and answer.err.count("tournament 8: cannot be reached") == 1


def test_one_look_that_cannot_use_its_memory_tells_somebody(ready: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(ready.home / "rounds.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with http_inbox() as inbox:
        monkeypatch.setenv("NUMERAI_NOTIFY", f"json://127.0.0.1:{inbox.port}")
        answer = ready("watch", "--once")
        assert answer.exit_code == 1 and "version 99" in answer.err
        ((_, post),) = inbox.posts
    assert post["title"] == "The watcher cannot work" and "version 99" in post["message"]


def test_a_watcher_without_nodes_has_nothing_to_do(line: Line) -> None:
    looked = line("watch", "--once")
    assert looked.exit_code == 0 and "Nothing is due" in looked.out


def test_destroy_shows_what_it_would_do_before_it_asks(line: Line, folder: Path) -> None:
    assert line("node", "config", "-p", str(folder)).exit_code == 0
    answer = line("node", "destroy")
    assert answer.exit_code == 2 and "remove everything" in answer.err and "Nobody can be asked" in answer.err
    assert line("node", "destroy", "-y").exit_code == 0


def test_credentials_are_kept_out_of_an_image_unless_told(line: Line, folder: Path) -> None:
    line("node", "config", "-p", str(folder))
    (folder / "sub").mkdir()
    (folder / "sub" / "settings.py").write_text(f"KEY = '{KEYS.secret_key}'")
    (folder / ".env").write_text("A=b")
    refused = line("node", "deploy")
    assert refused.exit_code == 2 and "sub/settings.py" in refused.err and ".env" in refused.err
    assert line.provider.deployment("numerai-alice") is None
    assert line("node", "deploy", "--allow-credentials").exit_code == 0


def test_a_bad_record_is_shown_and_can_be_forgotten(line: Line, folder: Path) -> None:
    line("node", "config", "-p", str(folder))
    path = line.home / "nodes.json"
    raw = json.loads(path.read_text())
    raw["nodes"]["../../x"] = {"name": "../../x"}
    path.write_text(json.dumps(raw))
    listed = line("node", "list")
    assert listed.exit_code == 0 and "numerai-alice" in listed.out and "'../../x' cannot be used" in listed.err
    assert line("node", "forget", "../../x", "-y").exit_code == 0
    assert list(json.loads(path.read_text())["nodes"]) == ["numerai-alice"]


def test_settings_are_set_shown_and_taken_back(line: Line) -> None:
    assert line("config", "set", "attempts", "4").exit_code in (0, 2)
    line.provider = CloudProvider()
    assert line("config", "set", "anything", "4000").exit_code == 0
    for tried in (("set", "anything", "1"), ("unset", "anything")):
        assert line("config", *tried, "--dry-run").exit_code == 0
    assert line("config", "get", "anything").out.strip() == "4000"
    assert line("config", "unset", "anything").exit_code == 0


def test_status_and_test_say_what_the_gate_has_found(ready: Line) -> None:
    ready("node", "deploy")
    ready.provider.printed = ['+  1.2s gate check=benchmark what="are they \\"upside down\\"?" limit=0']
    ready("node", "trigger")
    shown = ready("node", "status")
    assert 'are they "upside down"?' in " ".join(shown.out.split())
    assert ready("node", "status", "--json").json["findings"] == ['are they "upside down"?']
    ready.provider.printed = []
    assert "gate" not in ready("node", "status").out
