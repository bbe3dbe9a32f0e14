"""Changes that tests order of the API's schema: a field removed, newly deprecated or renamed."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema

from ..errors import UsageError

_WORDS = {"remove": 2, "deprecate": 2, "rename": 3}


def apply_change(schema: GraphQLSchema, change: str) -> None:
    """Change the schema as ordered: `remove Type.field`, `deprecate Type.field` or `rename Type.field newName`.

    `UsageError` when it is none of these, or there is no such field.
    """
    words = change.split()
    if not words or len(words) != _WORDS.get(words[0]):
        raise UsageError(
            f"'{change}' is no change of the schema.",
            "Say for example: remove Round.closeStakingTime, deprecate Round.number, rename Round.openTime opensAt.",
        )
    type_name, _, name = words[1].partition(".")
    kind = schema.get_type(type_name)
    if not isinstance(kind, GraphQLObjectType) or name not in kind.fields:
        raise UsageError(f"The schema has no field {words[1]}.")
    if words[0] == "deprecate":
        kind.fields[name].deprecation_reason = "deprecated by an order to the sandbox"
        return
    field = kind.fields.pop(name)
    if words[0] == "rename":
        if field.resolve is None:
            field.resolve = lambda view, info: _value(view.get(name), info)
        kind.fields[words[2]] = field


def _value(held: Any, info: Any) -> Any:
    return held(info) if callable(held) else held
