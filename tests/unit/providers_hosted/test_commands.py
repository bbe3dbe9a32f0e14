"""`numerai node ...` on the provider hosted, and what status, doctor, history and the watcher make of such a node."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pandas as pd
import pytest
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, NumeraiError
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.models import Deployment, Notice
from numerai_compute.ports import Provider
from numerai_compute.sandbox.switches import Switches
from numerai_compute.watching.ledger import Ledger
from numerai_compute.watching.policy import Step
from numerai_compute.watching.watcher import Watcher

from tests.contract.hosted_bench import GOOD, HostedBench
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.unit.usecases.test_move import Elsewhere
from tests.unit.usecases.test_ship import made

pytestmark = pytest.mark.slow
WEBHOOK = "https://node.example.com/numerai-alice/0123456789abcdef0123456789abcdef"


class HostedFactory(Factory):
    """The real one, with the bench's provider."""

    def __init__(self, bench: HostedBench):
        super().__init__(bench.folder / "home")
        self.bench = bench
        self.others = dict[str, Provider]()

    def provider(self, name: str) -> Provider:
        if name == "hosted":
            return self.bench.provider
        return self.others.get(name) or super().provider(name)


class Line:
    """Types command lines; `answer` is what a person says at the terminal, None where there is none."""

    def __init__(self, bench: HostedBench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
        self.bench, self._capsys, self._monkeypatch = bench, capsys, monkeypatch
        self.asked: list[str] = []
        self.others = dict[str, Provider]()

    def __call__(self, *arguments: str, answer: bool | None = None) -> tuple[int, str]:
        self._monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None)

        def confirm(question: str, **_: Any) -> bool:
            self.asked.append(question)
            return bool(answer)

        self._monkeypatch.setattr(click, "confirm", confirm)
        factory = HostedFactory(self.bench)
        factory.others = self.others
        code = run(list(arguments), factory)
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return code, printed.out + printed.err

    @property
    def model(self) -> dict[str, Any]:
        """Numerai's record of alice."""
        return dict(self.bench.sandbox.state()["models"][0])


