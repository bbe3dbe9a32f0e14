"""The handlers that come with the tool, each on its own: programs, reports, notices, uploads, and numerauto's names."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from numerai_compute import numerauto
from numerai_compute.errors import UsageError
from numerai_compute.events import (
    CommandFailed,
    CommandRunner,
    EventHandler,
    NotificationSender,
    PredictionUploader,
    ReportWriter,
)
from numerai_compute.events.command import run_command
from numerai_compute.events.report import as_html
from numerai_compute.events.surroundings import find_model
from numerai_compute.events.uploader import read_predictions
from numerai_compute.models import Model, NoticeKind
from numerai_compute.numerauto import eventhandlers, robust_numerapi
from numerai_compute.numerauto.command import CommandlineExecutor
from numerai_compute.numerauto.loop import NumerautoLoop
from numerai_compute.numerauto.napi import NumerAPIError, RobustNumerAPI
from numerai_compute.numerauto.report import ReportMailer

from tests.listeners import smtp_inbox
from tests.unit.events.conftest import MODEL, SECRET, Recorder, World

PRINT_ALL = "import json,os,sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


class Submitting(EventHandler):
    """Submits something in each round."""

    def on_new_tournament_data(self, round_number: int) -> None:
        self.daemon.report["mine"]["answer"] = 42
        self.daemon.submit("predictions")


def printed(caplog: pytest.LogCaptureFixture) -> tuple[list[str], dict[str, str]]:
    line = next(text for text in caplog.messages if text.startswith("cmd | "))
    arguments, environment = json.loads(line.removeprefix("cmd | "))
    return arguments, environment


# programs


def test_a_program_gets_the_round_and_the_data(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMERAI_SECRET_KEY", SECRET)
    runner = CommandRunner(
        "cmd",
        on_new_tournament_data=[sys.executable, "-c", PRINT_ALL, "round {round}", "{data}"],
        environment={"MINE": "1"},
        files=["train.parquet"],
    )
    with caplog.at_level(logging.INFO):
        rounds = world.daemon(runner).run(single_run=True)
    arguments, environment = printed(caplog)
    folder = Path(arguments[1])
    assert rounds[0].failed == [] and arguments[0] == "round 100"
    assert {path.name for path in folder.iterdir()} == {"live.parquet", "train.parquet"}
    assert environment["NUMERAI_ROUND"] == "100" and environment["NUMERAI_DATA"] == str(folder)
    assert environment["NUMERAI_EVENT"] == "on_new_tournament_data" and environment["MINE"] == "1"
    assert "NUMERAI_SECRET_KEY" not in environment and "MODEL_ID" not in environment


def test_a_program_of_a_node_gets_the_keys_which_are_not_logged(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = tmp_path / "environment.json"
    write = f"import json,os; print(os.environ); json.dump(dict(os.environ), open({str(held)!r}, 'w'))"
    runner = CommandRunner("cmd", on_new_tournament_data=[sys.executable, "-c", write], with_keys=True)
    with caplog.at_level(logging.INFO):
        world.daemon(runner).run(single_run=True)
    environment = json.loads(held.read_text())
    assert (environment["NUMERAI_SECRET_KEY"], environment["MODEL_ID"]) == (SECRET, MODEL.id)
    assert "NUMERAI_SECRET_KEY" in caplog.text and SECRET not in caplog.text


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], "exit code 3"),
        (["no-such-program-anywhere"], "Cannot run no-such-program-anywhere"),
    ],
)
def test_a_program_that_fails_fails_the_event(argv: list[str], why: str) -> None:
    with pytest.raises(CommandFailed, match=why):
        run_command(argv, dict(os.environ))


@pytest.mark.slow
def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.2 s"):
        run_command([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), timeout=0.2)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("line", ["sleep 60 & sleep 60", "sleep 60 & exit 0"])
def test_what_a_program_has_started_is_ended_with_it(line: str) -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.2 s"):
        run_command(["sh", "-c", line], dict(os.environ), timeout=0.2)


def test_a_command_is_never_one_text() -> None:
    with pytest.raises(TypeError, match="no shell runs here"):
        CommandRunner("cmd", on_round_begin="echo hello")


def test_numerautos_command_line_becomes_words() -> None:
    executor = CommandlineExecutor("cmd", None, 'python "my script.py" --round=%round% %dataset_path%')
    assert executor.commands == {"on_new_tournament_data": ["python", "my script.py", "--round={round}", "{data}"]}
    assert executor.handles("on_new_tournament_data") and not executor.handles("on_new_training_data")
    for line in ("a | b", "a > b", "a && b", "echo $(b)"):
        with pytest.raises(ValueError, match="only a shell understands"):
            CommandlineExecutor("cmd", line)


# reports


@pytest.mark.parametrize(("kind", "suffix"), [("markdown", "md"), ("html", "html")])
def test_a_report_of_the_round(world: World, kind: Any, suffix: str) -> None:
    world.daemon(Submitting(), Recorder("<bad>", on_round_begin=1), ReportWriter("report", kind)).run(single_run=True)
    text = (world.home / "events" / "numerai" / "reports" / f"round_100.{suffix}").read_text()
    assert "alice: submission-1 (on-time)" in text and "answer: 42" in text
    failed = "on_round_begin of <bad>: RuntimeError"
    assert (failed.replace("<", "&lt;").replace(">", "&gt;") if kind == "html" else failed) in text


def test_a_list_in_a_page_belongs_to_its_item() -> None:
    page = as_html("# T\n\n- a\n  - b: <c>\n- d\n", "T")
    assert "<ul>\n<li>a\n<ul>\n<li>b: &lt;c&gt;\n</ul>\n<li>d\n</ul>" in page


def test_a_report_by_mail(world: World) -> None:
    with smtp_inbox() as inbox:
        server = ("127.0.0.1", inbox.port, None, None)
        mailer = ReportMailer("mail", *server, "a@example.org", "b@example.org", smtp_tls=False)
        rounds = world.daemon(Submitting(), mailer).run(single_run=True)
    assert rounds[0].failed == []
    assert inbox.mails[0]["To"] == "b@example.org" and inbox.mails[0]["Subject"] == "Numerai report: round 100"
    assert "submission-1" in inbox.mails[0].get_content()


def test_a_mail_server_that_is_away_fails_only_the_report(world: World) -> None:
    mailer = ReportMailer("mail", "127.0.0.1", 9, "user", "a long password", "a@example.org", "b@example.org")
    rounds = world.daemon(mailer, Submitting()).run(single_run=True)
    assert rounds[0].failed == ["mail: on_cleanup"] and len(rounds[0].submissions) == 1


# notices


def test_notices_of_success_lateness_and_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    from numerai_compute.node_template.numerai_node.errors import Covered, Late, Unconfirmed

    world.daemon(Submitting(), NotificationSender(), Recorder("bad", on_new_tournament_data=99)).run(single_run=True)
    assert [notice.kind for notice in world.notifier.told] == [NoticeKind.SUCCESS, NoticeKind.FAILURE]
    assert "alice" in world.notifier.told[0].title and "bad" in world.notifier.told[1].title
    assert "mail was not told: the server is down" in caplog.text
    world.notifier.told.clear()
    kinds = {Late: NoticeKind.LATE, Covered: NoticeKind.COVERED, Unconfirmed: NoticeKind.FAILURE}
    for number, kind in enumerate(kinds):
        world.node.late = kind("it does not count", "submission-9", 100)
        world.daemon(Submitting(f"other-{number}"), NotificationSender(f"quiet-{number}", successes=False)).run(
            single_run=True
        )
    assert [notice.kind for notice in world.notifier.told] == list(kinds.values())


class Telling(EventHandler):
    """Fails and says a secret."""

    def __init__(self, secret: str):
        super().__init__()
        self.secret = secret

    def on_round_begin(self, round_number: int) -> None:
        raise ValueError(f"refused: curl -u {self.secret}")


@pytest.mark.slow
@pytest.mark.parametrize("secret", [SECRET, "ITSOWNKEY", "MAILPASSWORD"])
def test_no_notice_and_no_report_holds_a_secret(world: World, secret: str) -> None:
    uploader = PredictionUploader("up", "mine.csv", "OTHERID", "ITSOWNKEY")
    other = Recorder()
    with smtp_inbox() as inbox:
        server = ("127.0.0.1", inbox.port, None, "MAILPASSWORD")
        mailer = ReportMailer("mail", *server, "a@example.org", "b@example.org", smtp_tls=False)
        handlers = (Telling(secret), NotificationSender(), ReportWriter(), other, mailer, uploader)
        world.daemon(*handlers, max_attempts=1).run(single_run=True)
    failure = next(detail for event, detail in other.seen if event == "on_failure")
    said = (
        failure.traceback,
        next(notice.text for notice in world.notifier.told if "Telling" in notice.title),
        (world.home / "events" / "numerai" / "reports" / "round_100.md").read_text(),
        inbox.mails[0].get_content(),
    )
    assert [secret in text for text in said] == [False] * 4
    assert all("ValueError: refused: curl -u ***" in text for text in said)


# uploads


class Leaving(EventHandler):
    """Leaves predictions as numerauto's handlers did."""

    column = "prediction_numerai"

    def on_new_tournament_data(self, round_number: int) -> None:
        folder = self.daemon.prediction_folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mine.csv").write_text(f"id,{self.column}\n001,0.25\n002,0.5\n")


