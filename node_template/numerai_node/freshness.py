"""This round's live data: waited for while they are not there yet, or still those of the round before."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .api import NotThere, NumeraiApi, Round
from .clock import http_date
from .data import Dataset
from .downloads import Cache, Missing
from .errors import TemporaryFailure
from .log import log
from .transport import LONGEST_TROUBLE

FIRST_POLL, LONGEST_POLL = 5.0, 60.0


class NotYet(Exception):
    """This round's live data are not published; says what is there instead."""


@dataclass(frozen=True)
class Publication:
    """What the store said of a live file, and the round for which it was first used here."""

    etag: str | None
    modified: str | None
    round: int

    def is_also(self, etag: str | None, modified: str | None) -> bool:
        """Whether this is the same file, published at the same time as far as both are known."""
        return (
            etag is not None and etag == self.etag and (None in (modified, self.modified) or modified == self.modified)
        )


class LiveData:
    """Gets the live file of the round that is open.

    A file is the round before's when the store says that it was last modified before that round's deadline, or when
    the very same publication was used here for an earlier round already. Outside rounds there is nothing to wait for.

    Whether Numerai publishes a round's file before or after the opening is not known, so both are right here: a file of
    the time between the deadline of one round and the opening of the next is taken to be the next one's. Were it the
    round before's after all, published late, its ids would still be accepted and mapped (forum.numer.ai/t/6253), while
    a run that waited for another file would miss the round.
    """

    def __init__(self, dataset: Dataset, api: NumeraiApi, cache: Cache):
        self._dataset = dataset
        self._api = api
        self._cache = cache

    def file(self, current: Round | None) -> Path:
        """The path of the live file; `TemporaryFailure` when it is not published before the round closes."""
        if current is None:
            return self._dataset.live_file()
        transport = self._api.transport
        before = self._api.round_before(current.number)
        started, wait = transport.monotonic(), FIRST_POLL
        while True:
            try:
                return self._published(current, before)
            except NotYet as error:
                why = str(error)
            left = LONGEST_TROUBLE - (transport.monotonic() - started)
            in_round = transport.seconds_left()
            left = left if in_round is None else min(left, in_round)
            if left <= 0:
                raise TemporaryFailure(
                    f"The live data of round {current.number} are not published: {why}. Nothing was submitted."
                )
            seconds = min(wait * random.uniform(0.75, 1.25), left)  # noqa: S311
            log("waiting", what=why, round=current.number, wait=round(seconds, 1))
            transport.sleep(seconds)
            wait = min(wait * 1.5, LONGEST_POLL)

    def _published(self, current: Round, before: Round | None) -> Path:
        name = self._dataset.live_name()
        if name is None:
            self._dataset.forget_names()  # else listed once: listDatasets takes 10 calls a minute from one address
            raise NotYet("Numerai lists no live file yet")
        seen: list[tuple[str | None, str | None]] = []

        def accept(headers: Mapping[str, str]) -> None:
            etag = headers.get("ETag") or self._cache.etag(name)
            modified = headers.get("Last-Modified")
            self._refuse_stale(name, etag, modified, current, before)
            seen.append((etag, modified))

        try:
            path = self._dataset.fetch(name, accept, wait_for_missing=False)
        except Missing:
            raise NotYet(f"{name} is not there yet") from None
        except NotThere as error:
            raise NotYet(f"{name} is not there yet ({error})") from error
        self._remember(path, Publication(*seen[-1], current.number))
        return path

    def _refuse_stale(
        self, name: str, etag: str | None, modified: str | None, current: Round, before: Round | None
    ) -> None:
        published = http_date(modified or "")
        deadline = before.deadline if before else None
        # HTTP has whole seconds: a file of the deadline's very second may be of after it
        if published and deadline and published < deadline.replace(microsecond=0):
            raise NotYet(f"{name} is still the round before's, of {modified}")
        known = _recall(self._cache.folder / name)
        if known is not None and known.round < current.number and known.is_also(etag, modified):
            raise NotYet(f"{name} is still the one of round {known.round}")

    @staticmethod
    def _remember(path: Path, publication: Publication) -> None:
        known = _recall(path)
        if known is not None and known.is_also(publication.etag, publication.modified):
            return
        record = _record(path)
        draft = record.with_name(record.name + ".new")
        with suppress(OSError):
            draft.write_text(json.dumps(asdict(publication)), encoding="utf-8")
            draft.replace(record)


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".round")


def _recall(path: Path) -> Publication | None:
    try:
        found = json.loads(_record(path).read_text(encoding="utf-8"))
        return Publication(found["etag"], found["modified"], int(found["round"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
