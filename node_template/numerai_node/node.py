"""The node as the model's code sees it: its data, its artifacts folder, and `submit`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ._version import __version__
from .api import NumeraiApi, Round, Submission
from .bucket import APART, Bucket, Mirror
from .data import Dataset
from .downloads import Cache
from .errors import ConfigurationError, NodeError, NotSubmitted
from .freshness import LiveData
from .guard import SENT, Guard
from .kept import keep
from .log import log, seconds_running, seconds_since
from .model_file import DEPLOYED, ModelFile, read_model
from .notify import addresses, tell
from .retraining import RECORD, Record, Retraining, write_record
from .rules import check_predictions
from .settings import CLASSIC, VERSION, Settings, from_environment
from .submitting import Submitter
from .threads import usable_threads
from .transport import Transport
from .versions import LIVE_FILES, Choice

if TYPE_CHECKING:
    import pandas as pd

    from .rules import Predictions


TRAINED_ON = "data_version"
"""A text file beside the trained model: the data version that it was trained on."""
NOTICES = "data_notices"
"""A text file beside it: which notices about data versions went out, a line each."""
NOTICE_SECONDS = 5.0


# long: one method for each thing that a model's code asks for
class Node:
    """One run's view of Numerai. Nothing is contacted before it is asked for."""

    def __init__(self, settings: Settings | None = None, transport: Transport | None = None):
        self.settings = settings or from_environment()
        self._transport = transport or Transport()
        self.api = NumeraiApi(self.settings, self._transport)
        self._cache = Cache(self.settings.cache, self._transport)
        self.dataset = Dataset(
            self.api,
            self._cache,
            self.settings.tournament,
            pinned=self.settings.data_version,
            trained_on=lambda: self.trained_on,
            chosen=self._version_chosen,
        )
        self._guard = Guard(self.settings, self.dataset, self._transport)
        self._data_round: Round | None = None
        self.submissions: list[Submission] = []
        self._sent: bytes | None = None
        self._mirror: Mirror | None = None
        self._model: ModelFile | None = None

    @cached_property
    def artifacts(self) -> Path:
        """The folder where trained models are kept between runs; made when it is not there.

        `ConfigurationError` when NUMERAI_ARTIFACTS is an address that this runtime cannot keep files at, or cannot be
        written.
        """
        if self.settings.artifacts.startswith("s3://"):
            self._mirror = Mirror(Bucket(self.settings.artifacts, self._transport), self.settings.cache / "artifacts")
            return self._mirror.fetch()
        if "://" in self.settings.artifacts:
            kind = self.settings.artifacts.partition("://")[0]
            raise ConfigurationError(
                f"NUMERAI_ARTIFACTS is a {kind}:// address, which this version of numerai_node does not support yet."
                " Set it to a folder."
            )
        folder = Path(self.settings.artifacts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"NUMERAI_ARTIFACTS ({folder}) cannot be made: {error.strerror or error}."
            ) from error
        return folder

    def keep_artifacts(self) -> None:
        """Put what is new in the artifacts folder, and the CSV that was sent, where they outlive this run. A bucket
        that cannot be written only means that the next run trains again."""
        self._transport.submit_by(None)  # what is left to do is worth a few tries, whatever is open
        if self._sent is not None:
            keep(self.settings, self._transport, self._sent)
            self._sent = None
        if self._mirror is None:
            return
        try:
            self._mirror.put_back()
        except (NodeError, OSError) as error:
            log("warning", what="the artifacts are not kept, so the next run trains again", why=error)

    @cached_property
    def threads(self) -> int:
        """How many threads to compute with: the node's own share of the machine, not all its cores."""
        return max(1, int(self.settings.cpu or usable_threads()))

    def check_access(self) -> None:
        """Find out whether the keys and the model are good before any long work; `ConfigurationError` if not."""
        self.settings.need_keys()
        self.settings.need_model()
        self.api.current_round(self._transport.patience_for_a_round())
        name = self.api.check_access()
        settings = self.settings
        log("ready", model=name, node=settings.node, trigger_id=settings.trigger_id, runtime=__version__)

    def model(self, file: str | Path = DEPLOYED) -> ModelFile:
        """A model file, by default the one that `numerai node deploy --model-file` has put beside the code. From
        now on the data are of the version that it was trained on, as long as Numerai serves that and no other is set.

        `ConfigurationError` when there is none, when it cannot be used, or is of another tournament.
        """
        path = Path(file)
        if not path.is_file():
            raise ConfigurationError(
                f"There is no model {path}: `numerai node deploy --model-file FILE` puts one there."
            )
        model = read_model(path)
        if model.tournament != self.settings.tournament:
            raise ConfigurationError(
                f"{path} is of tournament {model.tournament}, and this node's is {self.settings.tournament}."
            )
        self._model = model
        log("loaded", model=path, data=model.data_version, members=len(model.members), features=len(model.features))
        return model

    @property
    def trained_on(self) -> str | None:
        """The data version that the kept model was trained on, e.g. `v5.3`; None when none is remembered."""
        if self._model is not None:
            return self._model.data_version
        kept = self._kept(TRAINED_ON)
        version = kept[0] if kept else None
        if version is not None and not VERSION.fullmatch(version):
            log("warning", what=f"{TRAINED_ON} in the artifacts folder is not understood", text=version[:20])
            return None
        return version

    def remember_version(self) -> None:
        """Remember that the model in `artifacts` was trained on this run's data version, or works with it.

        Later runs use that version as long as Numerai serves it. Call it when you save a model.
        """
        if self.trained_on != self.dataset.choice.version:
            self._keep(TRAINED_ON, [self.dataset.choice.version])

    def remember_training(self) -> None:
        """Remember that the model in `artifacts` was trained just now, on this run's data version. Call it when you
        have saved a new one."""
        self.remember_version()
        try:
            write_record(self.artifacts, Record(self._transport.clock.now(), run=self.settings.run_id))
        except OSError as error:
            log("warning", what=f"{RECORD} cannot be kept in the artifacts folder", why=error)

    def retrain(self, program: str | Path = "train.py", days: int | None = None) -> None:
        """Train the model again, where it is as old as `numerai node config --retrain-days` says, else `days`: let a
        Python script run that trains one and keeps it in `artifacts`. Call it after `submit`.

        The old model stays as long as the script has not ended well. Nothing that goes wrong here is raised.
        """
        days = self.settings.retrain_days or days
        if days is None:
            return
        if not self.submissions:
            log("warning", what="the model is trained again after a submission only", program=program)
            return
        try:
            retraining = self._retraining(program)
            self.keep_artifacts()
        except (NodeError, OSError) as error:
            log("warning", what="the model is not trained again", why=error)
            return
        retraining.if_due(days)

    def train_now(self, program: str | Path = "train.py") -> None:
        """Train the model, whatever its age, as `retrain` does. `ProgramFailed` when it is not trained; the old one
        stays then."""
        self._retraining(program).at_once()

    def _retraining(self, program: str | Path) -> Retraining:
        settings = self.settings

        def left() -> float | None:
            return None if settings.timeout_minutes is None else 60 * settings.timeout_minutes - seconds_running()

        version, now = self.dataset.choice.version, self._transport.clock.now
        return Retraining(settings.node, settings.run_id, self.artifacts, Path(program), version, now, left)

    def features(self, feature_set: str = "small") -> list[str]:
        """The names of the features of a set: `small`, `medium` or `all`.

        Signals and Crypto have no sets, only `all`: the columns of the live file that are called feature* and hold
        numbers. A text column such as `feature_country` is no feature.
        """
        if self.settings.tournament == CLASSIC:
            return self.dataset.features(feature_set)
        if feature_set not in ("small", "all"):
            raise ConfigurationError(f"There is no feature set {feature_set}. There is: all.")
        return [name for name in self.dataset.numeric(self.live_file) if name.startswith("feature")]

    def train(self, features: Sequence[str], target: str = "target") -> pd.DataFrame:
        """The training rows: era, these features and the target, indexed by id. A missing feature value is 2."""
        return self._frame("train.parquet", ["era", *features, target], features)

    def validation(self, features: Sequence[str], target: str = "target") -> pd.DataFrame:
        """The validation rows: era, these features and the target, indexed by id. A missing feature value is 2."""
        return self._frame("validation.parquet", ["era", *features, target], features)

    def frame(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """These columns of any Parquet file of the data; `id` is the index where the file has it."""
        return self._frame(name, columns)

    def _frame(self, name: str, columns: Sequence[str], fill: Sequence[str] = ()) -> pd.DataFrame:
        started = time.monotonic()
        frame = self.dataset.read(self._file(name), columns, fill)
        log("read", file=name, rows=len(frame), columns=len(frame.columns), seconds=seconds_since(started))
        return frame

    def columns(self, name: str) -> list[str]:
        """The names of all columns of a Parquet file of the data."""
        return self.dataset.columns(self._file(name))

    def _file(self, name: str) -> Path:
        return self.live_file if name in LIVE_FILES and name == self.live_file.name else self.dataset.file(name)

    def live(self, features: Sequence[str] = ()) -> pd.DataFrame:
        """Today's rows with these features; the ids are the index (Classic, whose missing values are 2) or columns of
        their own."""
        path = self.live_file
        if self.settings.tournament == CLASSIC:
            return self.dataset.read(path, features, fill=features)
        return self.dataset.read(path, [*self.universe.columns, *features])

    @cached_property
    def live_file(self) -> Path:
        """The path of today's live file. From here on, the submission is for the round that is open now.

        A file that is not published yet, or is still the round before's, is waited for.
        """
        self._data_round = self.api.current_round()
        path = LiveData(self.dataset, self.api, self._cache).file(self._data_round)
        log("live", round=self._data_round.number if self._data_round else None, data=self.dataset.version)
        return path

    @cached_property
    def universe(self) -> pd.DataFrame:
        """Today's ids, a column for each kind of id that Numerai serves for this tournament."""
        return self.dataset.ids(self.live_file)

    def check(self, predictions: Predictions) -> pd.DataFrame:
        """The predictions as they would be sent; `BadPredictions` says which of Numerai's rules they break."""
        checked = check_predictions(predictions, self.universe, self.settings.tournament)
        log("checked", rows=len(checked), column=checked.columns[1])
        return checked

    @property
    def findings(self) -> Sequence[str]:
        """What the gate has found in this run so far, in words, where that was not refused."""
        return self._guard.found

    def check_features(self, trained_on: Mapping[str, Sequence[float]], rows: pd.DataFrame) -> None:
        """Hold live features to the gate; `trained_on` gives each its share of the values 0..4 in training, as a model
        file has it in `about["drift"]`. `BadPredictions` where they differ too much and NUMERAI_GATE is `refuse`."""
        self._guard.check_features(trained_on, rows)

    def submit(self, predictions: Predictions, data_datestamp: int | None = None) -> Submission:
        """Check, upload and wait until Numerai lists this very submission as on time.

        Takes a frame with the ids in a column or its index, a series indexed by id, or the path of a CSV file.
        `data_datestamp` names the day of the ids when it is not today's; it is found out by itself when a new round
        opened since the live data were read. Raises `Late` when it was made after the deadline, `Covered` when Numerai
        counts another file, `Unconfirmed` when it does not say, and `NotSubmitted` in a test that is not to submit.
        What the gate finds is said, and `BadPredictions` where NUMERAI_GATE is `refuse`.
        """
        self.settings.need_keys()
        checked = self.check(predictions)
        self._guard.check(checked, self._folder_or_none())
        if self.settings.no_submit:
            raise NotSubmitted(f"The {len(checked)} predictions keep Numerai's rules. Nothing was sent: it is a test.")
        submitter = Submitter(self.settings, self.api, self._transport)
        try:
            self.submissions.append(submitter.submit(checked, data_datestamp, self._data_round))
        finally:
            self._sent = submitter.sent or self._sent
        self._guard.keep(checked, lambda: self.artifacts)
        self._remember_what_works()
        return self.submissions[-1]

    def _remember_what_works(self) -> None:
        """For code that keeps a model and says nothing of its version: what was submitted from this one works."""
        if self.settings.data_version is None and self.trained_on is None and self._keeps_a_model():
            self.remember_version()

    def _keeps_a_model(self) -> bool:
        try:
            folder = self._folder()
            files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
            own = (TRAINED_ON, NOTICES, SENT, RECORD)
            return any(path.name not in own and not path.as_posix().startswith(APART) for path in files)
        except (ConfigurationError, OSError):
            return False

    def _version_chosen(self, choice: Choice) -> None:
        log("data", version=choice.version, why=choice.why, newer=choice.newer, gone=choice.gone, coming=choice.coming)
        if choice.gone is not None:
            self._tell_once(
                f"gone {choice.gone}",
                f"{self.settings.node}: the data version {choice.gone} is gone",
                f"Numerai no longer serves {choice.gone}, which its model needs; this run uses {choice.version}."
                f" Train the model on {choice.version}, and unpin the old version if it is pinned:"
                " `numerai node config --data-version trained`.",
            )
        elif choice.newer is not None:
            self._tell_once(
                f"newer {choice.newer}",
                f"{self.settings.node}: the data version {choice.newer} is out",
                f"It goes on with {choice.version} ({choice.why}) while Numerai serves that. To move, train a model on"
                f" {choice.newer}: `numerai node config --data-version newest`.",
            )

    def _tell_once(self, about: str, title: str, text: str) -> None:
        """Send a notice, unless the artifacts folder knows that it went out, or cannot remember it."""
        known = self._kept(NOTICES)
        if known is None or about in known or not addresses():
            return
        if tell("data", title, text, seconds=NOTICE_SECONDS):
            self._keep(NOTICES, [*known, about])

    def _folder(self) -> Path:
        """`artifacts`, which is not made where it is not there."""
        return self.artifacts if "://" in self.settings.artifacts else Path(self.settings.artifacts)

    def _folder_or_none(self) -> Path | None:
        try:
            return self._folder()
        except (ConfigurationError, OSError):
            return None

    def _kept(self, name: str) -> list[str] | None:
        """The lines of a file in the artifacts folder, none when there is no such; None without a folder to use."""
        try:
            path = self._folder() / name
            return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        except (ConfigurationError, OSError, UnicodeDecodeError):
            return None

    def _keep(self, name: str, lines: Sequence[str]) -> None:
        try:
            draft = self.artifacts / f".{name}.{os.getpid()}"
            draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            draft.replace(self.artifacts / name)
        except (ConfigurationError, OSError) as error:
            log("warning", what=f"{name} cannot be kept in the artifacts folder", why=error)
