"""docs/benchmarks.md is what the runner prints of what it has measured. No test measures time."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks import page
from benchmarks.measuring import Taken, row


def test_the_page_is_what_the_results_come_to() -> None:
    results = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert page.PAGE.read_text(encoding="utf-8") == page.text_of(results)


def test_what_is_measured_anew_replaces_only_what_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results.json")
    options = argparse.Namespace(rounds=1, sets="small")
    for seconds, shares in ((1.0, (0.05, 0.25)), (2.0, (0.25,))):
        ours, theirs = Taken("ours", cpu=[seconds]), Taken("theirs", cpu=[8.0])
        for share in shares:
            runner.keep("scoring", [row("CORR", ours, [theirs], "", share, "some rows")], options, share)
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(one["share"], one["ours"]["cpu"], one["run"]) for one in results["sections"]["scoring"]] == [
        (0.05, [1.0], "1"),
        (0.25, [2.0], "3"),
    ]
    assert list(results["runs"]) == ["1", "3"]
    text = page.text_of(results)
    assert "| CORR | 1.00 s | 2.00 s |" in text and "| ... beside theirs | 8.0 x | 4.0 x |" in text


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="measuring needs POSIX's wait4")
def test_a_program_that_fails_is_no_measurement() -> None:
    taken = Taken("it")
    with pytest.raises(subprocess.CalledProcessError):
        taken.run([sys.executable, "-c", "raise SystemExit(3)"])
    assert taken.cpu == []
    assert taken.run([sys.executable, "-c", "print('done')"]) == "done\n" and taken.cpu[0] > 0 and taken.mib[0] > 1
