"""From the official tool's AWS cluster to this tool's, as a user does it, with the power cut after every step."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from numerai_compute.sandbox.client import SandboxClient

from tests.aws.emulator import emulated_aws
from tests.contract.aws_bench import require_emulator
from tests.e2e.command_line import SMALL, sandbox_process
from tests.e2e.official_home import ALICE, BOB, OfficialHome, opened
from tests.fixtures.sandbox import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.docker]

MOVE = ("upgrade", "--move-aws")
STEPS = 10
"""What is done one by one until both are moved: the files, two nodes, two images, two runs, two webhooks."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfficialHome]:
    require_emulator()
    with emulated_aws() as emulator, sandbox_process(*SMALL, "--models", "alice,bob,carol", cwd=tmp_path) as sandbox:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        yield opened(tmp_path, sandbox, emulator)


def test_killed_after_every_step_both_nodes_end_up_in_the_new_cluster(home: OfficialHome) -> None:
    shell, old = home.shell, home.digest(BOB, "latest")
    before = {path: path.read_bytes() for path in shell.home.iterdir() if path.is_file()}
    assert home.holds() == {ALICE: "old", BOB: "old"} and home.left_over()
    planned = shell.ok(*MOVE, "--dry-run").out
    assert "Numerai calls the old cluster" in planned and "copy the image of numerai-bob" in planned
    assert "it goes on running numerai-bob by its schedule" in planned
    said_no = shell(*MOVE)  # nobody can be asked here
    assert said_no.exit_code == 2 and "--yes" in said_no.err and "USD a month" in said_no.err
    assert {path: path.read_bytes() for path in shell.home.iterdir() if path.is_file()} == before
    assert home.holds() == {ALICE: "old", BOB: "old"}

    clusters = [home.holds()]
    while clusters[-1] != {ALICE: "new", BOB: "new"}:  # a quick step may be done before the power is cut
        done = killed_after_the_next_step(home)
        clusters.append(home.holds())
        assert home.left_over() and (clusters[-1][BOB] == "new" or not home.schedules()), done
    assert 3 < len(clusters) <= STEPS
    assert clusters.count({ALICE: "old", BOB: "new"}) == 0 and clusters == sorted(
        clusters, key=lambda each: each[BOB], reverse=True
    )
    assert home.digest("numerai/numerai-bob", "live") == old, "the same image"
    killed(home, "removed ", "stderr", number=12)
    assert home.holds() == {ALICE: "new", BOB: "new"}
    assert "no way back" not in shell.ok(*MOVE, "--yes").err
    assert home.left_over() == [] and home.holds() == {ALICE: "new", BOB: "new"}
    (schedule,) = home.schedules()
    assert BOB in schedule
    assert "Nothing of the official tool is left" in shell.ok(*MOVE).out
    assert shell("upgrade", "--undo").exit_code != 0

    numerai = SandboxClient(shell.sandbox["url"])
    number = numerai.open_round(8)[0]["number"]
    wait_for(lambda: on_time(numerai, number) == {"alice", "bob"}, 60)
    assert home.webhooks()["numerai-carol"] == ""
    assert "numerai-carol" in shell.ok("node", "list").out


def on_time(numerai: SandboxClient, number: int) -> set[str]:
    """The models whose submission counts for a round."""
    entries = numerai.state()["entries"]
    return {each["model"] for each in entries if (each["round_number"], each["status"]) == (number, "on-time")}


def killed_after_the_next_step(home: OfficialHome) -> str:
    """Run the move until one more step is done, then cut the power."""
    return killed(home, "✓ ", "stdout")


def killed(home: OfficialHome, mark: str, stream: str, number: int = 1) -> str:
    """Run the move until so many lines of a stream hold a mark, then end it and all that it has started."""
    other = "stderr" if stream == "stdout" else "stdout"
    with (home.shell.folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "numerai_compute", *MOVE, "--yes", "--verbose"],
            cwd=home.shell.folder,
            env=home.shell.environment,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            **{stream: subprocess.PIPE, other: said},  # type: ignore[call-overload]
        )
        read = process.stdout or process.stderr
        assert read is not None
        with read:
            line, lines = "", list[str]()
            for _ in range(number):
                while mark not in (line := read.readline()):
                    lines.append(line)
                    assert line, "".join(lines) + (home.shell.folder / "said").read_text()
            begun = psutil.Process(process.pid)
            for one in [begun, *begun.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait(60)
    return line
