"""What commands end with where scripts that were written for numerai-cli look at it, beside what that ended with.

The codes of numerai-cli 1.1.7 were observed: its commands in click's CliRunner, Numerai's answers and the clouds' SDKs
replaced. docs/from-numerai-cli.md has the same table for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import ApiError, EnvironmentNotReady, ProviderError
from numerai_compute.models import Check, CheckStatus, RunState

from tests.fakes import NOW, round_of
from tests.unit.commands.conftest import Line

GUIDE = Path(__file__).parents[3] / "docs" / "from-numerai-cli.md"


class Row(NamedTuple):
    """A situation, what each of the two ends with in it, and the commands that show ours."""

    situation: str
    theirs: str
    ours: int
    note: str
    command: tuple[str, ...]
    prepare: Callable[[Line], object] = lambda line: None


def _no_keys(line: Line) -> None:
    """The test takes them out of the environment."""


def _configured(line: Line) -> None:
    assert line("node", "config", "-p", str(line.home.parent / "code")).exit_code == 0


def _deployed(line: Line) -> None:
    _configured(line)
    assert line("node", "deploy").exit_code == 0


def _failing(line: Line) -> None:
    _deployed(line)
    line.provider.ending = {"state": RunState.FAILED, "exit_code": 65}


def _between_rounds(line: Line) -> None:
    _deployed(line)
    line.api.round = replace(round_of(100, NOW), deadline=NOW)
    line.provider.ending = {"state": RunState.FAILED, "exit_code": 69, "failure": "late", "message": "late"}
    node = HomeStore(line.home).nodes()["numerai-alice"]
    line.api.on_trigger = lambda model, trigger_id: line.provider.trigger(node, trigger_id)


def _undestroyable(line: Line) -> None:
    _configured(line)
    line.provider.fail["destroy"] = ProviderError("AWS refused.")


def _build_fails(line: Line) -> None:
    _configured(line)
    line.provider.fail["deploy"] = ProviderError("The build failed.")


def _no_engine(line: Line) -> None:
    _configured(line)
    line.provider.fail["deploy"] = EnvironmentNotReady("The Docker engine does not answer.")


def _lacking(line: Line) -> None:
    line.provider.found.append(Check("aws", CheckStatus.FAILED, "There are no credentials.", "aws configure"))


def _refused(line: Line) -> None:
    line.api.fail["token_info"] = ApiError("Numerai refused the keys.", code="keys-refused")


def _legacy(line: Line) -> None:
    line.home.mkdir(exist_ok=True)
    line.home.chmod(0o700)
    (line.home / "nodes.json").write_text("{}")
    (line.home / "nodes.json").chmod(0o600)


def _without_dockerfile(line: Line) -> None:
    (line.home.parent / "code" / "Dockerfile").unlink()


ROWS = (
    Row(
        "`node test` that finds no submission, or a wrong one",
        "0",
        1,
        "a test that failed is said to have",
        ("node", "test"),
        _failing,
    ),
    Row(
        "`node test` while no round is open",
        "0",
        4,
        "4: nothing failed, not everything is proven",
        ("node", "test"),
        _between_rounds,
    ),
    Row(
        "`node destroy` that could not remove everything",
        "0",
        1,
        "the node stays recorded",
        ("node", "destroy", "-y"),
        _undestroyable,
    ),
    Row(
        "`destroy-all` that could not remove everything",
        "0",
        1,
        "the others are destroyed; its dry run ends with 1 as well where a provider is not there",
        ("destroy-all", "-y"),
        _undestroyable,
    ),
    Row(
        "`node destroy` of a node that is not configured",
        "0",
        2,
        "where a node may be gone already, let 2 pass",
        ("node", "-m", "alice", "destroy", "-y"),
    ),
    Row("`destroy-all` without nodes", "0", 0, "", ("destroy-all", "-y")),
    Row(
        "`destroy-all` where nobody can be asked",
        "1",
        2,
        "answers are not read from a pipe (there `n` destroys as well): `-y`",
        ("destroy-all",),
        _configured,
    ),
    Row("`uninstall` where nobody can be asked", "1", 2, "answers are not read from a pipe: `-y`", ("uninstall",)),
    Row(
        "`setup` where nobody can be asked for keys",
        "1",
        2,
        "keys are not read from a pipe: NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY",
        ("setup",),
        _no_keys,
    ),
    Row("`setup` with keys that Numerai refuses", "1", 1, "nothing is recorded", ("setup",), _refused),
    Row(
        "`setup -p aws` without AWS credentials that work",
        "1",
        3,
        "keys and settings are recorded all the same",
        ("setup", "-p", "aws"),
        _lacking,
    ),
    Row("`setup` on a home that needs `upgrade`", "0", 1, "it did nothing, here as there", ("setup",), _legacy),
    Row("`doctor` that finds something wrong", "0", 3, "", ("doctor",), _lacking),
    Row("an unknown model", "1", 2, "", ("node", "-m", "nobody", "config")),
    Row(
        "`node deploy`, `test`, `status` of a node that is not configured",
        "1",
        2,
        "",
        ("node", "-m", "alice", "deploy"),
    ),
    Row("a folder without a Dockerfile", "1", 2, "", ("node", "config", "-p", "CODE"), _without_dockerfile),
    Row(
        "an unknown size or provider",
        "1",
        2,
        "there an unknown provider is saved first",
        ("node", "config", "-P", "nope"),
    ),
    Row(
        "`--size` together with `--cpu` or `--memory`",
        "1",
        0,
        "the figure replaces that part of the size",
        ("node", "config", "-p", "CODE", "-s", "gen-sm", "--cpu", "2"),
    ),
    Row("a build that fails", "1", 1, "", ("node", "deploy"), _build_fails),
    Row(
        "no Docker engine, Terraform or credentials", "1", 3, "`doctor` says what to do", ("node", "deploy"), _no_engine
    ),
    Row("`upgrade` with nothing to do", "0", 0, "", ("upgrade",)),
    Row(
        "`copy-example` over other files of these names",
        "0 or 1, after a question",
        2,
        "none is replaced",
        ("copy-example", "-d", "CODE"),
    ),
    Row("an unknown command, option or example", "2", 2, "", ("copy-example", "-e", "nope")),
    Row("a group alone (`numerai`, `numerai node`)", "2 (0 with click before 8.2)", 0, "help was asked for", ("node",)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.situation)
def test_it_ends_as_the_table_says(line: Line, folder: Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    if row.prepare is _no_keys:
        monkeypatch.delenv("NUMERAI_SECRET_KEY")
        monkeypatch.delenv("NUMERAI_PUBLIC_ID")
    row.prepare(line)
    answer = line(*(str(folder) if word == "CODE" else word for word in row.command))
    assert answer.exit_code == row.ours, answer


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.situation)
def test_the_guide_has_the_table(row: Row) -> None:
    line = f"| {row.situation} | {row.theirs} | {row.ours} | {row.note} |"
    assert line in GUIDE.read_text(encoding="utf-8"), line


def test_what_setup_found_missing_is_recorded_and_said_all_the_same(line: Line) -> None:
    _lacking(line)
    answer = line("setup", "-P", "aws")
    assert answer.exit_code == 3 and "no credentials" in answer.out
    assert HomeStore(line.home, {}).keys() is not None
