"""What commands say of what is: nothing green that is not, and why something failed wherever it is shown."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.commands.patience import word_when_slow
from numerai_compute.errors import ProviderError
from numerai_compute.models import Check, CheckStatus, EntryStatus, Node, Run, RunState, Submission, SubmissionEntry
from numerai_compute.ports import Silence
from numerai_compute.render import Renderer

from tests.fakes import NOW, unreachable
from tests.unit.commands.conftest import FakeFactory, Line


@pytest.fixture
def ready(line: Line, folder: Path) -> Line:
    """A node that is configured and deployed, and whose runs submit."""
    assert line("node", "-m", "alice", "config", "-p", str(folder)).exit_code == 0
    assert line("node", "deploy").exit_code == 0

    def play(model: object, trigger_id: str) -> None:
        line.provider.trigger(HomeStore(line.home).nodes()["numerai-alice"], trigger_id)
        line.api.held.append(Submission("sub", 100, trigger_id, "f.csv", NOW))
        line.api.entries_by["id-alice"] = [SubmissionEntry(100, EntryStatus.ON_TIME, "sub", "f.csv", NOW)]

    line.api.on_trigger = play
    return line


def test_a_test_says_first_that_it_submits(ready: Line) -> None:
    answer = ready("node", "test")
    assert answer.exit_code == 0
    assert answer.out.splitlines()[0].startswith("This submits to the live model alice")
    assert answer.out.splitlines()[-1] == "numerai-alice works."
    as_json = ready("node", "test", "--json").json
    assert as_json["submits_to"] == "alice" and as_json["verdict"] == "works" and as_json["unproven"] == []


def test_a_test_warns_of_a_folder_that_has_changed(ready: Line) -> None:
    ready.provider.hash = "h2"
    answer = ready("node", "test")
    assert answer.exit_code == 0 and "has changed since the deploy" in answer.err
    as_json = ready("node", "test", "--json")
    assert "has changed since the deploy" in as_json.json["warnings"][0]


def test_a_test_while_no_round_is_open_ends_with_4(ready: Line) -> None:
    ready.api.round = replace(ready.api.round, deadline=NOW)  # type: ignore[type-var]
    ready.provider.ending = {"state": RunState.FAILED, "exit_code": 69, "failure": "late", "message": "late"}
    ready.api.on_trigger = lambda model, trigger_id: ready.provider.trigger(
        HomeStore(ready.home).nodes()["numerai-alice"], trigger_id
    )
    answer = ready("node", "test")
    assert answer.exit_code == 4 and "No round is open now" in answer.err
    assert answer.out.count("✓") == 3 and "cannot be proven now" in answer.out
    assert "does not work" not in answer.out
    as_json = ready("node", "test", "--json")
    assert as_json.exit_code == 4 and as_json.json["verdict"] == "unproven" and as_json.json["unproven"]


def test_a_test_without_submitting_is_refused_where_it_could_submit(ready: Line) -> None:
    for arguments in (("--no-submit",), ("--no-submit", "--local")):
        answer = ready("node", "test", *arguments)
        assert answer.exit_code == 1 and "holds no numerai_node" in answer.err, arguments
    assert not ready.provider.all_runs and not ready.api.held


@pytest.fixture
def rehearsed(ready: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Runs of the folder, here and now, that succeed."""

    class Rehearsal:
        def rehearse(self, node: Node, command: list[str], **how: object) -> Run:
            return Run("local-1", node.name, RunState.SUCCEEDED, NOW, exit_code=0)

    monkeypatch.setattr(FakeFactory, "rehearsal", Rehearsal())
    monkeypatch.setattr("numerai_compute.usecases.withholding.check_withholds", lambda node: None)
    return ready


def test_a_local_test_says_that_rounds_run_what_was_deployed_before(rehearsed: Line) -> None:
    rehearsed.provider.hash = "h2"
    answer = rehearsed("node", "test", "--local")
    assert answer.exit_code == 0 and "the next round runs what was deployed before" in answer.err
    assert "numerai node -m numerai-alice deploy" in answer.err
    as_json = rehearsed("node", "test", "--local", "--json").json
    assert "deployed before" in as_json["warnings"][0] and as_json["state"] == "succeeded"


