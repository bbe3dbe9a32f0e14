"""Names that every system which gets them can hold."""

from __future__ import annotations

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import node_name
from numerai_compute.names import check_distinct, check_name, is_name

RESERVED = ["CON", "con", "PRN", "aux", "NUL", "COM1", "com9", "COM0", "LPT1", "lpt0"]


@pytest.mark.parametrize(
    "name", ["alice", "numerai-alice", "a", "_a_", "a-", "9x", "console", "com10", "nul_", "A" * 80]
)
def test_usual_names_are_taken(name: str) -> None:
    assert is_name(name) and check_name(name, "A node") == name


@pytest.mark.parametrize(
    "name",
    [
        *RESERVED,
        "-rf",
        "-",
        "a.",
        "a ",
        " a",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a:b",
        "a.b",
        "a\n",
        "",
        "A" * 81,
        "\u00e4",
        "\uff41",
        5,
    ],
)
def test_names_that_some_system_cannot_hold_are_refused(name: object) -> None:
    assert not is_name(name)
    with pytest.raises(NumeraiError) as caught:
        check_name(name, "A node")
    assert caught.value.code == "bad-name"


@pytest.mark.parametrize("model", [*RESERVED, "-rf"])
def test_so_are_models_of_such_a_name(model: str) -> None:
    with pytest.raises(NumeraiError):
        node_name(8, model)


def test_names_that_differ_only_in_case_are_one_on_some_systems() -> None:
    check_distinct("numerai-alice", ["numerai-alice", "numerai-bob"])
    with pytest.raises(
        NumeraiError, match=r"numerai-Alice and numerai-alice differ only in upper and lower case"
    ) as caught:
        check_distinct("numerai-Alice", ["numerai-bob", "numerai-alice"])
    assert caught.value.code == "bad-name"
