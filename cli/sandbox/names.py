"""Accepts GraphQL names as Numerai's server does: camelCase and snake_case alike, and ID where String is meant.

Source: numerapi 3.1.1 asks in both spellings, and declares variables as String where the introspection says ID.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLID,
    GraphQLList,
    GraphQLNonNull,
    GraphQLString,
    NameNode,
    OperationDefinitionNode,
    ValidationRule,
    Visitor,
    is_type_sub_type_of,
    specified_rules,
    type_from_ast,
    visit,
)
from graphql.validation import VariablesInAllowedPositionRule


def camel_case(name: str) -> str:
    """`submission_upload_auth` -> `submissionUploadAuth`; what is camelCase already stays as it is."""
    if name.startswith("__") or "_" not in name:
        return name
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


@cache
def snake_case(name: str) -> str:
    """`lastNRounds` -> `last_n_rounds`; what is snake_case already stays as it is."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _CamelCase(Visitor):
    def enter_field(self, node: FieldNode, *_: Any) -> FieldNode | None:
        wanted = camel_case(node.name.value)
        if wanted == node.name.value:
            return None
        return FieldNode(
            alias=node.alias or NameNode(value=node.name.value, loc=node.name.loc),
            name=NameNode(value=wanted, loc=node.name.loc),
            arguments=node.arguments,
            directives=node.directives,
            selection_set=node.selection_set,
            loc=node.loc,
        )

    def enter_argument(self, node: ArgumentNode, *_: Any) -> ArgumentNode | None:
        wanted = camel_case(node.name.value)
        if wanted == node.name.value:
            return None
        return ArgumentNode(name=NameNode(value=wanted, loc=node.name.loc), value=node.value, loc=node.loc)


def in_camel_case(document: DocumentNode) -> DocumentNode:
    """The document with every field and argument in camelCase; fields are still answered under the name asked for."""
    changed: DocumentNode = visit(document, _CamelCase())
    return changed


class VariablePositions(ValidationRule):
    """graphql-core's rule for where a variable may be used, as loose as Numerai's server.

    ID and String are one type, and a variable that may be null may stand where null is not allowed (what counts is
    its value): numerapi asks `query($id: String) {submissionDownloadAuth(id: $id) ...}` where the schema says `ID!`.
    """

    def leave_operation_definition(self, operation: OperationDefinitionNode, *_: Any) -> None:
        """Compare each variable's type with the type of every place where it is used."""
        schema = self.context.schema
        declared = {node.variable.name.value: node for node in operation.variable_definitions or ()}
        for usage in self.context.get_recursive_variable_usages(operation):
            node = declared.get(usage.node.name.value)
            given = type_from_ast(schema, node.type) if node is not None else None
            if given is None or usage.type is None:
                continue
            wanted = usage.type.of_type if isinstance(usage.type, GraphQLNonNull) else usage.type
            if not is_type_sub_type_of(schema, _as_text(given), _as_text(wanted)):
                message = (
                    f"Variable '${usage.node.name.value}' of type '{given}' used in position expecting '{usage.type}'."
                )
                self.report_error(GraphQLError(message, [usage.node]))


RULES = [VariablePositions if rule is VariablesInAllowedPositionRule else rule for rule in specified_rules]


def _as_text(kind: Any) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return GraphQLNonNull(_as_text(kind.of_type))
    if isinstance(kind, GraphQLList):
        return GraphQLList(_as_text(kind.of_type))
    return GraphQLString if kind is GraphQLID else kind
