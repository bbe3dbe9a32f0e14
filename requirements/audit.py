"""Looks every locked package up in a database of known vulnerabilities, with pip-audit.

A check that did not take place never looks like one that found nothing. So the database is first asked for a
vulnerability that it must know: a registry's proxy, for one, may answer everything with "nothing known". Exit codes:
0 nothing is known, 1 something is (or pip-audit fails), 3 the check was not done; with `--go-on` that is 0 as well, and
said all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
URL = "https://api.osv.dev/v1/query"
"""OSV's, or what NUMERAI_AUDIT_URL names: https://google.github.io/osv.dev/post-v1-query/"""
KNOWN = ("jinja2", "2.4.1")
"""OSV's own example of a package with vulnerabilities."""
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities that are known and do not concern this project: the id, and why."""
NOTHING, FOUND, NOT_DONE = 0, 1, 3
SECONDS = 20

Packages = dict[tuple[str, str], list[str]]
"""Which lock files hold a package, by its name and version."""


class NotDone(Exception):
    """The check did not take place; says why."""


def locked(files: Iterable[Path], root: Path = ROOT) -> Packages:
    """Every version of every package in these lock files, for whichever Python or platform."""
    packages: Packages = {}
    for file in files:
        for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.MULTILINE):
            packages.setdefault((name, version), []).append(file.relative_to(root).as_posix())
    return packages


def lists(packages: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """The packages as requirements in as few lists as will do: pip-audit takes one version of each at a time."""
    versions: dict[str, list[str]] = {}
    for name, version in sorted(packages):
        versions.setdefault(name, []).append(version)
    for turn in range(max(map(len, versions.values()), default=0)):
        yield [f"{name}=={found[turn]}" for name, found in versions.items() if len(found) > turn]


def ask_for_the_known(url: str) -> None:
    """Whether the database is there and knows what it must know; `NotDone` otherwise."""
    host, (name, version) = urlsplit(url).hostname, KNOWN
    question = {"version": version, "package": {"name": name, "ecosystem": "PyPI"}}
    try:
        with urllib.request.urlopen(url, json.dumps(question).encode(), SECONDS) as answer:
            known = json.load(answer).get("vulns")
    except urllib.error.HTTPError as error:
        raise NotDone(f"{host} answers with {error.code}") from error
    except OSError as error:
        raise NotDone(f"{host} cannot be reached") from error
    except (ValueError, AttributeError) as error:
        raise NotDone(f"{host} answers with something else") from error
    if not known:
        raise NotDone(f"{host} does not even know a vulnerability of {name} {version}")


def pip_audit(requirements: Sequence[str], url: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package; RuntimeError with its last line when it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(requirements))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(file), "--no-deps", "--disable-pip"]
        command += [
            "--vulnerability-service",
            "osv",
            "--osv-url",
            url,
            "--cache-dir",
            folder,
            "--timeout",
            str(SECONDS),
        ]
        command += ["--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(command, capture_output=True, text=True)
    try:
        answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1]) from error
    return answers


def findings(answers: Iterable[dict[str, Any]], packages: Packages) -> list[str]:
    """One line for each vulnerability that is not accepted; `NotDone` where a package was passed over."""
    lines = []
    for answer in answers:
        if "skip_reason" in answer:
            raise NotDone(answer["skip_reason"])
        where = ", ".join(packages[answer["name"], answer["version"]])
        for found in answer["vulns"]:
            names = {found["id"], *found.get("aliases", ())}
            if not names & set(ACCEPTED):
                mended = ", ".join(found["fix_versions"]) or "no version yet"
                lines.append(f"  {answer['name']} {answer['version']} ({where}): {found['id']}, mended in {mended}")
    return lines


def check(
    packages: Packages,
    url: str,
    say: Callable[[str], None],
    audit: Callable[[Sequence[str], str], list[dict[str, Any]]] = pip_audit,
) -> int:
    """Ask, and say what came of it; returns the exit code."""
    try:
        ask_for_the_known(url)
        answers: list[dict[str, Any]] = []
        try:
            for requirements in lists(packages):
                answers += audit(requirements, url)
        except RuntimeError as error:
            ask_for_the_known(url)  # has it gone meanwhile?
            say(f"vulnerability check: pip-audit failed: {error}")
            return FOUND
        if {(one["name"], one.get("version")) for one in answers} != set(packages):
            raise NotDone("not every package was looked up")
        found = findings(answers, packages)
    except NotDone as error:
        say(f"vulnerability check: not done, {error}")
        return NOT_DONE
    files = len({file for names in packages.values() for file in names})
    said = f"{len(found)} known" if found else "nothing known"
    say(f"vulnerability check: {len(packages)} packages of {files} lock files, {said} ({urlsplit(url).hostname})")
    for line in found:
        say(line)
    return FOUND if found else NOTHING


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Looks the locked packages up among the known vulnerabilities.")
    parser.add_argument("--go-on", action="store_true", help="end with 0 where the check cannot be done")
    options = parser.parse_args()
    files = [*sorted((ROOT / "requirements").glob("*.txt")), *sorted(ROOT.glob("node_template/*/requirements.lock"))]
    code = check(locked(files), os.environ.get("NUMERAI_AUDIT_URL", URL), print)
    return NOTHING if code == NOT_DONE and options.go_on else code


if __name__ == "__main__":
    sys.exit(main())
