"""Every GraphQL document that this product sends to Numerai: the node runtime, the command line and the functions.

They ask for no field that Numerai's introspection calls deprecated: of a submission, status, errorInfo, submittedCount
and filteredCount are always null. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

_ROUND = "number openTime closeStakingTime closeTime dataDatestamp"
_SUBMIT = "$filename: String!, $tournament: Int!, $modelId: ID, $triggerId: ID, $dataDatestamp: Int"
_SUBMISSION = (
    "filename: $filename, tournament: $tournament, modelId: $modelId, triggerId: $triggerId,"
    ' source: "numerai-node", dataDatestamp: $dataDatestamp'
)
_UPLOAD = "$filename: String!, $tournament: Int!, $modelId: ID"
_UPLOADED = "filename: $filename, tournament: $tournament, modelId: $modelId"

ROUNDS = f"query($tournament: Int!, $limit: Int!) {{ rounds(tournament: $tournament, limit: $limit) {{ {_ROUND} }} }}"
ROUND = f"query($tournament: Int!, $number: Int!) {{ rounds(tournament: $tournament, number: $number) {{ {_ROUND} }} }}"
UPCOMING_ROUND = f"query($tournament: Int!) {{ rounds(tournament: $tournament, status: UPCOMING) {{ {_ROUND} }} }}"

TOKEN_INFO = "query { apiTokenInfo { accountUsername name scopes } }"  # noqa: S105  a question
MODELS = """query { account { models {
    id name tournament submissionWebhook computeEnabled computePickleUpload { id } } } }"""
MODEL = "query($modelId: ID) { model(modelId: $modelId) { name tournament } }"
ENTRIES = """query($modelId: ID) { model(modelId: $modelId) {
    latestSubmissions { id roundNumber status filename timestamp } } }"""
SUBMISSIONS = """query($modelId: ID) { submissions(modelId: $modelId) {
    id filename insertedAt triggerId round { number } } }"""

SET_WEBHOOK = """mutation($modelId: String, $newSubmissionWebhook: String) {
    setSubmissionWebhook(modelId: $modelId, newSubmissionWebhook: $newSubmissionWebhook) }"""
TRIGGER = "mutation($modelId: String!) { triggerModelWebhook(modelId: $modelId) }"

DATASETS = "query($tournament: Int) { listDatasets(tournament: $tournament) }"
DATASET = "query($filename: String!, $tournament: Int) { dataset(filename: $filename, tournament: $tournament) }"

UPLOAD_ADDRESS = f"query({_UPLOAD}) {{ submissionUploadAuth({_UPLOADED}) {{ filename url }} }}"
SIGNALS_UPLOAD_ADDRESS = f"query({_UPLOAD}) {{ submissionUploadSignalsAuth({_UPLOADED}) {{ filename url }} }}"
CREATE_SUBMISSION = f"mutation({_SUBMIT}) {{ createSubmission({_SUBMISSION}) {{ id }} }}"
CREATE_SIGNALS_SUBMISSION = f"mutation({_SUBMIT}) {{ createSignalsSubmission({_SUBMISSION}) {{ id }} }}"
SUBMISSION_URL = "query($id: ID!) { submissionDownloadAuth(id: $id) { url } }"

QUERIES: Mapping[str, str] = {
    name.lower(): text for name, text in list(globals().items()) if name.isupper() and not name.startswith("_")
}
"""The documents by name."""
