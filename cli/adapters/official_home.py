"""Takes over the home folder of the official numerai-cli, and gives it back as it was."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from ..encodings import as_utf_8
from ..errors import NumeraiError, UsageError
from ..files.private import PREVIOUS_SUFFIX, make_private_folder, remove_tree, unfinished, write_private
from ..ports import OfficialFiles, Undone
from .legacy_files import CLOUD_KEYS, legacy_keys
from .state_store import KEYS_FILE, NODES_FILE, HomeStore, converted, decoded, keys_alone, parked, without_nothing

BACKUPS = "official-"
LOCKS = "locks"
_OURS = re.compile(r"official-\d{8}T\d{6}(-\d+)?")
RECORD_FILE = "upgrade.json"
_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_LEFT = (".gcp_keys", "aws", "azure", "gcp", "terraform.tfstate", "submission_url.txt", "docker_repo.txt")
"""What else the official tool keeps in its folder. It stays where it is."""


class _File(msgspec.Struct, frozen=True):
    mode: int
    written: str


class _Record(msgspec.Struct, frozen=True):
    """What an upgrade has replaced: by name, the file's mode before and the hash of what was written in its place. And
    what it has made where there was no file: by name, the hash."""

    version: int
    files: dict[str, _File]
    home_was_file: bool = False
    made: dict[str, str] = {}


class OfficialHome:
    """`ports.OfficialHome` on a folder, with the store of the same folder."""

    def __init__(self, store: HomeStore):
        self._store = store
        self._home = store.home

    def found(self) -> OfficialFiles | None:
        if not self._store.is_legacy():
            return None
        _refuse_in_the_way(self._home)
        keys, problem = self._store.raw_keys(), None
        alone = keys_alone(self._home)
        try:
            has_keys = HomeStore(self._home, {}).keys() is not None
        except UsageError as error:  # what is there can be no key: `setup` is where new ones go
            has_keys, problem = False, error.message
        return OfficialFiles(
            files=(alone,) if alone else tuple(converted(self._store)),
            nodes=self._store.nodes(),
            unusable=self._store.unusable_nodes(),
            numerai_keys=has_keys,
            keys_problem=problem,
            cloud_keys=tuple(name for name in CLOUD_KEYS if keys.get(name)),
            left=tuple(self._home / name for name in _LEFT if not alone and (self._home / name).exists()),
        )

    def take_over(self) -> Path:
        _refuse_in_the_way(self._home)
        self._make_folder()
        with self._store.changing():
            _remove_unfinished(self._home)
            files = converted(self._store)
            folder = self._begun(files) or self._back_up(files)
            for path, content in files.items():
                write_private(path, content, keep_previous=False)
            parked(self._home).unlink(missing_ok=True)
        return folder

    @contextmanager
    def writing(self) -> Iterator[None]:
        latest, names = self._latest(), (NODES_FILE, KEYS_FILE)
        before = {name: _hash_of(self._home / name) for name in names}
        yield
        if latest is None:
            return
        folder, record = latest
        files, made = dict(record.files), dict(record.made)
        for name in names:
            path, old = self._home / name, before[name]
            new, known = _hash_of(path), files[name].written if name in files else made.get(name)
            if new is None or new == old or old != known:
                continue
            if name in files:
                files[name] = msgspec.structs.replace(files[name], written=new)
            else:
                made[name] = new
            if _hash_of(previous := _previous(path)) == old:
                previous.unlink(missing_ok=True)
        if (files, made) != (record.files, record.made):
            changed = msgspec.structs.replace(record, files=files, made=made)
            write_private(folder / RECORD_FILE, msgspec.json.encode(changed), keep_previous=False)

    def aws_keys(self) -> tuple[str, str] | None:
        for keys in self._kept_keys():
            aws = keys.get("aws")
            key_id, secret = map(aws.get, _AWS_KEYS) if isinstance(aws, dict) else (None, None)
            if isinstance(key_id, str) and isinstance(secret, str) and key_id and secret:
                return key_id, secret
        return None

    def aws_nodes(self) -> Mapping[str, Mapping[str, Any]]:
        records = {name: node.legacy for name, node in self._store.nodes().items() if node.legacy}
        if (latest := self._latest()) is not None and (copy := latest[0] / NODES_FILE).exists():
            records |= decoded(without_nothing(copy.read_bytes()), copy)
        return {
            name: record
            for name, record in records.items()
            if isinstance(record, Mapping) and record.get("provider", "aws") == "aws"
        }

    def undo(self, held: AbstractContextManager[object] | None = None) -> Undone | None:
        returned = self._return_parked()
        if self._home.is_file():
            return self._cleared_up() or (Undone((self._home,), ()) if returned else None)
        latest = self._latest()
        if latest is None:
            return Undone((self._home,), ()) if self._clear_begun() else None
        folder, record = latest
        if record.home_was_file:
            return self._make_file(folder, record)
        return self._put_back(folder, record, held or nullcontext())

    def _return_parked(self) -> bool:
        """Put the file that is the whole home of numerai-cli until 0.2 back in its place, where an upgrade or an undo
        was interrupted that has no record. `NumeraiError` with code `upgrade-interrupted`, and nothing changed, where
        the folder in its place holds anything else by now."""
        aside, keys = parked(self._home), self._store.keys_path
        if self._home.exists():
            if not (aside.is_file() and self._home.is_dir() and self._latest() is None and self._store.is_legacy()):
                return False
            alone, others = keys_alone(self._home) is not None, _others(self._home)
            if alone and others:
                raise NumeraiError(
                    f"An upgrade of {self._home} was interrupted, and the folder holds {others[0].name} by now. Nothing"
                    " was changed.",
                    "`numerai upgrade` brings it to its end, and `numerai upgrade --undo` undoes it then.",
                    code="upgrade-interrupted",
                )
            if others or not (alone or _same(aside, keys)):
                return False
            with self._store.changing():
                if self._latest() is not None:  # another command was about to bring it to its end
                    return False
                self._remove_leftovers()
                _remove_unfinished(self._home)
                keys.unlink(missing_ok=True)
            _remove_locks(self._home)
            self._home.rmdir()
        elif keys_alone(self._home) is None:
            return False
        aside.rename(self._home)
        return True

    def _put_back(self, folder: Path, record: _Record, held: AbstractContextManager[object]) -> Undone:
        """Write the copies over what took their place. From when the record is gone the copies are no backup any more,
        so that the removal can end anywhere."""
        contents = {name: (folder / name).read_bytes() for name in record.files if (folder / name).is_file()}
        missing = [folder / name for name in record.files if name not in contents]
        if missing and not self._store.is_legacy():
            raise _gone(missing[0])
        aside: list[Path] = []
        with held, self._store.changing():
            _remove_unfinished(self._home)
            for name, content in contents.items():
                path, file = self._home / name, record.files[name]
                previous = _previous(path)  # the official tool has none
                for each in (path, previous):
                    if each.exists() and _hash(each.read_bytes()) not in (file.written, _hash(content)):
                        aside.append(_free(each.with_name(f"{each.name}.upgraded-{_stamp()}")))
                        write_private(aside[-1], each.read_bytes(), keep_previous=False)
                previous.unlink(missing_ok=True)
                write_private(path, content, keep_previous=False)
                _set_mode(path, file.mode)
            _remove_made(self._home, record)
            (folder / RECORD_FILE).unlink()
            remove_tree(folder, self._home, strict=True)
        _remove_locks(self._home)
        return Undone(tuple(self._home / name for name in record.files), tuple(aside))

    def _kept_keys(self) -> Iterator[Mapping[str, Any]]:
        """What the home's file of keys holds, and what its copies do, the newest first."""
        yield self._store.raw_keys()
        for folder in reversed(_backups(self._home)):
            if (copy := folder / KEYS_FILE).is_file():
                yield legacy_keys(as_utf_8(copy.read_bytes())) or {}

    def _make_folder(self) -> None:
        """Put a folder in the place of the file that numerai-cli until 0.2 has for a home, its content as `.keys`."""
        alone, aside, keys = keys_alone(self._home), parked(self._home), self._store.keys_path
        if alone is not None:
            if alone == self._home:
                self._home.rename(aside)
            make_private_folder(self._home)
            write_private(keys, aside.read_bytes(), keep_previous=False)
        if _same(aside, keys):
            _set_mode(keys, _mode(aside))

    def _make_file(self, folder: Path, record: _Record) -> Undone:
        """The other way: the file takes the place of the folder, which is kept beside it if it holds anything else."""
        keys = record.files[KEYS_FILE]
        if not (folder / KEYS_FILE).is_file():
            raise _gone(folder / KEYS_FILE)
        for path in unfinished(parked(self._home)):
            path.unlink()
        write_private(parked(self._home), (folder / KEYS_FILE).read_bytes(), keep_previous=False)
        _set_mode(parked(self._home), keys.mode)
        self._home.rename(_free(self._home.with_name(f"{self._home.name}.upgraded-{_stamp()}")))
        parked(self._home).rename(self._home)
        return self._cleared_up() or Undone((self._home,), ())

    def _cleared_up(self) -> Undone | None:
        """The file is a home again: of the folder that was in its place, remove what the upgrade had made. None where
        there is nothing of it."""
        name = re.compile(re.escape(self._home.name) + r"\.upgraded-\d{8}T\d{6}(-\d+)?")
        aside, cleared = list[Path](), False
        for kept in [path for path in self._home.parent.iterdir() if name.fullmatch(path.name) and path.is_dir()]:
            records = [(folder, record) for folder, record in _records(kept) if record.home_was_file]
            for folder, record in records:
                _clear_up(kept, folder, record)
            for path in (*_backups(kept), kept):
                if not any(path.iterdir()):
                    path.rmdir()
                    cleared = True
            cleared = cleared or bool(records)
            aside += [kept] if records and kept.exists() else []
        return Undone((self._home,), tuple(sorted(aside))) if cleared else None

    def _begun(self, files: Mapping[Path, bytes]) -> Path | None:
        """The backup that an upgrade or its undoing has made of these files before it was interrupted."""
        latest = self._latest()
        if latest is None or not {path.name for path in files} <= set(latest[1].files):
            return None
        return latest[0] if all(_same(latest[0] / path.name, path) for path in files) else None

    def _clear_begun(self) -> bool:
        """Remove what an upgrade has made before its record, or is left of an undo; whether there were any copies."""
        with self._store.changing() if (self._home / LOCKS).is_dir() else nullcontext():
            cleared = self._remove_leftovers()
            legacy = self._store.is_legacy()
            if legacy:
                _remove_unfinished(self._home)
        if legacy:
            _remove_locks(self._home)
        return cleared

    def _remove_leftovers(self) -> bool:
        leftovers = _leftovers(self._home)
        for folder in leftovers:
            remove_tree(folder, self._home, strict=True)
        return bool(leftovers)

    def _back_up(self, files: Mapping[Path, bytes]) -> Path:
        """Copy the files that will be replaced, and write down by what."""
        self._remove_leftovers()
        folder = _free(self._home / f"{BACKUPS}{_stamp()}")
        make_private_folder(folder)
        for path in files:
            write_private(folder / path.name, path.read_bytes(), keep_previous=False)
        records = {path.name: _File(_mode(path), _hash(content)) for path, content in files.items()}
        record = _Record(1, records, parked(self._home).exists())
        write_private(folder / RECORD_FILE, msgspec.json.encode(record), keep_previous=False)
        return folder

    def _latest(self) -> tuple[Path, _Record] | None:
        """The backup of the latest upgrade, whole or interrupted."""
        return next(_records(self._home), None)


