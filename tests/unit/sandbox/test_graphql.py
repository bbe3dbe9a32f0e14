"""The GraphQL side: names, variables, tokens, scopes, errors, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from graphql import parse, print_ast
from numerai_compute.errors import UsageError
from numerai_compute.sandbox.api.executor import (
    MUTATIONS,
    QUERIES,
    UNAVAILABLE,
    deprecated_fields,
    operation_label,
    schema,
)
from numerai_compute.sandbox.names import camel_case, in_camel_case
from numerai_compute.sandbox.rate_limits import DOCUMENTED, Limit, RateLimits
from numerai_compute.sandbox.refusal import HttpRefusal
from numerai_compute.sandbox.settings import ALL_SCOPES

from tests.fixtures.sandbox import ServedSandbox, fail_on_deprecated

Factory = Callable[..., ServedSandbox]


def ask(sandbox: ServedSandbox, query: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
    body = {"query": query, "variables": variables}
    answer: dict[str, Any] = requests.post(sandbox.url, json=body, headers=headers, timeout=10).json()
    return answer


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("submission_upload_auth", "submissionUploadAuth"),
        ("return_52_weeks", "return52Weeks"),
        ("v2_round_model_performances", "v2RoundModelPerformances"),
        ("modelId", "modelId"),
        ("__typename", "__typename"),
    ],
)
def test_camel_case(given: str, wanted: str) -> None:
    assert camel_case(given) == wanted


def test_fields_answer_under_the_name_asked_for() -> None:
    document = in_camel_case(parse("{api_token_info {public_id short: account_username name}}"))
    wanted = "{ api_token_info: apiTokenInfo { public_id: publicId short: accountUsername name } }"
    assert " ".join(print_ast(document).split()) == wanted


@pytest.mark.slow
def test_both_spellings_of_fields_and_arguments(sandbox: ServedSandbox) -> None:
    both = '{v3UserProfile(modelName: "alice") {id} v3_user_profile(model_name: "alice") {id user_name: username}}'
    found = ask(sandbox, both)["data"]
    assert found["v3UserProfile"]["id"] == found["v3_user_profile"]["id"] == sandbox.models["alice"]
    assert found["v3_user_profile"]["user_name"] == "alice"


@pytest.mark.parametrize("declared", ["ID", "ID!", "String", "String!"])
def test_an_id_may_be_declared_as_text_and_text_as_an_id(sandbox: ServedSandbox, declared: str) -> None:
    by_id = sandbox.graphql(f"query($m: {declared}) {{model(modelId: $m) {{name}}}}", m=sandbox.models["bob"])
    assert by_id == {"data": {"model": {"name": "bob"}}}
    by_text = sandbox.graphql(f"query($n: {declared}) {{v3UserProfile(modelName: $n) {{username}}}}", n="alice")
    assert by_text == {"data": {"v3UserProfile": {"username": "alice"}}}


def test_a_variable_of_another_type_is_refused(sandbox: ServedSandbox) -> None:
    answer = sandbox.graphql("query($m: Int) {model(modelId: $m) {name}}", m=1)
    assert "used in position expecting 'ID'" in answer["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{nothing}", "Cannot query field 'nothing'"),
        ("{rounds(", "Syntax Error"),
        ("{roundDetails(roundNumber: 9, tournament: 8) {status}}", "Round not found"),
        ('{v3UserProfile(modelName: "nobody") {id}}', "Model not found"),
        ('{accountProfile(username: "nobody") {id}}', "User not found"),
        ('{pipelineStatus(date: "yesterday") {isScoringDay}}', "is not a date"),
        ("{v2ChangeStake {status}}", "v2ChangeStake is refused"),
        ("{account {wallet_txns {amount}}}", "walletTxns is refused"),
    ],
)
def test_errors_come_with_http_200_and_a_message(sandbox: ServedSandbox, query: str, message: str) -> None:
    answer = sandbox.graphql(query)
    assert message in answer["errors"][0]["message"]


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"query": 1}', '{"query": "{tournaments {id}}", "variables": []}x'])
def test_a_body_without_a_query_is_a_bad_request(sandbox: ServedSandbox, body: str) -> None:
    answer = requests.post(sandbox.url, data=body, timeout=10)
    assert answer.status_code == 400
    assert "detail" in answer.json()["errors"]


def test_other_paths_and_methods(sandbox: ServedSandbox) -> None:
    assert requests.get(sandbox.url, timeout=10).status_code == 405
    assert requests.post(f"{sandbox.url}/graphql", json={}, timeout=10).status_code == 404


class TestToken:
    def test_both_ways_of_giving_it(self, sandbox: ServedSandbox) -> None:
        token = {"Authorization": f"Token {sandbox.public_id}${sandbox.secret_key}"}
        pair = {"x-public-id": sandbox.public_id, "x-secret-key": sandbox.secret_key}
        for headers in (token, pair):
            assert ask(sandbox, "{apiTokenInfo {publicId}}", headers)["data"]["apiTokenInfo"]["publicId"]

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Token a$b"}, {"Authorization": "Bearer x"}])
    def test_a_wrong_or_missing_one_is_refused(self, sandbox: ServedSandbox, headers: dict[str, str]) -> None:
        answer = ask(sandbox, "{account {username}}", headers)
        assert answer["data"] == {"account": None}
        assert answer["errors"][0]["message"] == "Your session is invalid or has expired."
        assert answer["errors"][0]["path"] == ["account"]

    def test_every_scope_is_enforced(self, sandbox_factory: Factory) -> None:
        weak = sandbox_factory(scopes=("read_submission_info",))
        model = weak.models["alice"]
        for query, scope in (
            ("{account {username}}", "read_user_info"),
            ('{submissionUploadAuth(filename: "a.csv", tournament: 8, modelId: "%s") {url}}', "upload_submission"),
            ('{submissionDownloadAuth(id: "x") {url}}', "download_submission"),
            ('mutation {setUserBio(modelId: "%s", value: "x")}', "write_user_info"),
            ('mutation {setSubmissionWebhook(modelId: "%s")}', "upload_submission"),
        ):
            asked = query.replace("%s", model)
            assert weak.graphql(asked)["errors"][0]["message"] == f"Your API token lacks the scope {scope}."
        assert weak.graphql("{submissions {id}}") == {"data": {"submissions": []}}
        assert weak.graphql("{apiTokenInfo {scopes}}")["data"]["apiTokenInfo"]["scopes"] == ["read_submission_info"]

    def test_a_model_shows_submissions_only_with_the_scope(self, sandbox_factory: Factory) -> None:
        weak = sandbox_factory(scopes=("read_user_info",))
        answer = weak.graphql("{account {models {name submissions {id}}}}")
        assert answer["data"]["account"]["models"][0] == {"name": "alice", "submissions": None}
        assert "read_submission_info" in answer["errors"][0]["message"]

    def test_fixed_by_the_environment(self, sandbox_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NUMERAI_SANDBOX_PUBLIC_ID", "FIXED")
        monkeypatch.setenv("NUMERAI_SANDBOX_SECRET_KEY", "ALSO-FIXED")
        found = sandbox_factory()
        assert (found.public_id, found.secret_key) == ("FIXED", "ALSO-FIXED")

    def test_random_otherwise(self, sandbox_factory: Factory) -> None:
        assert sandbox_factory().secret_key != sandbox_factory().secret_key


class TestRateLimit:
    def test_the_webhook_mutations_are_limited(self, sandbox_factory: Factory) -> None:
        limited = sandbox_factory(rate_limit=2)
        query = f'mutation {{setSubmissionWebhook(modelId: "{limited.models["alice"]}")}}'
        headers = {"x-public-id": limited.public_id, "x-secret-key": limited.secret_key}
        codes = [
            requests.post(limited.url, json={"query": query}, headers=headers, timeout=10).status_code for _ in range(3)
        ]
        assert codes == [200, 200, 429]
        assert limited.graphql("{tournaments {name}}")["data"]["tournaments"], "everything else goes on"

    def test_it_forgets_after_a_minute(self) -> None:
        now = [0.0]
        limit = RateLimits({"x": Limit(1)}, lambda: now[0])
        limit.spend("a", "y")
        limit.spend("a", "y")
        limit.spend("a", "x")
        limit.spend("b", "x")
        with pytest.raises(HttpRefusal) as refused:
            limit.spend("a", "x")
        assert refused.value.status == 429
        now[0] = 60.0
        limit.spend("a", "x")

    @pytest.mark.slow
    def test_the_documented_ones_hold_when_they_are_switched_on(self, sandbox_factory: Factory) -> None:
        limited = sandbox_factory(documented_rate_limits=True)
        for served, last in ((limited, 429), (sandbox_factory(), 200)):
            codes = [
                requests.post(served.url, json={"query": "{list_datasets(tournament: 12)}"}, timeout=10).status_code
                for _ in range(11)
            ]
            assert codes == [200] * 10 + [last]

    def test_every_documented_operation_is_in_the_schema(self) -> None:
        assert set(DOCUMENTED) <= set(QUERIES) | set(MUTATIONS) | UNAVAILABLE


class TestDeprecation:
    def test_deprecated_fields_are_named(self) -> None:
        asked = "{submissions {id status error_info}} mutation {setComputeWeekdayEnabled}"
        assert deprecated_fields(parse(asked)) == (
            "V2Submission.status",
            "V2Submission.errorInfo",
            "RootMutationType.setComputeWeekdayEnabled",
        )
        assert deprecated_fields(parse("{rounds {number closeStakingTime}}")) == ()
        assert deprecated_fields(None) == ()

    def test_a_client_of_ours_that_asks_for_one_is_found_out(self, sandbox: ServedSandbox) -> None:
        query = "{account {models {latestSubmission {id}}}}"
        ask(sandbox, query)
        fail_on_deprecated(sandbox.state()["requests"])
        ask(sandbox, query, {"User-Agent": "numerai-node/1.0 (x)"})
        request = sandbox.state()["requests"][-1]
        assert (request["client"], request["deprecated"]) == ("numerai-node/1.0", ["Model.latestSubmission"])
        with pytest.raises(AssertionError, match="latestSubmission"):
            fail_on_deprecated(sandbox.state()["requests"])
        sandbox.running.sandbox.requests.remove(request["id"])


class TestChangedApi:
    """What `numerai doctor --api` must find out."""

    FIELDS = '{__type(name: "Round") {fields {name isDeprecated}}}'

    @pytest.mark.slow
    def test_a_field_removed(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(schema_changes=("remove Round.closeStakingTime",))
        message = found.graphql("{rounds {closeStakingTime}}")["errors"][0]["message"]
        assert message.startswith("Cannot query field 'closeStakingTime' on type 'Round'")
        shown = found.graphql(self.FIELDS)["data"]["__type"]["fields"]
        assert "closeStakingTime" not in [field["name"] for field in shown]

    @pytest.mark.slow
    def test_a_field_deprecated(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(schema_changes=("deprecate Round.number",))
        assert found.graphql("{rounds(tournament: 8) {number}}")["data"]["rounds"] == [{"number": 1000}]
        assert "number" not in [field["name"] for field in found.graphql(self.FIELDS)["data"]["__type"]["fields"]]
        every = self.FIELDS.replace("fields", "fields(includeDeprecated: true)")
        shown = found.graphql(every)["data"]["__type"]["fields"]
        assert {field["name"]: field["isDeprecated"] for field in shown}["number"] is True
        assert {field["name"]: field["isDeprecated"] for field in shown}["openTime"] is False

    def test_fields_renamed(self, sandbox_factory: Factory) -> None:
        changes = ("rename Round.openTime opensAt", "rename RootQueryType.rounds allRounds")
        found = sandbox_factory(schema_changes=changes)
        assert found.graphql("{allRounds(tournament: 8) {opensAt}}")["data"]["allRounds"][0]["opensAt"]
        assert "Cannot query field" in found.graphql("{rounds {number}}")["errors"][0]["message"]

    @pytest.mark.parametrize(
        "change", ["", "remove", "remove Round.nothing", "paint Round.number", "rename Round.number"]
    )
    def test_changes_that_are_none(self, sandbox_factory: Factory, change: str) -> None:
        with pytest.raises(UsageError):
            sandbox_factory(schema_changes=(change,))

    def test_without_introspection(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(introspection=False)
        assert "introspection has been disabled" in found.graphql(self.FIELDS)["errors"][0]["message"]
        assert found.graphql("{rounds(tournament: 8) {number __typename}}")["data"]["rounds"]


class TestModels:
    def test_a_new_slot(self, sandbox: ServedSandbox) -> None:
        made = sandbox.graphql('mutation {addModel(name: "dora", tournament: 8) {id name tournament}}')
        assert made["data"]["addModel"]["name"] == "dora"
        again = sandbox.graphql('mutation {addModel(name: "dora", tournament: 8) {id}}')
        assert again["errors"][0]["message"] == "Name has already been taken"
        for name, tournament in (("no spaces", 8), ("erik", 9)):
            refused = sandbox.graphql(f'mutation {{addModel(name: "{name}", tournament: {tournament}) {{id}}}}')
            assert refused["data"] == {"addModel": None}

    def test_ids_follow_from_names(self, sandbox_factory: Factory) -> None:
        assert sandbox_factory().models == sandbox_factory().models

    def test_without_an_id_the_only_one_is_meant(self, sandbox: ServedSandbox) -> None:
        query = '{submissionUploadAuth(filename: "a.csv", tournament: 8) {filename}}'
        assert sandbox.graphql(query)["data"]["submissionUploadAuth"]["filename"].startswith("a-")
        assert "several models" in sandbox.graphql("{model {name}}")["errors"][0]["message"]
        sandbox.graphql('mutation {addModel(name: "dora", tournament: 8) {id}}')
        assert "several models" in sandbox.graphql(query)["errors"][0]["message"]

    def test_profile_details(self, sandbox: ServedSandbox) -> None:
        query = '{v3UserProfile(modelName: "alice") {latestReps {corr} latestRanks {corr mmc} latestReturns {oneDay}}}'
        assert sandbox.graphql(query)["data"]["v3UserProfile"]["latestReps"] == {"corr": None}

    def test_latest_submissions(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(history=2)
        query = "query($m: ID) {model(modelId: $m) {latestSubmissions(latestNRounds: 2) {roundNumber roundOpen} "
        query += "latestSubmission {status} submissions {round {number}}}}"
        model = found.graphql(query, m=found.models["alice"])["data"]["model"]
        assert [each["roundNumber"] for each in model["latestSubmissions"]] == [1002, 1001]
        assert model["latestSubmission"] == [{"status": None}]
        assert [each["round"]["number"] for each in model["submissions"]] == [1001, 1000]


def test_every_root_field_has_a_resolver() -> None:
    built = schema()
    assert built.query_type is not None
    assert built.mutation_type is not None
    assert set(QUERIES) & UNAVAILABLE == set(MUTATIONS) & UNAVAILABLE == set()
    assert set(built.query_type.fields) | set(built.mutation_type.fields) == {*QUERIES, *MUTATIONS, *UNAVAILABLE}


def test_what_nobody_asks_for_is_not_available(sandbox: ServedSandbox) -> None:
    answer = sandbox.graphql("{stakeTransactions {amount}}")
    assert answer["errors"][0]["message"] == "stakeTransactions is not available in the sandbox"


def test_scopes_and_names(sandbox: ServedSandbox) -> None:
    query = '{apiTokenScopes {name} modelNameAvailable(name: "alice", tournament: 8)}'
    answer = sandbox.graphql(query)["data"]
    assert [scope["name"] for scope in answer["apiTokenScopes"]] == list(ALL_SCOPES)
    assert answer["modelNameAvailable"] is False


def test_operation_label() -> None:
    assert operation_label(parse("{rounds {id} account {id}}")) == "rounds+account"
    assert operation_label(parse("mutation {create_submission {id}}")) == "createSubmission"
    assert operation_label(None) is None


@pytest.mark.slow
def test_an_unforeseen_failure_is_an_error_of_its_field(
    sandbox: ServedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tournament: int | None) -> list[str]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(sandbox.running.sandbox.catalog, "names", fail)
    answer = sandbox.graphql("{listDatasets}")
    assert answer["data"] == {"listDatasets": None}
    assert answer["errors"][0]["path"] == ["listDatasets"]


def test_a_failure_outside_graphql_is_a_500(sandbox: ServedSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.running.sandbox.clock, "freeze", lambda: 1 / 0)
    answer = requests.post(f"{sandbox.url}/sandbox/clock", json={"freeze": True}, timeout=10)
    assert answer.status_code == 500
    assert "error" in answer.json()
