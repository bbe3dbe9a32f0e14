"""Nulls in an answer of the API every field that its schema calls dead, whoever asked for it and under which alias."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numerai_compute.sandbox
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    get_named_type,
    parse,
)

SCHEMA = Path(numerai_compute.sandbox.__file__).with_name("schema.graphql")


@cache
def _schema() -> GraphQLSchema:
    return build_schema(SCHEMA.read_text(encoding="utf-8"), assume_valid=True)


def null_dead_fields(request: bytes, answer: bytes) -> bytes:
    """The answer to a GraphQL request with null in each field that is deprecated because it is always null."""
    document = parse(json.loads(request)["query"])
    whole = json.loads(answer)
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            query = definition.operation is OperationType.QUERY
            root = _schema().query_type if query else _schema().mutation_type
            _null(whole.get("data"), definition, root, fragments)
    return json.dumps(whole).encode()


def _null(value: Any, node: Any, kind: Any, fragments: dict[str, FragmentDefinitionNode]) -> None:
    if isinstance(value, list):
        for each in value:
            _null(each, node, kind, fragments)
    if not isinstance(value, dict) or not isinstance(kind, GraphQLObjectType) or node.selection_set is None:
        return
    for selection in node.selection_set.selections:
        if not isinstance(selection, FieldNode):
            name = getattr(selection, "name", None)
            _null(value, fragments[name.value] if name else selection, kind, fragments)
            continue
        field = kind.fields.get(_camel(selection.name.value))
        key = (selection.alias or selection.name).value
        if field is None or key not in value:
            continue
        if "null" in (field.deprecation_reason or "").lower() or "nil" in (field.deprecation_reason or "").lower():
            value[key] = None
        else:
            _null(value[key], selection, get_named_type(field.type), fragments)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
