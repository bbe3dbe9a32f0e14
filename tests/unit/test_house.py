"""No function is over 60 lines long and no class over 250, unless a comment beside it says why: `# long: <reason>`. The
Docker SDK has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("cli", "node_template", "terraform")
LONGEST = {ast.FunctionDef: 60, ast.AsyncFunctionDef: 60, ast.ClassDef: 250}


def long_ones(source: str) -> Iterator[str]:
    """What is too long and gives no reason: its line, its name and its length, from `def` or `class` to its end."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        beside = (lines[node.lineno - 1], lines[first - 2] if first > 1 else "")
        if length > LONGEST[type(node)] and not any(line.partition("# long: ")[2].strip() for line in beside):
            yield f"{node.lineno}: {node.name} has {length} lines"


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_and_classes_are_short_or_say_why_not(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{one}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for one in long_ones(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_a_reason_beside_it_is_enough() -> None:
    body = "    pass\n" * 60
    assert list(long_ones(f"def f():\n{body}")) == ["1: f has 61 lines"]
    assert list(long_ones(f"# long: \ndef f():\n{body}")) == ["2: f has 61 lines"]
    assert list(long_ones(f"def f():  # long: one table\n{body}")) == []
    assert list(long_ones(f"# long: one table\n@g\ndef f():\n{body}")) == []


def test_the_docker_sdk_has_one_door() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cli").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.split()[:1] in (["import"], ["from"]) and line.split()[1].partition(".")[0] == "docker"
    }
    assert found == {"cli/adapters/docker_sdk.py"}
