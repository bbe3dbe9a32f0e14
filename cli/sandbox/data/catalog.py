"""Every dataset file by name and round, made when it is first asked for and kept in a folder."""

from __future__ import annotations

import copy
import re
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ...errors import UsageError
from ...files.private import replacing
from ..objects import file_etag
from ..refusal import HttpRefusal
from ..settings import DataSpec

if TYPE_CHECKING:
    from .source import Edition, Source, ValidationSource

CLASSIC, SIGNALS, CRYPTO = 8, 11, 12
_PREFIXES = {CLASSIC: "", SIGNALS: "signals/", CRYPTO: "crypto/"}
_VERSION = re.compile(r"(signals/|crypto/)?v\d{1,3}(\.\d{1,3})?")
SERVED = ("v5.3", "signals/v1.0", "signals/v2.1", "signals/v3.1", "crypto/v2.0")
"""The versions that are listed unless others are asked for. numerapi asks for signals/v1.0/live.parquet."""
_ONLY_LIVE = ("signals/v1.0",)
_LISTING = "versions.json"
_UNIVERSE_SIZE = 300
_UNIVERSE_WEEKS = 60


@dataclass(frozen=True)
class StoredFile:
    """A file on disk and the entity tag of its bytes; when it was published, if not when it was made."""

    path: Path
    etag: str
    published: datetime | None = None


class Published(Struct, frozen=True):
    """A version that is listed: the short names of its files (None for all), and whether its features are renamed."""

    files: tuple[str, ...] | None = None
    renames: bool = False


class Catalog:
    """The data of all tournaments, in several versions. Safe for several threads; a file is made once.

    `versions` are listed besides `SERVED`, e.g. `v5.2`. What `publish` and `remove` change is remembered in the folder.
    Nothing is imported or made before the first question about it.
    """

    def __init__(self, folder: Path, spec: DataSpec, data: Path | None = None, versions: Iterable[str] = ()) -> None:
        self.spec = spec
        self._folder = folder
        self._data = data
        self._lock = threading.RLock()
        self._file_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._sources: dict[tuple[str, bool], Source] = {}
        self._listing: Path | None = folder / _LISTING
        self._published = self._remembered() or {
            version: Published(("live.parquet",) if version in _ONLY_LIVE else None)
            for version in dict.fromkeys([*SERVED, *versions])
        }

    def own(self) -> Catalog:
        """The same files with a listing of its own: what is published there is not published here."""
        other = copy.copy(self)
        with self._lock:
            other._published, other._listing = dict(self._published), None
        return other

    def publish(self, version: str, files: Iterable[str] | None = None, renames: bool = False) -> None:
        """List a version, or more of its files: those of these short names, or all for None.

        A version before v5.3 has v5.2's features, a later one v5.3's. With `renames` the features have other names, as
        after a major release. `UsageError` for a name that is none, or a file that the version cannot have.
        """
        source = self._source(version, renames)
        if files is not None:
            known = [name.rpartition("/")[2] for name in source.names()]
            for name in files:
                if name not in known:
                    raise UsageError(f"There is no file '{name}' in {version}.", f"There are: {', '.join(known)}.")
        with self._lock:
            before = self._published.get(version)
            if before is not None and before.renames == renames and files is not None and before.files is not None:
                files = [*before.files, *files]
            chosen = None if files is None else tuple(dict.fromkeys(files))
            self._published[version] = Published(chosen, renames)
            self._remember()

    def remove(self, version: str) -> None:
        """Stop serving a version; `UsageError` when it is not listed."""
        with self._lock:
            if version not in self._published:
                listed = ", ".join(self._published)
                raise UsageError(f"There is no data version {version}.", f"There are: {listed}.")
            del self._published[version]
            self._remember()

    def versions(self) -> list[str]:
        """The versions that are listed."""
        with self._lock:
            return sorted(self._published)

    def source(self, tournament: int) -> Source:
        """A tournament's live rows and what became of them, which are the same in every version."""
        first = next(version for version in reversed(SERVED) if _tournament(version) == tournament)
        return self._source(first, False)

    def classic(self) -> ValidationSource:
        """The Classic data as diagnostics need it."""
        from .folder import FolderClassic
        from .made_classic import MadeClassic

        source = self.source(CLASSIC)
        if not isinstance(source, (FolderClassic, MadeClassic)):
            raise TypeError("the Classic source has no rows")
        return source

    def names(self, tournament: int | None) -> list[str]:
        """The files that are listed for a tournament (for all, for None)."""
        with self._lock:
            published = dict(self._published)
        names: list[str] = []
        for version, about in published.items():
            if tournament in (None, _tournament(version)):
                shown = self._source(version, about.renames).names()
                names += shown if about.files is None else [f"{version}/{name}" for name in about.files]
        return sorted(names)

    def tournament_of(self, name: str) -> int | None:
        """Which tournament a listed file belongs to; None when there is no such file."""
        version = name.rpartition("/")[0]
        tournament = _tournament(version)
        return tournament if tournament is not None and name in self.names(tournament) else None

    def file(self, name: str, edition: Edition) -> StoredFile:
        """The file, made if need be; `HttpRefusal` 404 when there is none of that name."""
        version = name.rpartition("/")[0]
        about = self._published.get(version)
        if about is None or self.tournament_of(name) is None:
            raise HttpRefusal(404, "NoSuchKey")
        source = self._source(version, about.renames)
        given = source.given(name)
        if given is not None:
            return StoredFile(given, file_etag(given))
        number = edition.round_number if source.per_round(name) else 0
        path = self._folder / source.fingerprint / str(number) / re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        with self._lock:
            file_lock = self._file_locks[path]
        with file_lock:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                source.write(name, edition, path)
        return StoredFile(path, file_etag(path))

    def _source(self, version: str, renames: bool) -> Source:
        with self._lock:
            source = self._sources.get((version, renames))
            if source is None:
                source = self._sources[version, renames] = self._make_source(version, renames)
            return source

    def _make_source(self, version: str, renames: bool) -> Source:
        from .folder import FolderClassic
        from .made_classic import MadeClassic
        from .made_universe import CRYPTO as COINS
        from .made_universe import SIGNALS as STOCKS
        from .made_universe import MadeUniverse

        tournament = _tournament(version)
        if tournament is None:
            raise UsageError(f"'{version}' is no data version.", "Name one like v6.0, signals/v3.2 or crypto/v2.1.")
        seed = self.spec.seed
        if tournament != CLASSIC:
            kind = STOCKS if tournament == SIGNALS else COINS
            return MadeUniverse(kind, seed, _UNIVERSE_SIZE, _UNIVERSE_WEEKS, version, renames=renames)
        if self._data is None:
            return MadeClassic(self.spec, version, renames=renames)
        if renames:
            raise UsageError("The files of --data are served as they are: their features cannot be renamed.")
        return FolderClassic(self._data, seed, version)

    def _remembered(self) -> dict[str, Published] | None:
        path = self._folder / _LISTING
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Published]) if path.is_file() else None

    def _remember(self) -> None:
        if self._listing is not None:
            self._listing.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._listing) as file:
                file.write(msgspec.json.encode(self._published))


def _tournament(version: str) -> int | None:
    if not _VERSION.fullmatch(version):
        return None
    prefix = version.rpartition("v")[0]
    return next(tournament for tournament, start in _PREFIXES.items() if start == prefix)