@pytest.fixture
def line(
    tmp_path: Path,
    sandbox_factory: Callable[..., ServedSandbox],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Line:
    bench = HostedBench(tmp_path, sandbox_factory(switches=Switches(run_pickles=False)), rehearses=False)
    for name, value in {**bench.sandbox.environment, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    bench.node()
    return Line(bench, capsys, monkeypatch)


def configured(line: Line) -> None:
    code, said = line("node", "-m", "alice", "config", "-P", "hosted", "-p", str(line.bench.folder / "alice"))
    assert code == 0, said
    assert "1 vCPU, 4 GiB, at most 10 minutes" in said and "once an upload is assigned" in said


def test_a_model_is_assigned_after_a_yes_and_its_webhook_is_cleared_before(line: Line) -> None:
    registered(line)
    configured(line)
    code, said = line("node", "-m", "alice", "deploy", answer=False)
    assert code == 1 and "validated and not assigned" in said and "asks again" in said
    assert "Its webhook is cleared before" in line.asked[0] and "only the website takes that back" in line.asked[0]
    assert (line.model["pickle_id"], line.model["webhook"] is not None) == (None, True), "a no changes nothing"
    code, said = line("node", "-m", "alice", "deploy", answer=True)
    assert code == 0 and "Clearing the webhook" in said, said
    assert line.model["pickle_id"] and line.model["webhook"] is None
    assert line.bench.uploads() == 1, "what was validated before is not uploaded again"
    assert line("node", "-m", "alice", "deploy")[0] == 0 and len(line.asked) == 2


def test_without_a_terminal_nothing_is_assigned_but_with_yes(line: Line) -> None:
    configured(line)
    code, said = line("node", "-m", "alice", "deploy", "--json")
    assert code == 1 and json.loads(said[said.index("{") :])["assigned"] is False
    assert line.model["pickle_id"] is None
    code, said = line("node", "-m", "alice", "deploy", "--yes", "--json")
    assert code == 0 and line.model["pickle_id"]


def test_an_assignment_that_fails_gives_the_webhook_back(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    from numerai_compute.sandbox.api import executor
    from numerai_compute.sandbox.refusal import Refusal

    registered(line)
    configured(line)

    def refuse(*_: Any, **__: Any) -> str:
        raise Refusal("something of Numerai's own")

    mutations = executor.schema(()).mutation_type
    assert mutations is not None
    monkeypatch.setattr(mutations.fields["assignPickleToModel"], "resolve", refuse)
    code, said = line("node", "-m", "alice", "deploy", "--yes")
    assert code == 1 and "registered again" in said, said
    assert line.model["pickle_id"] is None and line.model["webhook"] is not None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-s", "mem-lg"), "every model gets 1 vCPU and 4 GiB"),
        (("--cron", "0 13 * * *"), "no schedules"),
        (("--capability", "CHOWN"), "gives none"),
        (("--disk", "30"), "disk"),
        (("--timeout-minutes", "30"), "10 minutes"),
    ],
)
def test_what_cannot_be_had_there_is_refused(line: Line, arguments: tuple[str, ...], says: str) -> None:
    where = ("-P", "hosted", "-p", str(line.bench.folder / "alice"))
    code, said = line("node", "-m", "alice", "config", *where, *arguments)
    assert code == 2 and says in said, said


@pytest.mark.parametrize("example", ["tournament-rlang", "shell-any-language"])
def test_an_example_that_is_not_in_python_is_refused_with_those_that_run_there(line: Line, example: str) -> None:
    folder = line.bench.folder / "new"
    for more in ((), ("--dry-run",)):
        code, said = line("node", "-m", "alice", "config", "-P", "hosted", "-e", example, "-p", str(folder), *more)
        assert code == 2 and f"cannot run the example {example}" in said, said
        assert "model-python3, pickle-python3, tournament-python3" in said and "local and aws" in said
        assert not folder.exists() and line("node", "list", "--json")[1].strip() in ("[]", '{"nodes": []}')
    aws = moved_from_aws(line)
    code, said = line("node", "-m", "alice", "config", "-P", "hosted", "-e", example, "--yes")
    assert code == 2 and f"cannot run the example {example}" in said and aws.configured, said


def test_status_test_logs_doctor_and_destroy_know_such_a_node(line: Line) -> None:
    configured(line)
    code, said = line("status")
    assert "no upload is assigned" in said and "deploy" in said
    line("node", "-m", "alice", "deploy", "--yes")
    code, said = line("status")
    assert code == 0 and "pickle" not in said and "model upload" not in said, said
    code, said = line("node", "-m", "alice", "test")
    assert code == 0 and "numerai-alice works" in said, said
    code, said = line("node", "-m", "alice", "logs")
    assert code == 0 and "not really run" in said, said
    code, said = line("node", "-m", "alice", "status")
    assert code == 0 and "succeeded" in said and "webhook" not in said and "started by  Numerai" in said, said
    assert "ask Numerai to run no upload" in line("node", "-m", "alice", "destroy", "--dry-run")[1]
    assert "goes on calling its webhook" not in line("node", "forget", "numerai-alice", answer=False)[1]
    code, said = line("history", "--json")
    assert code == 0 and "on-time" in said, said
    code, said = line("doctor")
    assert "Dockerfile" not in said, said
    assert "Numerai runs the assigned upload" in said and "Numerai runs them on Python" in said, said
    assert "Numerai runs it for nothing" in line("cost")[1]
    code, said = line("setup", "-P", "hosted")
    assert code == 0 and "--example" not in said, said
    code, said = line("node", "-m", "alice", "destroy", "--yes")
    assert code == 1 and "only its website" in said, said
    assert "numerai-alice" in line("node", "list")[1]
    code, said = line("node", "-m", "alice", "destroy", "--yes", "--force")
    assert code == 0 and "goes on running the upload" in said, said
    assert line.model["pickle_id"]


def test_a_model_file_is_looked_at_and_runs_with_its_reader_unless_the_code_has_a_predict_of_its_own(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, sandbox = line.bench.folder, line.bench.sandbox
    monkeypatch.setenv("NUMERAI_CACHE", str(folder / "cache"))
    live = pd.read_parquet(sandbox.download("v5.3/live.parquet", folder))
    features = [name for name in live.columns if name.startswith("feature_")][:2]
    model = str(made(folder / "trained.model", more={"features": features}))
    configured(line)
    code, said = line("node", "-m", "alice", "deploy", "--model-file", model, "--yes")
    assert code == 1 and "reads deployed.model" in said and "leave out its function predict" in said, said
    assert line.bench.uploads() == 0 and not (folder / "alice" / "deployed.model").exists()
    (folder / "alice" / "predict.py").write_text("def main(node):\n    node.model()\n")
    code, said = line("node", "-m", "alice", "deploy", "--model-file", model, "--gate", "warn", "--dry-run")
    assert code == 0 and "as deployed.model" in said and "pack and rehearse" in said, said
    code, said = line("node", "-m", "alice", "deploy", "--model-file", model, "--gate", "warn", "--yes", "--verbose")
    assert code == 0 and "reads deployed.model" not in said and "with its reader" in said, said
    assert line.model["pickle_id"] and line.bench.uploads() == 1


def moved_from_aws(line: Line) -> Elsewhere:
    """A node that runs elsewhere, where Numerai calls it."""
    aws = Elsewhere()
    line.others["aws"] = aws
    (line.bench.folder / "alice" / "Dockerfile").write_text("FROM scratch\n")
    code, said = line(
        "node", "-m", "alice", "config", "-P", "aws", "-p", str(line.bench.folder / "alice"), "-s", "gen-lg"
    )
    assert code == 0, said
    assert line("node", "-m", "alice", "deploy")[0] == 0 and line.model["webhook"]
    return aws


def test_a_node_elsewhere_serves_until_numerai_runs_it_and_goes_back_when_the_website_has_unassigned_it(
    line: Line,
) -> None:
    aws, to_hosted = moved_from_aws(line), ("node", "-m", "alice", "config", "-P", "hosted", "--yes")
    assert line("node", "-m", "alice", "config", "--cron", "0 13 * * *", "--register-webhook")[0] == 0
    code, said = line(*to_hosted)
    assert code == 2 and "no schedules" in said and line.bench.uploads() == 0, "refused before anything is changed"
    assert line("node", "-m", "alice", "config", "--cron", "")[0] == 0
    code, said = line(*to_hosted, "--dry-run")
    assert code == 0 and "1 vCPU, 4 GiB" in said and "until then aws runs it" in said, said
    assert "only the website" in said and "Uploads stay" not in said, said
    line.bench.node("def predict(a, b, c):\n    pass\n")
    code, said = line(*to_hosted)
    assert code == 1 and "one or two arguments" in said, said
    assert line.model["webhook"] and line.model["pickle_id"] is None and aws.deployments, "it serves all the same"
    line.bench.node()
    code, said = line(*to_hosted)
    assert code == 0 and "aws is not needed" not in said, said
    assert line.model["pickle_id"] and line.model["webhook"] is None and not aws.configured
    (node,) = json.loads(line("node", "list", "--json")[1])
    assert (node["provider"], node["also_on"]) == ("hosted", None)

    back = ("node", "-m", "alice", "config", "-P", "aws", "--yes")
    code, said = line(*back)
    assert code == 1 and "only its website" in said and line.model["pickle_id"] and not aws.configured, said
    account = line.bench.sandbox.running.sandbox.account
    account.change(account.model(line.bench.sandbox.models["alice"]), pickle_id=None)
    code, said = line(*back)
    assert code == 0 and "deploy" in said and "Uploads stay at Numerai" in said, said
    assert line.model["webhook"] and aws.configured and not list((line.bench.folder / "home/hosted/nodes").iterdir())


def test_a_move_that_was_ended_before_the_assignment_goes_on(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    aws, move = moved_from_aws(line), ("node", "-m", "alice", "config", "-P", "hosted", "--yes")

    def stop(*_: Any) -> None:
        raise NumeraiError("stopped", code="stopped")

    with monkeypatch.context() as patched:
        patched.setattr(line.bench.provider, "assign", stop)
        code, said = line(*move)
    assert code == 1 and line.model["webhook"] and aws.deployments, "Numerai calls what runs it"
    code, said = line(*move)
    assert code == 0 and line.bench.uploads() == 1 and line.model["pickle_id"] and not aws.configured, said


def registered(line: Line) -> None:
    """Numerai calls a webhook for alice."""
    line.bench.sandbox.graphql(
        "mutation($m: String, $u: String) {setSubmissionWebhook(modelId: $m, newSubmissionWebhook: $u)}",
        m=line.bench.sandbox.models["alice"],
        u=WEBHOOK,
    )


def foreign_upload(line: Line) -> str:
    """An upload that another home has made runs for alice; its id."""
    folder = line.bench.folder / "other"
    folder.mkdir()
    other = HostedBench(folder, line.bench.sandbox, rehearses=False)
    other.ready(GOOD + "# another home's\n")
    return str(line.model["pickle_id"])


def edited_meanwhile(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody saves the folder's code while a deploy waits for Numerai."""
    deploy = line.bench.provider.deploy

    def and_edit(*arguments: Any, **named: Any) -> Deployment:
        done = deploy(*arguments, **named)
        line.bench.node(GOOD + "# edited\n")
        return done

    monkeypatch.setattr(line.bench.provider, "deploy", and_edit)


def test_a_folder_that_changes_during_a_move_leaves_the_model_with_what_was_uploaded(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = moved_from_aws(line)
    edited_meanwhile(line, monkeypatch)
    code, said = line("node", "-m", "alice", "config", "-P", "hosted", "--yes")
    assert code == 0 and not aws.configured, said
    assert line.model["pickle_id"] and line.model["webhook"] is None


def test_a_folder_that_changes_during_a_deploy_is_asked_about_all_the_same(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(line)
    edited_meanwhile(line, monkeypatch)
    code, said = line("node", "-m", "alice", "deploy", answer=True)
    assert code == 0 and len(line.asked) == 1 and line.model["pickle_id"], said


def nothing_ready(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line.bench.provider, "ready", lambda *_: None)


def does_not_assign(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line.bench.provider, "assign", lambda *_: None)


@pytest.mark.parametrize("fault", [nothing_ready, does_not_assign])
def test_what_numerai_does_not_run_is_never_called_deployed(
    line: Line, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Line, pytest.MonkeyPatch], None]
) -> None:
    aws = moved_from_aws(line)
    fault(line, monkeypatch)
    code, said = line("node", "-m", "alice", "config", "-P", "hosted", "--yes")
    assert code == 1 and "does not run" in said and "Run the same command again" in said, said
    assert aws.configured and aws.deployments and line.model["webhook"], "the old side serves"


@pytest.mark.parametrize("fault", [nothing_ready, does_not_assign])
def test_a_deploy_does_not_say_deployed_where_numerai_does_not_run_it(
    line: Line, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Line, pytest.MonkeyPatch], None]
) -> None:
    configured(line)
    foreign = foreign_upload(line)
    fault(line, monkeypatch)
    code, said = line("node", "-m", "alice", "deploy", "--yes")
    assert code == 1 and "is deployed" not in said, said
    assert f"but upload {foreign}" in said and line.model["pickle_id"] == foreign, said


def test_a_move_that_goes_on_deploys_where_a_foreign_upload_was_assigned_meanwhile(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, move = moved_from_aws(line), ("node", "-m", "alice", "config", "-P", "hosted", "--yes")

    def stop(*_: Any, **__: Any) -> None:
        raise NumeraiError("stopped", code="stopped")

    with monkeypatch.context() as patched:
        patched.setattr(line.bench.provider, "deploy", stop)
        assert line(*move)[0] == 1
    account = line.bench.sandbox.running.sandbox.account
    account.change(account.model(line.bench.sandbox.models["alice"]), webhook=None)
    foreign = foreign_upload(line)
    code, said = line(*move)
    assert code == 0 and not aws.configured, said
    assert line.model["pickle_id"] not in (None, foreign) and line.bench.uploads() == 2


@pytest.mark.parametrize(("moves", "beside"), [(False, None), (False, "gone"), (True, None)])
def test_an_assignment_that_fails_where_the_webhook_cannot_be_given_back_says_that_nobody_is_called(
    line: Line, monkeypatch: pytest.MonkeyPatch, moves: bool, beside: str | None
) -> None:
    aws = moved_from_aws(line) if moves else None
    command = ("config", "-P", "hosted") if moves else ("deploy",)
    if aws is None:
        registered(line)
        configured(line)
        store = HomeStore(line.bench.folder / "home")
        store.save_node(replace(store.nodes()["numerai-alice"], also_on=beside))

    def away(*_: Any) -> Any:
        raise ApiError("Numerai is away", code="numerai-unreachable")

    def assign(*_: Any) -> None:
        for name in ("models", "set_webhook"):
            faulty.setattr(HttpNumeraiApi, name, away)
        raise ApiError("the assignment failed", code="assignment-failed")

    with monkeypatch.context() as faulty:
        faulty.setattr(line.bench.provider, "assign", assign)
        code, said = line("node", "-m", "alice", *command, "--yes")
    assert code == 1 and "the assignment failed" in said, said
    assert "Numerai calls nobody for alice now: run the same command again" in said, said
    assert ("or `numerai node -m numerai-alice config -P aws`" in said) == moves, said
    assert "config -P gone" not in said
    assert line.model["webhook"] is None and line.model["pickle_id"] is None
    if aws is not None:
        assert aws.deployments, "the old side stays"
        code, said = line("node", "-m", "alice", "config", "-P", "aws", "--yes")
        assert code == 0 and line.model["webhook"], said
    else:
        assert line("node", "-m", "alice", "deploy", "--yes")[0] == 0 and line.model["pickle_id"]


def test_the_webhook_is_given_back_although_the_models_cannot_be_asked_for(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(line)
    configured(line)

    def away(*_: Any) -> Any:
        raise ApiError("Numerai is away", code="numerai-unreachable")

    def assign(*_: Any) -> None:
        monkeypatch.setattr(HttpNumeraiApi, "models", away)
        raise ApiError("the assignment failed", code="assignment-failed")

    monkeypatch.setattr(line.bench.provider, "assign", assign)
    code, said = line("node", "-m", "alice", "deploy", "--yes")
    assert code == 1 and "the assignment failed" in said and "registered again" in said, said
    assert line.model["webhook"].startswith("https://node.example.com/numerai-alice/")


def test_a_foreign_upload_is_named_before_it_is_replaced_and_runs_on_after_a_no(line: Line) -> None:
    configured(line)
    foreign = foreign_upload(line)
    code, said = line("node", "-m", "alice", "status")
    assert code == 0 and f"elsewhere, upload {foreign}" in said and "just now" not in said, said
    code, said = line("node", "-m", "alice", "deploy", answer=False)
    assert "takes the place of the upload that Numerai runs now" in line.asked[0]
    assert code == 1 and "goes on running the one before" in said and "does not run it" not in said, said
    assert line.model["pickle_id"] == foreign


def test_what_comes_back_is_deployed_before_numerai_calls_it(line: Line) -> None:
    aws = moved_from_aws(line)
    assert line("node", "-m", "alice", "config", "-P", "hosted", "--yes")[0] == 0
    account = line.bench.sandbox.running.sandbox.account
    account.change(account.model(line.bench.sandbox.models["alice"]), pickle_id=None)
    code, said = line("node", "-m", "alice", "config", "-P", "aws", "--yes")
    assert code == 0 and "never deployed" not in said and "until then hosted runs it" not in said, said
    assert aws.deployments and line.model["webhook"]


def test_uninstall_does_not_speak_of_money_for_what_numerai_runs(line: Line) -> None:
    configured(line)
    code, said = line("uninstall", "--yes")
    assert code != 0 and "numerai-alice on hosted" in said and "destroy-all" in said and "cost money" not in said, said


class TestTheWatcher:
    """It needs neither a webhook nor a schedule to leave such a node alone, and its rescue is a trigger."""

    @pytest.fixture
    def watch(self, line: Line) -> Watcher:
        bench = line.bench
        node = bench.ready()
        api = HttpNumeraiApi(bench.keys)
        self.told: list[Notice] = []

        def tell(notice: Notice) -> dict[str, str | None]:
            self.told.append(notice)
            return {"me": None}

        watcher = Watcher(
            store=SimpleNamespace(nodes=lambda: {node.name: node}),
            api=lambda: api,
            provider_named=lambda name: bench.provider,
            ledger=Ledger(bench.folder / "rounds.db"),
            notifier=SimpleNamespace(tell=tell),
            clock=bench.context.clock,
        )
        bench.sandbox.clock(freeze=True, advance=60)
        watcher.look()
        return watcher

    def test_a_round_that_numerai_runs_is_left_alone(self, line: Line, watch: Watcher) -> None:
        sandbox = line.bench.sandbox
        sandbox.open_round("classic", minutes=60)
        wait_for(lambda: sandbox.entry()["status"] == "on-time")
        assert watch.look().findings[-1].step is Step.SUBMITTED
        assert len(line.bench.provider.runs("numerai-alice")) == 1

    def test_a_round_that_numerai_does_not_run_is_triggered_once_after_the_grace(
        self, line: Line, watch: Watcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sandbox, numerai = line.bench.sandbox, line.bench.sandbox.running.sandbox
        monkeypatch.setattr(numerai.compute, "round_opened", lambda *_: None)
        sandbox.open_round("classic", minutes=60)
        assert watch.look().findings[-1].step is Step.WAITING
        sandbox.clock(advance=11 * 60)
        assert watch.look().findings[-1].step is Step.TRIGGERED
        wait_for(lambda: sandbox.entry()["status"] == "on-time")
        assert watch.look().findings[-1].step is Step.SUBMITTED
        assert len(line.bench.provider.runs("numerai-alice")) == 1
