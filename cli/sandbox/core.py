"""The sandbox itself: its parts put together, and what happens when time moves or a round opens."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
from pathlib import Path

from msgspec import Struct

from ..errors import NumeraiError
from .account import Account
from .clock import SandboxClock
from .compute import ComputeUploads
from .data.catalog import Catalog
from .data.source import Edition
from .diagnostics import Diagnostics
from .faults import Faults
from .history import History
from .journal import Journal, Table
from .objects import Signer, UploadStore
from .rate_limits import DOCUMENTED, Limit, RateLimits
from .records import RequestRecord, RoundRecord, UploadRecord
from .rounds import Rounds
from .scores import Scores
from .settings import DataSpec, Settings
from .submissions import Submissions
from .webhooks import Webhooks


class SpecRecord(Struct, frozen=True):
    """The data that a state folder belongs to."""

    id: str
    spec: DataSpec
    data: str | None


class Sandbox:
    """One stand-in of Numerai. The files of `catalog` may be shared by several sandboxes with the same data."""

    def __init__(self, settings: Settings, catalog: Catalog | None = None) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self._scratch = Path(tempfile.mkdtemp(prefix="numerai-sandbox-")) if settings.state is None else None
        folder = self._scratch or settings.state or Path()
        self.journal = Journal(settings.state)
        try:
            spec, data = _settled_data(self.journal, settings)
            if catalog is None:
                self.catalog = Catalog(folder / "data", spec, data, settings.data_versions)
            else:
                self.catalog = catalog.own()
                for version in settings.data_versions:
                    self.catalog.publish(version)
        except NumeraiError:
            self.journal.close()
            raise
        self.clock = SandboxClock(self.journal)
        self.faults = Faults(self.journal)
        self.account = Account(self.journal, self.clock.now, settings)
        webhooks = dict.fromkeys(("setSubmissionWebhook", "triggerModelWebhook"), Limit(settings.rate_limit))
        self.rate_limits = RateLimits({**(DOCUMENTED if settings.documented_rate_limits else {}), **webhooks})
        self.signer = Signer(self.account.token.signing_secret.encode(), self.clock.now, settings.url_seconds)
        self.upload_store = UploadStore(folder / "objects")
        self.uploads = Table(self.journal, "uploads", UploadRecord)
        self.requests = Table(self.journal, "requests", RequestRecord, keep=500)
        self.webhooks = Webhooks(self.journal, self.faults, self.clock.now, settings.switches, self.stopping)
        self.rounds = Rounds(self.journal, self.clock, settings, self._round_opened)
        self.submissions = Submissions(
            self.journal, self.rounds, self.catalog, self.upload_store, self.clock.now, settings.switches
        )
        self.history = History(self.account, self.rounds, self.submissions, self.catalog)
        self.scores = Scores(self.account, self.rounds, self.submissions, self.catalog, self.history, self.clock.now)
        self.diagnostics = Diagnostics(self.journal, self.catalog, self.upload_store, self.clock.now)
        self.compute = ComputeUploads(
            self.journal, self.rounds, self.submissions, self.catalog, self.upload_store, self.new_upload,
            self.account.model, self.clock.now, settings.switches,
        )  # fmt: skip
        self._calendar_lock = threading.Lock()
        self._ticker = threading.Thread(target=self._tick, name="sandbox-calendar", daemon=True)

    def start(self) -> None:
        """Make the account's models and the first rounds, and finish what an earlier sandbox left undone."""
        self.account.add_models(self.settings.models)
        fresh = not self.rounds.all()
        self.rounds.begin(self.settings.history)
        if fresh:
            self.history.invent()
        self.diagnostics.resume()
        self.compute.resume()
        if self.settings.calendar:
            self._ticker.start()

    def close(self) -> None:
        """Stop everything and remove what was only scratch."""
        self.stopping.set()
        if self._ticker.is_alive():
            self._ticker.join(timeout=5)
        self.webhooks.close()
        self.diagnostics.close()
        self.compute.close()
        self.journal.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def time_moved(self) -> list[RoundRecord]:
        """Do what is due: with the calendar, open the rounds whose time has come, each in turn.

        The webhook calls for one opening have ended before the next opening's are made.
        """
        with self._calendar_lock:
            return self.rounds.follow_calendar()

    def edition(self, tournament: int, round_number: int | None = None) -> Edition:
        """Which live data a round has; those of the newest round that has any when none is named."""
        found = self.rounds.get(tournament, round_number or self.rounds.newest_data(tournament))
        return Edition(0, 0) if found is None else Edition(found.number, found.data_datestamp)

    def new_upload(self, filename: str, purpose: str, tournament: int, model_id: str | None) -> UploadRecord:
        """Give out a name for an upload, made from the client's file name."""
        stem, suffix = Path(filename).stem, Path(filename).suffix
        clean = "".join(letter if (letter.isalnum() and letter.isascii()) or letter in "-_" else "_" for letter in stem)
        clean_suffix = suffix if suffix[1:].isalnum() and suffix.isascii() else ".csv"
        name = f"{clean.lstrip('-_')[:60] or 'file'}-{uuid.uuid4().hex[:12]}{clean_suffix}"
        return self.uploads.put(UploadRecord(name, purpose, tournament, model_id))

    def _round_opened(self, opened: RoundRecord) -> None:
        self.submissions.convert(opened)
        self.webhooks.settle(before=opened.open_time)
        models = [model for model in self.account.models() if model.tournament == opened.tournament]
        self.webhooks.announce(opened, models)
        self.compute.round_opened(opened, models)

    def _tick(self) -> None:
        while not self.stopping.wait(1.0):
            self.time_moved()


def _settled_data(journal: Journal, settings: Settings) -> tuple[DataSpec, Path | None]:
    """What the state remembers, else what was asked for, else the default; they must not contradict each other."""
    table = Table(journal, "data", SpecRecord)
    known = table.get("data")
    wanted = settings.spec or (known.spec if known else DataSpec())
    data = None if settings.data is None else str(settings.data.resolve())
    if known is not None and (known.spec != wanted or (data is not None and known.data != data)):
        raise NumeraiError(
            f"The state in {settings.state} was made with other data ({_described(known)}).",
            "Leave out --data and the size options, or choose another --state folder.",
            code="state-other-data",
        )
    settled = table.put(SpecRecord("data", wanted, data or (known.data if known else None)))
    return settled.spec, None if settled.data is None else Path(settled.data)


def _described(known: SpecRecord) -> str:
    spec = known.spec
    return known.data or f"seed {spec.seed}, {spec.eras} eras of {spec.rows_per_era} rows, {spec.features} features"
