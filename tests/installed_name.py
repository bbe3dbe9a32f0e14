"""Links `cli/` under the name that it is installed as, so that mypy finds it: `python -m tests.installed_name`.

An editable install of a package whose folder has another name is an import hook, and mypy runs no hooks (setuptools'
user guide, "Development Mode"; github.com/python/mypy/issues/13392). The link cannot be in Git, which checks symbolic
links out as text where Windows does not allow them. There it is a junction, which everyone may make.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = ROOT / "build" / "types" / "numerai_compute"


def link() -> None:
    """Make the link, unless it is there."""
    if LINK.exists():
        return
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.unlink(missing_ok=True)  # it leads nowhere: the checkout was moved
    if sys.platform == "win32":
        from _winapi import CreateJunction

        CreateJunction(str(ROOT / "cli"), str(LINK))
    else:
        LINK.symlink_to(Path("..", "..", "cli"), target_is_directory=True)


if __name__ == "__main__":
    link()
