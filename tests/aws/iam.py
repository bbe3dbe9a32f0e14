"""Whether IAM would allow a request: the parts of its evaluation logic that this project's policies use.

What is not known here raises `NotImplementedError`, so that no policy passes by being misread. The rules are those of
the IAM user guide (docs.aws.amazon.com/IAM/latest/UserGuide/), each with its page beside it. Not here: session
policies, organizations' policies, key policies, several accounts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]
Values = str | Sequence[str]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Ask:
    """What a request asks IAM for: one action on one resource, with the condition keys of the request."""

    action: str
    resource: str
    context: Mapping[str, Values] = field(default_factory=dict)

    def value(self, key: str) -> tuple[str, ...] | None:
        """The values of a condition key, whose name is not case-sensitive (reference_policies_elements_condition.html);
        None where the request has no such key."""
        for name, values in self.context.items():
            if name.lower() == key.lower():
                return (values,) if isinstance(values, str) else tuple(values)
        return None


@dataclass(frozen=True)
class Decision:
    """What IAM says: whether it is allowed, the statements that matched, and where not why, as AWS words it."""

    allowed: bool
    why: str = ""
    statements: tuple[Policy, ...] = ()


def decide(
    ask: Ask,
    identity: Sequence[Policy],
    boundary: Policy | None = None,
    resource: Policy | None = None,
    principal: str | None = None,
) -> Decision:
    """Whether the principal with these policies may do it, in one account (reference_policies_evaluation-logic.html).

    An explicit Deny of any policy wins. Then an Allow of the resource's own policy suffices, and else one of the
    identity's; a permissions boundary has to allow it as well (access_policies_boundaries.html), also what a resource's
    policy allows a role. `principal` is an ARN, the name of a service, or None for somebody unknown.
    """
    given = list(_matching(identity, ask))
    limits = list(_matching([boundary], ask)) if boundary is not None else None
    shared = [
        statement
        for statement in (_matching([resource], ask) if resource is not None else ())
        if _is_principal(statement, principal)
    ]
    for kind, statements in (
        ("an identity-based policy", given),
        ("a permissions boundary", limits or []),
        ("a resource-based policy", shared),
    ):
        if denies := [statement for statement in statements if statement["Effect"] == "Deny"]:
            return Decision(False, f"with an explicit deny in {kind}", tuple(denies))
    if not given and not shared:
        return Decision(False, f"because no identity-based policy allows the {ask.action} action")
    if limits is not None and not limits:
        return Decision(False, f"because no permissions boundary allows the {ask.action} action")
    return Decision(True, statements=(*given, *shared))


def access_denied(who: str, ask: Ask, why: str) -> str:
    """AWS's own sentence (troubleshoot_access-denied.html)."""
    return f"User: {who} is not authorized to perform: {ask.action} on resource: {ask.resource} {why}"


def _matching(policies: Sequence[Policy], ask: Ask) -> Iterator[Policy]:
    """The statements that are about the request and whose conditions hold."""
    for policy in policies:
        variables = (
            policy.get("Version") == "2012-10-17"
        )  # reference_policies_variables.html: only from this version on
        statements = policy["Statement"]
        for statement in [statements] if isinstance(statements, Mapping) else statements:
            if (
                _about_action(statement, ask)
                and _about_resource(statement, ask, variables)
                and _holds(statement.get("Condition") or {}, ask, variables)
            ):
                yield statement


def _about_action(statement: Policy, ask: Ask) -> bool:
    """Names of services and actions are not case-sensitive (reference_policies_elements_action.html)."""

    def listed(patterns: Values) -> bool:
        return any(_like(pattern.lower(), ask.action.lower()) for pattern in _list(patterns))

    if "NotAction" in statement:
        return not listed(statement["NotAction"])
    return listed(statement["Action"])


def _about_resource(statement: Policy, ask: Ask, variables: bool) -> bool:
    """In a resource's own policy of some services there is no element Resource: it is about that resource. A variable
    without a value matches nothing (reference_policies_variables.html)."""

    def listed(patterns: Values) -> bool:
        return any(_like(pattern, ask.resource, ask if variables else None) for pattern in _list(patterns))

    if "NotResource" in statement:
        return not listed(statement["NotResource"])
    return listed(statement.get("Resource", "*"))


