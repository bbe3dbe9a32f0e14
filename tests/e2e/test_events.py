"""Scripts for numerauto, with only their import lines changed, run against the sandbox: on time, and once a round.

With NUMERAI_REAL_DATA they also run on genuine rows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.sandbox.settings import parse_models

from tests.fixtures.sandbox import ServedSandbox, wait_for

pytestmark = pytest.mark.e2e

SUBCLASS = """
import logging

import numpy as np
import pandas as pd

from numerauto import Numerauto
from numerauto.eventhandlers import EventHandler, PredictionUploader

logging.basicConfig(level=logging.INFO)


class Regression(EventHandler):
    def __init__(self):
        super().__init__('regression')
        self.model = None

    def on_start(self):
        print('it begins')

    def on_round_begin(self, round_number):
        print('round', round_number, 'of', self.numerauto.tournaments[self.numerauto.tournament_id])
        print('the API says', self.numerauto.napi.get_current_round(tournament=self.numerauto.tournament_id))

    def on_new_training_data(self, round_number):
        table = pd.read_csv(self.numerauto.get_dataset_path(round_number) / 'numerai_training_data.csv', header=0)
        tournament = self.numerauto.tournaments[self.numerauto.tournament_id]
        features = [name for name in table if name.startswith('feature')]
        self.model = np.linalg.lstsq(table[features], table['target_' + tournament], rcond=None)[0]
        print('trained on', len(table), 'rows')

    def on_new_tournament_data(self, round_number):
        table = pd.read_csv(self.numerauto.get_dataset_path(round_number) / 'numerai_tournament_data.csv', header=0)
        tournament = self.numerauto.tournaments[self.numerauto.tournament_id]
        features = [name for name in table if name.startswith('feature')]
        table['prediction_' + tournament] = (table[features] @ self.model).clip(0.01, 0.99)
        part = 'tournament_{}/round_{}'.format(tournament, round_number)
        where = self.numerauto.config['prediction_directory'] / part
        where.mkdir(parents=True, exist_ok=True)
        table[['id', 'prediction_' + tournament]].to_csv(where / 'regression.csv', index=False)
        self.numerauto.report['regression']['rows'] = len(table)
        self.numerauto.persistent_state['rows'] = len(table)

    def on_cleanup(self, round_number):
        self.model = None

    def on_shutdown(self):
        print('it ends')


auto = Numerauto(tournament_id=8)
auto.add_event_handler(Regression())
auto.add_event_handler(PredictionUploader('uploader', 'regression.csv', PUBLIC, SECRET))
auto.run(single_run=True)
"""

EXAMPLE = """
import logging
import sys

from sklearn.linear_model import LogisticRegression

from numerauto import Numerauto
from numerauto.eventhandlers import SKLearnModelTrainer, PredictionUploader, CommandlineExecutor
from numerauto.eventhandlers import PredictionStatisticsGenerator, BasicReportWriter

logging.basicConfig(level=logging.DEBUG, handlers=[logging.FileHandler('debug.log'), logging.StreamHandler(sys.stdout)])

na = Numerauto()
na.add_event_handler(SKLearnModelTrainer('logistic', lambda: LogisticRegression(max_iter=200)))
na.add_event_handler(PredictionStatisticsGenerator('statistics', 'logistic.csv'))
na.add_event_handler(PredictionUploader('uploader', 'logistic.csv', PUBLIC, SECRET))
na.add_event_handler(CommandlineExecutor('say', on_new_tournament_commandline='PYTHON -c "print(3)" %round%'))
na.add_event_handler(BasicReportWriter('writer'))

try:
    na.run(single_run=True)
except Exception as e:
    logging.exception(e)
"""

MODERN = """
from numerai_compute.events import EventHandler, PredictionUploader, ReportWriter, SKLearnModelTrainer


def forest():
    from lightgbm import LGBMClassifier
    return LGBMClassifier(n_estimators=20, num_leaves=7, n_jobs=1, verbosity=-1)


