"""Which nodes' images need no LightGBM: decided from the files that they are built from, and only without any doubt.

The examples' Dockerfiles declare the build argument LIGHTGBM, and leave LightGBM out where it is `no`. A node needs
none where its one model is the deployed model file, which is packed already, and nothing in its folder could train or
open another one. Whatever is not known here counts as a need.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .dockerfile import instructions
from .dockerignore import included_files
from .encodings import as_utf_8

ARGUMENT = "LIGHTGBM"
RUNTIME = "numerai_node/"
CODE = (".py", ".sh", ".R", ".r", ".jl")
HARMLESS = (".md", ".csv", ".parquet", ".json", ".gitignore", ".gitattributes", ".dockerignore", ".lock")
"""Files that hold no code and no model; all others that are not known make it uncertain."""
REQUIREMENTS = {"apprise", "lightgbm", "numpy", "pandas", "pyarrow", "urllib3"}
"""What the examples ask for, of which nothing but LightGBM uses LightGBM or scipy."""
_DOUBT = re.compile(
    r"lightgbm|lgb|scipy|sparse|narwhals|predictor|numerai_node\.forest|read_model|pickle|joblib|numerai_compute"
    r"|\b(train|fit)\s*\(|import_module|__import__|\bexec\b|\beval\b|subprocess|os\.system|\.model\(\s*[^)\s]",
)
"""What may mean that code trains, opens another model, or does what cannot be read here."""
_READS = re.compile(r"\.model\(\s*\)")
_IMPORTS = re.compile(r"^\s*(import|from)\s+lightgbm", re.MULTILINE)
_FORMAT = re.compile(r"^FORMAT = (\d+)$", re.MULTILINE)


def slim_argument(folder: Path, dockerfile: str) -> dict[str, str]:
    """`{"LIGHTGBM": "no"}` for a node whose image needs no LightGBM and whose Dockerfile can leave it out, else
    nothing. The folder is the whole build context."""
    return {ARGUMENT: "no"} if _can_leave_out(dockerfile) and not _may_need(folder) else {}


def _can_leave_out(dockerfile: str) -> bool:
    found = instructions(dockerfile)
    declared = any(name == ARGUMENT and default == "yes" for each in found for name, default in each.arguments)
    return declared and not any("lightgbm" in each.text for each in found)  # by which it could be installed again


def _may_need(folder: Path) -> bool:
    if TYPE_CHECKING:
        from numerai_node.model_file import DEPLOYED
    else:  # here, as the runtime takes urllib3 along
        from numerai_compute.node_template.numerai_node.model_file import DEPLOYED
    deployed = folder / DEPLOYED
    files = set(included_files(folder, folder))
    if any((folder / name).is_symlink() for name in files):
        return True
    packed = _packed(deployed, folder / RUNTIME / "forest.py")
    if packed is None or not {deployed.name, *packed} <= files:
        return True
    own = [name for name in files - {deployed.name, "Dockerfile", *packed} if not name.startswith(RUNTIME)]
    try:
        return _changed(folder, files) or _doubtful(folder, own)
    except (OSError, UnicodeError):
        return True


def _changed(folder: Path, files: Iterable[str]) -> bool:
    """Whether the runtime has been made to use LightGBM elsewhere than where it does for models that do not pack."""
    others = [name for name in files if name.startswith(RUNTIME) and name.endswith(".py")]
    return any(
        _IMPORTS.search((folder / name).read_text(encoding="utf-8")) for name in others if name != f"{RUNTIME}forest.py"
    )


def _doubtful(folder: Path, names: Iterable[str]) -> bool:
    """Whether something among these files may train, or predict with another model."""
    reads = False
    for name in names:
        ending = PurePosixPath(name).suffix or PurePosixPath(name).name
        if ending in CODE:
            text = as_utf_8((folder / name).read_bytes()).decode("utf-8")
            if _DOUBT.search(text):
                return True
            reads = reads or _READS.search(text) is not None
        elif name == "requirements.txt":
            if not _requirements(folder / name) <= REQUIREMENTS:
                return True
        elif ending not in HARMLESS:
            return True
    return not reads


def asks_for_lightgbm(requirements: Path) -> bool:
    """Whether a requirements.txt asks for LightGBM, or for what is not seen in it."""
    return not _requirements(requirements) <= REQUIREMENTS - {"lightgbm"}


def _requirements(path: Path) -> set[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {_requirement(line) for line in lines if line.strip() and not line.startswith("#")}


def _requirement(line: str) -> str:
    """The package that a line of requirements.txt asks for; the line itself where it is none, as `-r other.txt`."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?=[=<>!~;\[#]|$)", line)
    return match[1].lower() if match else line


def _packed(model: Path, runtime: Path) -> set[str] | None:
    """The names of the packed forests of all members of a model file; None unless each is there, of this very file,
    and of the format that the node's runtime reads."""
    if TYPE_CHECKING:
        from numerai_node.model_file import DESCRIPTION, file_digest
    else:
        from numerai_compute.node_template.numerai_node.model_file import DESCRIPTION, file_digest
    try:
        digest = file_digest(model)
        form = _FORMAT.search(runtime.read_text(encoding="utf-8"))
        with zipfile.ZipFile(model) as archive:
            members = [str(member["file"]) for member in json.loads(archive.read(DESCRIPTION))["members"]]
        if form is None or not members:
            return None
        names = [f"{model.name}.{number}.forest" for number in range(len(members))]
        for name, member in zip(names, members, strict=True):
            with zipfile.ZipFile(model.with_name(name)) as arrays:
                if not arrays.read("key.npy").endswith(f"\n{form[1]} {member} {digest}".encode()):
                    return None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return set(names)
