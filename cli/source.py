"""A node's folder: whether it can be deployed, which files it is built from, and the hash over them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from .build_inputs import key_in_build, lacking
from .counting import sized
from .dockerignore import ignore_file, included_files
from .encodings import as_utf_8, is_text, is_utf_16
from .errors import UsageError
from .files.places import users_home
from .foreign import one_line
from .models import Node
from .slim_images import slim_argument

DOCKERFILE = "Dockerfile"
HEAVY_BYTES = 1 << 30
"""More than code and a trained model need; what is more is read, hashed and sent to the builder at every deploy."""


@dataclass(frozen=True)
class Source:
    """What an image is built from: the folder of a node, which has the Dockerfile, and the build context: that folder,
    or a `parent` above it. `base_digests` pins the images that it builds on, full name -> digest."""

    folder: Path
    parent: Path | None = None
    base_digests: Mapping[str, str] | None = None

    @property
    def context(self) -> Path:
        """The folder whose files a build is given."""
        return self.parent or self.folder

    @property
    def inside(self) -> str:
        """Where the node's folder is in the context, with `/`; `.` where it is the context itself. `UsageError` with
        code `bad-context` when it is not in there."""
        folder, context = self.folder.resolve(), self.context.resolve()
        if not folder.is_relative_to(context):
            raise UsageError(
                f"{self.context} is not a folder above {self.folder}, so that cannot be built from it.",
                "Give one above it with --context, or --context '' to build from the node's folder alone.",
                code="bad-context",
            )
        return folder.relative_to(context).as_posix()

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile."""
        return self.folder / DOCKERFILE

    @property
    def dockerfile_name(self) -> str:
        """Where the Dockerfile is in the context, with `/`. Raises as `inside`."""
        return PurePosixPath(self.inside, DOCKERFILE).as_posix()

    def __str__(self) -> str:
        return str(self.folder) if self.parent is None else f"{self.folder} (context {self.parent})"


def source_of(node: Node) -> Source:
    """What a node's image is built from."""
    return Source(Path(node.path), Path(node.context) if node.context is not None else None, node.base_digests)


def check_source(source: Source, *, home: Path | None = None, dockerfile: bool = True) -> None:
    """Whether a node can be built from it. `home` is the tool's home folder; without `dockerfile` none is needed.

    Raises `UsageError` with code `no-such-folder`, `no-dockerfile`, `bad-dockerfile`, `key-in-build`, `needs-context`,
    or as `check_place`.
    """
    for folder in (source.context, source.folder):
        if not folder.is_dir():
            hint = "Give the folder of your code with --path."
            if source.parent is not None:
                hint = "`numerai node config` takes both anew: --path for the folder of your code, and --context."
            raise UsageError(f"There is no folder {folder}.", hint, code="no-such-folder")
    check_place(source, home=home)
    if not dockerfile:
        return
    if not source.dockerfile.is_file():
        raise UsageError(
            f"There is no Dockerfile in {source.folder}.",
            "Start from an example: `numerai copy-example`, or write a Dockerfile.",
            code="no-dockerfile",
        )
    text = dockerfile_text(source.dockerfile)
    _check_keys(source, text)
    if source.parent is None:
        _check_whole(source, text, home)


def _check_keys(source: Source, text: str) -> None:
    used = key_in_build(text)
    if used is not None:
        name, instruction = used
        raise UsageError(
            f"Line {instruction.first + 1} of {source.dockerfile} uses {name} while the image is built, and no build is"
            f" given keys: they would stay in the image. It says: {one_line(instruction.text, 120)}",
            "Every container finds them in its environment when it starts: let what needs them run then, and train"
            " before the deploy or in the run.",
            code="key-in-build",
        )


def _check_whole(source: Source, text: str, home: Path | None) -> None:
    """Whether what the Dockerfile copies is in the node's folder, and not in one above it."""
    absent = lacking(text, source.folder, ".")
    for parent in source.folder.parents if absent else ():
        above = replace(source, parent=parent)
        try:
            check_place(above, home=home)
        except UsageError:
            return
        if not lacking(text, parent, above.inside):
            raise UsageError(
                f"{source.dockerfile} copies {one_line(absent[0])}, which is not in that folder, but in {parent}.",
                f"If nodes share it, `numerai node config --context {parent}` builds from there, and"
                f" {ignore_file(parent, source.folder)} says what to leave out. Else put it into the node's folder.",
                code="needs-context",
            )


