"""`make aws-first-run`: a throwaway cluster in your AWS account, proven step by step, and always destroyed.

It asks before it makes anything (ARGS=--yes does not), takes under 40 minutes and costs under 5 cents. No Numerai
account is needed: the node is registered with a sandbox on this machine. A run that was killed is done again, and its
cluster removed, by ARGS="--cluster NAME". `ARGS=--emulator` does it on the local AWS and writes its table into
docs/aws.md.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from numerai_compute.redaction import Redactor

from ...e2e.command_line import SMALL, sandbox_process
from ..emulator import emulated_aws, mirror_configuration
from .account import Account
from .model import CannotStart
from .plan import STEPS
from .recording import FIXTURES, Recorder, write_fixtures
from .running import Report, run
from .table import DOCUMENT, table, written
from .world import APART, MODEL, World

CLUSTER = re.compile(r"numerai-try-[0-9a-f]{4}")
COST = "It costs under 5 US cents and takes under 40 minutes; everything is removed at the end, whatever happens."


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when all is as documented and nothing is left; 1 otherwise; 2 for wrong arguments or no consent; 3 where it
    cannot start; 130 after Ctrl-C."""
    options = _options(arguments)
    if not options.emulator:
        return first_run(options)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with emulated_aws(judged=False, delivers=True) as emulator:
        os.environ.update(emulator.environment)
        options.yes = True
        return first_run(options, write=True)


def first_run(options: argparse.Namespace, *, write: bool = False) -> int:
    """All of it, in the account that the environment or the profile names."""
    home = Path(options.home) / options.cluster
    try:
        account = Account(options.profile, options.region, options.cluster)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 3
    print(f"A cluster {account.cluster} in account {account.number}, {account.region}. {COST}", flush=True)
    if not options.yes and not _agreed():
        print("Nothing was made.", file=sys.stderr)
        return 2
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    print(f"Should this be killed: make aws-first-run ARGS='--cluster {account.cluster}'", flush=True)
    state = ("--state", str(home / "sandbox"))
    with sandbox_process(*SMALL, "--models", MODEL, *state, cwd=home, **APART) as numerai:
        world = World(account, home, numerai, mirror_configuration(home), token=secrets.token_hex(4))
        with _recorded(world, options):
            report = run(world, STEPS, lambda line: print(line, flush=True))
    if not report.left:
        shutil.rmtree(home)  # once the sandbox, whose state it holds, has ended
    return _told(report, write=write)


@contextmanager
def _recorded(world: World, options: argparse.Namespace) -> Iterator[None]:
    """Keep what AWS answers: as fixtures at the end, if it is an account's, or if one asks for them."""
    kept = world.home.parent / f"{world.account.cluster}.jsonl"
    world.answers = kept
    folder = options.fixtures or (None if world.emulated else FIXTURES)
    hide = Redactor([world.numerai["secret_key"], world.numerai["public_id"]])
    with Recorder(kept, lambda: world.step, hide).installed():
        yield
    if folder:
        try:
            files = write_fixtures(kept, Path(folder), world.account.belongings)
            print(f"{len(files)} files of answers, without what names this account, are in {folder}.")
        except ValueError as error:
            print(f"{error} They are in {kept}, for you alone.", file=sys.stderr)
            return
    kept.unlink(missing_ok=True)


def _told(report: Report, *, write: bool) -> int:
    print(f"\n{table(report.proofs)}\n")
    if report.left:
        print("Something is left in AWS: see STILL THERE above. Run this again with --cluster.", file=sys.stderr)
    elif report.exit_code:
        bad = [proof.step.name for proof in report.proofs if proof.seen.verdict.bad]
        print(f"Not as documented, or not done: {', '.join(bad)}. Nothing is left in AWS.", file=sys.stderr)
    else:
        print("All as documented, and nothing is left in AWS.")
        if write:
            text = DOCUMENT.read_text(encoding="utf-8")
            DOCUMENT.write_text(written(text, report.proofs), encoding="utf-8")
    return report.exit_code


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("Nobody can be asked here: say --yes.", file=sys.stderr)
        return False
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make aws-first-run", description=__doc__)
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask before it begins")
    parser.add_argument("--cluster", type=_cluster, help="the cluster of a run that was killed")
    parser.add_argument("--profile", help="the AWS profile of the account's owner")
    parser.add_argument("--region", help="the AWS region")
    parser.add_argument("--emulator", action="store_true", help="on the local AWS; writes the table in docs/aws.md")
    parser.add_argument("--fixtures", help="where the answers go, instead of tests/fixtures/aws_real")
    parser.add_argument("--home", default=str(Path.home() / ".numerai-first-run"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.cluster = options.cluster or f"numerai-try-{secrets.token_hex(2)}"
    return options


def _cluster(text: str) -> str:
    if not CLUSTER.fullmatch(text):
        raise argparse.ArgumentTypeError("a cluster of this program is named numerai-try-<4 hex>")
    return text


if __name__ == "__main__":
    sys.exit(main())
