"""What can go wrong in a run, each with the exit code that tells the provider whether trying again can help."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_ACCEPTED = 0
EXIT_USER_CODE = 1
EXIT_BAD_PREDICTIONS = 65
EXIT_LATE = 69
EXIT_TEMPORARY = 75
EXIT_CONFIGURATION = 78
EXIT_KEYBOARD = 130


class NodeError(Exception):
    """A run cannot go on. `exit_code` follows sysexits: 65 predictions, 69 late, 75 temporary, 78 configuration."""

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


class Late(NodeError):
    """The submission was made, but not within a round's window: it is scored and cannot be staked."""

    exit_code = EXIT_LATE


class ConfigurationError(NodeError):
    """Something outside the code must be set right first: a variable, the keys, the model, a feature set."""

    exit_code = EXIT_CONFIGURATION


class ProgramFailed(NodeError):
    """The wrapped program ended with an exit code of its own, which becomes the run's."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(BaseException):
    """The run was told to stop (SIGTERM). Not an `Exception`, so that no model code swallows it."""

    exit_code = EXIT_TEMPORARY
