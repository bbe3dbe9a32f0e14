"""Writes the table of released runtimes: `python -m tests.runtime_manifest`, after the last change of a release.

It enters the hash of node_template/numerai_node under the version in its _version.py. `--again` replaces the entry of a
version that nobody has yet.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from numerai_compute.usecases.runtime import RUNTIME, own_version, runtime_hash, templates, tree_hash
from numerai_compute.usecases.runtime_releases import RELEASES

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "cli" / "usecases" / "runtime_releases.py"
FOLDER = f"node_template/{RUNTIME}"
UNVERSIONED = "0.1"
"""What copies are entered as that were shipped before the runtime had a version."""
LAST_UNVERSIONED = "9db40e7f3c45c5b3dc70150b6b5ef630fe85c025"
"""The last commit that landed without one."""


def hashes_in_history(commit: str) -> list[str]:
    """The hash of the runtime in every commit up to this one, oldest first, each once."""
    commits = _git("rev-list", "--reverse", commit).decode().split()
    trees = _git("cat-file", "--batch-check", given="".join(f"{each}:{FOLDER}\n" for each in commits)).decode()
    unique = dict.fromkeys(re.findall(r"^([0-9a-f]{40}) tree", trees, re.MULTILINE))
    return list(dict.fromkeys(tree_hash(_files_of(tree)) for tree in unique))


def written(releases: dict[str, tuple[str, ...]]) -> str:
    """The table as Python."""
    head = TABLE.read_text(encoding="utf-8").partition("\nRELEASES")[0]
    lines = ["RELEASES: dict[str, tuple[str, ...]] = {"]
    for version, hashes in releases.items():
        quoted = [f'"{digest}",' for digest in hashes]
        lines += (
            [f'    "{version}": ({quoted[0]}),']
            if len(hashes) == 1
            else [f'    "{version}": (', *(f"        {each}" for each in quoted), "    ),"]
        )
    return "\n".join([head, *lines, "}", ""])


def main(arguments: list[str] | None = None) -> int:
    """Enter the present runtime; ends with 1 when its version is taken by another one."""
    options = argparse.ArgumentParser(prog="python -m tests.runtime_manifest", description=__doc__)
    options.add_argument("--again", action="store_true", help="the version was not released yet: replace its entry")
    again = options.parse_args(arguments).again
    version, digest = own_version(), runtime_hash(templates() / RUNTIME)
    if RELEASES.get(version, (digest,)) != (digest,) and not again:
        print(f"The runtime was changed since {version} was entered: raise {FOLDER}/_version.py.", file=sys.stderr)
        return 1
    TABLE.write_text(written({**RELEASES, version: (digest,)}), encoding="utf-8")
    print(f"{version} is {digest}")
    return 0


def _files_of(tree: str) -> dict[str, bytes]:
    contents = {}
    for line in _git("ls-tree", "-r", tree).decode().splitlines():
        details, name = line.split("\t")
        contents[name] = _git("cat-file", "blob", details.split()[2])
    return contents


def _git(*arguments: str, given: str | None = None) -> bytes:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, input=given.encode() if given else None, capture_output=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
