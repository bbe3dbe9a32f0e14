"""Compares the requests of this version with an API's schema: what is gone, renamed or deprecated.

Field and argument names are compared, not whole types, so that no GraphQL library is needed at run time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from enum import Enum
from itertools import takewhile
from typing import Any

_TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
INTROSPECTION = (
    "query { __schema { queryType { name } mutationType { name } types { kind name "
    "fields(includeDeprecated: true) { name isDeprecated deprecationReason "
    f"args {{ name defaultValue type {{ {_TYPE} }} }} type {{ {_TYPE} }} }} }} }} }}"
)
"""The part of the standard introspection query (spec.graphql.org, section 4) that the comparison needs."""

ALIKE_LETTERS, ALIKE_RATIO = 4, 0.75
"""How alike a new name is at least: letters at the beginning, or the share of what is the same."""

_TOKEN = re.compile(r"""[A-Za-z_]\w*(?:\s*:(?!\s*[)\]}]))?|[!$=()\[\]{}]|"(?:\\.|[^"\\])*"|-?\d+(?:\.\d+)?|\#[^\n]*""")
"""A name with the colon that makes it an alias or an argument, a mark, a value, or a comment."""
_VARIABLE = re.compile(r"\$(\w+)\s*:\s*([\w\[\]!]+)")


@dataclass(frozen=True)
class Selection:
    """A field that a request asks for, the names of its arguments, and the fields inside."""

    name: str
    arguments: tuple[str, ...] = ()
    fields: tuple[Selection, ...] = ()


@dataclass(frozen=True)
class Request:
    """A GraphQL document with one operation; `variables` maps a name to its type, e.g. `modelId` to `ID!`."""

    operation: str
    variables: Mapping[str, str]
    fields: tuple[Selection, ...]


@dataclass(frozen=True)
class SchemaField:
    """A field of the API: the named type it gives, its arguments (name -> whether it must be given), and why it is
    deprecated, None when it is not."""

    type_name: str
    arguments: Mapping[str, bool]
    deprecated: str | None = None


@dataclass(frozen=True)
class Schema:
    """An API's object types: name -> field name -> field; `roots` maps `query` and `mutation` to their types."""

    types: Mapping[str, Mapping[str, SchemaField]]
    roots: Mapping[str, str]


class Change(str, Enum):
    """How a field or an argument differs from what a request needs."""

    GONE = "gone"
    DEPRECATED = "deprecated"
    NEEDED = "needed"
    RESHAPED = "reshaped"


@dataclass(frozen=True)
class Difference:
    """What stands between a request and the schema. `where` is `Type.field` or `Type.field(argument)`; `detail` is the
    deprecation's reason, or a name that may be the new one."""

    change: Change
    where: str
    detail: str | None = None


def read_request(text: str) -> Request:
    """Parse a document of this product; `ValueError` for what it never uses (fragments, several operations)."""
    if unknown := re.sub(r"[\s,]+", "", _TOKEN.sub("", text)):
        raise ValueError(f"not GraphQL: {unknown[:20]!r}")
    marks = [mark for mark in reversed(_TOKEN.findall(text)) if not mark.startswith("#")]
    head = []
    try:
        while (mark := marks.pop()) != "{":
            head.append(mark)
            if mark == "(":
                _take_arguments(marks)
        fields = _take_fields(marks)
    except IndexError:
        raise ValueError("the document ends early, or arguments stand where no field is") from None
    if marks:
        raise ValueError(f"more than one operation: {marks[-1]}")
    return Request(head[0] if head else "query", dict(_VARIABLE.findall(text)), fields)


def _take_fields(marks: list[str]) -> tuple[Selection, ...]:
    """The fields up to the brace that closes; takes them from the end of the marks, which are in reverse."""
    fields: list[Selection] = []
    while (mark := marks.pop()) != "}":
        if mark == "(":
            fields[-1] = replace(fields[-1], arguments=_take_arguments(marks))
        elif mark == "{":
            fields[-1] = replace(fields[-1], fields=_take_fields(marks))
        elif mark.isidentifier():
            fields.append(Selection(mark))
        elif not mark.endswith(":"):  # else it is an alias
            raise ValueError(f"expected a field, not {mark}")
    return tuple(fields)


def _take_arguments(marks: list[str]) -> tuple[str, ...]:
    """The names of the arguments up to the parenthesis that closes."""
    names, depth = [], 1
    while depth:
        mark = marks.pop()
        depth += (mark in ("(", "[", "{")) - (mark in (")", "]", "}"))
        if depth == 1 and mark.endswith(":"):
            names.append(mark[:-1].rstrip())
    return tuple(names)


def read_schema(introspected: Mapping[str, Any]) -> Schema:
    """The schema from the `data` of an answer to `INTROSPECTION`; `ValueError` when it is none."""
    try:
        content = introspected["__schema"]
        types = {
            kind["name"]: {field["name"]: _schema_field(field) for field in kind["fields"]}
            for kind in content["types"]
            if kind["fields"]
        }
        roots = {
            operation: content[key]["name"]
            for operation, key in (("query", "queryType"), ("mutation", "mutationType"))
            if content[key]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an introspection: {type(error).__name__} {error}") from error
    return Schema(types, roots)


def differences(request: Request, schema: Schema) -> list[Difference]:
    """Everything that the request needs and that the schema does not have, or has deprecated."""
    root = schema.roots.get(request.operation)
    if root is None:
        return [Difference(Change.GONE, request.operation)]
    return list(_compare(request.fields, root, schema))


def _compare(selections: tuple[Selection, ...], type_name: str, schema: Schema) -> Iterator[Difference]:
    fields = schema.types.get(type_name, {})
    for selection in selections:
        if selection.name == "__typename":
            continue
        where = f"{type_name}.{selection.name}"
        field = fields.get(selection.name)
        if field is None:
            asked = {other.name for other in selections}
            yield Difference(
                Change.GONE, where, _similar(selection.name, [each for each in fields if each not in asked])
            )
            continue
        if field.deprecated is not None:
            yield Difference(Change.DEPRECATED, where, field.deprecated)
        for argument in selection.arguments:
            if argument not in field.arguments:
                yield Difference(Change.GONE, f"{where}({argument})")
        for argument, must in field.arguments.items():
            if must and argument not in selection.arguments:
                yield Difference(Change.NEEDED, f"{where}({argument})")
        if bool(selection.fields) != (field.type_name in schema.types):
            yield Difference(Change.RESHAPED, where, field.type_name)
        elif selection.fields:
            yield from _compare(selection.fields, field.type_name, schema)


def _similar(name: str, others: Iterable[str]) -> str | None:
    """Which of other names may be the new one: the one that begins alike, or else is nearly the same."""
    ranked = []
    for other in others:
        letters = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))
        ratio = SequenceMatcher(None, name, other).ratio()
        if letters >= ALIKE_LETTERS or ratio >= ALIKE_RATIO:
            ranked.append((letters, ratio, other))
    return max(ranked)[2] if ranked else None


def _schema_field(field: Mapping[str, Any]) -> SchemaField:
    arguments = {
        argument["name"]: argument["type"]["kind"] == "NON_NULL" and argument.get("defaultValue") is None
        for argument in field["args"]
    }
    deprecated = (field.get("deprecationReason") or "no reason given") if field.get("isDeprecated") else None
    return SchemaField(_named(field["type"]), arguments, deprecated)


def _named(kind: Mapping[str, Any]) -> str:
    """The type inside lists and non-nulls."""
    while kind.get("ofType"):
        kind = kind["ofType"]
    return str(kind["name"])
