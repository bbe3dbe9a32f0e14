"""What can go wrong in a run, each with the exit code that tells the provider whether trying again can help."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_CONFIRMED = 0
EXIT_USER_CODE = 1
EXIT_BAD_PREDICTIONS = 65
EXIT_LATE = 69
EXIT_COVERED = 73
EXIT_TEMPORARY = 75
EXIT_UNCONFIRMED = 76
EXIT_CONFIGURATION = 78
EXIT_NOT_SUBMITTED = 79
EXIT_KEYBOARD = 130
AFTER_SUBMITTING = (EXIT_LATE, EXIT_COVERED, EXIT_UNCONFIRMED)
"""A run that ends with one of these has made a submission."""


def own_exit_code(code: int) -> int:
    """The run's exit code when its code ended with this one by itself: 1 for those that say what became of a
    submission."""
    return EXIT_USER_CODE if code in (*AFTER_SUBMITTING, EXIT_NOT_SUBMITTED) else code


class NodeError(Exception):
    """A run cannot go on. `exit_code` follows sysexits: 65 predictions, 69 late and queued, 73 covered by an earlier
    file, 75 temporary, 76 unconfirmed, 78 configuration; 79 is a test that was not to submit."""

    exit_code = EXIT_USER_CODE


class BadPredictions(NodeError):
    """The predictions break Numerai's rules, or Numerai refused them. `problems` holds one sentence for each."""

    exit_code = EXIT_BAD_PREDICTIONS

    def __init__(self, message: str, problems: Sequence[str] = ()):
        super().__init__(message)
        self.problems = tuple(problems)


class TemporaryFailure(NodeError):
    """Numerai or the network failed in a way that may pass; the provider may run the node again."""

    exit_code = EXIT_TEMPORARY


class Submitted(NodeError):
    """A submission was made, and does not count for its round, or nobody knows whether it does. Running again would
    only submit it again. `status` is the word for it; `round_number` is None where Numerai has not said it."""

    status = ""

    def __init__(self, message: str, submission_id: str, round_number: int | None = None):
        super().__init__(message)
        self.submission_id = submission_id
        self.round_number = round_number


class Late(Submitted):
    """It was made after the deadline: it is not staked, and Numerai queues it for the next round."""

    exit_code, status = EXIT_LATE, "late"


class Covered(Submitted):
    """The round has an on-time submission, but of an earlier file."""

    exit_code, status = EXIT_COVERED, "covered"


class Unconfirmed(Submitted):
    """Numerai did not say whether it counts."""

    exit_code, status = EXIT_UNCONFIRMED, "unconfirmed"


class ConfigurationError(NodeError):
    """Something outside the code must be set right first: a variable, the keys, the model, a feature set."""

    exit_code = EXIT_CONFIGURATION


class NotSubmitted(NodeError):
    """The predictions keep Numerai's rules, and were not sent, because NUMERAI_NO_SUBMIT is set."""

    exit_code = EXIT_NOT_SUBMITTED


class ProgramFailed(NodeError):
    """The wrapped program ended with an exit code of its own, which becomes the run's."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(BaseException):
    """The run was told to stop (SIGTERM). Not an `Exception`, so that no model code swallows it."""

    exit_code = EXIT_TEMPORARY
