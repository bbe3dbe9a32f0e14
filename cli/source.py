"""A node's folder: whether it can be deployed, which files it is built from, and the hash over them."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .dockerignore import included_files
from .encodings import as_utf_8, is_utf_16
from .errors import UsageError
from .models import Node

DOCKERFILE = "Dockerfile"


def check_source(path: Path, *, home: Path | None = None) -> None:
    """Whether a folder can be a node's source. `home` is the tool's home folder.

    Raises `UsageError` with code `no-such-folder`, `no-dockerfile`, `bad-dockerfile`, or `folder-too-wide` for the
    file system's root, the user's home folder, the tool's home folder and what holds them: an image would contain the
    keys.
    """
    if not path.is_dir():
        raise UsageError(
            f"There is no folder {path}.", "Give the folder of your code with --path.", code="no-such-folder"
        )
    check_place(path, home=home)
    if not (path / DOCKERFILE).is_file():
        raise UsageError(
            f"There is no Dockerfile in {path}.",
            "Start from an example: `numerai copy-example`, or write a Dockerfile.",
            code="no-dockerfile",
        )
    dockerfile_text(path / DOCKERFILE)


def dockerfile_text(path: Path) -> str:
    """A Dockerfile's text. Docker takes it for UTF-8, with or without a byte-order mark; bytes that are none, in a
    comment say, do not matter to it. `UsageError` with code `bad-dockerfile` for UTF-16, which no builder reads."""
    content = path.read_bytes()
    if is_utf_16(content):
        raise UsageError(
            f"{path} is no UTF-8 text: it looks like UTF-16, which Docker does not read.",
            "Save it as UTF-8 (Windows PowerShell: `Set-Content -Encoding utf8`, not `>`), then try again.",
            code="bad-dockerfile",
        )
    content = as_utf_8(content)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def build_arguments(node: Node) -> dict[str, str]:
    """The build arguments that a Dockerfile may declare with ARG: the folder of the source in the build context and
    the model's id, as the official tool gives them (numerai-cli, numerai/cli/util/docker.py: build), and the node's
    name."""
    return {"SRC_PATH": ".", "NODE": node.name, "MODEL_ID": node.model_id}


def check_place(path: Path, *, home: Path | None = None) -> None:
    """Whether a node's folder may be at this place, existing or not; `UsageError` with code `folder-too-wide`."""
    resolved = path.resolve()
    private = [Path.home().resolve(), *([home.resolve()] if home else [])]
    if resolved == Path(resolved.anchor) or any(folder.is_relative_to(resolved) for folder in private):
        raise UsageError(
            f"{path} cannot be a node's folder: everything in it, private files too, would go into the image.",
            "Put the node's code into a folder of its own and give that with --path.",
            code="folder-too-wide",
        )
    if home and resolved.is_relative_to(home.resolve()):
        raise UsageError(
            f"{path} lies inside {home}, where the tool keeps keys and state.",
            "Put the node's code into a folder of its own and give that with --path.",
            code="folder-too-wide",
        )


def source_files(path: Path) -> list[str]:
    """The files of the build context, as sorted relative paths with `/`: what .dockerignore leaves, and the Dockerfile.

    Folders are left out; symbolic links are listed as such and never followed.
    """
    return sorted({*included_files(path), *({DOCKERFILE} if (path / DOCKERFILE).exists() else ())})


def source_hash(path: Path) -> str:
    """The SHA-256, in hex, over relative paths, executable bits and contents of the files of the build context."""
    digest = hashlib.sha256()
    for name in source_files(path):
        file = path / name
        if file.is_symlink():
            kind, content = b"l", os.fsencode(file.readlink())
        else:
            kind = b"x" if os.name == "posix" and file.stat().st_mode & 0o100 else b"f"
            content = _content_hash(file)
        raw = name.encode("utf-8", "surrogatepass")  # a name that is no UTF-8 holds surrogates
        digest.update(b"%s %d:%s %d:" % (kind, len(raw), raw, len(content)))
        digest.update(content)
    return digest.hexdigest()


def copy_source(path: Path, target: Path) -> None:
    """Copy the files of the build context into a new folder, with their executable bits and links. Who else can read
    them is for the umask to say."""
    target.mkdir(parents=True)
    for name in source_files(path):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / name, copy, follow_symlinks=False)
        if not copy.is_symlink() and (path / name).stat().st_mode & 0o100:
            copy.chmod(copy.stat().st_mode | 0o100)


def _content_hash(file: Path) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()
