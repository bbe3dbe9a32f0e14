"""What import-linter cannot say: what the cheap commands may not touch, what the cloud functions carry, who prints.

Who may import whom stands in pyproject.toml; `make imports` holds every import to it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLI = Path(__file__).parents[2] / "cli"
HEAVY = (
    "boto3",
    "botocore",
    "docker",
    "pandas",
    "numpy",
    "pyarrow",
    "lightgbm",
    "numerapi",
    "requests",
    "flask",
    "sqlite3",
)
PROBE = """
import json, sys
sockets = []
sys.addaudithook(lambda event, args: sockets.append(event) if event.startswith("socket.") else None)
from numerai_compute.factory import Factory
from numerai_compute.main import run
code = run({arguments!r}, Factory())
print(json.dumps({{"code": code, "modules": sorted(sys.modules), "sockets": sockets}}), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["node", "--help"],
        ["node", "config", "--help"],
        ["sandbox", "serve", "--help"],
        ["events", "run", "--help"],
        ["watch", "--help"],
        ["history", "--help"],
        ["status", "--help"],
        ["node", "list"],
        ["train", "--help"],
    ],
    ids=" ".join,
)
def test_cheap_commands_load_no_sdk_and_open_no_socket(arguments: list[str], home: Path) -> None:
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "NUMERAI_TEST"))}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=unmeasured,
    )
    found = json.loads(done.stderr.splitlines()[-1])
    assert found["code"] == 0 and found["sockets"] == []
    assert [name for name in HEAVY if name in found["modules"]] == []
    if arguments == ["--help"]:
        assert [name for name in found["modules"] if name.startswith(("rich", "msgspec"))] == []


# What the cloud functions carry: only these modules of the package, and the standard library.
CARRIED = {"watching/policy.py": (), "providers/webhooks": ("providers.webhooks", "triggers"), "triggers.py": ()}


@pytest.mark.parametrize("room", CARRIED)
def test_what_the_functions_carry_stands_alone(room: str) -> None:
    wrong = []
    for path in [CLI / room] if room.endswith(".py") else (CLI / room).rglob("*.py"):
        wrong += [f"{path.name} imports {name}" for name in _imports(path) if not name.startswith(CARRIED[room])]
        wrong += [
            f"{path.name} imports {name}" for name in _absolute_imports(path) if name not in sys.stdlib_module_names
        ]
    assert wrong == []


@pytest.mark.slow
def test_only_the_renderer_prints() -> None:
    printing = [
        str(path.relative_to(CLI))
        for path in CLI.rglob("*.py")
        if "print" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def _imports(path: Path) -> list[str]:
    """The modules of this package that a file imports, relative to the package's root; typing-only imports excluded."""
    package = path.relative_to(CLI).parent.parts
    found = []
    for node in _runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)]
            stem = ".".join((*base, *(node.module.split(".") if node.module else ())))
            found += [f"{stem}.{alias.name}".strip(".") for alias in node.names]
    return found


def _absolute_imports(path: Path) -> list[str]:
    nodes = _runtime_nodes(ast.parse(path.read_text(encoding="utf-8")))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return [name.split(".")[0] for name in names]


def _runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        nodes += [child, *_runtime_nodes(child)]
    return nodes
