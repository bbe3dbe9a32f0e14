"""Shows the main job on this machine: a sandbox, a node, a trigger, a container, a confirmed submission."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EXIT_INTERRUPTED, NumeraiError, UsageError
from ..models import DEFAULT_EXAMPLE
from ..ports import Clock, OwnCommands

MODEL = "demo"
NODE_FOLDER = "my-node"
DEFAULT_FOLDER = "numerai-demo"
SIZE = "gen-sm"


@dataclass(frozen=True)
class DemoResult:
    """What the demo reached: the sandbox's round, the confirmed submission, the model's score on validation eras (mean
    CORR per era; None when the log does not tell) and the seconds that each stage took."""

    folder: Path
    executor: str
    round_number: int | None
    submission_id: str | None
    confirmed: bool
    validation_corr: float | None
    seconds: Mapping[str, float]
    url: str


@dataclass
class Demo:
    """Plays the demo. `show` gets each command as a person would type it, `on_line` what the command prints."""

    folder: Path
    executor: str
    commands: OwnCommands
    clock: Clock
    show: Callable[[str], None]
    on_line: Callable[[str], None]
    _seconds: dict[str, float] = field(init=False, default_factory=dict)

    def play(self, hold: Callable[[DemoResult], None] | None = None) -> DemoResult:
        """Run every stage. `hold` is called while everything still runs; when it returns, all is stopped.

        Raises `UsageError` when the folder is in use, `NumeraiError` naming the stage that failed.
        """
        _claim(self.folder)
        began = self.clock.monotonic()
        serve = ["sandbox", "serve", "--port", "0", "--models", MODEL, "--state", "sandbox"]
        self.show(f"numerai {' '.join(serve)} &")
        with self.commands.serving(
            serve, cwd=self.folder, environment=self._home(), log=self.folder / "sandbox.log"
        ) as sandbox:
            self._took("sandbox", began)
            self.on_line(f"a stand-in of Numerai serves {sandbox['url']}")
            try:
                result = self._stages(sandbox)
                if hold:
                    hold(result)
            except KeyboardInterrupt as error:
                self._quietly("node", "-m", MODEL, "cancel")
                hint = f"Nothing is left running; {self.folder} may be removed."
                raise NumeraiError("Interrupted.", hint, code="interrupted", exit_code=EXIT_INTERRUPTED) from error
            finally:
                self._quietly("daemon", "stop")
        return result

    def _stages(self, sandbox: Mapping[str, Any]) -> DemoResult:
        keys = {
            "NUMERAI_API_URL": str(sandbox["url"]),
            "NUMERAI_PUBLIC_ID": str(sandbox["public_id"]),
            "NUMERAI_SECRET_KEY": str(sandbox["secret_key"]),
        }
        node = ["node", "-m", MODEL]
        self._stage("scaffold", ["copy-example", "--example", DEFAULT_EXAMPLE, "--dest", NODE_FOLDER])
        self.show(
            f"export NUMERAI_API_URL={sandbox['url']} NUMERAI_PUBLIC_ID={sandbox['public_id']} NUMERAI_SECRET_KEY=***"
        )
        executor = [] if self.executor == "auto" else ["--executor", self.executor]
        self._stage("setup", ["setup", "--provider", "local", *executor], keys)
        self._stage("config", [*node, "config", "--path", NODE_FOLDER, "--size", SIZE])
        self._stage("deploy", [*node, "deploy"])
        self._stage("test", [*node, "test", "--verbose"])
        log = self._log(node)
        submitted = _fields(log, "submitted")
        score = _fields(log, "validated").get("corr_mean")
        return DemoResult(
            folder=self.folder,
            executor=self.executor,
            round_number=int(submitted["round"]) if "round" in submitted else None,
            submission_id=submitted.get("submission_id"),
            confirmed=submitted.get("status") == "on-time",
            validation_corr=float(score) if score else None,
            seconds=dict(self._seconds),
            url=str(sandbox["url"]),
        )

    def _stage(self, name: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.show("numerai " + " ".join(arguments))
        began = self.clock.monotonic()
        exit_code = self.commands.run(
            arguments, cwd=self.folder, environment={**self._home(), **(environment or {})}, on_line=self.on_line
        )
        self._took(name, began)
        if exit_code != 0:
            raise NumeraiError(
                f"The demo stopped at `numerai {' '.join(arguments)}` (exit code {exit_code}).",
                f"What it printed stands above; everything is in {self.folder}. `numerai doctor` checks this machine.",
                code="demo-failed",
            )

    def _log(self, node: list[str]) -> list[str]:
        lines: list[str] = []
        arguments = ["--json", *node, "logs", "-n", "10000"]
        self.commands.run(arguments, cwd=self.folder, environment=self._home(), on_line=lines.append)
        return [str(json.loads(line)["text"]) for line in lines if line.startswith("{")]

    def _quietly(self, *arguments: str) -> None:
        self.commands.run(arguments, cwd=self.folder, environment=self._home(), on_line=lambda _: None)

    def _home(self) -> dict[str, str]:
        return {"NUMERAI_HOME": str(self.folder / "home")}

    def _took(self, name: str, began: float) -> None:
        self._seconds[name] = self.clock.monotonic() - began


def free_folder(parent: Path) -> Path:
    """`numerai-demo` below the parent, or the first `numerai-demo-N` that is not there yet."""
    for number in range(1, 1000):
        folder = parent / (DEFAULT_FOLDER if number == 1 else f"{DEFAULT_FOLDER}-{number}")
        if not folder.exists():
            return folder
    raise UsageError(f"{parent} holds too many demos.", "Give a new folder with --dir.")


def _claim(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", "Give a new folder with --dir.", code="would-overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make {folder}: {error.strerror}.", "Give another folder with --dir.") from error


def _fields(log: list[str], event: str) -> dict[str, str]:
    """The `key=value` fields of the last log line that tells of an event."""
    for line in reversed(log):
        match = re.search(rf"\b{event}\b(.*)", line)
        if match and "=" in match[1]:
            return dict(re.findall(r"(\w+)=(\S+)", match[1]))
    return {}
