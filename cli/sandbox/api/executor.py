"""Executes GraphQL requests against the sandbox.

The scopes beside the resolvers are the ones that the fields' subjects suggest. Known are upload_submission for uploads
of submissions and models, download_submission for downloads, and read_submission_info for `latestSubmissions`.
Source: docs.numer.ai, numerapi 3.1.1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    parse,
    validate,
)
from graphql.validation import NoDeprecatedCustomRule, NoSchemaIntrospectionCustomRule

from ..compute import DATA_VERSIONS, DOCKER_IMAGES
from ..names import RULES, camel_case, in_camel_case, snake_case
from ..refusal import HttpRefusal, Refusal
from ..schema_changes import apply_change
from . import account, rounds, standings, webhooks
from . import files as stored
from .caller import Caller
from .views import View

_LOG = logging.getLogger(__name__)

Resolver = Callable[..., Any]
MOST_TOKENS = 5_000
"""Of a document. numerapi's longest has some 200, the introspection query 400."""
MOST_ROOT_FIELDS = 100
"""A limit of the sandbox's own: aliases would let one request do the work of thousands."""
PUBLIC = "public"
"""Needs no token; a resolver with scope None needs a valid one of any scope."""

QUERIES: dict[str, tuple[Resolver, str | None]] = {
    "account": (account.account, "read_user_info"),
    "apiTokenInfo": (account.api_token_info, None),
    "apiTokenScopes": (account.api_token_scopes, PUBLIC),
    "accountProfile": (account.account_profile, PUBLIC),
    "accountLeaderboard": (standings.account_leaderboard, PUBLIC),
    "v3UserProfile": (account.v3_user_profile, PUBLIC),
    "v2SignalsProfile": (account.v3_user_profile, PUBLIC),
    "model": (account.model, "read_user_info"),
    "modelNameAvailable": (account.model_name_available, PUBLIC),
    "tournaments": (rounds.tournaments, PUBLIC),
    "rounds": (rounds.rounds, PUBLIC),
    "roundDetails": (rounds.round_details, PUBLIC),
    "pipelineStatus": (rounds.pipeline_status, PUBLIC),
    "listDatasets": (stored.list_datasets, PUBLIC),
    "dataset": (stored.dataset, PUBLIC),
    "submissionUploadAuth": (stored.submission_upload_auth, "upload_submission"),
    "submissionUploadSignalsAuth": (stored.submission_upload_auth, "upload_submission"),
    "submissionDownloadAuth": (stored.submission_download_auth, "download_submission"),
    "submissions": (stored.submissions, "read_submission_info"),
    "submissionScores": (standings.submission_scores, PUBLIC),
    "v2RoundModelPerformances": (standings.v2_round_model_performances, PUBLIC),
    "pendingModelPayouts": (standings.pending_model_payouts, "read_user_info"),
    "v2Leaderboard": (standings.leaderboard(8, standings.classic_scores), PUBLIC),
    "signalsLeaderboard": (standings.leaderboard(11, standings.signals_scores), PUBLIC),
    "cryptosignalsLeaderboard": (standings.leaderboard(12, standings.crypto_scores), PUBLIC),
    "diagnosticsUploadAuth": (stored.diagnostics_upload_auth, "upload_submission"),
    "diagnostics": (stored.diagnostics, "read_submission_info"),
    "computePickles": (stored.compute_pickles, "read_submission_info"),
    "computePickleUploadAuth": (stored.compute_pickle_upload_auth, "upload_submission"),
    "triggerLogs": (stored.trigger_logs, "read_submission_info"),
    "diagnosticsTriggerLogs": (stored.diagnostics_trigger_logs, "read_submission_info"),
    "computePickleDataVersions": (lambda _, **__: DATA_VERSIONS, None),
    "computePickleDockerImages": (lambda _, **__: DOCKER_IMAGES, None),
}
MUTATIONS: dict[str, tuple[Resolver, str | None]] = {
    "addModel": (account.add_model, "write_user_info"),
    "setSubmissionWebhook": (webhooks.set_submission_webhook, "upload_submission"),
    "triggerModelWebhook": (webhooks.trigger_model_webhook, "upload_submission"),
    "createSubmission": (stored.create_submission, "upload_submission"),
    "createSignalsSubmission": (stored.create_submission, "upload_submission"),
    "createDiagnostics": (stored.create_diagnostics, "upload_submission"),
    "createComputePickleUpload": (stored.create_compute_pickle_upload, "upload_submission"),
    "assignPickleToModel": (stored.assign_pickle_to_model, "upload_submission"),
    "triggerComputePickleUpload": (stored.trigger_compute_pickle_upload, "upload_submission"),
    "setUserBio": (account.set_user_bio, "write_user_info"),
    "setUserLink": (account.set_user_link, "write_user_info"),
}
UNAVAILABLE = {
    "emailPreferences",
    "tournamentOverview",
    "v2TournamentOverview",
    "signalsLeaderboardOverview",
    "cryptosignalsLeaderboardOverview",
    "userScores",
    "stakeTransactions",
    "computePickleDownloadAuth",
    "renameModel",
    "archiveModel",
    "unarchiveModel",
    "deleteDiagnostics",
    "updatePickleLabel",
    "setComputeWeekdayEnabled",
    "updateEmailPreferences",
}
"""Root fields that neither numerapi nor this project asks for."""
MODEL_FIELDS: dict[str, tuple[Resolver, str]] = {
    "submissions": (account.model_submissions, "read_submission_info"),
    "latestSubmission": (account.model_latest_submission, "read_submission_info"),
    "latestSubmissions": (account.model_latest_submissions, "read_submission_info"),
}
MONEY = {
    "v2ChangeStake",
    "releaseStake",
    "v3StakeAuth",
    "v3StakeConfig",
    "v3StakeRound",
    "v3StakeClaim",
    "walletTxns",
    "createWithdrawal",
}
NO_MONEY = "The sandbox has no stakes and no wallet: {} is refused."


