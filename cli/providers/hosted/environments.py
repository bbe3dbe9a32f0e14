"""What an upload runs in at Numerai, and the same as an image of this machine, for the rehearsal.

Numerai's own image where its registry can be reached, else Python's with the versions that Numerai's has.
"""

from __future__ import annotations

import ast
import hashlib
import pickletools
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import NumeraiError, ProviderError, UsageError
from ...ports import ContainerEngine, Report
from ...source import Source, dockerfile_text
from .uploads import DataVersion, Image

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PINNED = {
    "catboost": ("1.2", "1.2.8", "1.2.8", "1.2.10"),
    "cloudpickle": ("2.2.1", "3.1.1", "3.1.1", "3.1.2"),
    "joblib": ("1.3.2", "1.5.1", "1.5.1", "1.5.3"),
    "lightgbm": ("4.0.0", "4.6.0", "4.5.0", "4.5.0"),
    "numba": ("0.61.2", "0.61.2", "0.61.2", "0.61.2"),
    "numerai-tools": ("0.3.3", "0.4.0", "0.4.0", "0.4.3"),
    "numpy": ("1.26.4", "2.1.3", "2.1.3", "2.2.6"),
    "pandas": ("2.2.1", "2.3.1", "2.3.1", "2.3.3"),
    "polars": ("1.5.0", "1.31.0", "1.31.0", "1.38.1"),
    "pyarrow": ("14.0.1", "21.0.0", "18.1.0", "18.1.0"),
    "requests": ("2.32.3", "2.32.4", "2.32.4", "2.32.5"),
    "scikit-learn": ("1.6.1", "1.6.1", "1.6.1", "1.6.1"),
    "scipy": ("1.11.4", "1.16.0", "1.16.0", "1.17.1"),
    "statsmodels": ("0.14.1", "0.14.5", "0.14.5", "0.14.6"),
    "torch": ("2.0.1", "2.7.1", "2.7.1", "2.10.0"),
    "tqdm": ("4.66.1", "4.67.1", "4.67.1", "4.67.3"),
    "urllib3": ("1.26.19", "2.5.0", "2.5.0", "2.6.3"),
    "xgboost": ("1.7.5", "3.0.2", "3.0.2", "3.0.5"),
}
"""Versions by `PYTHONS`: github.com/numerai/numerai-predict, py3.*/requirements.txt, as of 2026-04-14 (19d1769). Its
images have some 150 packages; these are those that models use most."""
ALWAYS = ("cloudpickle", "numpy", "pandas", "pyarrow", "urllib3")
"""What packing, reading the data and Numerai's rules need."""
MODULES = {"sklearn": "scikit-learn", "numerai_tools": "numerai-tools"}
OPENMP = ("lightgbm",)
"""Packages that need libgomp, which Python's slim image lacks. Numerai's has it, by its compiler (its Dockerfile)."""
TAG = "numerai-hosted"
LABEL = "numerai.hosted"
KEPT_IMAGES = 3
"""So many of its images stay on an engine. They are of no home: the same packages are the same image, and nothing of a
node is in it."""
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


@dataclass(frozen=True)
class Environment:
    """An image of this machine that has what Numerai's has; `what` says which it is, in words."""

    image: str
    what: str


def image_named(images: Iterable[Image], python: str | None) -> Image:
    """What Numerai runs uploads of this Python in, or its default. `UsageError` where it has none."""
    known = list(images)
    found = next((each for each in known if (each.default if python is None else each.python == python)), None)
    if found is None:
        raise UsageError(
            f"Numerai runs no uploads on Python {python}: it has {', '.join(each.python for each in known)}.",
            "`numerai config set -P hosted python VERSION` chooses one; on -P local or -P aws any Python runs.",
            code="wrong-python",
        )
    return found


def version_named(versions: Iterable[DataVersion], name: str | None) -> DataVersion:
    """A version of the data by its name, or the default. `UsageError` where uploads get none of it."""
    known = list(versions)
    found = next((each for each in known if (each.default if name is None else each.name == name)), None)
    if found is None:
        raise UsageError(
            f"Numerai gives uploads no data version {name}: there are {', '.join(each.name for each in known)}.",
            "Choose one of them with `numerai node config --data-version`, or run the node on -P local or -P aws.",
            code="no-such-data",
        )
    return found


