"""Whatever is typed for a number or a path ends in one clear message: no traceback, and no bug of the tool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.commands.options import decimal, whole
from numerai_compute.main import cli, main
from numerai_compute.providers.aws import settings as aws
from numerai_compute.providers.local import settings as local

from tests.unit.commands.command_walk import leaves
from tests.unit.commands.conftest import Line

# ruff: noqa: RUF001 - digits of other scripts are what is tried
NO_NUMBERS = (
    "nan",
    "-nan",
    "inf",
    "-inf",
    "Infinity",
    "1e400",
    "1_0",
    "１0",
    "٣",
    "0x10",
    "5,0",
    "",
    " ",
    "--5",
    "9" * 5000,
)
FAR = ("-0", "-0.0", "-1", "1e308", "-1e308", "1e-308", "9" * 18, "-" + "9" * 18)
NUMBERS = (click.types.IntParamType, click.types.FloatParamType)


def _numbers() -> Iterator[tuple[str, click.Command, str]]:
    for path, command in leaves(cli, click.Context(cli)):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and isinstance(parameter.type, NUMBERS):
                yield path, command, parameter.opts[-1]


@pytest.mark.parametrize(
    ("path", "command", "option"), [pytest.param(*row, id=f"{row[0]} {row[2]}") for row in _numbers()]
)
def test_what_is_no_number_is_none_anywhere(path: str, command: click.Command, option: str) -> None:
    for text in NO_NUMBERS:
        with pytest.raises(click.BadParameter) as caught:
            command.make_context(path, [f"{option}={text}"], resilient_parsing=False)
        assert option in caught.value.format_message(), text


def test_numbers_are_read_as_people_write_them() -> None:
    assert [whole().convert(text, None, None) for text in ("5", "-5", "007", " 5 ")] == [5, -5, 7, 5]
    assert [decimal().convert(text, None, None) for text in ("5", ".5", "5.", "-0.5", "2e3")] == [5, 0.5, 5, -0.5, 2000]
    assert [whole(1, 9).convert(9, None, None), decimal(0, 1).convert(0.5, None, None)] == [9, 0.5]


@pytest.fixture
def ready(line: Line, folder: Path) -> Line:
    """A node that is configured and has run."""
    line.provider.settings_table = (*local.SETTINGS, *aws.SETTINGS)  # type: ignore[attr-defined]
    assert line("node", "-m", "alice", "config", "-p", str(folder)).exit_code == 0
    assert line("node", "deploy").exit_code == 0
    assert line("node", "trigger").exit_code == 0
    return line


@pytest.mark.parametrize(
    "command",
    [
        ["node", "config", "--cpu"],
        ["node", "config", "--memory"],
        ["node", "config", "--timeout-minutes"],
        ["node", "logs", "-n"],
        ["node", "status", "-n"],
        ["watch", "--once", "--grace-minutes"],
        ["history", "-n"],
        ["setup", "--port"],
        ["setup", "--concurrency"],
        *(["config", "set", setting.name, "--"] for setting in (*local.SETTINGS, *aws.SETTINGS)),
    ],
    ids=" ".join,
)
def test_a_value_that_cannot_be_is_refused_in_one_message(ready: Line, command: list[str]) -> None:
    for text in ("nan", "inf", "1e400", "1_0", *FAR):
        typed = [*command, text] if command[-1] == "--" else [*command[:-1], f"{command[-1]}={text}"]
        answer = ready(*typed)
        assert "bug" not in answer.err, (text, answer.err)
        assert answer.exit_code in (0, 1, 2), (text, answer.err)
        assert answer.exit_code == 0 or answer.err.count("Error") == 1, (text, answer.err)


def test_recorded_values_are_those_that_were_typed(ready: Line) -> None:
    for name, text, recorded in (("profile", "007", "007"), ("port", "8080", 8080), ("webhook_concurrency", "-1", -1)):
        assert ready("config", "set", name, "--", text).exit_code == 0
        assert HomeStore(ready.home).settings("local")[name] == recorded


@pytest.mark.parametrize("host", ["5", "1.2.3", "256.1.1.1", "--5", "-a", "a..b", "a:b", "[::1]", "127.0.0.1:80", "."])
def test_an_address_to_listen_on_is_one(ready: Line, host: str) -> None:
    answer = ready("config", "set", "host", "--", host)
    assert answer.exit_code == 2 and "host" in answer.err


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::1", "::", "localhost", "my-host.example.org", "host_1", "5a"]
)
def test_an_address_to_listen_on_is_taken(ready: Line, host: str) -> None:
    assert ready("config", "set", "host", host).exit_code == 0


@pytest.mark.parametrize(
    ("size", "cpu", "memory_mib"),
    [
        (["--cpu", "150"], 150, None),
        (["--cpu", "192"], 192, None),
        (["--cpu", "256"], 0.25, None),
        (["--cpu", "196608"], 192, None),
        (["--memory", "255"], None, 255 * 1024),
        (["--memory", "1572864"], None, 1536 * 1024),
    ],
)
def test_a_size_is_what_the_help_says(ready: Line, size: list[str], cpu: float | None, memory_mib: int | None) -> None:
    assert ready("node", "config", *size).exit_code == 0
    (node,) = ready("node", "list", "--json").json
    assert cpu in (None, node["cpu"]) and memory_mib in (None, node["memory_mib"])


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (["--cpu", "200"], "0.1 to 192 vCPUs"),
        (["--cpu", "196609"], "0.1 to 192 vCPUs"),
        (["--memory", "9999999"], "1536 GiB"),
        (["--memory", "0.05"], "64 MiB"),
    ],
)
def test_a_size_that_no_machine_has_is_refused(ready: Line, size: list[str], words: str) -> None:
    answer = ready("node", "config", *size)
    assert answer.exit_code == 2 and words in answer.err and size[0] in answer.err


NO_PATHS = ("~nosuchuser/x", "a" * 300, "a/" * 3000, "nul\0byte")


@pytest.mark.parametrize(
    "command",
    [
        ["node", "config", "--path"],
        ["copy-example", "--dest"],
        ["demo", "--dir"],
        ["sandbox", "serve", "--data"],
        ["doctor", "--api", "--save"],
        ["daemon", "run", "--home"],
    ],
    ids=" ".join,
)
def test_what_can_be_no_path_is_refused_in_one_message(ready: Line, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "file.txt"
    file.write_text("text")
    before = sorted(tmp_path.rglob("*"))
    for text in (*NO_PATHS, str(file), str(file / "below")):
        answer = ready(*command, text)
        assert "bug" not in answer.err and answer.err.count("Error") == 1, (text, answer.err)
        assert answer.exit_code in (1, 2, 3), (text, answer.err)
        assert len(answer.err) < 1000, (text, answer.err)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["~nosuchuser/x", "a" * 300, "/" + "a/" * 3000])
@pytest.mark.parametrize("command", ["node list", "doctor", "status", "daemon stop", "node list --json"])
def test_a_home_that_can_be_no_folder_is_refused_in_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str, command: str
) -> None:
    monkeypatch.setenv("NUMERAI_HOME", place)
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    captured = capsys.readouterr()
    assert ended.value.code == 2 and "cannot be a path" in captured.out + captured.err
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0


def test_a_machine_that_knows_no_home_folder_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    def unknown(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(unknown))
    monkeypatch.delenv("NUMERAI_HOME", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["node", "list"])
    assert ended.value.code == 3 and "Set HOME" in capsys.readouterr().err