class Broken(EventHandler):
    def on_new_tournament_data(self, round_number):
        raise RuntimeError('nobody is harmed')


class Counting(EventHandler):
    def on_submission(self, submission):
        self.state['rounds'] = [*self.state.get('rounds', []), submission.round_number]

    def on_failure(self, failure):
        self.state['failures'] = self.state.get('failures', 0) + 1


handlers = [
    Broken,
    Counting('counting'),
    SKLearnModelTrainer('forest', forest),
    PredictionUploader('uploader', 'forest.csv', model='alice'),
    ReportWriter(format='html'),
]
"""

LEFT_OUT = """
from numerai_compute.events import EventHandler


class Waiting(EventHandler):
    def on_start(self):
        print('started', flush=True)

    def on_shutdown(self):
        self.state['ended'] = True
"""


def with_changed_imports(script: str, served: ServedSandbox) -> str:
    """The script as its author would change it: the import lines, and the keys that it leaves open."""
    keys = script.replace("PUBLIC", repr(served.public_id)).replace("SECRET", repr(served.secret_key))
    lines = keys.replace("PYTHON", Path(sys.executable).as_posix()).splitlines()
    return "\n".join(line.replace("from numerauto", "from numerai_compute.numerauto", 1) for line in lines)


def environment_of(served: ServedSandbox, home: Path, *, keys: bool) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMERAI_", "AWS_", "MODEL_ID"))}
    given = served.environment if keys else {"NUMERAI_API_URL": served.url}
    return {**kept, **given, "NUMERAI_HOME": str(home), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(params=["made", "real"])
def served(request: pytest.FixtureRequest, sandbox_factory: Callable[..., ServedSandbox]) -> Iterator[ServedSandbox]:
    """A sandbox with made data, and one with genuine rows."""
    if request.param == "made":
        yield sandbox_factory()
        return
    if "NUMERAI_REAL_DATA" not in os.environ:
        pytest.skip("NUMERAI_REAL_DATA names no folder with genuine rows")
    yield sandbox_factory(data=Path(os.environ["NUMERAI_REAL_DATA"]))


def on_time(served: ServedSandbox) -> list[dict[str, Any]]:
    """The submissions so far, each of which counts for its round."""
    state = served.state()
    counting = {entry["id"] for entry in state["entries"] if entry["status"] == "on-time"}
    assert counting == {submission["id"] for submission in state["submissions"]}
    submissions: list[dict[str, Any]] = state["submissions"]
    return submissions


def run_script(folder: Path, text: str, served: ServedSandbox) -> str:
    """Run a script with the folder as the current one, which holds no keys; returns what it printed."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment_of(served, folder / "home", keys=False),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert served.secret_key not in done.stdout
    return done.stdout


def test_a_subclass_for_numerauto(served: ServedSandbox, tmp_path: Path) -> None:
    printed = run_script(tmp_path, with_changed_imports(SUBCLASS, served), served)
    assert len(on_time(served)) == 1, printed
    for said in ("it begins", "round 1000 of numerai", "the API says 1000", "trained on", "it ends"):
        assert said in printed
    shared = json.loads((tmp_path / "home" / "events" / "numerai" / "shared.json").read_text())
    assert shared["last_round_processed"] == shared["last_round_trained"] == 1000 and shared["rows"] > 0
    again = run_script(tmp_path, with_changed_imports(SUBCLASS, served), served)
    assert len(on_time(served)) == 1 and "trained on" not in again


def test_the_example_with_logistic_regression(served: ServedSandbox, tmp_path: Path) -> None:
    printed = run_script(tmp_path, with_changed_imports(EXAMPLE, served), served)
    assert len(on_time(served)) == 1, printed
    assert "say | 3" in printed
    report = (tmp_path / "reports" / "round_1000.md").read_text()
    assert "validation corr" in report and "validationCorrelation" in report and "Failures\n\n- none" in report
    assert (tmp_path / "models" / "tournament_numerai" / "round_1000" / "logistic.p").is_file()
    assert (tmp_path / "predictions" / "tournament_numerai" / "round_1000" / "logistic.csv").is_file()


