"""Packs a node's `predict`: `python pack.py FOLDER MODULE PICKLE RESULT`, in the Python that will load the pickle.

The folder's own modules go in by value (cloudpickle.register_pickle_by_value), so that no file of it is needed later.
"""

import faulthandler
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType


def main(folder: str, module: str, pickle: str, result: str) -> None:
    """Write the pickle, and into the result whether that went well and why not."""
    found: dict[str, str | None] = {"why": None}
    try:
        pack(folder, module, pickle)
    except BaseException as error:  # noqa: BLE001  whatever a user's module raises, SystemExit too, is the reason
        traceback.print_exc()
        found["why"] = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError):
            found["kind"] = "memory"
    with Path(result).open("w", encoding="utf-8") as file:
        json.dump(found, file)


class Unfit(Exception):
    """There is nothing that Numerai could call."""


def pack(folder: str, name: str, pickle: str) -> None:
    """Import the module and dump its `predict`."""
    import cloudpickle

    os.chdir(folder)
    sys.path.insert(0, folder)
    module = importlib.import_module(name)
    predict = getattr(module, "predict", None)
    if not callable(predict):
        raise Unfit(f"{name}.py defines no function predict(live_features)")
    if len(inspect.signature(predict).parameters) not in (1, 2):
        raise Unfit("predict must take one or two arguments: live_features, and live_benchmark_models")
    own = [each for each in list(sys.modules.values()) if inside(each, folder)]
    for each in own:
        cloudpickle.register_pickle_by_value(each)
    try:
        with Path(pickle).open("wb") as file:  # the model alone takes its memory
            cloudpickle.dump(predict, file)
    except MemoryError:
        raise
    except Exception as error:
        raise Unfit(why_not(error, own, cloudpickle.dumps)) from error


def inside(module: object, folder: str) -> bool:
    """Whether a module is in the folder. A package without __init__.py has no file, but a path."""
    files = [getattr(module, "__file__", None), *list(getattr(module, "__path__", None) or [])[:1]]
    return any(os.path.realpath(file).startswith(os.path.realpath(folder) + os.sep) for file in files if file)


def why_not(error: Exception, own: list[ModuleType], dumps: Callable[[object], bytes]) -> str:
    """Which value of the folder's modules cannot be pickled, and what to do."""
    said = f"{type(error).__name__}: {error}"
    for module in own:
        for name, value in vars(module).items():
            if name.startswith("__") or inspect.ismodule(value) or inspect.isroutine(value) or inspect.isclass(value):
                continue
            try:
                dumps(value)
            except Exception:  # noqa: BLE001  whatever a value raises, it is the one
                return f"{name} of {module.__name__} cannot be pickled ({said}): make it inside of predict"
    return said


if __name__ == "__main__":
    if "NUMERAI_ALARM" in os.environ:  # which ends the process, and so the container, where nobody else does
        faulthandler.dump_traceback_later(int(os.environ["NUMERAI_ALARM"]), exit=True)
    main(*sys.argv[1:])