@pytest.mark.parametrize("column", ["prediction_numerai", "predict_numerai", "probability_numerai"])
def test_the_uploader_takes_numerautos_column(world: World, monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    monkeypatch.setattr(Leaving, "column", column)
    uploader = PredictionUploader("up", "mine.csv", "PUBLICID", SECRET)
    rounds = world.daemon(Leaving(), uploader).run(single_run=True)
    frame = world.node.submitted[0]
    assert list(frame.columns) == ["id", "prediction"] and list(frame["id"]) == ["001", "002"]
    assert uploader.state == {"round": 100, "model": "alice", "submission_id": "submission-1"}
    assert rounds[0].submissions[0].handler == "up"


def test_the_uploader_says_what_is_missing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    rounds = world.daemon(PredictionUploader("up", "mine.csv"), max_attempts=1).run(single_run=True)
    assert rounds[0].failed == ["up: on_new_tournament_data"] and "There are no predictions to submit" in caplog.text


def test_todays_files_go_to_the_runtime_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    for columns in ("prediction", "prediction,prediction_numerai", "prediction_a,prediction_b"):
        path.write_text(f"id,{columns}\na,0.5,0.5\n")
        assert read_predictions(path) == path


def test_which_model_is_meant(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(world.api, 8, None) == MODEL
    world.api.by_id["id-bob"] = Model("id-bob", "bob", 8)
    for name in ("bob", "id-bob", "numerai-bob"):
        assert find_model(world.api, 8, name).name == "bob"
    with pytest.raises(UsageError, match="alice, bob"):
        find_model(world.api, 8, None)
    monkeypatch.setenv("MODEL_ID", "id-bob")
    assert find_model(world.api, 8, None).name == "bob"
    with pytest.raises(UsageError, match="none"):
        find_model(world.api, 12, None)


# numerauto's names


def test_numerautos_names_are_there() -> None:
    for name in eventhandlers.__all__:
        assert isinstance(getattr(eventhandlers, name), type)
    assert issubclass(eventhandlers.BasicReportWriter, numerauto.eventhandlers.EventHandler)
    assert robust_numerapi.NumerAPIError is NumerAPIError
    assert issubclass(robust_numerapi.NumerAPIAuthorizationError, Exception)


class Uploading(EventHandler):
    """Uploads as numerauto's own uploader did."""

    def on_new_tournament_data(self, round_number: int) -> None:
        path = self.daemon.prediction_folder / "mine.csv"
        schedule = cast(NumerautoLoop, self.daemon).config["napi_wait_schedule"]
        napi = RobustNumerAPI(public_id="PUBLICID", secret_key=SECRET, retry_wait_schedule=schedule)
        try:
            napi.upload_predictions(path, tournament=8)
        except NumerAPIError as error:
            self.state["error"] = str(error)


def test_an_uploader_of_ones_own_as_numerautos(world: World) -> None:
    from numerai_compute.node_template.numerai_node.errors import BadPredictions

    uploading = Uploading()
    rounds = world.daemon(Leaving(), uploading).run(single_run=True)
    assert rounds[0].failed == [] and len(rounds[0].submissions) == 1
    with pytest.raises(UsageError, match="only while a daemon runs"):
        RobustNumerAPI("PUBLICID", SECRET)
    world.node.late = BadPredictions("ids are missing")
    other = Uploading("other")
    world.daemon(Leaving("leaving again"), other).run(single_run=True)
    assert other.state == {"error": "ids are missing"}


def test_numerautos_daemon(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(numerauto, "Factory", lambda: world)
    daemon = numerauto.Numerauto(tournament_id=8, config={"wakeup_time": 10, "data_directory": "./elsewhere"})
    handler = Recorder()
    daemon.add_event_handler(handler)
    daemon.run(single_run=True)
    assert "on_new_tournament_data" in handler.events
    assert daemon.tournaments == {8: "numerai", 11: "signals", 12: "crypto"}
    assert daemon.get_dataset_path(100) == Path("elsewhere/numerai_dataset_100") and daemon.round_number == 100


def test_numerautos_napi(world: World, tmp_path: Path) -> None:
    daemon = world.daemon()
    assert daemon.napi.get_current_round(tournament=8) == 100
    details = daemon.napi.get_current_round_details(tournament=8)
    assert details["number"] == 100 and details["closeStakingTime"] == "2026-01-06T13:00:00+00:00"
    assert details["closeTime"] == "2026-01-07T12:00:00+00:00"
    assert {"tournament": 8, "name": "numerai"} in daemon.napi.get_tournaments()
    path = tmp_path / "p.csv"
    path.write_text("id,prediction\na,0.5\n")
    own = RobustNumerAPI("PUBLICID", SECRET, daemon=daemon, retry_wait_schedule=[1])
    assert own.upload_predictions(path, tournament=8) == "submission-1"
    with pytest.raises(AttributeError, match="get_dataset_path"):
        daemon.napi.download_current_dataset()


def test_keys_that_only_an_uploader_has(world: World) -> None:
    from dataclasses import replace

    from numerai_compute.errors import EnvironmentNotReady

    def none() -> Any:
        raise EnvironmentNotReady("There are no Numerai keys.")

    daemon = world.daemon(PredictionUploader("up", "mine.csv", "OTHERID", SECRET))
    daemon.surroundings = replace(world.surroundings, keys=none)
    assert daemon.keys().public_id == "OTHERID"
    daemon.remove_event_handler("up")
    with pytest.raises(EnvironmentNotReady):
        daemon.keys()


def test_numerautos_modules_are_all_there_under_their_names() -> None:
    """numerauto 0.3.1's own: `numerauto`, `eventhandlers`, `robust_numerapi`; of `utils` nothing is left."""
    from numerai_compute import __version__, numerauto
    from numerai_compute.numerauto import eventhandlers, robust_numerapi
    from numerai_compute.numerauto.numerauto import Numerauto

    assert Numerauto is numerauto.Numerauto and numerauto.__version__ == __version__
    assert set(eventhandlers.__all__) == {
        "EventHandler", "SKLearnModelTrainer", "PredictionUploader", "CommandlineExecutor",
        "PredictionStatisticsGenerator", "BasicReportWriter", "BasicReportEmailer",
    }  # fmt: skip
    assert set(robust_numerapi.__all__) == {"NumerAPIAuthorizationError", "NumerAPIError", "RobustNumerAPI"}
