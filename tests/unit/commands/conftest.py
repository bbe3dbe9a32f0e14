"""The command line in this process: real parsing, real home, an account and a provider in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.models import Keys
from numerai_compute.providers.registry import OWN, provider_factory
from numerai_compute.render import Renderer

from tests.fakes import ALICE, KEYS, FakeApi, FakeClock, FakeDataFiles, FakeProbe, FakeProvider


class FakeFactory(Factory):
    """The real factory with the outside world replaced."""

    def __init__(self, home: Path):
        super().__init__(home)
        self.fake_api, self.fake_provider = FakeApi([ALICE]), FakeProvider()
        self.probe = FakeProbe()
        self.asked_with: list[Keys] = []

    @cached_property
    def api(self) -> FakeApi:
        return self.api_with(self.keys())

    @property
    def api_with(self) -> Callable[[Keys], FakeApi]:
        def make(keys: Keys) -> FakeApi:
            self.asked_with.append(keys)
            return self.fake_api

        return make

    @property
    def watchers_api_with(self) -> Callable[[Keys], FakeApi]:
        return self.api_with

    @cached_property
    def data_files(self) -> FakeDataFiles:
        return FakeDataFiles(self.home / "data")

    @property
    def api_probe(self) -> FakeProbe:
        return self.probe

    @cached_property
    def clock(self) -> FakeClock:
        return FakeClock()

    def may_sleep(self) -> tuple[str, str] | None:
        return None

    def provider(self, name: str) -> FakeProvider:
        if name not in OWN:
            provider_factory(name)  # raises for a name that nothing has
        return self.fake_provider

    def provider_with(
        self, name: str, settings: Mapping[str, str | int], profiles: Mapping[str, tuple[str, str]] | None = None
    ) -> FakeProvider:
        return self.fake_provider


@dataclass
class Answer:
    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Line:
    """Types command lines."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]):
        self.home, self._capsys = home, capsys
        self.api, self.provider, self.probe = FakeApi([ALICE]), FakeProvider(), FakeProbe()

    def __call__(self, *arguments: str) -> Answer:
        factory = FakeFactory(self.home)
        factory.fake_api, factory.fake_provider, factory.probe = self.api, self.provider, self.probe
        exit_code = run(list(arguments), factory)
        captured = self._capsys.readouterr()
        if "--verbose" not in arguments:
            assert "Traceback" not in captured.err + captured.out
        assert KEYS.secret_key not in captured.err + captured.out
        return Answer(exit_code, captured.out, captured.err)


@pytest.fixture
def line(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    """Runs `numerai ...` and returns what it printed and its exit code. There is no terminal."""
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", KEYS.public_id)
    monkeypatch.setenv("NUMERAI_SECRET_KEY", KEYS.secret_key)
    monkeypatch.setenv("COLUMNS", "200")
    return Line(home, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "code"
    path.mkdir()
    (path / "Dockerfile").write_text("FROM scratch\n")
    return path


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


@pytest.fixture
def two(line: Line, folder: Path) -> Line:
    """Two nodes, of which one has a webhook at Numerai, and one is of a provider that is not there."""
    assert line("node", "-m", "alice", "config", "-p", str(folder)).exit_code == 0
    path = line.home / "nodes.json"
    content = json.loads(path.read_text())
    content["nodes"]["numerai-bob"] = {
        **content["nodes"]["numerai-alice"], "name": "numerai-bob", "model_name": "bob", "model_id": "id-bob",
        "provider": "gcp", "webhook_url": None,
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return line
