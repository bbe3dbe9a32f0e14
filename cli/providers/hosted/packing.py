"""From a node's folder to a pickle that has been rehearsed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ...errors import ApiError, NumeraiError, UsageError
from ...files.private import remove_tree
from ...modelling.runtime import DEPLOYED, ConfigurationError, ModelFile, read_model
from ...models import Node, Tournament
from ...ports import ContainerEngine, Report
from ...source import Source, source_files, source_hash, source_of
from .environments import Environment, defines, environment, forests_of, image_named, packages_for, version_named
from .rehearsal import PROGRAMS, ContainerWorkbench, Limits, LiveData, Workbench
from .settings import HostedSettings
from .uploads import DataVersion, Image, Uploads

RUNTIME = Path(str(files("numerai_compute.node_template"))) / "numerai_node"
LIVE_FILES = ("live.parquet", "live_benchmark_models.parquet")
DOWNLOAD_SECONDS = 600.0
FOLDER = "numerai-hosted-"
"""How the temporary folder of a deploy is called."""
LEFT_SECONDS = 86400.0
"""No deploy packs and uploads for so long: an older folder is of one that was killed."""
NEWEST = "newest"
MODEL = ".model"
NOT_OF_A_MODEL = frozenset(
    {".git", ".venv", "venv", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
"""Folders that no upload needs: a hosted folder has no image, and so often no .dockerignore."""
NODE = "main"
"""The function of a node's own program, which runs a pickle that is beside it (the example pickle-python3)."""
OF_MODEL = "of_model"
"""The program (inside/) that takes the place of a node's code where only a model file is run."""


@dataclass(frozen=True)
class Packed:
    """A pickle that has passed the rehearsal, and what it is for."""

    pickle: Path
    version: DataVersion
    image: Image


class Packer:
    """Packs and rehearses. `limits` are Numerai's; `bench` makes what runs the two, by default in containers."""

    def __init__(
        self,
        engine: Callable[[], ContainerEngine],
        limits: Limits | None = None,
        bench: Callable[[Image, list[str], Path, Report], Workbench] | None = None,
    ):
        self._engine = engine
        self._limits = limits or Limits()
        self._bench = bench or self._containers

    def source_hash(self, node: Node, settings: HostedSettings) -> str:
        """Over what an upload is made of: the folder, the Python, the module and the data."""
        source = source_of(node)
        folder = source_hash(source, list(_files(source)))
        parts = [folder, settings.python or "", settings.module, node.data_version or ""]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def reads_models(self, node: Node, settings: HostedSettings) -> bool:
        """Whether a model file in the folder would run without code of the folder's own that reads it."""
        return not defines_predict(_files(source_of(node)), settings.module)

    def pack(
        self, node: Node, settings: HostedSettings, uploads: Uploads, folder: Path, digest: str, report: Report
    ) -> Packed:
        """A pickle in `folder`, made of the node's source with this hash or found in it, that works within Numerai's
        limits. `NumeraiError` with code `source-changed` where the source is another by then."""
        own = _files(source_of(node))
        refuse_links_elsewhere(own)
        ready = model_in(own, settings.module)
        model = artifact_of(ready) if ready is not None and ready.suffix == MODEL else None
        image = image_named(uploads.images(), settings.python)
        wanted = node.data_version or (model.data_version if model is not None else None)
        version = version_named(uploads.data_versions(), None if wanted == NEWEST else wanted)
        others = [path for path in own.values() if path.suffix != MODEL or path.name == DEPLOYED]
        runs = others if ready is None else [ready, *forests_of(ready, own.values())]
        bench = self._bench(image, packages_for(runs), folder / "image", report)
        data = self._live_data(uploads, version, folder)
        pickle = folder / "model.pkl"
        if ready is None:
            report(f"Packing predict of {settings.module}.py on Python {image.python}")
            bench.pack(own, settings.module, pickle, report)
        elif model is not None:
            report(f"Packing {ready.name} with its reader on Python {image.python}")
            bench.pack(with_reader(ready, own), OF_MODEL, pickle, report)
        else:
            report(f"Taking {ready.name} as it is: no code beside it defines predict")
            shutil.copyfile(ready, pickle)
        if self.source_hash(node, settings) != digest:
            raise NumeraiError(
                f"{node.path} changed while it was packed. Nothing was uploaded.",
                "Deploy again; what changes all the time belongs into its .dockerignore.",
                code="source-changed",
            )
        limits = self._limits
        size = f"{limits.cpu:g} CPU, {limits.memory_mib / 1024:g} GiB, {limits.seconds / 60:g} minutes"
        report(f"Rehearsing with {size} and no network")
        done = bench.rehearse(pickle, data, report)
        memory = f", {done.memory_mib} MiB of memory" if done.memory_mib else ""
        report(f"The rehearsal went well: {done.rows} predictions in {done.seconds:.1f} s{memory}")
        return Packed(pickle, version, image)

    def _containers(self, image: Image, packages: list[str], folder: Path, report: Report) -> Workbench:
        engine = self._engine()
        made: Environment = environment(engine, image, packages, folder, report)
        report(f"The rehearsal runs in {made.what}")
        return ContainerWorkbench(engine, made, self._limits, RUNTIME)

    def _live_data(self, uploads: Uploads, version: DataVersion, folder: Path) -> LiveData:
        paths = []
        for name in LIVE_FILES:
            target = folder / name
            _download(uploads.dataset_url(f"{version.name}/{name}"), target)
            paths.append(target)
        return LiveData(*paths)


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for a deploy, removed at its end; what deploys that were killed have left goes as well."""
    temporary = Path(tempfile.gettempdir())
    for left in temporary.glob(f"{FOLDER}*"):
        with suppress(OSError):  # another user's, or another command was faster
            if left.stat().st_mtime < time.time() - LEFT_SECONDS:
                remove_tree(left, temporary)
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder:
        yield Path(folder)


def _files(source: Source) -> dict[str, Path]:
    """What of a folder is a model's: its files by name, without what tools keep there for themselves."""
    return {
        name: source.context / name
        for name in source_files(source)
        if NOT_OF_A_MODEL.isdisjoint(name.split("/")) and not name.endswith(".pyc")
    }


