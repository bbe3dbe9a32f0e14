"""What survives: a restart, a kill, another release; and what the control endpoints show."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import requests
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.sandbox.client import SandboxClient
from numerai_compute.sandbox.journal import VERSION, Journal, Table
from numerai_compute.sandbox.records import FaultRecord
from numerai_compute.sandbox.serve import serve
from numerai_compute.sandbox.settings import DataSpec, Settings, data_spec, parse_models
from numerai_compute.sandbox.switches import Switches, parse_switches

from tests.fixtures.sandbox import ServedSandbox, wait_for

Factory = Callable[..., ServedSandbox]
SPEC = DataSpec(seed=3, eras=8, rows_per_era=100, features=12)


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(**{"state": folder, "spec": SPEC, "models": parse_models(["alice"]), **changes})


class TestRestart:
    @pytest.mark.slow
    def test_everything_is_there_again(self, tmp_path: Path) -> None:
        with serve(settings(tmp_path / "state")) as running:
            first = ServedSandbox(running)
            first.graphql(
                'mutation($m: String) {setSubmissionWebhook(modelId: $m, newSubmissionWebhook: "http://a.example/t")}',
                m=first.models["alice"],
            )
            csv = first.live_predictions(tmp_path).to_csv(index=False)
            submission = first.submit(csv)
            first.set_fault("download", "drop", times=4)
            first.clock(advance=3600)
            before = first.state()
        with serve(settings(tmp_path / "state", spec=None)) as running:
            second = ServedSandbox(running)
            assert (second.public_id, second.secret_key) == (first.public_id, first.secret_key)
            after = second.state()
            for part in ("models", "rounds", "submissions", "entries", "faults", "webhook_calls"):
                assert after[part] == before[part]
            assert len(after["requests"]) >= len(before["requests"])
            assert after["clock"]["now"] > before["clock"]["now"]
            query = "query($i: ID!) {submissionDownloadAuth(id: $i) {url}}"
            second.clear_faults()
            url = second.graphql(query, i=submission)["data"]["submissionDownloadAuth"]["url"]
            assert requests.get(url, timeout=10).text == csv
            assert second.live_predictions(tmp_path).to_csv(index=False) == csv, "the spec was remembered"

    def test_what_was_queued_is_converted(self, tmp_path: Path) -> None:
        with serve(settings(tmp_path / "state")) as running:
            first = ServedSandbox(running)
            csv = first.live_predictions(tmp_path).to_csv(index=False)
            first.clock(advance=86_400 + 60)
            queued = first.submit(csv)
        with serve(settings(tmp_path / "state")) as running:
            second = ServedSandbox(running)
            assert second.submission(queued)["queued"] is True
            second.open_round("classic")
            assert second.entry()["status"] == "on-time"

    @pytest.mark.slow
    def test_a_kill_loses_nothing(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "numerai_compute", "sandbox", "serve", "--port", "0", "--host", "127.0.0.1"]
        command += ["--state", str(tmp_path / "state"), "--eras", "8", "--rows-per-era", "100", "--features", "12"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            opened = SandboxClient(said["url"]).open_round("classic")[0]["number"]
            process.kill()
            process.wait(timeout=10)
        with serve(settings(tmp_path / "state", spec=None)) as running:
            assert running.secret_key == said["secret_key"]
            assert running.models == said["models"]
            current = running.sandbox.rounds.current(8)
            assert current is not None
            assert current.number == opened

    def test_more_models_may_come(self, tmp_path: Path) -> None:
        with serve(settings(tmp_path / "state")) as running:
            alice = running.models["alice"]
        with serve(settings(tmp_path / "state", models=parse_models(["zoe:crypto"]))) as running:
            assert running.models["alice"] == alice
            assert set(running.models) == {"alice", "zoe"}


class TestRefusals:
    def test_two_sandboxes_on_one_state(self, tmp_path: Path) -> None:
        with serve(settings(tmp_path / "state")), pytest.raises(NumeraiError) as refused:
            serve(settings(tmp_path / "state"))
        assert refused.value.code == "state-busy"

    @pytest.mark.parametrize(("version", "code"), [(VERSION + 1, "state-newer"), (VERSION - 1, "state-older")])
    def test_another_layout(self, tmp_path: Path, version: int, code: str) -> None:
        Journal(tmp_path).close()
        with sqlite3.connect(tmp_path / "sandbox.sqlite") as database:
            database.execute(f"PRAGMA user_version = {version}")
        database.close()
        for _ in range(2):
            with pytest.raises(NumeraiError) as refused:
                Journal(tmp_path)
            assert refused.value.code == code

    def test_a_damaged_file(self, tmp_path: Path) -> None:
        (tmp_path / "sandbox.sqlite").write_bytes(b"this is no database, and it is long enough to be looked at" * 50)
        with pytest.raises(NumeraiError) as refused:
            Journal(tmp_path)
        assert refused.value.code == "state-damaged"

    def test_other_data_than_the_states(self, tmp_path: Path) -> None:
        serve(settings(tmp_path / "state")).close()
        with pytest.raises(NumeraiError) as refused:
            serve(settings(tmp_path / "state", spec=DataSpec(seed=4)))
        assert refused.value.code == "state-other-data"
        assert "seed 3" in refused.value.message

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such file modes")
    def test_the_state_is_private(self, tmp_path: Path) -> None:
        serve(settings(tmp_path / "state")).close()
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "state" / "sandbox.sqlite").stat().st_mode & 0o777 == 0o600


class TestTable:
    def test_the_oldest_go_first(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path)
        table = Table(journal, "t", FaultRecord, keep=2)
        for name in "abc":
            table.put(FaultRecord(name, "graphql", "drop"))
        table.put(FaultRecord("b", "graphql", "slow"))
        table.remove("nothing")
        again = Table(journal, "t", FaultRecord)
        assert [(each.id, each.kind) for each in again.all()] == [("b", "slow"), ("c", "drop")]
        journal.close()
        table.put(FaultRecord("d", "graphql", "drop"))
        table.remove("d")


class TestControl:
    def test_health(self, sandbox: ServedSandbox) -> None:
        assert sandbox.health()["status"] == "ok"

    def test_web_pages_are_refused(self, sandbox: ServedSandbox) -> None:
        answer = requests.post(f"{sandbox.url}/sandbox/rounds", headers={"Origin": "https://evil.example"}, timeout=10)
        assert answer.status_code == 403
        assert len(sandbox.state()["rounds"]) == 3

    @pytest.mark.parametrize(
        ("method", "name", "body", "status"),
        [
            ("GET", "nothing", None, 404),
            ("DELETE", "rounds", None, 405),
            ("POST", "rounds", "[]", 400),
            ("POST", "rounds", "{", 400),
            ("POST", "rounds", '{"tournament": 9}', 400),
            ("POST", "rounds", '{"minutes": -1}', 400),
            ("POST", "rounds", '{"tournamnet": 8}', 400),
            ("POST", "deadline", "{}", 400),
            ("POST", "data", '{"publish": 6}', 400),
            ("POST", "data", '{"publish": "six"}', 400),
            ("POST", "data", '{"publish": "v6.0", "files": "train.parquet"}', 400),
            ("POST", "data", '{"publish": "v6.0", "renames": 1}', 400),
            ("POST", "data", '{"remove": "v9.9"}', 400),
            ("POST", "clock", '{"advance": "1h"}', 400),
            ("POST", "clock", '{"now": "noon"}', 400),
            ("POST", "clock", '{"freeze": 1}', 400),
        ],
    )
    def test_bad_orders(self, sandbox: ServedSandbox, method: str, name: str, body: str | None, status: int) -> None:
        answer = requests.request(method, f"{sandbox.url}/sandbox/{name}", data=body, timeout=10)
        assert answer.status_code == status
        assert answer.json()["error"]

    def test_an_empty_body_is_an_empty_order(self, sandbox: ServedSandbox) -> None:
        opened = requests.post(f"{sandbox.url}/sandbox/rounds", timeout=10).json()["rounds"]
        assert [each["tournament"] for each in opened] == [8, 11, 12]

    def test_data_versions_come_and_go(self, sandbox: ServedSandbox) -> None:
        before = sandbox.state()["data_versions"]
        assert sandbox.publish_data("v6.0", ["train.parquet"], renames=True) == sorted([*before, "v6.0"])
        names = sandbox.graphql("{listDatasets(tournament: 8)}")["data"]["listDatasets"]
        assert [name for name in names if name.startswith("v6.0/")] == ["v6.0/train.parquet"]
        sandbox.publish_data("v6.0", renames=True)
        names = sandbox.graphql("{listDatasets(tournament: 8)}")["data"]["listDatasets"]
        assert "v6.0/live.parquet" in names
        assert sandbox.remove_data("v6.0") == before
        answer = sandbox.graphql('{dataset(filename: "v6.0/live.parquet")}')
        assert answer["errors"][0]["message"] == "Dataset v6.0/live.parquet not found"

    def test_freeze_and_resume(self, sandbox: ServedSandbox) -> None:
        frozen = sandbox.clock(now="2030-01-01T00:00:00", freeze=True)
        assert (frozen["now"], frozen["frozen"]) == ("2030-01-01T00:00:00.000Z", True)
        assert sandbox.clock(freeze=False)["frozen"] is False
        wait_for(lambda: sandbox.clock()["now"] > "2030-01-01T00:00:00.000Z")


class TestSettings:
    @pytest.mark.parametrize("entries", [[], ["a b"], ["alice:chess"], ["alice", "alice"], ["x" * 41]], ids=str)
    def test_bad_models(self, entries: list[str]) -> None:
        with pytest.raises(UsageError):
            parse_models(entries)

    def test_one_name_in_two_tournaments(self) -> None:
        assert [spec.tournament for spec in parse_models(["alice", " alice:signals", "alice:12"])] == [8, 11, 12]

    @pytest.mark.parametrize(
        "changes",
        [
            {"scopes": ("everything",)},
            {"data": Path("/nowhere/at/all")},
            {"history": -1},
            {"window_minutes": 0},
            {"opening_delay_minutes": 61},
            {"rate_limit": 0},
        ],
        ids=str,
    )
    def test_bad_settings(self, changes: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            Settings(**changes)

    @pytest.mark.parametrize(
        "sizes", [{"eras": 1}, {"rows_per_era": 10}, {"features": 100_000}, {"missing": 1.0}], ids=str
    )
    def test_bad_sizes(self, sizes: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            data_spec(**sizes)

    def test_switches(self) -> None:
        assert parse_switches([]) == Switches()
        entries = ["clones_listed=False", "webhook-repeats=2", "entry_delay_seconds=1.5"]
        assert parse_switches(entries) == Switches(clones_listed=False, webhook_repeats=2, entry_delay_seconds=1.5)

    def test_every_switch_is_documented(self) -> None:
        text = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")
        defaults = asdict(Switches())
        for name, value in defaults.items():
            shown = str(value).lower() if isinstance(value, bool) else f"{value:g}"
            assert f"| `{name}` | {shown} |" in text, name

    @pytest.mark.parametrize(
        "entry", ["clones=true", "clones_listed=2", "clones_listed", "webhook_repeats=1.5", "webhook_repeats=-1"]
    )
    def test_bad_switches(self, entry: str) -> None:
        with pytest.raises(UsageError, match="switch"):
            parse_switches([entry])

    def test_no_size_means_the_default_or_what_is_remembered(self) -> None:
        assert data_spec() is None
        assert data_spec(seed=5) == DataSpec(seed=5)

    def test_the_secret_is_not_in_the_repr(self) -> None:
        assert "SECRET" not in repr(Settings(secret_key="SECRET"))
