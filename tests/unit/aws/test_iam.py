"""The evaluator of IAM's policies, held to AWS's documentation of the evaluation logic."""

from __future__ import annotations

from typing import Any

import pytest

from tests.aws.iam import Ask, access_denied, decide

ROLE = "arn:aws:iam::123456789012:role/numerai-run"
OBJECT = "arn:aws:s3:::models/numerai-alice/model.txt"


def policy(effect: str = "Allow", **changes: Any) -> dict[str, Any]:
    """A policy of one statement, about every action and resource where nothing else is said."""
    statement = {"Effect": effect, **changes}
    if "NotAction" not in statement:
        statement.setdefault("Action", "*")
    if "NotResource" not in statement:
        statement.setdefault("Resource", "*")
    return {"Version": "2012-10-17", "Statement": [statement]}


def allows(document: dict[str, Any], action: str = "s3:GetObject", resource: str = OBJECT, **context: Any) -> bool:
    named = {key.replace("__", ":", 1).replace("__", "/"): value for key, value in context.items()}
    return decide(Ask(action, resource, named), [document]).allowed


def test_without_a_statement_about_it_everything_is_denied() -> None:
    """reference_policies_evaluation-logic_policy-eval-denyallow.html: by default everything is denied."""
    said = decide(Ask("s3:GetObject", OBJECT), [policy(Action="s3:PutObject")])
    assert not said.allowed
    assert said.why == "because no identity-based policy allows the s3:GetObject action"


def test_an_explicit_deny_wins_over_every_allow() -> None:
    everything, ask = policy(), Ask("s3:GetObject", OBJECT)
    for said in (
        decide(ask, [everything, policy("Deny")]),
        decide(ask, [everything], policy("Deny", Action="s3:*")),
        decide(ask, [everything], None, policy("Deny", Principal="*"), ROLE),
    ):
        assert not said.allowed
        assert "explicit deny" in said.why


def test_a_permissions_boundary_has_to_allow_it_as_well() -> None:
    """access_policies_boundaries.html: the effective permissions are the intersection."""
    ask = Ask("s3:GetObject", OBJECT)
    assert decide(ask, [policy()], policy(Action="s3:Get*")).allowed
    said = decide(ask, [policy()], policy(Action="ec2:*"))
    assert (said.allowed, said.why) == (False, "because no permissions boundary allows the s3:GetObject action")
    assert not decide(ask, [], policy()).allowed


def test_the_resources_own_policy_suffices_for_whom_it_names() -> None:
    ask = Ask("sns:Publish", "arn:aws:sns:us-east-1:123456789012:topic")
    own = policy(Principal={"Service": ["cloudwatch.amazonaws.com"]}, Action="sns:Publish")
    assert decide(ask, [], None, own, "cloudwatch.amazonaws.com").allowed
    assert not decide(ask, [], None, own, "events.amazonaws.com").allowed
    assert decide(ask, [], None, policy(Principal="*"), None).allowed
    assert decide(ask, [], None, policy(Principal={"AWS": "*"}), None).allowed
    assert not decide(ask, [], None, policy(Principal={"AWS": "123456789012"}), ROLE).allowed
    with pytest.raises(NotImplementedError):
        decide(ask, [], None, policy(NotPrincipal="*"), None)


@pytest.mark.parametrize(
    ("pattern", "action", "same"),
    [
        ("s3:GetObject", "s3:GetObject", True),
        ("s3:getobject", "s3:GetObject", True),
        ("s3:Get*", "s3:GetObjectVersion", True),
        ("s3:*Object", "s3:GetObject", True),
        ("s3:Ge?Object", "s3:GetObject", True),
        ("s3:Get?", "s3:GetObject", False),
        ("*", "s3:GetObject", True),
        ("ec2:*", "s3:GetObject", False),
    ],
)
def test_actions_are_matched_with_wildcards_and_without_case(pattern: str, action: str, same: bool) -> None:
    assert allows(policy(Action=pattern), action) is same
    assert allows(policy(NotAction=[pattern]), action) is not same


@pytest.mark.parametrize(
    ("pattern", "same"),
    [
        ("arn:aws:s3:::models/*", True),
        ("arn:aws:s3:::models/numerai-?lice/*", True),
        ("arn:aws:s3:::models", False),
        ("arn:aws:s3:::Models/*", False),
        ("arn:aws:s3:::models/${aws:PrincipalTag/node}/*", True),
        ("arn:aws:s3:::models/${AWS:principaltag/node}/*", True),
        ("arn:aws:s3:::models/${aws:PrincipalTag/other}/*", False),
        ("arn:aws:s3:::models/${aws:PrincipalTag/other, 'numerai-alice'}/*", True),
        ("arn:aws:s3:::models/${*}/*", False),
    ],
)
def test_resources_are_matched_with_wildcards_and_variables(pattern: str, same: bool) -> None:
    tags = {"aws__PrincipalTag__node": "numerai-alice"}
    assert allows(policy(Resource=[pattern]), **tags) is same
    assert allows(policy(NotResource=[pattern]), **tags) is not same