def _refuse_in_the_way(home: Path) -> None:
    """Raise where somebody else's file or folder has the name under which a home's file is put aside."""
    if home.is_symlink() and home.is_file():
        target = home.resolve()
        raise NumeraiError(
            f"{home} is a link to the file {target}, and a folder must take its place.",
            f"Put the file itself there: remove the link, copy {target} to {home}, and upgrade again. Nothing"
            " was changed.",
            code="home-is-link",
        )
    other, keys = parked(home), home / KEYS_FILE
    if not other.exists() or not home.exists():
        return
    if home.is_dir() and other.is_file():
        begun, latest = keys_alone(home) is not None, next(_records(home), None)
        same = keys.exists() and keys.read_bytes() == other.read_bytes()
        if begun or same or (latest is not None and latest[1].home_was_file):
            return
    raise NumeraiError(
        f"{other} is in the way.", "Move it, then upgrade again; nothing was changed.", code="in-the-way"
    )


def _clear_up(kept: Path, folder: Path, record: _Record) -> None:
    """Remove what an upgrade has made in the folder `kept`; its record last, so that this can be done again."""
    keys = kept / KEYS_FILE
    if keys.exists() and (
        _hash(keys.read_bytes()) == record.files[KEYS_FILE].written or _same(keys, folder / KEYS_FILE)
    ):
        keys.unlink()
    _remove_made(kept, record)
    _remove_locks(kept)
    _remove_unfinished(kept)
    for path in folder.iterdir():
        if path.name != RECORD_FILE and not path.is_dir():
            path.unlink()
    (folder / RECORD_FILE).unlink()


