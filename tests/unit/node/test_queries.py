"""Everything that this product asks fits Numerai's API, and nothing of it is deprecated there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from numerai_node import queries
from numerai_node.queries import QUERIES

graphql = pytest.importorskip("graphql")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def schema() -> object:
    """The API as its introspection describes it."""
    return graphql.build_schema((ROOT / "cli/sandbox/schema.graphql").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_document_fits_the_schema_and_asks_for_nothing_deprecated(schema: object, name: str) -> None:
    rules = [*graphql.specified_rules, graphql.NoDeprecatedCustomRule]
    assert graphql.validate(schema, graphql.parse(QUERIES[name]), rules) == []


def test_every_document_is_in_the_mapping() -> None:
    constants = {text for name, text in vars(queries).items() if name.isupper() and isinstance(text, str)}
    assert {text for text in constants if not text.startswith("$") and "{" in text} == set(QUERIES.values())


def test_no_document_is_anywhere_else() -> None:
    """But in the sandbox, which is asked by its own tests, and in the introspection of `doctor --api`."""
    document = re.compile(r"\b(query|mutation)\s*(\([^)]*\$|\{ ?[a-z])")
    folders = [ROOT / "node_template", ROOT / "cli", ROOT / "terraform"]
    files = {path for folder in folders for path in folder.rglob("*.py") if "sandbox" not in path.parts}
    holders = {path.name for path in files if document.search(path.read_text())}
    assert holders == {"queries.py"}
