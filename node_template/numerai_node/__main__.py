"""`python -m numerai_node`: wrap a program, submit or check a file, or fetch data, without writing Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ._version import __version__
from .errors import EXIT_CONFIGURATION, EXIT_CONFIRMED, EXIT_TEMPORARY
from .execute import execute
from .log import log
from .node import Node
from .notify import addresses, tell
from .running import run
from .settings import NOTIFY_VARIABLE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m numerai_node", description=__doc__)
    top.add_argument("--version", action="version", version=f"numerai_node {__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    exec_ = commands.add_parser("exec", help="run a program on today's data and submit the predictions.csv it writes")
    exec_.add_argument("--csv", action="store_true", help="give it live.csv besides live.parquet")
    exec_.add_argument("program", nargs="+", metavar="CMD", help="after --: the program and its arguments")
    submit = commands.add_parser("submit", help="check a CSV file, submit it, and wait until Numerai accepts it")
    submit.add_argument("file", type=Path)
    check = commands.add_parser("check", help="check a CSV file against Numerai's rules, and send nothing")
    check.add_argument("file", type=Path)
    notice = commands.add_parser("notify", help="tell the people of NUMERAI_NOTIFY something")
    notice.add_argument("kind", metavar="KIND", help="success, failure, late, missed, ...")
    notice.add_argument("title", metavar="TITLE")
    notice.add_argument("text", metavar="TEXT")
    data = commands.add_parser("data", help="download files of the newest data; without a name, list them")
    data.add_argument("files", nargs="*", metavar="FILE")
    return top


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says, and end the process with the exit code of the contract."""
    options = parser().parse_args(arguments)
    if options.command == "notify":
        sys.exit(_notify(options.kind, options.title, options.text))
    work: dict[str, Callable[[Node], object]] = {
        "exec": lambda node: execute(node, options.program, csv=options.csv),
        "submit": lambda node: _submit(node, options.file),
        "check": lambda node: node.check(options.file),
        "data": lambda node: _data(node, options.files),
    }
    run(work[options.command], tells=options.command in ("exec", "submit"))


def _notify(kind: str, title: str, text: str) -> int:
    if not addresses():
        log("failed", exit=EXIT_CONFIGURATION, reason=f"{NOTIFY_VARIABLE} is not set: there is nobody to tell.")
        return EXIT_CONFIGURATION
    return EXIT_CONFIRMED if tell(kind, title, text) else EXIT_TEMPORARY


def _submit(node: Node, file: Path) -> None:
    node.check_access()
    node.submit(file)


def _data(node: Node, names: Sequence[str]) -> None:
    if not names:
        for name in node.dataset.files():
            log("listed", version=node.dataset.version, file=name)
    for name in names:
        log("file", name=name, path=node.dataset.file(name))


if __name__ == "__main__":
    main()