def test_a_value_that_looks_like_a_wildcard_opens_nothing() -> None:
    limited = policy(Resource="arn:aws:s3:::models/${aws:PrincipalTag/node}/*")
    assert not allows(limited, aws__PrincipalTag__node="*")


def test_variables_are_text_in_policies_of_the_old_version() -> None:
    old = {**policy(Resource="arn:aws:s3:::models/${aws:PrincipalTag/node}/*"), "Version": "2008-10-17"}
    assert not allows(old, aws__PrincipalTag__node="numerai-alice")


CONDITIONS: list[tuple[str, Any, Any, bool]] = [
    # operator, the policy's value, the request's value (None: it has no such key), whether it holds
    ("StringEquals", "a", "a", True),
    ("StringEquals", "a", "A", False),
    ("StringEquals", "*", "a", False),
    ("StringEquals", ["a", "b"], "b", True),
    ("StringEquals", "a", None, False),
    ("StringEqualsIfExists", "a", None, True),
    ("StringEqualsIfExists", "a", "b", False),
    ("StringNotEquals", "a", "b", True),
    ("StringNotEquals", ["a", "b"], "b", False),
    ("StringNotEquals", "a", None, True),
    ("StringLike", "a*", "abc", True),
    ("StringLike", "a?", "abc", False),
    ("StringLikeIfExists", "a*", None, True),
    ("StringNotLike", "a*", "abc", False),
    ("Bool", "true", "true", True),
    ("Bool", "False", "false", True),
    ("Bool", "true", "false", False),
    ("Bool", "false", None, False),
    ("BoolIfExists", "false", None, True),
    ("Null", "true", None, True),
    ("Null", "true", "a", False),
    ("Null", "false", "a", True),
    ("ArnLike", "arn:aws:sns:*:123456789012:numerai-*", "arn:aws:sns:us-east-1:123456789012:numerai-failures", True),
    ("ArnLike", "arn:aws:sns:*", "arn:aws:sns:us-east-1:123456789012:numerai-failures", False),
    ("ArnEquals", "arn:aws:*:us-east-1:*:x", "arn:aws:sns:us-east-1:1:x", True),
    ("ArnLike", "arn:aws:sns:*:*:*", None, False),
    ("ArnLike", "arn:aws:s*:x:1:y", "arn:aws:sns:us:x:1:y", False),
    ("ArnNotLike", "arn:aws:sns:*:*:*", "arn:aws:sqs:us-east-1:1:x", True),
]


@pytest.mark.parametrize(("operator", "wanted", "seen", "holds"), CONDITIONS)
def test_conditions_hold_as_documented(operator: str, wanted: Any, seen: Any, holds: bool) -> None:
    context = {} if seen is None else {"key": seen}
    document = policy(Condition={operator: {"KEY": wanted}})
    assert decide(Ask("s3:GetObject", OBJECT, context), [document]).allowed is holds


def test_all_keys_and_operators_have_to_hold() -> None:
    both = policy(Condition={"StringEquals": {"a": "1", "b": "2"}, "Bool": {"c": "true"}})
    full = {"a": "1", "b": "2", "c": "true"}
    assert decide(Ask("x:Y", "*", full), [both]).allowed
    for missing in full:
        rest = {key: value for key, value in full.items() if key != missing}
        assert not decide(Ask("x:Y", "*", rest), [both]).allowed


@pytest.mark.parametrize("operator", ["DateLessThan", "ForAnyValue:StringEquals", "IpAddress", "stringequals"])
def test_an_operator_that_is_not_known_raises(operator: str) -> None:
    with pytest.raises(NotImplementedError, match=operator):
        allows(policy(Condition={operator: {"aws:x": "1"}}))


def test_the_refusal_is_worded_as_aws_words_it() -> None:
    """troubleshoot_access-denied.html"""
    ask = Ask("batch:SubmitJob", "arn:aws:batch:us-east-1:123456789012:job-queue/q")
    assert access_denied("arn:aws:iam::123456789012:user/ada", ask, decide(ask, []).why) == (
        "User: arn:aws:iam::123456789012:user/ada is not authorized to perform: batch:SubmitJob on resource: "
        "arn:aws:batch:us-east-1:123456789012:job-queue/q because no identity-based policy allows the batch:SubmitJob "
        "action"
    )