class Watching:
    """`numerai events run` on a file, in a folder of its own."""

    def __init__(self, folder: Path, served: ServedSandbox):
        self.folder = folder
        self.served = served
        self.command = [sys.executable, "-m", "numerai_compute", "events", "run", "handlers.py"]

    @property
    def home(self) -> Path:
        return self.folder / "home" / "events" / "numerai"

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "state" / f"handler-{name}.json").read_text())
        return found

    def start(self, text: str, *options: str) -> subprocess.Popen[str]:
        (self.folder / "handlers.py").write_text(text, encoding="utf-8")
        return subprocess.Popen(
            [*self.command, *options],
            cwd=self.folder,
            env=environment_of(self.served, self.folder / "home", keys=True),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, text: str, *options: str) -> tuple[int, Any, str]:
        process = self.start(text, "--json", *options)
        out, err = process.communicate(timeout=120)
        assert self.served.secret_key not in out + err
        return process.returncode, json.loads(out), err


def test_a_file_of_handlers_round_after_round(sandbox: ServedSandbox, tmp_path: Path) -> None:
    watching = Watching(tmp_path, sandbox)
    sound = MODERN.replace("    Broken,\n", "")
    code, result, err = watching.run(sound, "--single-run")
    assert code == 0, err
    assert len(on_time(sandbox)) == 1
    assert result["rounds"][0]["trained"] == ["forest"] and result["rounds"][0]["failed"] == []
    assert watching.state("counting") == {"rounds": [1000]}
    code, result, _ = watching.run(sound, "--single-run")
    assert (code, result["rounds"]) == (0, []) and len(on_time(sandbox)) == 1
    sandbox.open_round("numerai")
    code, result, err = watching.run(sound, "--single-run", "-m", "alice")
    assert code == 0, err
    assert result["rounds"][0]["trained"] == [] and len(on_time(sandbox)) == 2
    assert watching.state("counting") == {"rounds": [1000, 1001]}
    assert "alice" in (watching.home / "reports" / "round_1001.html").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_being_told_to_stop(sandbox: ServedSandbox, tmp_path: Path) -> None:
    watching = Watching(tmp_path, sandbox)
    process = watching.start(LEFT_OUT)
    try:
        state = watching.home / "progress" / "handler-Waiting.json"
        wait_for(lambda: state.exists() and "on_cleanup" in json.loads(state.read_text())["done"])
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in err, err
    assert watching.state("Waiting") == {"ended": True}


def test_what_is_wrong_is_said_in_a_few_lines(sandbox: ServedSandbox, tmp_path: Path) -> None:
    watching = Watching(tmp_path, sandbox)
    code, result, _ = watching.run("x = 1\n", "--single-run")
    assert (code, result["error"]["code"]) == (1, "no-handlers")
    code, result, _ = watching.run(MODERN, "--single-run", "-m", "nobody")
    assert (code, result["error"]["code"]) == (2, "unknown-model")


SIMPLE = """
from numerai_compute.events import EventHandler


class Simple(EventHandler):
    def on_new_tournament_data(self, round_number):
        live = self.daemon.node.live(self.daemon.node.features("small"))
        self.daemon.submit(live.mean(axis=1).rank(pct=True) * 0.98 + 0.01)
"""


def test_a_forgotten_model_costs_no_round(sandbox_factory: Callable[..., ServedSandbox], tmp_path: Path) -> None:
    served = sandbox_factory(models=parse_models(("alice", "bob")))
    watching = Watching(tmp_path, served)
    code, result, err = watching.run(SIMPLE, "--single-run")
    assert code == 2 and result["error"]["code"] == "model-missing", err
    code, result, err = watching.run(SIMPLE, "--single-run", "-m", "alice")
    assert code == 0 and len(result["rounds"][0]["submissions"]) == 1, err
    code, result, err = watching.run(SIMPLE, "--single-run", "-m", "alice", "--again")
    assert code == 0 and [each["failed"] for each in result["rounds"]] == [[]], err
