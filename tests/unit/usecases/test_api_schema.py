"""The comparison of requests with a schema: each kind of difference, and what is no difference."""

from __future__ import annotations

from typing import Any

import pytest
from numerai_compute.usecases.api_check.schema import (
    INTROSPECTION,
    Change,
    Difference,
    Schema,
    Selection,
    differences,
    read_request,
    read_schema,
)

graphql = pytest.importorskip("graphql")

SCHEMA = """
type Query { rounds(tournament: Int, limit: Int = 5): [Round!]! file(id: ID!): File oldest: Round }
type Mutation { submit(name: String!): File }
type Round { number: Int openTime: String closeTime: String @deprecated(reason: "use opensAt") }
type File { id: ID round: Round }
"""


def schema_of(text: str) -> Schema:
    answer = graphql.graphql_sync(graphql.build_schema(text), INTROSPECTION)
    assert answer.errors is None
    return read_schema(answer.data)


def compare(document: str, text: str = SCHEMA) -> list[Difference]:
    return differences(read_request(document), schema_of(text))


def test_a_request_is_read_with_its_variables_arguments_and_aliases() -> None:
    request = read_request(
        'query Rounds($t: Int!, $ids: [ID!]! = ["a"]) { latest: rounds(tournament: $t, limit: -1, by: {a: [1, 2]}) '
        "{ number # a comment\n } }"
    )
    assert request.operation == "query" and request.variables == {"t": "Int!", "ids": "[ID!]!"}
    assert request.fields == (Selection("rounds", ("tournament", "limit", "by"), (Selection("number"),)),)
    assert read_request("{ oldest { number } }").operation == "query"


@pytest.mark.parametrize(
    "text", ["", "query { a", "query { ... on X { a } }", "{ a } { b }", "query { a(b:) }", "?", "{ a(b: ["]
)
def test_what_is_no_request_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_request(text)


def test_a_request_that_fits_differs_in_nothing() -> None:
    assert compare("query($t: Int) { rounds(tournament: $t) { number openTime __typename } }") == []
    assert compare('mutation { submit(name: "a") { id round { number } } }') == []


def test_each_difference_is_named() -> None:
    document = "query($t: Int) { rounds(tournament: $t, status: OPEN) { number opensAt closeTime } file { id } oldest }"
    assert compare(document) == [
        Difference(Change.GONE, "Query.rounds(status)"),
        Difference(Change.GONE, "Round.opensAt", "openTime"),
        Difference(Change.DEPRECATED, "Round.closeTime", "use opensAt"),
        Difference(Change.NEEDED, "Query.file(id)"),
        Difference(Change.RESHAPED, "Query.oldest", "Round"),
    ]
    without = SCHEMA.replace("type Mutation { submit(name: String!): File }", "")
    assert compare("mutation { submit }", without) == [Difference(Change.GONE, "mutation")]


@pytest.mark.parametrize("answer", [{}, {"__schema": None}, {"__schema": {"types": 5}}])
def test_what_is_no_introspection_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an introspection"):
        read_schema(answer)