def test_a_local_test_of_what_is_not_deployed_says_so(rehearsed: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(name: str) -> None:
        raise ProviderError("the cloud is silent")

    rehearsed.provider.deployments.clear()
    answer = rehearsed("node", "test", "--local")
    assert answer.exit_code == 0 and "not deployed: no round runs it" in answer.err
    monkeypatch.setattr(rehearsed.provider, "deployment", silent)
    answer = rehearsed("node", "test", "--local")
    assert answer.exit_code == 0 and "the cloud is silent" in answer.err


def test_a_local_test_claims_to_prove_the_folder_only(rehearsed: Line) -> None:
    for arguments in ((), ("--no-submit",)):
        answer = rehearsed("node", "test", "--local", *arguments)
        assert "everything" not in answer.out and "folder" in answer.out.splitlines()[0], arguments
        assert answer.err == "", "what was deployed is what is in the folder"
    assert rehearsed("node", "test", "--local", "--json").json["warnings"] == []


def test_an_interrupted_test_names_its_run(ready: Line) -> None:
    ready.provider.starts = False

    def play(model: object, trigger_id: str) -> None:
        ready.provider.trigger(HomeStore(ready.home).nodes()["numerai-alice"], trigger_id)
        raise KeyboardInterrupt

    ready.api.on_trigger = play
    answer = ready("node", "test")
    assert answer.exit_code == 130 and "Run run-1 goes on" in answer.err
    assert "numerai node -m numerai-alice logs -f --run run-1" in answer.err
    assert "numerai node -m numerai-alice cancel run-1" in answer.err and "same command again" not in answer.err
    assert ready("node", "test", "--json").json["error"]["code"] == "interrupted"


def test_following_a_log_ends_without_a_word(ready: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    ready("node", "trigger")

    def interrupted(run_id: str, *, follow: bool = False) -> list[object]:
        if follow:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(ready.provider, "logs", interrupted)
    for arguments in (("node", "logs", "-f"), ("node", "status", "-f"), ("node", "logs", "-f", "--json")):
        answer = ready(*arguments)
        assert answer.exit_code == 130 and "nterrupted" not in answer.out + answer.err, arguments


def test_a_run_that_never_started_says_why_in_its_log(ready: Line) -> None:
    ready.provider.ending = {"state": RunState.FAILED, "started_at": None, "message": "the image is not there any more"}
    ready("node", "trigger")
    for arguments in (("node", "logs"), ("node", "logs", "-f"), ("node", "logs", "--run", "run-1")):
        assert "run run-1 failed: the image is not there any more" in ready(*arguments).out, arguments
    (row,) = ready("node", "logs", "--json").out.splitlines()
    assert json.loads(row)["message"] == "the image is not there any more" and json.loads(row)["state"] == "failed"
    assert "the image is not there any more" in ready("status").out
    assert "the image is not there any more" in ready("history").out


def test_a_status_that_cannot_be_asked_for_is_not_known(ready: Line) -> None:
    ready.api.fail |= dict.fromkeys(("rounds", "submissions", "entries", "models", "upcoming_round"), unreachable())
    answer = ready("status")
    assert "not known" in answer.out and "no round is open" not in answer.out
    assert ready("status", "--json").json["tournaments"][0]["known"] is False
    assert [name for name, _ in ready.api.calls].count("models") == 1, "nobody who does not answer is asked again"


def test_status_shows_a_webhook_that_leads_elsewhere(ready: Line) -> None:
    assert "webhook" not in ready("status").out
    ready.provider.base = "http://127.0.0.1:6"
    answer = ready("status")
    assert "✗ numerai-alice webhook: Numerai calls another address" in answer.out and "doctor --fix" in answer.out
    assert ready("status", "--json").json["nodes"][0]["webhook"]["status"] == "failed"
    assert "doctor --fix" in ready("doctor").out
    fixed = ready("doctor", "--fix")
    assert "registered the webhook" in fixed.out and "✓ numerai-alice webhook" in fixed.out
    assert "webhook" not in ready("status").out


def test_config_does_not_hide_that_the_webhook_is_not_served(ready: Line, folder: Path) -> None:
    assert "Warning" not in ready("node", "-m", "alice", "config").err
    ready.provider.silent = Silence("http://127.0.0.1:5 does not answer", "numerai daemon start", elsewhere=False)
    assert "will not arrive" not in ready("node", "-m", "alice", "config").err, "the next commands start the daemon"
    ready.provider.silent = Silence("the daemon serves http://127.0.0.1:6", "restart", elsewhere=True)
    assert "will not arrive yet: the daemon serves http://127.0.0.1:6" in ready("node", "-m", "alice", "config").err


@pytest.mark.parametrize("command", [("config", "set", "port", "4001"), ("setup", "-s", "--port", "4001")])
def test_a_setting_that_moves_webhooks_says_so(ready: Line, command: tuple[str, ...]) -> None:
    assert "registered again" not in ready(*command).err
    ready.provider.base = "http://127.0.0.1:4001"
    answer = ready(*command)
    assert answer.exit_code == 0 and "must be registered again" in answer.err and "numerai-alice" in answer.err


def test_setup_says_what_the_provider_lacks(line: Line) -> None:
    line.provider.found = [Check("AWS credentials", CheckStatus.FAILED, "the part 'aws' is missing", "pip install x")]
    answer = line("setup", "-s", "-P", "aws")
    assert answer.exit_code == 3 and "✗ AWS credentials: the part 'aws' is missing" in answer.out
    assert "-> pip install x" in answer.out and "Next: see to that" in answer.out
    assert line("setup", "-s", "-P", "aws", "--json").json["lacks"][0]["mend"] == "pip install x"
    assert HomeStore(line.home).settings("setup") == {"provider": "aws"}
    assert "setup" not in line("config", "list").out.split()


def test_doctor_goes_on_without_readable_keys(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMERAI_PUBLIC_ID")
    line.home.mkdir(mode=0o700)
    (line.home / ".keys").write_text("{")
    (line.home / ".keys").chmod(0o600)
    answer = line("doctor")
    assert answer.exit_code == 3 and "✗ keys:" in answer.out and "not valid JSON" in answer.out
    assert "✓ python" in answer.out and "failed." in answer.out and answer.err == ""


def test_a_word_comes_only_when_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    with word_when_slow(Renderer(), "still asking", 60):
        pass
    said = threading.Event()

    class Listening(Renderer):
        def progress(self, text: str) -> None:
            super().progress(text)
            said.set()

    with word_when_slow(Listening(), "still asking", 0.01):
        assert said.wait(30)
    assert capsys.readouterr().err.count("still asking") == 1


def test_one_look_by_hand_is_not_called_watching(ready: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    ready("watch", "--once")
    answer = ready("status")
    assert "! nobody on this machine follows the rounds; last look: just now, by `numerai watch --once`" in answer.out
    found = ready("status", "--json").json
    assert found["watchers"] == [] and found["last_look"]["kind"] == "hand"