def _leftovers(home: Path) -> list[Path]:
    """What was begun of a backup, or is left of one whose files were put back: copies of what is there."""
    return [
        folder
        for folder in _backups(home)
        if not (folder / RECORD_FILE).exists()
        and all(_same(copy, home / copy.name) for copy in folder.iterdir() if not copy.name.endswith(".tmp"))
    ]


def _others(home: Path) -> list[Path]:
    """What the home holds that no upgrade makes before it has a record."""
    files = (home / NODES_FILE, home / KEYS_FILE)
    ours = {
        files[1],
        home / LOCKS,
        *_leftovers(home),
        *(each for file in files for each in unfinished(file)),
    }
    locks = (each for each in (home / LOCKS).glob("*") if each.suffix != ".lock")
    return sorted((*(each for each in home.iterdir() if each not in ours), *locks))


def _backups(home: Path) -> list[Path]:
    """The folders with copies, the oldest first, whole or not."""
    found = home.iterdir() if home.is_dir() else ()
    return sorted(path for path in found if _OURS.fullmatch(path.name) and path.is_dir() and not path.is_symlink())


def _records(home: Path) -> Iterator[tuple[Path, _Record]]:
    """The folders with copies that are whole, and their records, the newest first."""
    for folder in reversed(_backups(home)):
        path = folder / RECORD_FILE
        if not path.is_file():
            continue
        try:
            record = msgspec.json.decode(path.read_bytes(), type=_Record)
        except (ValueError, RecursionError) as error:
            raise NumeraiError(
                f"{path} cannot be read: {error}.",
                f"The files in {folder} are the official tool's, as they were: copy them back by hand.",
                code="state-corrupt",
            ) from error
        if any(Path(name).name != name for name in (*record.files, *record.made)):
            raise NumeraiError(f"{path} names files outside of its folder.", code="state-corrupt")
        yield folder, record


def _gone(copy: Path) -> NumeraiError:
    return NumeraiError(f"{copy} is gone: nothing can be put back, and nothing was changed.", code="backup-gone")


def _remove_unfinished(home: Path) -> None:
    """Remove what an upgrade or an undo that was killed has begun to write: it may hold keys."""
    for name in (NODES_FILE, KEYS_FILE):
        for path in unfinished(home / name):
            path.unlink()


def _remove_locks(home: Path) -> None:
    """Remove the locks that taking a home over needs. The official tool has none."""
    folder = home / LOCKS
    if folder.is_dir() and not folder.is_symlink():
        for path in folder.glob("*.lock"):
            path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _remove_made(home: Path, record: _Record) -> None:
    """Remove what an upgrade has made where there was no file, unless it was changed since."""
    for name, written in record.made.items():
        if _hash_of(home / name) == written and not _previous(home / name).exists():
            (home / name).unlink()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + PREVIOUS_SUFFIX)


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


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


def _hash_of(path: Path) -> str | None:
    """The hash of a file's content; None where there is none."""
    return _hash(path.read_bytes()) if path.is_file() else None
