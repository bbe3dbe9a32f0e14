"""Which rounds there are: from Numerai, or as they were seen before."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import ApiError
from ..models import Notice, NoticeKind, Round
from ..ports import Clock
from .policy import silence
from .questions import Questions

if TYPE_CHECKING:
    from .ledger import Ledger

ROUNDS_BACK = 8
"""How many rounds back a watcher looks after a sleep."""
UPCOMING_SECONDS = 600.0
"""How often Numerai is asked for the next round while it does not say which."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rounds:
    """A tournament's latest rounds. `unseen` is why Numerai does not list them now: these were seen before."""

    latest: list[Round]
    unseen: ApiError | None = None


@dataclass
class Listing:
    """Asks for rounds and records them."""

    ledger: Ledger
    clock: Clock
    _asked: dict[int, tuple[int, float]] = field(default_factory=dict)

    def rounds(self, questions: Questions, tournament: int) -> Rounds:
        """The latest rounds of a tournament."""
        try:
            return Rounds(questions.ask(lambda api: api.rounds(tournament, ROUNDS_BACK)))
        except ApiError as error:
            if questions.api is not None:  # else it was said why there is none
                questions.problems.append(f"tournament {int(tournament)}: {error.message}")
            return Rounds(self.ledger.rounds(tournament, ROUNDS_BACK), error)

    def record(self, questions: Questions, tournament: int, rounds: Rounds) -> None:
        """Record the rounds, and the one that comes next: should Numerai not answer then, its deadline is known. Tell
        when it has not listed any for long."""
        if rounds.unseen is not None:
            since = self.ledger.unanswered(tournament, questions.now)
            words = silence(int(tournament), since, questions.now, rounds.unseen.message)
            if words is not None and questions.refused is None:
                self.ledger.decide_notice(Notice(NoticeKind.FAILURE, words.title, words.text), questions.now, words.key)
            return
        self.ledger.answered(tournament)
        for round_ in rounds.latest:
            self.ledger.see_round(round_, questions.machine_now - (questions.now - round_.open_time))
        known = self.ledger.rounds(tournament, 1)
        latest = known[0].number if known else 0
        asked_after, asked_at = self._asked.get(tournament, (-1, 0.0))
        again = latest != asked_after or self.clock.monotonic() - asked_at >= UPCOMING_SECONDS
        if again and not (known and known[0].deadline > questions.now):
            self._asked[tournament] = latest, self.clock.monotonic()
            self._record_upcoming(questions, tournament)

    def _record_upcoming(self, questions: Questions, tournament: int) -> None:
        try:
            upcoming = questions.ask(lambda api: api.upcoming_round(tournament))
        except ApiError as error:
            log.info("tournament %d: the next round is not known: %s", tournament, error.message)
            return
        if upcoming is not None and upcoming.open_time > questions.now:
            self.ledger.see_round(upcoming, None)
