"""Finds handlers: in a Python file, or under a name that an installed package registered (an entry point)."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UsageError
from .dispatch import failure_of
from .handler import EventHandler
from .messages import Failure

ENTRY_POINT_GROUP = "numerai_compute.handlers"
MODULE_PREFIX = "numerai_handlers_"


@dataclass
class Loaded:
    """What was found: handlers ready to be added, and what failed on the way."""

    handlers: list[EventHandler] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def load_handlers(sources: Iterable[str]) -> Loaded:
    """The handlers of files (`path/to/handlers.py`) and entry points (names of the group numerai_compute.handlers).

    Code that fails or calls `sys.exit` while it is imported, or a class that cannot be made, becomes a `Failure`; the
    rest is loaded all the same. `UsageError` when there is no such file or name.
    """
    loaded = Loaded()
    for source in sources:
        path = _path_of(source)
        if path is not None:
            _load_file(path, loaded)
        else:
            _load_entry_point(source, loaded)
    return loaded


def _path_of(source: str) -> Path | None:
    """The file that is meant; None when it is the name of an entry point."""
    try:
        path = Path(source).expanduser().absolute()
        if path.is_file():
            return path
        named = path.suffix == ".py" or path.exists()
    except (OSError, RuntimeError, ValueError):  # no file can have this name, or there is no such user
        named = source.endswith(".py")
    if not named:
        return None
    raise UsageError(
        f"There is no file {Path(source).absolute()}.", "Give the path of a Python file with handlers.", code="no-file"
    )


def _load_file(path: Path, loaded: Loaded) -> None:
    with _as_failure(path.name, loaded):
        _make(_handlers_of_module(_import_file(path)), path.name, loaded)


def _load_entry_point(name: str, loaded: Loaded) -> None:
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none"
        raise UsageError(
            f"There is neither a file nor an installed handler '{name}'.",
            f"Give a path that ends with .py. Installed handlers: {known}.",
            code="unknown-handler",
        )
    with _as_failure(name, loaded):
        target = points[name].load()
        found = _handlers_of_module(target) if isinstance(target, ModuleType) else _as_list(target)
        _make(found, name, loaded)


def _import_file(path: Path) -> ModuleType:
    name = MODULE_PREFIX + path.stem
    while name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(path):
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported: it is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # models that are pickled need to find their classes again
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _handlers_of_module(module: ModuleType) -> list[Any]:
    """The module's `handlers`, else every handler class that it defines and that is not marked as private."""
    listed = getattr(module, "handlers", None)
    if listed is not None:
        return _as_list(listed)
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, EventHandler)
        and value.__module__ == module.__name__
        and value.__name__ == name
        and not name.startswith("_")
        and not inspect.isabstract(value)
    ]


def _as_list(target: Any) -> list[Any]:
    if isinstance(target, (list, tuple)):
        return list(target)
    if inspect.isclass(target) or isinstance(target, EventHandler):
        return [target]
    if callable(target):
        return _as_list(target())
    raise TypeError(f"handlers must be a list of handlers, not a {type(target).__name__}")


def _make(found: list[Any], source: str, loaded: Loaded) -> None:
    for item in found:
        with _as_failure(getattr(item, "__name__", source), loaded):
            loaded.handlers.append(_instance(item))


@contextmanager
def _as_failure(source: str, loaded: Loaded) -> Iterator[None]:
    """Note what the block raises as a failure of `source`; leaving the process (a script rather than a file with
    handlers) is one too."""
    try:
        yield
    except SystemExit as error:
        try:
            raise ImportError(f"{source} left with sys.exit({error.code!r}) while it was loaded") from error
        except ImportError as left:
            loaded.failures.append(failure_of("import", source, left, None, retry=False))
    except Exception as error:  # noqa: BLE001 - code of the user or of another package: it may raise anything
        loaded.failures.append(failure_of("import", source, error, None, retry=False))


def _instance(item: Any) -> EventHandler:
    if isinstance(item, EventHandler):
        return item
    if not (inspect.isclass(item) and issubclass(item, EventHandler)):
        raise TypeError(f"{item!r} is neither a handler nor a class of handlers")
    wanted = [
        parameter
        for parameter in inspect.signature(item).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if [parameter.name for parameter in wanted] == ["name"]:
        return item(name=item.__name__)
    if wanted:
        names = ", ".join(parameter.name for parameter in wanted)
        raise TypeError(
            f"{item.__name__} needs {names}: make it in the file, in a list `handlers = [{item.__name__}(...)]`"
        )
    return item()
