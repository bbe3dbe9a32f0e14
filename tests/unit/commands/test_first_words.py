"""What a newcomer reads first: help, hints and questions that can be followed as they stand."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from numerai_compute import __version__
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.models import NUMERAI_API_URL, Keys, Model, Node
from numerai_compute.watching.watcher import Look, Watcher

from tests.fakes import ALICE, KEYS, FakeClock, unreachable
from tests.unit.commands.conftest import FakeFactory, Line
from tests.unit.usecases.test_demo import FakeCommands


@pytest.mark.parametrize("group", [(), ("node",), ("daemon",), ("sandbox",)])
def test_a_group_alone_shows_its_help_and_ends_with_0(line: Line, group: tuple[str, ...]) -> None:
    answer = line(*group)
    assert answer.exit_code == 0 and answer.out.startswith(f"Usage: {' '.join(('numerai', *group))}")
    assert answer.err == ""


def test_a_usage_error_is_one_message_with_an_older_click_too(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(click.exceptions, "NoArgsIsHelpError")  # it came with click 8.2; setup.py takes 8.1.8
    answer = line("node", "confg")
    assert answer.exit_code == 2 and "No such command" in answer.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_demo_that_is_kept_says_what_came_out_before_it_waits(
    line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, as_json: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FakeFactory, "own_commands", FakeCommands())
    said = []

    def waits(clock: FakeClock, seconds: float) -> None:
        said.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeClock, "sleep", waits)
    answer = line("demo", "--keep", *(["--json"] if as_json else []))
    (before,) = said
    assert answer.exit_code == 0
    if as_json:
        assert json.loads(before)["submission_id"] == "sub-1" and answer.out == ""
        return
    assert before.index("sub-1") < before.index("numerai sandbox round") and "numerai-demo/home" in before
    assert "sub-1" not in answer.out and f"--path {Path('numerai-demo', 'my-node')}" in answer.out


@pytest.fixture
def no_keys(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has given any keys yet."""
    for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("command", [("status",), ("history",), ("cost",), ("node", "list"), ("node", "test")])
def test_the_first_hint_of_a_new_home_is_setup(line: Line, command: tuple[str, ...]) -> None:
    answer = line(*command)
    assert "numerai setup, then numerai node -m MODEL config" in answer.out + answer.err