def packages_for(files: Iterable[Path]) -> list[str]:
    """The packages of `PINNED` that code, a pickle or a model file needs, and those that are always needed."""
    modules: set[str] = set()
    files = list(files)
    for file in files:
        if file.suffix == ".py":
            modules |= _imported(file)
        elif file.suffix == ".pkl":
            modules |= _mentioned(file)
        elif file.suffix == ".model" and not forests_of(file, files):
            modules.add("lightgbm")  # it may be one that only LightGBM predicts
    wanted = {MODULES.get(module, module) for module in modules} & set(PINNED)
    if "lightgbm" in wanted:  # its own interface for scikit-learn
        wanted |= {"scipy", "scikit-learn"}
    return sorted({*ALWAYS, *wanted})


def forests_of(model: Path, files: Iterable[Path]) -> list[Path]:
    """The forests that packing has put beside a model file, as far as they are among these files."""
    return [
        path
        for path in files
        if path.parent == model.parent and path.name.startswith(f"{model.name}.") and path.suffix == ".forest"
    ]


def environment(
    engine: ContainerEngine, image: Image, packages: Iterable[str], folder: Path, report: Report
) -> Environment:
    """Numerai's own image, or one with the pinned versions; built once. `folder` is for what the build is made from."""
    own = _reachable(engine, image)
    if own is not None:
        base, lines = own, ["USER root"]
        what = f"Numerai's own image {own}"
    else:
        if image.python not in PYTHONS:
            raise UsageError(
                f"This tool does not know which versions Numerai has on Python {image.python}.",
                f"Choose one of {', '.join(PYTHONS)} with `numerai config set -P hosted python VERSION`.",
                code="wrong-python",
            )
        pins = [f"{name}=={PINNED[name][PYTHONS.index(image.python)]}" for name in packages]
        base, lines = f"python:{image.python}-slim", []
        if set(packages) & set(OPENMP):
            lines.append("RUN apt-get update && apt-get install -y --no-install-recommends libgomp1")
        lines.append(f"RUN python -m pip install --no-cache-dir {' '.join(pins)}")
        what = f"{base} with the versions that Numerai's image has ({', '.join(pins)})"
    text = "\n".join(
        [f"FROM {base}", *lines, "RUN mkdir -p /numerai/work", "WORKDIR /numerai/work", "ENTRYPOINT []", ""]
    )
    tag = f"{TAG}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    found = engine.image_id(tag)
    if found is None:
        report(f"Building what the rehearsal runs in: {what}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Dockerfile").write_text(text, encoding="utf-8")
        found = engine.build(Source(folder), tag, labels={LABEL: image.python}, report=report)
        for old in [each for each in engine.images(LABEL) if each != found][KEPT_IMAGES - 1 :]:
            with suppress(ProviderError):  # a rehearsal uses it: it goes another time
                engine.remove_image(old)
    return Environment(found, what)


def _reachable(engine: ContainerEngine, image: Image) -> str | None:
    """Numerai's image, if the engine has it or its registry tells of it."""
    if image.reference is None:
        return None
    try:
        if engine.image_id(image.reference) is None:
            engine.digest(image.reference)
    except (NumeraiError, OSError):
        return None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "docker":
            raise
        return None
    return image.reference


def defines(file: Path, name: str) -> bool:
    """Whether a module gives a name, by itself or in a statement such as `if`, `try` or `match`. What a `*` brings
    counts as given."""
    try:
        tree = ast.parse(dockerfile_text(file))
    except (SyntaxError, ValueError):
        return True  # what is wrong with it, Python says better
    return not {name, "*"}.isdisjoint(_given(tree))


def _given(node: ast.AST) -> set[str]:
    """The names that a module has once this has run; `*` for those of another module."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.alias):
        return {node.asname or node.name.partition(".")[0]}
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, (ast.MatchAs, ast.MatchStar, ast.MatchMapping)):
        own = node.rest if isinstance(node, ast.MatchMapping) else node.name
        return set[str]({own} if own else ()).union(*map(_given, ast.iter_child_nodes(node)))
    if isinstance(node, ast.Lambda) or (isinstance(node, ast.AnnAssign) and node.value is None):
        return set()
    if isinstance(node, ast.comprehension):  # its target is its own; a `:=` in it is the module's
        return _given(node.iter).union(*map(_given, node.ifs))
    return set[str]().union(*map(_given, ast.iter_child_nodes(node)))


def _imported(file: Path) -> set[str]:
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)


def _mentioned(file: Path) -> set[str]:
    """The modules that a pickle may name. Nothing of it is executed."""
    found: set[str] = set()
    try:
        with file.open("rb") as stream:
            for _, argument, _ in pickletools.genops(stream):
                if isinstance(argument, str) and len(argument) < 200:
                    word = argument.split(" ")[0]
                    if _NAME.fullmatch(word):
                        found.add(word.partition(".")[0])
    except (ValueError, EOFError, OSError):  # no pickle: the rehearsal says so
        return found
    return found
