"""Every dataset file by name and round, made when it is first asked for and kept in a folder."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..objects import file_etag
from ..refusal import HttpRefusal
from ..settings import DataSpec

if TYPE_CHECKING:
    from .source import Edition, Source, ValidationSource

CLASSIC, SIGNALS, CRYPTO = 8, 11, 12
_UNIVERSE_SIZE = 300
_UNIVERSE_WEEKS = 60


def is_live(name: str) -> bool:
    """Whether a file is published anew for every round."""
    return name.rpartition("/")[2].startswith("live")


@dataclass(frozen=True)
class StoredFile:
    """A file on disk and the entity tag of its bytes; when it was published, if not when it was made."""

    path: Path
    etag: str
    published: datetime | None = None


class Catalog:
    """The data of all tournaments. Safe for several threads; a file is made once, however many ask for it.

    Nothing is imported or made before the first question about it.
    """

    def __init__(self, folder: Path, spec: DataSpec, data: Path | None = None) -> None:
        self.spec = spec
        self._folder = folder
        self._data = data
        self._lock = threading.RLock()
        self._file_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._sources: Mapping[int, Source] | None = None

    def source(self, tournament: int) -> Source:
        """The data of one tournament."""
        with self._lock:
            if self._sources is None:
                self._sources = self._make_sources()
            return self._sources[tournament]

    def classic(self) -> ValidationSource:
        """The Classic data as diagnostics need it."""
        from .folder import FolderClassic
        from .made_classic import MadeClassic

        source = self.source(CLASSIC)
        if not isinstance(source, (FolderClassic, MadeClassic)):
            raise TypeError("the Classic source has no rows")
        return source

    def names(self, tournament: int | None) -> list[str]:
        """The files of a tournament (of all, for None)."""
        chosen = (CLASSIC, SIGNALS, CRYPTO) if tournament is None else (tournament,)
        return [name for each in chosen for name in self.source(each).names()]

    def tournament_of(self, name: str) -> int | None:
        """Which tournament a file belongs to; None when there is no such file."""
        for tournament in (CLASSIC, SIGNALS, CRYPTO):
            if name in self.source(tournament).names():
                return tournament
        return None

    def file(self, name: str, edition: Edition) -> StoredFile:
        """The file, made if need be; `HttpRefusal` 404 when there is none of that name."""
        tournament = self.tournament_of(name)
        if tournament is None:
            raise HttpRefusal(404, "NoSuchKey")
        source = self.source(tournament)
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

    def _make_sources(self) -> Mapping[int, Source]:
        from .folder import FolderClassic
        from .made_classic import MadeClassic
        from .made_universe import CRYPTO as COINS
        from .made_universe import SIGNALS as STOCKS
        from .made_universe import MadeUniverse

        classic = MadeClassic(self.spec) if self._data is None else FolderClassic(self._data, self.spec.seed)
        seed = self.spec.seed
        return {
            CLASSIC: classic,
            SIGNALS: MadeUniverse(STOCKS, seed, _UNIVERSE_SIZE, _UNIVERSE_WEEKS),
            CRYPTO: MadeUniverse(COINS, seed, _UNIVERSE_SIZE, _UNIVERSE_WEEKS),
        }