@pytest.mark.usefixtures("no_keys")
def test_an_example_is_configured_where_it_was_put(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = line("copy-example", "-d", "my code")
    assert "Next: numerai setup, then numerai node -m MODEL config --path 'my code'" in answer.out


class Terminal(io.StringIO):
    """Somebody who types these lines."""

    def isatty(self) -> bool:
        return True


def test_the_command_that_setup_names_is_clear_where_models_of_two_tournaments_share_a_name(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line.api.by_id = {str(number): Model(str(number), "alice", number) for number in (8, 11)}
    last = line("setup").out.splitlines()[-1]
    typed = line(*last.removeprefix("Next: numerai ").split(), "--dry-run")
    assert last.startswith("Next: numerai node") and typed.exit_code == 0, typed.err


def test_setup_names_the_models_and_a_command_that_can_be_typed(line: Line) -> None:
    line.api.by_id = {name: Model(name, name, 11) for name in ("dora", *(f"model_{n:02}" for n in range(20)))}
    answer = line("setup")
    assert "with 21 models" in answer.out and "Signals: dora, model_00" in answer.out and "and 9 more" in answer.out
    assert "Next: numerai node -m signals-dora config --example signals-python3 --path my-node" in answer.out
    line.api.by_id["z"] = replace(ALICE, id="z")
    assert "Next: numerai node -m numerai-alice config --example tournament-python3" in line("setup").out
    assert {"name": "alice", "tournament": 8} in line("setup", "--json").json["models"]
    HomeStore(line.home).save_node(Node("numerai-alice", "alice", "z", 8, "local", "/code", 1, 1024))
    assert line("setup").out.endswith("Next: numerai doctor\n")


def test_setup_again_keeps_the_keys_on_enter(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMERAI_API_URL", KEYS.api_url)
    assert line("setup").exit_code == 0
    for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY", "NUMERAI_API_URL"):
        monkeypatch.delenv(name)
    assert line("setup", "--port", "4000").exit_code == 0, "without a terminal what is recorded is kept as well"
    typed: list[str] = []
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda label: typed.append(label) or "")
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    answer = line("setup", "--port", "4001")
    assert answer.exit_code == 0 and f"keys are of {KEYS.api_url}. Enter keeps them" in answer.err
    store = HomeStore(line.home, {})
    assert store.keys() == KEYS and store.settings("local")["port"] == 4001
    assert typed == ["Numerai secret key [Enter keeps the recorded one]: "]
    assert KEYS.public_id not in answer.err, "whoever looks over a shoulder reads neither half"


@pytest.mark.parametrize("given", [(), ("--public-id", KEYS.public_id)])
def test_setup_again_takes_another_secret_of_the_same_key(
    line: Line, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    monkeypatch.setenv("NUMERAI_API_URL", KEYS.api_url)
    assert line("setup").exit_code == 0
    for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"):
        monkeypatch.delenv(name)
    if given:
        answer = line("setup", *given)
        assert answer.exit_code == 2 and "secret key is missing" in answer.err, "without a terminal nothing is guessed"
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda label: "ANOTHER-SECRET")
    monkeypatch.setattr("sys.stdin", Terminal("" if given else "\n"))
    assert line("setup", *given).exit_code == 0
    assert HomeStore(line.home, {}).keys() == Keys(KEYS.public_id, "ANOTHER-SECRET", KEYS.api_url)


def test_another_public_id_is_not_joined_with_the_recorded_secret(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert line("setup").exit_code == 0
    for name in ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY"):
        monkeypatch.delenv(name)
    answers = iter(["", "ANOTHER-SECRET"])
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda label: next(answers))
    monkeypatch.setattr("sys.stdin", Terminal("ANOTHER\n"))
    assert line("setup").exit_code == 0 and next(answers, None) is None, "Enter alone is asked again"
    assert HomeStore(line.home, {}).keys() == Keys("ANOTHER", "ANOTHER-SECRET")


@pytest.mark.usefixtures("no_keys")
def test_setup_says_where_keys_are_got(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.prompt", lambda label, **more: "SECRET-SECRET" if more["hide_input"] else "PUBLIC")
    monkeypatch.setattr("sys.stdin", Terminal())
    for api_url, words in ((None, "Make a key at numer.ai (Settings, API keys)"), (KEYS.api_url, "sandbox serve")):
        if api_url:
            monkeypatch.setenv("NUMERAI_API_URL", api_url)
        answer = line("setup")
        assert answer.exit_code == 0 and words in answer.err, answer
        assert HomeStore(line.home, {}).keys() == Keys("PUBLIC", "SECRET-SECRET", api_url or NUMERAI_API_URL)


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("typed", ["PUBLIC$SECRET-SECRET", "NUMERAI_PUBLIC_ID=PUBLIC NUMERAI_SECRET_KEY=SECRET-SECRET"])
def test_both_halves_at_one_question_are_taken_apart(line: Line, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{typed}\n"))
    answer = line("setup")
    assert answer.exit_code == 0 and "SECRET-SECRET" not in answer.err, answer
    assert HomeStore(line.home, {}).keys() == Keys("PUBLIC", "SECRET-SECRET")


@pytest.mark.usefixtures("no_keys")
def test_keys_for_another_api_are_not_kept(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    HomeStore(line.home, {}).save_keys(KEYS)
    monkeypatch.setenv("NUMERAI_API_URL", "http://127.0.0.1:8")
    answer = line("setup")
    assert answer.exit_code == 2 and "public id is missing" in answer.err and not line.api.calls


@pytest.mark.usefixtures("no_keys")
def test_a_dry_run_of_setup_asks_nobody(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    answer = line("setup", "--dry-run")
    assert answer.exit_code == 0 and "would be asked for" in answer.err and not line.api.calls
    HomeStore(line.home, {}).save_keys(KEYS)
    answer = line("setup", "--dry-run")
    assert answer.exit_code == 0 and "knows you as tester" in answer.out


def test_setup_says_that_the_official_tool_is_beside_it(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "numerai_compute.usecases.setup.beside_official", lambda: ("both are called `numerai`", "pip uninstall it")
    )
    answer = line("setup")
    assert answer.exit_code == 0 and "both are called `numerai`. pip uninstall it." in answer.err
    assert line("setup", "-s").err.count("pip uninstall it") == 1, "also where the keys are left alone"


def test_the_version_is_json_too(line: Line) -> None:
    assert line("--version").out == f"numerai, version {__version__}\n"
    for arguments in (("--version", "--json"), ("--json", "--version")):
        assert line(*arguments).json == {"version": __version__}


def test_a_watcher_prints_a_json_object_a_line(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line("node", "config", "-p", str(folder))

    def two_looks(watcher: Watcher, on_look: Callable[[Look], None]) -> None:
        on_look(watcher.look())
        line.api.fail["rounds"] = unreachable()
        on_look(watcher.look())

    monkeypatch.setattr("numerai_compute.commands.watch.watch_until_ended", two_looks)
    looks = [json.loads(text) for text in line("watch", "--json").out.splitlines()]
    assert [look["well"] for look in looks] == [False, False] and looks[1]["problems"] and not looks[0]["problems"]
    (text,) = line("watch", "--once", "--json").out.splitlines()
    assert json.loads(text)["problems"]


FIRST = """setup; config; node; node config; node deploy; node test; node logs; node status; status; demo; doctor;
    watch; history; notify; notify add; copy-example; daemon; sandbox serve; sandbox round; events run"""


@pytest.mark.parametrize("path", [path.strip() for path in FIRST.split(";")])
def test_help_has_examples_that_can_be_typed(line: Line, path: str) -> None:
    text = line(*path.split(), "--help").out
    shown = re.search(r"\n  Examples?:\n((?:    numerai .+\n)+)", text)
    assert shown, text
    for example in shown[1].splitlines():
        typed = example.partition("  asks ")[0].partition("<")[0]
        assert line(*shlex.split(typed)[1:], "--help").exit_code == 0, example


def test_help_shows_defaults(line: Line) -> None:
    for command, default in (
        (("node", "logs"), "[default: 20]"),
        (("node", "logs"), "[default: cluster]"),
        (("node", "status"), "[default: cluster]"),
        (("sandbox", "serve"), "[default: read_user_info, read_submission_info,"),
    ):
        assert default in " ".join(line(*command, "--help").out.split())


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [("concurrency", "256", True), ("concurrency", "257", False), ("port", "65535", True), ("port", "0", False)],
)
def test_setup_and_config_set_go_by_one_rule(home: Path, name: str, value: str, taken: bool) -> None:
    for command in (["setup", "-s", f"--{name}", value], ["config", "set", name, value]):
        assert run([*command, "--dry-run"], Factory(home)) == (0 if taken else 2), command


def test_a_closed_standard_input_is_no_terminal(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    line("node", "config", "-p", str(folder))
    assert "standard input" in line("notify", "add", "hook").err and line("node", "destroy").exit_code == 2
    assert "follows" not in line("watch", "--once").err