def _is_principal(statement: Policy, principal: str | None) -> bool:
    """Whom a statement of a resource's policy is for (reference_policies_elements_principal.html). An account
    stands for everybody in it whose own policies also allow the request, so it counts as nobody here."""
    named = statement.get("Principal")
    if named is None:
        raise NotImplementedError(f"a resource's policy without Principal: {statement}")
    if named == "*":
        return True
    return any(entry == "*" or entry == principal for entries in named.values() for entry in _list(entries))


def _holds(condition: Mapping[str, Mapping[str, Values]], ask: Ask, variables: bool) -> bool:
    """All operators and all keys have to hold; of a key's values one (reference_policies_condition-logic-multiple-
    context-keys-or-values.html)."""
    return all(
        _holds_for(operator, ask.value(key), _list(values), ask if variables else None)
        for operator, keys in condition.items()
        for key, values in keys.items()
    )


def _holds_for(operator: str, seen: Sequence[str] | None, wanted: Sequence[str], ask: Ask | None) -> bool:
    """Operators: reference_policies_elements_condition_operators.html. Without the key in the request, one that asks
    for likeness does not hold, one that negates it does, and each holds with `IfExists`."""
    if operator == "Null":
        return (seen is None) == (wanted[0].lower() == "true")
    name = operator.removesuffix("IfExists")
    if name not in _OPERATORS:
        raise NotImplementedError(f"the condition operator {operator}")
    compare, negated = _OPERATORS[name]
    if seen is None:
        return negated or operator.endswith("IfExists")
    if len(seen) != 1:
        raise NotImplementedError(f"{operator} over the several values {seen}: it takes ForAllValues or ForAnyValue")
    return any(compare(value, seen[0], ask) for value in wanted) is not negated


def _equals(wanted: str, seen: str, ask: Ask | None) -> bool:
    pattern = _pattern(wanted, ask, wild=False)
    return pattern is not None and re.fullmatch(pattern, seen, re.DOTALL) is not None


def _like(wanted: str, seen: str, ask: Ask | None = None) -> bool:
    pattern = _pattern(wanted, ask)
    return pattern is not None and re.fullmatch(pattern, seen, re.DOTALL) is not None


def _arn(wanted: str, seen: str, ask: Ask | None) -> bool:
    """`ArnEquals` and `ArnLike` are the same; each of the six parts is compared on its own."""
    ours, theirs = wanted.split(":", 5), seen.split(":", 5)
    return len(ours) == len(theirs) == 6 and all(_like(*pair, ask) for pair in zip(ours, theirs, strict=True))


def _bool(wanted: str, seen: str, ask: Ask | None) -> bool:
    return wanted.lower() == seen.lower()


_OPERATORS: Mapping[str, tuple[Callable[[str, str, Ask | None], bool], bool]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
    "Bool": (_bool, False),
}


def _pattern(text: str, ask: Ask | None, *, wild: bool = True) -> str | None:
    """The text as a regular expression: `*` and `?` stand for anything, `${key}` for the request's value, literally,
    and `${*}`, `${?}`, `${$}` for these signs. None where a variable has no value. Without `ask` there are none."""

    def plain(piece: str) -> str:
        escaped = re.escape(piece)
        return escaped.replace(r"\*", ".*").replace(r"\?", ".") if wild else escaped

    if ask is None:
        return plain(text)
    pieces = _VARIABLE.split(text)
    for place in range(1, len(pieces), 2):
        name, _, default = (part.strip() for part in pieces[place].partition(","))
        value = (name,) if name in ("*", "?", "$") else ask.value(name)
        if value is None and default:
            value = (default.strip("'"),)
        if value is None or len(value) != 1:
            return None
        pieces[place] = re.escape(value[0])
    return "".join(piece if place % 2 else plain(piece) for place, piece in enumerate(pieces))


def _list(values: Values) -> Sequence[str]:
    if isinstance(values, bool):
        return [str(values).lower()]
    return [values] if isinstance(values, str) else [str(value) for value in values]
