"""What the container executor makes of names, of an engine that restarts, and of a run's end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from docker.utils.build import match_tag
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import EnvironmentNotReady, ProviderError
from numerai_compute.models import Node, RunFailure, RunState
from numerai_compute.ports import ContainerState
from numerai_compute.providers.local.docker_executor import LOST_BY_ENGINE, DockerExecutor, repository_name
from numerai_compute.providers.local.executor import Attempt, StartFailed
from numerai_compute.providers.local.run_log import read_log
from numerai_compute.providers.local.scheduler import RunControl
from numerai_compute.providers.local.settings import LocalPaths, LocalSettings

from tests.fakes import NOW, FakeClock
from tests.present import present

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512)
ATTEMPT = Attempt("r1", 1, NODE, "sha256:1", NOW + timedelta(hours=1), environment={"NUMERAI_SECRET_KEY": "k" * 20})

Answer = TypeVar("Answer")
State = ContainerState | Exception | None
Piece = bytes | tuple[int, bytes]
"""Of standard output, unless a number says otherwise."""


def state(status: str, exit_code: int = 0, *, out_of_memory: bool = False) -> ContainerState:
    return ContainerState(status, exit_code, out_of_memory, {"NUMERAI_SECRET_KEY": "k" * 20})


class FlakyEngine:
    """An engine whose answers to `container` and `container_output` are scripted, one per call; the last one stays."""

    def __init__(self, states: list[State], outputs: list[list[Piece] | Exception]):
        self.states, self.outputs = states, outputs
        self.removed: list[str] = []

    def container(self, name: str) -> ContainerState | None:
        return self._next(self.states)

    def container_output(self, name: str) -> Iterator[tuple[int, bytes]]:
        for piece in self._next(self.outputs):
            yield piece if isinstance(piece, tuple) else (1, piece)

    def wait_container(self, name: str, seconds: float) -> None:
        return

    def create_container(self, spec: object) -> bool:
        (error,) = self.outputs
        assert isinstance(error, Exception)
        raise error

    @staticmethod
    def _next(answers: list[Answer | Exception]) -> Answer:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class HastyControl(RunControl):
    """Does not wait out the time it is told to."""

    def wait(self, seconds: float) -> None:
        super().wait(0.01)


def executor(engine: FlakyEngine, folder: Path) -> DockerExecutor:
    host: Any = engine
    return DockerExecutor(lambda: host, LocalPaths(folder), LocalSettings(), FakeClock(), lambda: "home")


def test_an_engine_that_restarts_loses_no_line(tmp_path: Path) -> None:
    away = EnvironmentNotReady("away")
    one, two = b"2026-01-06T12:00:00.1Z one\n", b"2026-01-06T12:00:01.1Z two " + b"k" * 20 + b"\n"
    running = state("running")
    states: list[State] = [running, away, away, running, running, state("exited", 3)]
    engine = FlakyEngine(states, [[one], away, [one, two]])
    outcome = present(executor(engine, tmp_path).wait(ATTEMPT, HastyControl()))
    assert (outcome.state, outcome.exit_code) == (RunState.FAILED, 3)
    lines, _ = read_log(LocalPaths(tmp_path).log("r1"))
    assert [line.text for line in lines] == ["one", "two ***"]


def test_an_engine_that_has_lost_its_beginning_repeats_no_line(tmp_path: Path) -> None:
    lines: list[Piece] = [b"2026-01-06T12:00:0%d.100000000Z line %d\n" % (number, number) for number in range(6)]
    engine = FlakyEngine([state("exited", 0)], [lines[:3], lines[2:4], lines[5:]])
    for _ in range(3):
        executor(engine, tmp_path).wait(ATTEMPT, HastyControl())
    texts = [line.text for line in read_log(LocalPaths(tmp_path).log("r1"))[0]]
    assert [text for text in texts if text != LOST_BY_ENGINE] == [f"line {number}" for number in (0, 1, 2, 3, 5)]
    assert texts[4] == LOST_BY_ENGINE


def test_what_both_outputs_print_at_once_is_kept_apart(tmp_path: Path) -> None:
    secret, time = b"k" * 20, b"2026-01-06T12:00:00.1Z "
    pieces: list[Piece] = [
        (1, time + b"x" + secret[:9]),
        (2, time + b"an error: " + secret[:11]),
        (1, time + secret[9:] + b"\n"),
        (2, time + secret[11:] + b"\n"),
        (1, time + b"an end"),
    ]
    executor(FlakyEngine([state("exited", 0)], [pieces]), tmp_path).wait(ATTEMPT, HastyControl())
    texts = [line.text for line in read_log(LocalPaths(tmp_path).log("r1"))[0]]
    assert texts == ["x***", "an error: ***", "an end"]


def test_a_container_that_was_removed_is_lost(tmp_path: Path) -> None:
    outcome = present(executor(FlakyEngine([None], [[]]), tmp_path).wait(ATTEMPT, HastyControl()))
    assert outcome.failure is RunFailure.LOST


def test_leaving_leaves_it_alone(tmp_path: Path) -> None:
    control = RunControl()
    control.leave()
    assert executor(FlakyEngine([], []), tmp_path).wait(ATTEMPT, control) is None


def test_memory_that_ran_out_in_a_run_that_went_well_is_no_failure(tmp_path: Path) -> None:
    for code, expected in ((0, None), (137, RunFailure.OUT_OF_MEMORY)):
        engine = FlakyEngine([state("exited", code, out_of_memory=True)], [[]])
        assert present(executor(engine, tmp_path).wait(ATTEMPT, HastyControl())).failure is expected


@pytest.mark.parametrize(
    ("code", "failure"),
    [("image-missing", RunFailure.NOT_DEPLOYED), ("could-not-start", RunFailure.COULD_NOT_START)],
)
def test_what_cannot_be_started_says_why(tmp_path: Path, code: str, failure: RunFailure) -> None:
    engine = FlakyEngine([None], [ProviderError("It is not there.", code=code)])
    with pytest.raises(StartFailed) as error:
        executor(engine, tmp_path).start(ATTEMPT)
    assert error.value.failure is failure
    engine = FlakyEngine([None], [ProviderError("refused", code="engine-refused")])
    with pytest.raises(ProviderError, match="refused"):
        executor(engine, tmp_path).start(ATTEMPT)


@pytest.mark.slow
@given(st.from_regex(r"numerai-[A-Za-z0-9_]{1,30}", fullmatch=True))
def test_every_model_name_makes_a_repository(name: str) -> None:
    assert match_tag(f"numerai-local/{repository_name(name)}:latest")


def test_names_stay_apart() -> None:
    assert repository_name("numerai-alice") == "numerai-alice"
    names = ["numerai-a_b", "numerai-a-b", "numerai-A-b", "numerai-_a_b_", "numerai-a__b"]
    assert len({repository_name(name) for name in names}) == len(names)


@pytest.mark.docker
def test_two_homes_on_one_engine_keep_their_own_images_of_a_node(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM python:3.13-slim\n")
    node = replace(NODE, path=str(folder))
    engine, homes = DockerEngine(), (secrets.token_hex(4), secrets.token_hex(4))
    mine, other = (
        DockerExecutor(lambda: engine, LocalPaths(tmp_path), LocalSettings(), FakeClock(NOW), lambda home=home: home)  # type: ignore[misc]
        for home in homes
    )
    try:
        tag, image = mine.build(node, "0" * 64, print)
        other.build(node, "0" * 64, print)
        other.destroy(node.name, print)
        assert mine.present(tag) and mine.present(image)
    finally:
        mine.destroy(node.name, print)
    assert not mine.present(tag)


def test_old_images_go_unless_something_uses_them(tmp_path: Path) -> None:
    class Images(FlakyEngine):
        def images(self, label: str) -> dict[str, list[str]]:
            assert label == "numerai.node=home/numerai-alice"
            return {f"image-{number}": [] for number in range(8)}

        def remove_image(self, image: str) -> None:
            self.removed.append(image)
            if image == "image-5":
                raise ProviderError("a container uses it")

        def remove_volumes(self, label: str) -> None:
            self.removed.append(label)
            raise ProviderError("a container uses it")

    engine = Images([None], [[]])
    executor(engine, tmp_path).forget_old("numerai-alice", {"image-0", "image-6"})
    assert engine.removed == ["image-4", "image-5", "image-7", "numerai.cache=home"]