@cache
def schema(changes: tuple[str, ...] = ()) -> GraphQLSchema:
    """The schema with a resolver for each root field, changed as ordered.

    `UsageError` for a change that is none or names a field that is not there.
    """
    text = files(__package__).joinpath("../schema.graphql").read_text(encoding="utf-8")
    built = build_schema(text)
    _attach(built.query_type, QUERIES)
    _attach(built.mutation_type, MUTATIONS)
    model = cast(GraphQLObjectType, built.get_type("Model"))
    for name, (resolver, scope) in MODEL_FIELDS.items():
        model.fields[name].resolve = _called(resolver, scope)
    _serialise(built, "Time", _time)
    _serialise(built, "Date", str)
    _serialise(built, "Nmr", str)
    _serialise(built, "Usd", str)
    for change in changes:
        apply_change(built, change)
    return built


def deprecated_fields(document: DocumentNode | None) -> tuple[str, ...]:
    """The deprecated fields that a request asks for, as `V2Submission.status`; ordered changes do not count."""
    if document is None:
        return ()
    problems = validate(schema(), in_camel_case(document), [NoDeprecatedCustomRule])
    words = (problem.message.partition(" is deprecated")[0].removeprefix("The field ") for problem in problems)
    return tuple(dict.fromkeys(words))


def operation_label(document: DocumentNode | None) -> str | None:
    """The root fields that a request asks for, for logs: `createSubmission`, `account+rounds`."""
    if document is None:
        return None
    return "+".join(camel_case(field.name.value) for field in _root_fields(document)) or None


def parsed(body: object) -> DocumentNode | None:
    """The document of a request's JSON body; None when it holds none that can be parsed."""
    query = body.get("query") if isinstance(body, Mapping) else None
    try:
        return _document(query) if isinstance(query, str) else None
    except GraphQLError:
        return None


@lru_cache(maxsize=64)
def _document(query: str) -> DocumentNode:
    """The document; `GraphQLError` for one that cannot be parsed, `HttpRefusal` 400 for one that is too large."""
    document = parse(query, max_tokens=MOST_TOKENS)
    if len(_root_fields(document)) > MOST_ROOT_FIELDS:
        raise HttpRefusal(400, f"the query asks for more than {MOST_ROOT_FIELDS} root fields")
    return document


