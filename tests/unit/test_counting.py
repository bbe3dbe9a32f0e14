"""Numbers in sentences."""

from __future__ import annotations

import re
from pathlib import Path

import numerai_compute
import pytest
from numerai_compute.counting import counted, sized


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes"), (1_000_000, "1000000 nodes"), (1.0, "1 node"), (0.5, "0.5 nodes")],
)
def test_a_thing_is_counted_as_one_says_it(number: float, words: str) -> None:
    assert counted(number, "node") == words


def test_no_text_leaves_the_plural_to_the_reader() -> None:
    files = Path(str(numerai_compute.__file__)).parent.rglob("*.py")
    assert not [path.name for path in files if re.search(r"[a-z]\(s\)", path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (1023, "1.0 KiB"),
        (900, "900 B"),
        (2048, "2.0 KiB"),
        (3.25 * 2**20, "3.2 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**60, "1073741824.0 GiB"),
    ],
)
def test_a_size_is_never_said_to_be_nothing(size: float, said: str) -> None:
    assert sized(size) == said
