"""Every command of the tool, one after the other in one process from which an extra's packages are kept away.

    python -m tests.unit.commands.command_walk EXTRA FOLDER

prints one JSON array of `{"arguments", "home", "exit_code", "printed"}`. The account is in memory; home, local
provider, daemon and files are real. Child processes are kept from the packages too.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import msgspec

REFUSE = '''
import sys


class Refuse:
    """As if these packages were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None


sys.meta_path.insert(0, Refuse())
'''
SERVING = ("daemon run", "sandbox serve")
"""Commands that serve until they are stopped: they get a Ctrl-C after their first line."""
ALWAYS = ("--once", "--single-run", "--yes")
"""Flags that are given wherever they exist: who watches, watches once, and nobody can be asked."""
QUIET = ("--json", "--verbose", "--help", *ALWAYS)
WORST_SECONDS = 120
VALUES: dict[str, str] = {
    "advance": "60",
    "client": "http://127.0.0.1:9",
    "cron": "0 13 * * *",
    "example": "tournament-python3",
    "handlers": "handlers.py",
    "model_name": "alice",
    "models": "mine.csv",
    "name": "port",
    "num_lines": "5",
    "provider": "local",
    "size": "50",
    "url": "json://127.0.0.1:9/hook",
    "validation": "mine.json",
    "value": "31999",
}
"""What is typed for a parameter of that name, where it must be given."""
NAMES = {"node forget": "numerai-alice", "notify": "hook"}
ARGUMENTS = {"demo": ["--dir", "taken"], "sandbox serve": ["--port", "0"], "sandbox data": ["--publish", "v6.0"]}
"""What keeps a command small, or gives it something to do. The whole demo is tests/e2e/test_main_job.py's."""
OUTPUTS = {
    "webhook_base_url": "https://abc.lambda-url.us-east-1.on.aws/",
    "webhook_function": "numerai-webhook",
    "webhook_table": "numerai-webhook",
    "webhook_log_group": "/aws/lambda/numerai-webhook",
    "run_log_group": "/numerai/numerai/runs",
    "keys_path": "/numerai/numerai/",
    "artifacts_bucket": "numerai-artifacts",
    "queues": {"fargate": "queue"},
    "nodes": {
        "numerai-alice": {
            "repository_url": "127.0.0.1:9/numerai/numerai-alice",
            "repository": "numerai/numerai-alice",
            "job_definition": "numerai-numerai-alice",
            "job_queue": "queue",
        }
    },
}
"""What Terraform says of a cluster that stands."""


def keep_away(packages: Sequence[str], folder: Path) -> None:
    """Refuse the packages here, and in every Python that is started from here."""
    code = REFUSE.format(packages=tuple(packages))
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    exec(code, {})


def leaves(
    command: click.Command, context: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from leaves(child, context, (*path, name))
    else:
        yield " ".join(path), command


def command_lines(path: str, command: click.Command, provider: str) -> Iterator[list[str]]:
    """The command with what it must be given, and once more with each flag that it has."""
    minimal = path.split()
    if path.startswith("node ") and path not in ("node list", "node forget"):
        minimal[1:1] = ["-m", "alice"]
    flags: list[str] = []
    for parameter in command.params:
        option = parameter.opts[-1]
        if getattr(parameter, "is_flag", False):
            (minimal if option in ALWAYS else flags).append(option)
        elif isinstance(parameter, click.Argument):
            if parameter.required or path == "notify add":
                minimal.append(_value(path, parameter))
        elif parameter.required:
            minimal += [option, _value(path, parameter)]
        elif parameter.name == "provider":
            minimal += [option, provider]
    minimal += ARGUMENTS.get(path, [])
    yield minimal
    for flag in flags:
        if flag not in QUIET and path not in SERVING:
            yield [*minimal, flag]


def _value(path: str, parameter: click.Parameter) -> str:
    if parameter.name == "name" and not path.startswith("config"):
        return NAMES.get(path) or NAMES[path.partition(" ")[0]]
    return VALUES[str(parameter.name)]


class Typed(io.StringIO):
    """What a command prints; `on_line` is called at the first whole line, unless that is an error."""

    on_line: Callable[[], None] | None = None

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.on_line is not None and "\n" in text:
            on_line, self.on_line = self.on_line, None
            if "Error" not in self.getvalue():
                on_line()
        return written


def _interrupt() -> None:
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


def walk(extra: str, folder: Path) -> list[dict[str, Any]]:
    """Type everything; what every command printed and how it ended."""
    from numerai_compute.factory import Factory
    from numerai_compute.installation import EXTRAS

    keep_away(EXTRAS[extra], folder / "hook")
    from numerai_compute.adapters.clock import SystemClock
    from numerai_compute.adapters.state_store import HomeStore
    from numerai_compute.errors import ApiError
    from numerai_compute.files.private import write_private
    from numerai_compute.main import cli, run
    from numerai_compute.models import Deployment, Node
    from numerai_compute.providers.aws.settings import AwsPaths
    from numerai_compute.providers.aws.stack_file import Stack, stack_node
    from numerai_compute.providers.local.daemon import stop_daemon

    from tests.fakes import ALICE, KEYS, FakeApi, FakeDataFiles, FakeProbe, round_of

    home, template = folder / "home", folder / "template"
    api: Any = FakeApi([ALICE])
    api.clock = SystemClock()
    api.fail["trigger"] = ApiError("Numerai reports: nobody answers.", code="webhook-failed")

    class WalkFactory(Factory):
        """The real factory, but for Numerai."""

        @cached_property
        def api(self) -> Any:
            return api

        @property
        def api_with(self) -> Any:
            return lambda keys: api

        @property
        def watchers_api_with(self) -> Any:
            return self.api_with

        @cached_property
        def data_files(self) -> Any:
            return FakeDataFiles(home / "data")

        @property
        def api_probe(self) -> Any:
            return FakeProbe()

    def typed(arguments: list[str], serving: bool = False) -> tuple[int, str]:
        printed = Typed()
        if serving:
            printed.on_line = _interrupt
        api.round = round_of(100, datetime.now(timezone.utc) - timedelta(minutes=5))
        faulthandler.dump_traceback_later(WORST_SECONDS, exit=True)
        try:
            with redirect_stdout(printed), redirect_stderr(printed), suppress(KeyboardInterrupt):
                return run(arguments, WalkFactory(home)), printed.getvalue()
            return 130, printed.getvalue()
        finally:
            faulthandler.cancel_dump_traceback_later()

    os.chdir(folder)
    os.environ.update(
        NUMERAI_HOME=str(home),
        NUMERAI_PUBLIC_ID=KEYS.public_id,
        NUMERAI_SECRET_KEY=KEYS.secret_key,
        NUMERAI_API_URL=KEYS.api_url,
        NUMERAI_EXECUTOR="process",
        DOCKER_HOST="tcp://127.0.0.1:9",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=str(folder / "none"),
        AWS_SHARED_CREDENTIALS_FILE=str(folder / "none"),
        COLUMNS="200",
    )
    (folder / "handlers.py").write_text("def handlers():\n    return []\n")
    for name in ("code", "taken"):
        (folder / name).mkdir()
        (folder / name / "Dockerfile").write_text('FROM scratch\nCMD ["python", "main.py"]\n')
        (folder / name / "main.py").write_text("print('done')\n")
    for arguments in (
        ["config", "set", "port", "0"],
        ["node", "-m", "alice", "config", "--path", "code"],
        ["node", "-m", "alice", "deploy"],
        ["notify", "add", "hook", VALUES["url"]],
    ):
        exit_code, printed = typed(arguments)
        assert arguments[0] == "config" or exit_code == 0, printed
    shutil.copytree(home, template, ignore=shutil.ignore_patterns("locks"))

    def on_aws() -> None:
        """The node on a cluster that stands, as far as the records of this machine go."""
        HomeStore(home).save_node(aws_node)
        now = datetime.now(timezone.utc)
        deployed = Deployment(aws_node.name, "image:1", "hash", now)
        known = msgspec.structs.replace(stack_node(aws_node, None, None, now), deployment=deployed)
        stack = Stack(
            id="0123456789abcdef",
            cluster="numerai",
            account="123456789012",
            region="us-east-1",
            begun=True,
            applied="x",
            outputs=OUTPUTS,
            nodes={aws_node.name: known},
        )
        write_private(AwsPaths(home).stack, msgspec.json.encode(stack))

    aws_node = Node("numerai-alice", "alice", ALICE.id, 8, "aws", str(folder / "code"), 1.0, 2048)
    done = []
    context = click.Context(cli)
    for provider in ("local", "aws"):
        for path, command in leaves(cli, context):
            for arguments in command_lines(path, command, provider):
                shutil.rmtree(home, ignore_errors=True)  # `uninstall` has removed it
                shutil.copytree(template, home)
                if provider == "aws":
                    on_aws()
                exit_code, printed = typed(arguments, serving=path in SERVING)
                done.append({"arguments": arguments, "home": provider, "exit_code": exit_code, "printed": printed})
                stop_daemon(WalkFactory(home).provider_context("local"))
    return done


if __name__ == "__main__":
    json.dump(walk(sys.argv[1], Path(sys.argv[2])), sys.stdout)
