"""Numbers in sentences."""

from __future__ import annotations

import re
from pathlib import Path

import numerai_compute
import pytest
from numerai_compute.counting import counted


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes"), (1_000_000, "1000000 nodes"), (1.0, "1 node"), (0.5, "0.5 nodes")],
)
def test_a_thing_is_counted_as_one_says_it(number: float, words: str) -> None:
    assert counted(number, "node") == words


def test_no_text_leaves_the_plural_to_the_reader() -> None:
    files = Path(str(numerai_compute.__file__)).parent.rglob("*.py")
    assert not [path.name for path in files if re.search(r"[a-z]\(s\)", path.read_text(encoding="utf-8"))]
