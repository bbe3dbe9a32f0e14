"""Runs Terraform or OpenTofu in a working folder of its own and turns what it says into words."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..child_environment import TERRAFORM, child_environment
from ..errors import EnvironmentNotReady, ProviderError
from ..files.private import make_private_folder, write_private
from ..ports import PlannedResources, Report, StackChange, StackPlan
from ..process import ProcessResult, run_process
from .terraform_errors import Diagnostic, explain
from .terraform_plan import import_blocks, planned_resources

PROGRAMS = ("terraform", "tofu")
OLDEST = (1, 10)
"""The first version of both whose S3 backend locks by itself (`use_lockfile`)."""
GRACE_SECONDS = 300
"""After an interrupt Terraform waits for what is being made, so that nothing is made and forgotten."""
LOCK_SECONDS = 5
UNATTENDED_SECONDS = 900
"""How long to wait for the Terraform of a command that was killed: a first apply takes some minutes."""
SOURCES = ("*.tf", "*.tf.json")
LOCK_FILE = ".terraform.lock.hcl"
"""Which build of each provider may run. Its hashes are those of Terraform's registry. OpenTofu installs builds that are
not the same byte for byte (its `init` says so), and so keeps the lock file that it makes at first."""
BACKEND_FILE = "backend.tf.json"
VARIABLES_FILE = "variables.tfvars.json"
PLAN_FILE = "changes.tfplan"
ADOPTION_FILE = "adoption.tf"
UNSAVED_STATE = "errored.tfstate"
IGNORED_VARIABLES = ("TF_CLI_ARGS", "TF_DATA_DIR", "TF_VAR_", "TF_WORKSPACE")
ADDRESS = re.compile(r'(?:module\.[^.]+\.)*(?:data\.)?[a-z0-9]+_(\w+)\.([\w-]+)(?:\["?([^"\]]+)"?\])?')
ACTIONS = {"create", "update", "replace", "delete"}
DOING = {"create": "making", "update": "changing", "delete": "removing", "replace": "replacing"}
DONE = {"create": "made", "update": "changed", "delete": "removed", "replace": "replaced"}


@dataclass(frozen=True)
class S3Backend:
    """Keeps the state in a bucket, under a lock, so that another machine sees the same stack."""

    bucket: str
    key: str
    region: str

    def configuration(self) -> Mapping[str, Any]:
        """The backend block in Terraform's JSON syntax."""
        s3 = {"bucket": self.bucket, "key": self.key, "region": self.region, "encrypt": True, "use_lockfile": True}
        return {"terraform": {"backend": {"s3": s3}}}