def refuse_links_elsewhere(own: Mapping[str, Path]) -> None:
    """`UsageError` with code `link-elsewhere` for a link to anything but a file that goes along by itself: what it
    leads to was neither looked at for keys nor would a change of it be seen."""
    here = {os.path.realpath(path) for path in own.values() if not path.is_symlink()}
    for name, path in own.items():
        if path.is_symlink() and os.path.realpath(path) not in here:
            raise UsageError(
                f"{name} is a link to {path.readlink()}, which is no file of the folder that goes into an upload.",
                "Put the file itself into the folder, or leave the link out.",
                code="link-elsewhere",
            )


def model_in(own: Mapping[str, Path], module: str) -> Path | None:
    """The pickle or the model file that runs; None where the module defines `predict`. `UsageError` where there is
    neither, or more than one of them and none that was deployed, or a pickle beside code that is not a node's."""
    if defines_predict(own, module):
        return None
    if DEPLOYED in own:
        return own[DEPLOYED]
    models = sorted(name for name in own if name.endswith((".pkl", MODEL)))
    code = _code_of(own, module)
    if len(models) == 1 and models[0].endswith(".pkl") and code is not None and not defines(own[code], NODE):
        raise UsageError(
            f"{code} defines no function predict, and {models[0]} is beside it: Numerai can run only one of them.",
            f"Define predict(live_features) in {code}; or, if the pickle is to be uploaded as it is, move {code} away.",
            code="not-hosted",
        )
    if len(models) == 1:
        return own[models[0]]
    found = f"there are {len(models)} models ({', '.join(models)})" if models else "no model is there either"
    what = f"{code} defines no function predict" if code is not None else f"{module}.py is not there"
    raise UsageError(
        f"Numerai has nothing to run: {what}, and {found}.",
        "Define predict(live_features), which returns a DataFrame with the column prediction, or deploy one model with"
        " --model-file; nodes in R or with a program of their own run on -P local and -P aws.",
        code="not-hosted",
    )


def defines_predict(own: Mapping[str, Path], module: str) -> bool:
    """Whether a module that is among these files defines `predict`."""
    code = _code_of(own, module)
    return code is not None and defines(own[code], "predict")


def _code_of(own: Mapping[str, Path], module: str) -> str | None:
    """The file of a module; a package goes before a file of the same name, as it does in Python."""
    path = module.replace(".", "/")
    return next((name for name in (f"{path}/__init__.py", f"{path}.py") if name in own), None)


def artifact_of(path: Path) -> ModelFile:
    """A file of `numerai train` that Numerai can run; `NumeraiError` where it cannot be read, or predicts another
    tournament."""
    try:
        model = read_model(path)
    except ConfigurationError as error:
        raise NumeraiError(str(error), code="model-unusable") from error
    if model.tournament != Tournament.CLASSIC:
        title = Tournament(model.tournament).title
        raise UsageError(f"{path} predicts {title}, and Numerai runs models of Classic only.", code="not-hosted")
    return model


def with_reader(model: Path, own: Mapping[str, Path]) -> dict[str, Path]:
    """What is packed for a model file: the module that Numerai calls, the reader, and the model as it is packed, all
    of it from the folder's files that were looked through."""
    forests = {f"model{MODEL}{path.name[len(model.name) :]}": path for path in forests_of(model, own.values())}
    reader = {f"numerai_node/{path.name}": path for path in RUNTIME.glob("*.py")}
    return {f"{OF_MODEL}.py": PROGRAMS / f"{OF_MODEL}.py", f"model{MODEL}": model, **forests, **reader}


def _download(url: str, target: Path) -> None:
    import requests

    try:
        with requests.get(url, stream=True, timeout=(30, DOWNLOAD_SECONDS)) as response:
            response.raise_for_status()
            with target.open("wb") as file:
                for block in response.iter_content(1 << 20):
                    file.write(block)
            expected = response.headers.get("Content-Length")
    except requests.RequestException as error:
        raise ApiError(
            f"The live data {target.name} cannot be downloaded: {type(error).__name__}.", "Try again.", temporary=True
        ) from error
    if expected is not None and target.stat().st_size != int(expected):
        raise ApiError(f"The live data {target.name} came incomplete.", "Try again.", temporary=True)