def dockerfile_text(path: Path) -> str:
    """A Dockerfile's text. Docker takes it for UTF-8, with or without a byte-order mark; bytes that are none, in a
    comment say, do not matter to it, and become surrogates here. `UsageError` with code `bad-dockerfile` for UTF-16,
    which no builder reads."""
    content = path.read_bytes()
    if is_utf_16(content):
        raise UsageError(
            f"{path} is no UTF-8 text: it looks like UTF-16, which Docker does not read.",
            "Save it as UTF-8 (Windows PowerShell: `Set-Content -Encoding utf8`, not `>`), then try again.",
            code="bad-dockerfile",
        )
    return as_utf_8(content).decode("utf-8", "surrogateescape")


def build_arguments(node: Node, report: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """The build arguments that a Dockerfile may declare with ARG: the folder of the source in the build context and
    the model's id, as the official tool gives them (numerai-cli, numerai/cli/util/docker.py: build), and the node's
    name. Where the image certainly needs no LightGBM, it is also told to leave that out (`slim_images`)."""
    source = source_of(node)
    looked = source.parent is None and source.dockerfile.is_file()  # an example's folder is not there before a plan
    slim = slim_argument(source.folder, dockerfile_text(source.dockerfile)) if looked else {}
    if slim:
        report("LightGBM is left out of the image: the deployed model is packed, and nothing in the folder trains.")
    return {"SRC_PATH": source.inside, "NODE": node.name, "MODEL_ID": node.model_id, **slim}


def check_place(source: Source, *, home: Path | None = None) -> None:
    """Whether a node's folder and its build context may be at these places, existing or not.

    `UsageError` with code `bad-context` for a context that is not above the folder, and `folder-too-wide` for the file
    system's root, the user's home folder, the tool's home folder and what holds them: an image would contain the keys.
    """
    _check_narrow(source.folder, "a node's folder", "Put the node's code into a folder of its own: --path.", home)
    if source.parent is not None:
        hint = "Put the node and what it shares with others into a folder of their own, and give that with --context."
        _check_narrow(source.parent, "what an image is built from", hint, home)
    _ = source.inside  # which raises where it is not


def _check_narrow(path: Path, what: str, hint: str, home: Path | None) -> None:
    if not path.is_absolute():
        raise UsageError(
            f"'{path}' is no absolute path: from every folder it leads to another place.",
            "`numerai node config` with --path (and --context) records where it is.",
            code="relative-folder",
        )
    if not is_text(str(path)):
        raise UsageError(
            f"The name of {str(path)!a} is no UTF-8 text, so it cannot be recorded.", hint, code="bad-folder-name"
        )
    resolved = path.resolve()
    private = [users_home().resolve(), *([home.resolve()] if home else [])]
    if resolved == Path(resolved.anchor) or any(folder.is_relative_to(resolved) for folder in private):
        raise UsageError(
            f"{path} cannot be {what}: everything in it, private files too, would go into the image.",
            hint,
            code="folder-too-wide",
        )
    if home and resolved.is_relative_to(home.resolve()):
        raise UsageError(
            f"{path} lies inside {home}, where the tool keeps keys and state.", hint, code="folder-too-wide"
        )


def source_files(source: Source) -> list[str]:
    """The files of the build context, as sorted relative paths with `/`: what the ignore file leaves, and the
    Dockerfile.

    Folders, pipes, sockets and devices are left out; symbolic links are listed as such and never followed.
    """
    dockerfile = source.dockerfile_name
    own = {dockerfile} if source.dockerfile.is_file() else set()
    return sorted({*included_files(source.context, source.folder), *own})


def heavy_part(source: Source) -> str | None:
    """That the build context has more than `HEAVY_BYTES`, and what makes up most of it; None where it has not."""
    sizes = Counter[str]()
    for name in source_files(source):
        sizes["/".join(name.split("/")[:2])] += (source.context / name).lstat().st_size
    if sizes.total() <= HEAVY_BYTES:
        return None
    part, most = sizes.most_common(1)[0]
    return (
        f"{source.context} gives the builder {sized(sizes.total())}, {sized(most)} of it {one_line(part)}:"
        f" name what the image does not need in {ignore_file(source.context, source.folder)}."
    )


def source_hash(source: Source, names: Sequence[str] | None = None) -> str:
    """The SHA-256, in hex, over relative paths, executable bits and contents of the files of the build context, the
    place of the node's folder in it, and the pinned images. `names` are the files that count, by default all."""
    digest = hashlib.sha256()
    if source.inside != ".":
        digest.update(b"%s in its context\0" % source.inside.encode("utf-8", "surrogatepass"))
    for name, pinned in sorted((source.base_digests or {}).items()):
        digest.update(b"%s is %s\0" % (name.encode(), pinned.encode()))
    for name in source_files(source) if names is None else names:
        file = source.context / name
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
    """Copy the files of a node's folder that go into an image into a new folder, with their executable bits and links.
    Who else can read them is for the umask to say."""
    target.mkdir(parents=True)
    for name in source_files(Source(path)):
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