class TerraformRunner:
    """`ports.StackRunner` for one root.

    `root` is the description as it is installed, `folder` the working folder (a private copy of it, the state and the
    lock file), `plugins` where downloaded providers are kept for all stacks. Of this process's environment Terraform
    gets what `inherits` names (see `child_environment`), and `environment` on top. The `credentials` are added too,
    asked for anew for each command, so that none begins with ones that end soon. `backend` says where the state is
    kept; None is the working folder.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        plugins: Path,
        *,
        environment: Mapping[str, str] | None = None,
        inherits: Iterable[str] = TERRAFORM,
        credentials: Callable[[], Mapping[str, str]] = dict,
        backend: S3Backend | None = None,
    ):
        self._root = root
        self._folder = folder
        self._plugins = plugins
        self._extra = dict(environment or {})
        self._inherits = tuple(inherits)
        self._credentials = credentials
        self._backend = backend

    @cached_property
    def program(self) -> tuple[str, str]:
        """The program that is used and its version.

        `EnvironmentNotReady` with code `terraform-missing` or `terraform-too-old`.
        """
        path = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        oldest = ".".join(map(str, OLDEST))
        if path is None:
            raise EnvironmentNotReady(
                "Neither Terraform nor OpenTofu is installed.",
                f"Install Terraform {oldest} or later (https://developer.hashicorp.com/terraform/install).",
                code="terraform-missing",
            )
        version = self._version(path)
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if numbers < OLDEST:
            raise EnvironmentNotReady(
                f"{path} is version {version}; {oldest} or later is needed.",
                "Install a newer one (https://developer.hashicorp.com/terraform/install).",
                code="terraform-too-old",
            )
        return path, version

    def prepare(self, report: Report) -> None:
        """Copy the root and make its providers ready; puts a state away that an earlier run could not save."""
        report(f"preparing {Path(self.program[0]).name} {self.program[1]}")
        self._copy_root()
        self._terraform(["init", "-input=false", "-json"], report)
        self._save_left_over_state(report)

    def move_state(self, report: Report) -> None:
        """Carry the state over to the configured backend, from whichever it was kept in before.

        What the new place held is overwritten: look there first.
        """
        self._copy_root()
        self._terraform(["init", "-input=false", "-no-color", "-migrate-state", "-force-copy"], report)

    def plan(self, variables: Mapping[str, Any], report: Report, *, destroy: bool = False) -> StackPlan:
        """What would have to change; the plan is kept in the working folder until the next one."""
        report("comparing with what exists")
        if self._may_still_run():
            report("waiting for what an interrupted command has begun")
        return self._plan(variables, *(["-destroy"] if destroy else []))

    def planned(self, plan: StackPlan) -> PlannedResources:
        return planned_resources(_json(self._read(["show", "-json", plan.file.name])))

    def plan_adoption(self, variables: Mapping[str, Any], existing: Mapping[str, str], report: Report) -> StackPlan:
        blocks = self._folder / ADOPTION_FILE
        try:
            write_private(blocks, import_blocks(existing).encode(), keep_previous=False)
            return self._plan(variables, *(f"-target={address}" for address in sorted(existing)))
        finally:
            blocks.unlink(missing_ok=True)

    def _plan(self, variables: Mapping[str, Any], *more: str) -> StackPlan:
        found = _Changes()
        arguments = ["plan", "-input=false", "-json", self._lock(), self._variables(variables), f"-out={PLAN_FILE}"]
        self._terraform([*arguments, *more], found)
        return StackPlan(tuple(found.changes), tuple(found.drift), self._folder / PLAN_FILE)

    def apply(self, plan: StackPlan, report: Report) -> Mapping[str, Any]:
        """Carry out a plan; returns the outputs. An interrupt lets Terraform finish what it has begun."""
        try:
            self._terraform(["apply", "-input=false", "-json", self._lock(), plan.file.name], report)
        finally:
            plan.file.unlink(missing_ok=True)
        return self.outputs()

    def destroy(self, variables: Mapping[str, Any], report: Report) -> None:
        """Remove every resource; `ProviderError` with code `left-over` names what is still there afterwards."""
        self._terraform(
            ["destroy", "-input=false", "-json", "-auto-approve", self._lock(), self._variables(variables)], report
        )
        left = self.resources()
        if left:
            raise ProviderError(
                f"Still there: {', '.join(map(words, left))}.", "Run the command again.", code="left-over"
            )

    def outputs(self) -> Mapping[str, Any]:
        outputs = _json(self._read(["output", "-json"]))
        return {name: output["value"] for name, output in outputs.items()}

    def resources(self) -> list[str]:
        """Every managed resource in the state."""
        lines = self._read(["state", "list"]).splitlines()
        return [line for line in lines if ADDRESS.fullmatch(line) and not re.search(r"(^|\.)data\.", line)]

    # the working folder

    def _copy_root(self) -> None:
        make_private_folder(self._folder)
        make_private_folder(self._plugins)
        wanted = {path.name: path.read_bytes() for pattern in SOURCES for path in sorted(self._root.glob(pattern))}
        locked = self._root / LOCK_FILE
        if locked.exists() and Path(self.program[0]).stem == "terraform":
            wanted[LOCK_FILE] = locked.read_bytes()
        if self._backend:
            wanted[BACKEND_FILE] = json.dumps(self._backend.configuration(), indent=2).encode()
        for pattern in SOURCES:
            for path in self._folder.glob(pattern):
                if path.name not in wanted:
                    path.unlink()
        for name, content in wanted.items():
            target = self._folder / name
            if not target.exists() or target.read_bytes() != content:
                write_private(target, content, keep_previous=False)

    def _variables(self, variables: Mapping[str, Any]) -> str:
        content = json.dumps(variables, indent=2, sort_keys=True).encode()
        write_private(self._folder / VARIABLES_FILE, content, keep_previous=False)
        return f"-var-file={VARIABLES_FILE}"

    def _save_left_over_state(self, report: Report) -> None:
        left = self._folder / UNSAVED_STATE
        if not left.exists():
            return
        report("saving the state that an earlier run could not save")
        self._read(["state", "push", UNSAVED_STATE])
        left.replace(left.with_suffix(".saved"))

    def _may_still_run(self) -> bool:
        """Whether a command was killed here whose Terraform may go on without it: its output was not put away.

        A lock in a bucket outlives the program that holds it, so that waiting for its end may be in vain.
        """
        return self._backend is None and any(
            (self._folder / f"{command}.log").exists() for command in ("apply", "destroy")
        )

    def _lock(self) -> str:
        return f"-lock-timeout={UNATTENDED_SECONDS if self._may_still_run() else LOCK_SECONDS}s"

    # running

    def _version(self, path: str) -> str:
        lines: list[str] = []
        run_process([path, "version", "-json"], env=self._environment(), on_line=lines.append)
        printed = "\n".join(lines)
        found = re.search(r'"terraform_version":\s*"([^"]+)"', printed)
        if not found:
            raise EnvironmentNotReady(f"{path} does not say its version: {printed[:200]}", code="terraform-broken")
        return found[1]

    def _environment(self) -> dict[str, str]:
        inherited = child_environment(extra=self._inherits)
        kept = {name: value for name, value in inherited.items() if not name.startswith(IGNORED_VARIABLES)}
        return {
            "TF_PLUGIN_CACHE_DIR": str(self._plugins),
            **kept,
            **self._extra,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
        }

    def _run(
        self, arguments: Sequence[str], on_line: Callable[[str], None], output: Path | None = None
    ) -> ProcessResult:
        if not self._folder.is_dir():
            raise ProviderError("Nothing has been provisioned yet.", code="not-provisioned")
        argv = [self.program[0], *arguments]
        return run_process(
            argv,
            cwd=self._folder,
            env={**self._environment(), **self._credentials()},
            grace=GRACE_SECONDS,
            output=output,
            private_files=True,
            on_line=on_line,
        )

    def _terraform(self, arguments: Sequence[str], report: Report | _Changes) -> None:
        """Run a command that prints JSON lines; raises what its error messages mean.

        Its output goes through a file: Terraform loses what it is just making when it dies on a closed pipe, and so it
        must outlive a command that is killed.
        """
        events = _Events(report)
        output = self._folder / f"{arguments[0]}.log"
        try:
            result = self._run(arguments, events, output)
        finally:
            output.unlink(missing_ok=True)
        if result.exit_code != 0:
            raise explain(events.errors or [Diagnostic("\n".join(events.other[-20:]))], self._folder)

    def _read(self, arguments: Sequence[str]) -> str:
        """What a command prints; empty where there is no state yet."""
        lines: list[str] = []
        result = self._run(arguments, lines.append)
        text = "\n".join(lines)
        if result.exit_code == 0:
            return text
        if "No state file was found" in text:
            return ""
        raise explain([Diagnostic(text)], self._folder)


class _Changes:
    """Collects what a plan says."""

    def __init__(self) -> None:
        self.changes: list[StackChange] = []
        self.drift: list[str] = []

    def add(self, event: Mapping[str, Any]) -> None:
        change = event.get("change") or {}
        address = change.get("resource", {}).get("addr", "")
        if event["type"] == "planned_change" and change.get("action") in ACTIONS:
            self.changes.append(StackChange(address, change["action"]))
        elif event["type"] == "resource_drift" and change.get("action") == "delete":
            self.drift.append(address)  # an update here is mostly the provider's own rewording after an apply


class _Events:
    """Takes Terraform's output line by line: keeps its errors and hands its progress on, one line a step."""

    def __init__(self, to: Report | _Changes):
        self._to = to
        self.errors: list[Diagnostic] = []
        self.other: list[str] = []

    def __call__(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event["type"]
        except (ValueError, KeyError, TypeError):
            self.other.append(line)
            return
        if kind == "diagnostic":
            self._diagnostic(event["diagnostic"])
        elif isinstance(self._to, _Changes):
            self._to.add(event)
        elif text := _progress(event):
            self._to(text)

    def _diagnostic(self, diagnostic: Mapping[str, Any]) -> None:
        if diagnostic.get("severity") == "error":
            summary, detail = diagnostic.get("summary", ""), diagnostic.get("detail", "")
            self.errors.append(Diagnostic(f"{summary}\n{detail}".strip(), diagnostic.get("address")))


def _progress(event: Mapping[str, Any]) -> str | None:
    """One line for the person who waits; None for what need not be said."""
    hook = event.get("hook") or {}
    name = words(hook.get("resource", {}).get("addr", ""))
    action = hook.get("action", "")
    seconds = hook.get("elapsed_seconds", 0)
    kind = event["type"]
    if kind == "apply_progress":
        return f"{DOING.get(action, action)} {name} ({seconds} s so far)"
    if kind == "apply_complete":
        return f"{DONE.get(action, action)} {name}" + (f" ({seconds} s)" if seconds >= 1 else "")
    if kind == "apply_errored":
        return f"failed: {name}"
    return None


def words(address: str) -> str:
    """An address in words: `aws_ecr_repository.node["numerai-alice"]` becomes `ecr repository numerai-alice`."""
    found = ADDRESS.fullmatch(address)
    if not found:
        return address
    kind, label, key = found.groups()
    parts = [kind.replace("_", " "), label.replace("_", " ") if label not in ("this", "node") else "", key or ""]
    return " ".join(part for part in parts if part)


def _json(printed: str) -> dict[str, Any]:
    """The object that a command prints; warnings may come before it."""
    start = re.search(r"^\{", printed, re.MULTILINE)
    found: dict[str, Any] = json.loads(printed[start.start() :]) if start else {}
    return found
