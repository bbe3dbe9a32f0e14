"""From nothing to a trained, judged and deployed model, as the README says it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.e2e.command_line import Shell

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("in six commands\n")[2].partition("\n## ")[0]

pytestmark = pytest.mark.e2e


def test_the_six_commands_of_the_readme(shell: Shell) -> None:
    commands = [line.partition("#")[0].split("&&") for line in SECTION.split("```")[1].splitlines()[1:]]
    lines = [shlex.split(line) for parts in commands for line in parts if line.strip()]
    assert len(lines) == 6 and all(words[0] == "numerai" for words in lines)
    (model,) = shell.sandbox["models"]
    cache = str(shell.folder / "cache")
    printed = []
    for words in lines:
        done = shell(*[word.replace("MODEL", model) for word in words[1:]], NUMERAI_CACHE=cache)
        assert done.exit_code == 0, f"{words}: {done.out}{done.err}"
        printed.append(done.out)
    assert "is trained" in printed[1] and re.search(r"my-model +0\.\d{4}", printed[2])
    page = (shell.folder / "my-model.html").read_text(encoding="utf-8")
    assert "Cumulative CORR" in page and "Learning rate" in page
    folder = shell.folder / "my-node"
    assert (folder / "deployed.model").read_bytes() == (shell.folder / "my-model" / "my-model.model").read_bytes()
    tested = shell("node", "test", "--verbose")
    assert tested.exit_code == 0, tested.out + tested.err
    assert "loaded model=deployed.model data=v5.3" in tested.err
    assert shell("node", "deploy", "--model", "my-model/my-model.model", NUMERAI_CACHE=cache).exit_code == 0
    refused = shell("node", "deploy", "--model", "no.model")
    assert refused.exit_code == 2 and "no.model" in refused.err
