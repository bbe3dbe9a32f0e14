"""Takes over the home folder of the official numerai-cli, and gives it back as it was."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..encodings import as_utf_8
from ..errors import NumeraiError
from ..files.private import make_private_folder, remove_tree, write_private
from ..ports import OfficialFiles, Undone
from .legacy_files import CLOUD_KEYS, legacy_keys
from .state_store import KEYS_FILE, NODES_FILE, HomeStore, converted, decoded, keys_alone, parked

BACKUPS = "official-"
LOCKS = "locks"
_OURS = re.compile(r"official-\d{8}T\d{6}(-\d+)?")
RECORD_FILE = "upgrade.json"
_LEFT = (".gcp_keys", "aws", "azure", "gcp", "terraform.tfstate", "submission_url.txt", "docker_repo.txt")
"""What else the official tool keeps in its folder. It stays where it is."""


class _File(msgspec.Struct, frozen=True):
    mode: int
    written: str


class _Record(msgspec.Struct, frozen=True):
    """What an upgrade has replaced: by name, the file's mode before and the hash of what was written in its place."""

    version: int
    files: dict[str, _File]
    home_was_file: bool = False
    made: list[str] = []


class OfficialHome:
    """`ports.OfficialHome` on a folder, with the store of the same folder."""

    def __init__(self, store: HomeStore):
        self._store = store
        self._home = store.home

    def found(self) -> OfficialFiles | None:
        if not self._store.is_legacy():
            return None
        keys = self._store.raw_keys()
        alone = keys_alone(self._home)
        return OfficialFiles(
            files=(alone,) if alone else tuple(converted(self._store)),
            nodes=self._store.nodes(),
            unusable=self._store.unusable_nodes(),
            numerai_keys=self._store.keys() is not None,
            cloud_keys=tuple(name for name in CLOUD_KEYS if keys.get(name)),
            left=tuple(self._home / name for name in _LEFT if not alone and (self._home / name).exists()),
        )

    def take_over(self) -> Path:
        before = [] if (self._home / LOCKS).exists() else [LOCKS]
        self._refuse_in_the_way()
        self._make_folder()
        with self._store.changing():
            files = converted(self._store)
            folder = self._begun(files) or self._back_up(files, before)
            for path, content in files.items():
                write_private(path, content, keep_previous=False)
            parked(self._home).unlink(missing_ok=True)
        return folder

    def aws_keys(self) -> tuple[str, str] | None:
        keys, latest = self._store.raw_keys(), self._latest()
        if not keys.get("aws") and latest is not None and (copy := latest[0] / KEYS_FILE).exists():
            keys = legacy_keys(as_utf_8(copy.read_bytes())) or {}
        aws = keys.get("aws") or {}
        key_id, secret = aws.get("AWS_ACCESS_KEY_ID"), aws.get("AWS_SECRET_ACCESS_KEY")
        return (key_id, secret) if isinstance(key_id, str) and isinstance(secret, str) and key_id and secret else None

    def aws_nodes(self) -> Mapping[str, Mapping[str, Any]]:
        records = {name: node.legacy for name, node in self._store.nodes().items() if node.legacy}
        if (latest := self._latest()) is not None and (copy := latest[0] / NODES_FILE).exists():
            records |= decoded(copy.read_bytes(), copy)
        return {
            name: record
            for name, record in records.items()
            if isinstance(record, Mapping) and record.get("provider", "aws") == "aws"
        }

    def undo(self) -> Undone | None:
        if not self._home.exists() and keys_alone(self._home) is not None:  # interrupted below
            parked(self._home).rename(self._home)
            return Undone((self._home,), ())
        latest = self._latest()
        if latest is None:
            return None
        folder, record = latest
        if record.home_was_file:
            return self._make_file(folder, record)
        contents = {name: (folder / name).read_bytes() for name in record.files}
        aside: list[Path] = []
        with self._store.changing():
            for name, file in record.files.items():
                path = self._home / name
                if path.exists() and _hash(path.read_bytes()) not in (file.written, _hash(contents[name])):
                    aside.append(_free(path.with_name(f"{name}.upgraded-{_stamp()}")))
                    write_private(aside[-1], path.read_bytes(), keep_previous=False)
                write_private(path, contents[name], keep_previous=False)
                _set_mode(path, file.mode)
            remove_tree(folder, self._home, strict=True)
        for name in () if aside else record.made:
            remove_tree(self._home / name, self._home)
        return Undone(tuple(self._home / name for name in record.files), tuple(aside))

    def _refuse_in_the_way(self) -> None:
        """Raise where somebody else's file or folder has the name under which a home's file is put aside."""
        other, keys = parked(self._home), self._store.keys_path
        if not other.exists() or not self._home.exists():
            return
        if self._home.is_dir() and other.is_file():
            begun, latest = keys_alone(self._home) is not None, self._latest()
            same = keys.exists() and keys.read_bytes() == other.read_bytes()
            if begun or same or (latest is not None and latest[1].home_was_file):
                return
        raise NumeraiError(
            f"{other} is in the way.", "Move it, then upgrade again; nothing was changed.", code="in-the-way"
        )

    def _make_folder(self) -> None:
        """Put a folder in the place of the file that numerai-cli until 0.2 has for a home, its content as `.keys`."""
        alone = keys_alone(self._home)
        if alone is None:
            return
        if alone == self._home:
            self._home.rename(parked(self._home))
        make_private_folder(self._home)
        write_private(self._store.keys_path, parked(self._home).read_bytes(), keep_previous=False)
        _set_mode(self._store.keys_path, _mode(parked(self._home)))

    def _make_file(self, folder: Path, record: _Record) -> Undone:
        """The other way: the file takes the place of the folder, which is kept beside it if it holds anything else."""
        keys = record.files[KEYS_FILE]
        write_private(parked(self._home), (folder / KEYS_FILE).read_bytes(), keep_previous=False)
        _set_mode(parked(self._home), keys.mode)
        kept = _free(self._home.with_name(f"{self._home.name}.upgraded-{_stamp()}"))
        self._home.rename(kept)
        parked(self._home).rename(self._home)
        remove_tree(kept / folder.name, kept)
        if (kept / KEYS_FILE).exists() and _hash((kept / KEYS_FILE).read_bytes()) == keys.written:
            (kept / KEYS_FILE).unlink()
        for name in record.made:
            remove_tree(kept / name, kept)
        if any(kept.iterdir()):
            return Undone((self._home,), (kept,))
        kept.rmdir()
        return Undone((self._home,), ())

    def _begun(self, files: Mapping[Path, bytes]) -> Path | None:
        """The backup that an upgrade or its undoing has made of these files before it was interrupted."""
        latest = self._latest()
        if latest is None or not {path.name for path in files} <= set(latest[1].files):
            return None
        same = all((latest[0] / path.name).read_bytes() == path.read_bytes() for path in files)
        return latest[0] if same else None

    def _back_up(self, files: Mapping[Path, bytes], made: list[str]) -> Path:
        """Copy the files that will be replaced, and write down by what."""
        for begun in self._home.glob(f"{BACKUPS}*"):
            if (
                _OURS.fullmatch(begun.name) and not (begun / RECORD_FILE).exists()
            ):  # interrupted before anything was replaced
                remove_tree(begun, self._home)
        folder = _free(self._home / f"{BACKUPS}{_stamp()}")
        make_private_folder(folder)
        for path in files:
            write_private(folder / path.name, path.read_bytes(), keep_previous=False)
        records = {path.name: _File(_mode(path), _hash(content)) for path, content in files.items()}
        record = _Record(1, records, parked(self._home).exists(), made)
        write_private(folder / RECORD_FILE, msgspec.json.encode(record), keep_previous=False)
        return folder

    def _latest(self) -> tuple[Path, _Record] | None:
        """The backup of the latest upgrade, whole or interrupted."""
        for path in sorted(self._home.glob(f"{BACKUPS}*/{RECORD_FILE}"), reverse=True):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=_Record)
            except msgspec.MsgspecError as error:
                raise NumeraiError(
                    f"{path} cannot be read: {error}.",
                    f"The files in {path.parent} are the official tool's, as they were: copy them back by hand.",
                    code="state-corrupt",
                ) from error
            if any(Path(name).name != name for name in record.files):
                raise NumeraiError(f"{path} names files outside of its folder.", code="state-corrupt")
            return path.parent, record
        return None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _set_mode(path: Path, mode: int) -> None:
    if os.name == "posix":
        path.chmod(mode)


def _free(path: Path) -> Path:
    """This path, or one with a number behind it where something is in the way."""
    names = (path.with_name(f"{path.name}{suffix}") for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(each for each in names if not each.exists())


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
