"""Serving: addresses, ports, the command and its clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.commands.sandbox import _announce as announce
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.factory import Factory
from numerai_compute.installation import EXTRAS, install_command
from numerai_compute.main import run
from numerai_compute.models import Keys
from numerai_compute.sandbox import command
from numerai_compute.sandbox.client import SandboxClient
from numerai_compute.sandbox.command import listening_hosts
from numerai_compute.sandbox.serve import RunningSandbox, serve
from numerai_compute.sandbox.settings import Settings, parse_models

from tests.fixtures.sandbox import SMALL, ServedSandbox, wait_for


class Engine:
    def __init__(self, gateway: str | None) -> None:
        self._gateway = gateway

    def gateway(self) -> str | None:
        return self._gateway


def no_engine() -> Any:
    raise EnvironmentNotReady("no engine")


class TestAddresses:
    def test_auto_is_loopback_and_where_containers_reach_it(self) -> None:
        assert listening_hosts(["auto"], lambda: cast(Any, Engine("172.17.0.1"))) == ["127.0.0.1", "172.17.0.1"]
        assert listening_hosts(["auto"], lambda: cast(Any, Engine(None))) == ["127.0.0.1"]
        assert listening_hosts(["auto"], no_engine) == ["127.0.0.1"]
        assert listening_hosts(["127.0.0.1", "auto", "::1"], no_engine) == ["127.0.0.1", "::1"]

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
    def test_several_addresses_on_one_port(self) -> None:
        with serve(Settings(spec=SMALL), hosts=("127.0.0.1", "127.0.0.2")) as running:
            for host in ("127.0.0.1", "127.0.0.2"):
                assert SandboxClient(f"http://{host}:{running.port}").health()["status"] == "ok"
            with pytest.raises(NumeraiError):
                SandboxClient(f"http://127.0.0.3:{running.port}").health()

    def test_a_port_in_use(self, sandbox: ServedSandbox) -> None:
        with pytest.raises(NumeraiError) as refused:
            serve(Settings(spec=SMALL), port=sandbox.running.port)
        assert refused.value.code == "port-in-use"
        assert str(sandbox.running.port) in refused.value.message

    def test_an_address_that_is_not_ours(self) -> None:
        with pytest.raises(NumeraiError) as refused:
            serve(Settings(spec=SMALL), hosts=("127.0.0.1", "192.0.2.1"))
        assert refused.value.code == "address-unusable"

    def test_ipv6(self) -> None:
        try:
            with socket.create_server(("::1", 0), family=socket.AF_INET6):
                pass
        except OSError:
            pytest.skip("no IPv6 here")
        with serve(Settings(spec=SMALL), hosts=("::1",)) as running:
            assert running.url == f"http://[::1]:{running.port}"
            assert SandboxClient(running.url).health()["status"] == "ok"

    def test_closing_frees_the_port_and_the_scratch_folder(self) -> None:
        running = serve(Settings(spec=SMALL))
        scratch = running.sandbox.upload_store.path("x").parent.parent
        assert scratch.exists()
        running.close()
        assert not scratch.exists()
        with serve(Settings(spec=SMALL), port=running.port) as again:
            assert again.port == running.port

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(EXTRAS, "sandbox", ("no_such_library_at_all",))
        with pytest.raises(EnvironmentNotReady) as missing:
            serve()
        assert install_command("sandbox") in str(missing.value.hint)


class TestCommand:
    @pytest.fixture
    def served(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        arguments = ["--port", "0", "--host", "127.0.0.1", "--models", "alice,bob:signals", "--history", "1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "numerai_compute", "sandbox", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NUMERAI_SANDBOX_SECRET_KEY": "FIXED-SECRET"},
        )
        yield process
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)

    @pytest.mark.slow
    def test_one_line_of_json_then_it_serves_until_told_to_stop(self, served: subprocess.Popen[str]) -> None:
        assert served.stdout is not None
        said = json.loads(served.stdout.readline())
        assert set(said) == {"url", "public_id", "secret_key", "models"}
        assert said["secret_key"] == "FIXED-SECRET"
        assert set(said["models"]) == {"alice", "bob"}
        assert SandboxClient(said["url"]).health()["status"] == "ok"
        served.send_signal(signal.SIGTERM)
        output, errors = served.communicate(timeout=20)
        assert (served.returncode, output, errors) == (0, "", "")

    def test_until_stopped_in_this_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[str] = []

        def announce(running: RunningSandbox) -> None:
            said.append(running.url)
            signal.raise_signal(signal.SIGINT)

        before = signal.getsignal(signal.SIGINT)
        command.serve_until_stopped(Settings(spec=SMALL), ["127.0.0.1"], 0, announce)
        assert signal.getsignal(signal.SIGINT) is before
        with pytest.raises(requests.ConnectionError):
            requests.get(said[0], timeout=5)

    def test_a_terminal_is_told_what_to_type(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        settings = Settings(spec=SMALL, models=parse_models(["alice", "bob:signals"]))
        monkeypatch.setenv("NUMERAI_HOME", str(tmp_path / "it's mine"))
        with serve(settings) as running:
            announce(Factory(tmp_path), running)
            (one_line,) = capsys.readouterr().out.splitlines()
            monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
            announce(Factory(tmp_path), running)
            told = capsys.readouterr().out
            as_json = Factory(tmp_path)
            as_json.render.json = True
            announce(as_json, running)
            assert capsys.readouterr().out.splitlines() == [one_line]
        assert json.loads(one_line)["url"] == running.url
        assert running.url in told and "alice (Classic), bob (Signals)" in told and told.endswith("numerai setup\n")
        assert f"$env:NUMERAI_SECRET_KEY = '{running.secret_key}'" in told
        assert f"$env:NUMERAI_HOME = '{tmp_path}/it''s mine'" in told
        if os.name == "posix":
            typed = "".join(line for line in told.splitlines(keepends=True) if line.lstrip().startswith("export"))
            shown = subprocess.run(["sh", "-ec", f"{typed}\nenv"], capture_output=True, text=True, check=True).stdout
            assert f"NUMERAI_HOME={tmp_path}/it's mine\n" in shown and f"NUMERAI_API_URL={running.url}\n" in shown

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--models", "a b"], "cannot be a model's name"),
            (["--eras", "1"], "--eras 1 is out of range"),
            (["--scopes", "all"], "There is no scope 'all'"),
            (["--data", "."], "has no train.parquet"),
            (["--port", "99999"], "99999"),
            (["--switch", "nothing=1"], "There is no switch 'nothing'"),
            (["--schema-change", "remove Round.nothing"], "The schema has no field Round.nothing"),
            (["--opening-delay", "61"], "it must be 0 to 60"),
        ],
    )
    def test_bad_options(
        self, capsys: pytest.CaptureFixture[str], options: list[str], said: str, tmp_path: Path
    ) -> None:
        code = run(["sandbox", "serve", "--host", "127.0.0.1", "--port", "0", *options], Factory(tmp_path))
        assert code == 2
        assert said in capsys.readouterr().err


class TestClients:
    def call(self, capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> str:
        assert run(["sandbox", *arguments], Factory(tmp_path)) == 0
        return capsys.readouterr().out

    def test_round(self, sandbox: ServedSandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        out = self.call(
            capsys, tmp_path, "round", "--url", sandbox.url, "--tournament", "crypto", "--minutes", "5", "--json"
        )
        assert json.loads(out)["rounds"][0]["number"] == 1001
        assert "Round 1001 of tournament 8" in self.call(capsys, tmp_path, "round", "--url", sandbox.url)

    @pytest.mark.slow
    def test_state(self, sandbox: ServedSandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        made = sandbox.submit(sandbox.live_predictions(tmp_path).to_csv(index=False))
        sandbox.refusal("id,prediction\nx,1\n")
        url = "http://127.0.0.1:1/x/token"
        query = "mutation($m: String, $u: String) {setSubmissionWebhook(modelId: $m, newSubmissionWebhook: $u)}"
        sandbox.graphql(query, m=sandbox.models["alice"], u=url)
        sandbox.open_round("classic")
        wait_for(lambda: sandbox.state()["webhook_calls"][0]["error"])
        out = self.call(capsys, tmp_path, "state", "--url", sandbox.url)
        assert "Model alice (tournament 8): webhook http://127.0.0.1:1/x/***" in out
        assert f"Model alice in round 1000: on-time, submission {made}" in out
        assert "createSubmission was answered with an error: invalid_submission_ids" in out
        assert json.loads(self.call(capsys, tmp_path, "state", "--url", sandbox.url, "--json"))["models"]

    def test_fault(
        self,
        sandbox: ServedSandbox,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("NUMERAI_API_URL", sandbox.url)
        self.call(capsys, tmp_path, "fault", "--target", "upload", "--kind", "status", "--times", "3")
        assert sandbox.state()["faults"][0]["times"] == 3
        assert "1 fault cleared" in self.call(capsys, tmp_path, "fault", "--clear")
        assert run(["sandbox", "fault", "--kind", "drop"], Factory(tmp_path)) == 2

    def test_data(self, sandbox: ServedSandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        out = self.call(capsys, tmp_path, "data", "--url", sandbox.url, "--publish", "v6.0", "--file", "train.parquet")
        assert "v6.0" in out
        assert "v6.0" not in self.call(capsys, tmp_path, "data", "--url", sandbox.url, "--remove", "v6.0")
        assert run(["sandbox", "data", "--url", sandbox.url], Factory(tmp_path)) == 2

    def test_clock(self, sandbox: ServedSandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        arguments = ["clock", "--url", sandbox.url, "--now", "2031-01-01T00:00:00Z", "--freeze"]
        assert "2031-01-01T00:00:00.000Z (standing still)" in self.call(capsys, tmp_path, *arguments)
        assert json.loads(self.call(capsys, tmp_path, "clock", "--url", sandbox.url, "--json"))["frozen"] is True

    @pytest.mark.parametrize("given", ["8", "classic", "Classic"])
    def test_a_tournament_has_a_number_and_a_name(
        self, sandbox: ServedSandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path, given: str
    ) -> None:
        out = self.call(capsys, tmp_path, "round", "--url", sandbox.url, "-t", given, "--json")
        assert [opened["tournament"] for opened in json.loads(out)["rounds"]] == [8]

    def test_the_home_folder_knows_the_address(
        self, sandbox: ServedSandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        HomeStore(tmp_path / "home", {}).save_keys(Keys("PUBLIC", "SECRET-SECRET", sandbox.url))
        assert "Round 1001" in self.call(capsys, tmp_path / "home", "round")

    def test_numerai_is_never_taken_for_a_sandbox(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        HomeStore(tmp_path / "real", {}).save_keys(Keys("PUBLIC", "SECRET-SECRET"))
        for home in (tmp_path / "real", tmp_path / "new"):
            assert run(["sandbox", "round"], Factory(home)) == 2
            assert "--url" in capsys.readouterr().err

    def test_nobody_answers(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        assert run(["sandbox", "state", "--url", f"http://127.0.0.1:{port}"], Factory(tmp_path)) == 1
        assert "No sandbox answers" in capsys.readouterr().err
