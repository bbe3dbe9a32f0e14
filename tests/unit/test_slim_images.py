"""LightGBM is left out of an image whose model is packed and whose code could not want it; in doubt it is in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from numerai_compute.modelling.runtime import DEPLOYED
from numerai_compute.models import Node
from numerai_compute.source import build_arguments
from numerai_compute.usecases.scaffold import plan_scaffold, scaffold
from numerai_compute.usecases.ship import put_model

from tests.unit.usecases.test_ship import made

EXAMPLES = Path(__file__).parents[2] / "node_template"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The Classic example as it is when a deployed model predicts in the place of its own."""
    folder = tmp_path / "code"
    scaffold(plan_scaffold("tournament-python3", folder))
    (folder / "train.py").unlink()
    shutil.copyfile(EXAMPLES / "model-python3" / "predict.py", folder / "predict.py")
    put_model(made(tmp_path / "a.model"), node_of(folder), tmp_path / "home", lambda text: None)
    return folder


def node_of(folder: Path, context: Path | None = None) -> Node:
    place = None if context is None else str(context)
    return Node("numerai-alice", "alice", "id", 8, "local", str(folder), 1, 1024, context=place)


def left_out(folder: Path) -> bool:
    said: list[str] = []
    value = build_arguments(node_of(folder), said.append).get("LIGHTGBM")
    assert value in (None, "no") and len(said) == (value is not None)
    return value == "no"


def test_a_packed_model_and_no_training_need_none(folder: Path) -> None:
    assert left_out(folder)


def written(name: str, text: str | bytes, *, more: bool = False) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        content = text.encode() if isinstance(text, str) else text
        before = (folder / name).read_bytes() if more else b""
        (folder / name).write_bytes(before + content)

    return write


def linked(folder: Path) -> None:
    (folder / "more.md").symlink_to("README.md")


DOUBTS: dict[str, Callable[[Path], object]] = {
    "no model": lambda folder: (folder / DEPLOYED).unlink(),
    "not packed": lambda folder: (folder / f"{DEPLOYED}.0.forest").unlink(),
    "packed of another file": lambda folder: shutil.copyfile(made(folder.parent / "b.model", 2), folder / DEPLOYED),
    "a damaged forest": written(f"{DEPLOYED}.0.forest", b"PK"),
    "a forest that stays outside": written(".dockerignore", "\n*.forest\n", more=True),
    "a runtime with another format": written("numerai_node/forest.py", "FORMAT = 999\n"),
    "a runtime that uses it": written("numerai_node/data.py", "\nimport lightgbm\n", more=True),
    "no runtime": lambda folder: shutil.rmtree(folder / "numerai_node"),
    "training": lambda folder: shutil.copyfile(EXAMPLES / "tournament-python3" / "train.py", folder / "train.py"),
    "a training folder": written("model.toml", "preset = 'small'\n"),
    "an import of it": written("more.py", "import lightgbm\n"),
    "another model": written("other.model", b"PK"),
    "a text model": written("model.txt", "tree\n"),
    "a pickle": written("model.pkl", b"\x80"),
    "a program": written("tool", b"\x7fELF"),
    "a notebook": written("x.ipynb", "{}"),
    "a model by its name": written("predict.py", "node.model('other')\n", more=True),
    "code that does not use it": written("predict.py", "print()\n"),
    "code that loads code": written("more.py", "__import__(name)\n"),
    "code in other bytes": written("more.py", b"\xff\n"),
    "a package more": written("requirements.txt", "flaml==2.0\n", more=True),
    "other requirements": written("requirements.txt", "-r more.txt\n", more=True),
    "it is installed again": written("Dockerfile", "RUN pip install lightgbm\n", more=True),
    "a Dockerfile that cannot": written("Dockerfile", "FROM scratch\n"),
    "a Dockerfile that does so itself": written("Dockerfile", "FROM scratch\nARG LIGHTGBM=no\n"),
    "a link": linked,
}


@pytest.mark.parametrize("doubt", DOUBTS.values(), ids=list(DOUBTS))
def test_what_is_not_certain_leaves_it_in(folder: Path, doubt: Callable[[Path], object]) -> None:
    assert left_out(folder)
    doubt(folder)
    assert not left_out(folder)


def test_a_context_above_the_folder_leaves_it_in(folder: Path) -> None:
    assert "LIGHTGBM" not in build_arguments(node_of(folder, folder.parent))


@pytest.mark.parametrize("example", sorted(path.parent.name for path in EXAMPLES.glob("*/Dockerfile")))
def test_an_example_as_it_is_keeps_it(example: str, tmp_path: Path) -> None:
    scaffold(plan_scaffold(example, tmp_path / "code"))
    assert not left_out(tmp_path / "code")