def execute(caller: Caller, body: object) -> dict[str, Any]:
    """The answer to a GraphQL request: `data`, `errors` or both. Raises `HttpRefusal` (429, 400) only."""
    if not isinstance(body, Mapping) or not isinstance(body.get("query"), str):
        raise HttpRefusal(400, "No query document supplied")
    variables = body.get("variables") or {}
    if not isinstance(variables, Mapping):
        raise HttpRefusal(400, "variables must be an object")
    try:
        document = _document(body["query"])
    except GraphQLError as error:
        return {"errors": [error.formatted]}
    money = _money(document)
    if money is not None:
        return {"data": None, "errors": [{"message": NO_MONEY.format(money), "locations": [], "path": [money]}]}
    settings = caller.sandbox.settings
    document = in_camel_case(document)
    problems = _problems(body["query"], settings.schema_changes, settings.introspection)
    if problems:
        return {"errors": [problem.formatted for problem in problems]}
    for field in _root_fields(document):
        caller.sandbox.rate_limits.spend(caller.address, field.name.value)
    operation = body.get("operationName")
    result = execute_sync(
        schema(settings.schema_changes),
        document,
        context_value=caller,
        variable_values=dict(variables),
        operation_name=operation if isinstance(operation, str) else None,
    )
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [_told(error) for error in result.errors]
    return answer


@lru_cache(maxsize=64)
def _problems(query: str, changes: tuple[str, ...], introspection: bool) -> list[GraphQLError]:
    """Why a query does not fit the schema. Kept: clients ask the same few queries over and over."""
    rules = RULES if introspection else [*RULES, NoSchemaIntrospectionCustomRule]
    return validate(schema(changes), in_camel_case(_document(query)), rules)


def _told(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    if isinstance(cause, HttpRefusal):
        raise cause
    if cause is not None and not isinstance(cause, (Refusal, GraphQLError)):
        _LOG.error("resolving %s failed", error.path, exc_info=cause)
    return dict(error.formatted)


def _attach(kind: GraphQLObjectType | None, resolvers: Mapping[str, tuple[Resolver, str | None]]) -> None:
    if kind is None or set(resolvers) != set(kind.fields) - UNAVAILABLE:
        raise TypeError("the schema and the resolvers do not name the same fields")
    for name, field in kind.fields.items():
        resolver, scope = resolvers.get(name, (_unavailable(name), PUBLIC))
        field.resolve = _called(resolver, scope)


def _unavailable(name: str) -> Resolver:
    def refuse(*_: Any, **__: Any) -> None:
        raise Refusal(f"{name} is not available in the sandbox")

    return refuse


def _called(resolver: Resolver, scope: str | None) -> Resolver:
    """The resolver as GraphQL calls it: for whoever may ask, with its arguments in snake_case; below a root field it
    also gets the view it belongs to."""

    def resolve(view: View | None, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        caller: Caller = info.context
        if scope != PUBLIC:
            caller.require(scope)
        subject = () if view is None else (view,)
        return resolver(caller, *subject, **{snake_case(name): value for name, value in arguments.items()})

    return resolve


def _serialise(built: GraphQLSchema, name: str, function: Callable[[Any], str]) -> None:
    kind = cast(GraphQLScalarType, built.get_type(name))
    # graphql-core 3.2 reads the first name, 3.3 the second.
    for attribute in ("serialize", "coerce_output_value"):
        setattr(kind, attribute, function)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else str(value)


def _root_fields(document: DocumentNode) -> list[FieldNode]:
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return [field for node in operations for field in node.selection_set.selections if isinstance(field, FieldNode)]


def _money(document: DocumentNode) -> str | None:
    """The first field of a document that concerns stakes or a wallet."""
    for field in _root_fields(document):
        inner = field.selection_set.selections if field.selection_set else ()
        for each in (field, *(node for node in inner if isinstance(node, FieldNode))):
            if camel_case(each.name.value) in MONEY:
                return camel_case(each.name.value)
    return None
