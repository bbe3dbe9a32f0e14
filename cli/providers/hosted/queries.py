"""Every GraphQL document about model uploads. They ask for no field that Numerai's introspection calls deprecated."""

from __future__ import annotations

from collections.abc import Mapping

_TRIGGERS = "triggers { id type roundId insertedAt submissionId statuses { status description insertedAt } }"

IMAGES = "query { computePickleDockerImages { id name image tag default } }"
DATA_VERSIONS = "query { computePickleDataVersions { id name version default type } }"
UPLOAD_ADDRESS = "query($filename: String!) { computePickleUploadAuth(filename: $filename) { filename url } }"
CREATE = """mutation($filename: String!, $tournament: Int!, $dataVersionId: ID, $dockerImageId: ID) {
    createComputePickleUpload(filename: $filename, tournament: $tournament, dataVersionId: $dataVersionId,
        dockerImageId: $dockerImageId, source: "numerai-cli") { id } }"""
UPLOAD = f"query($id: ID) {{ computePickles(id: $id) {{ id validationStatus assignedModelSlots {_TRIGGERS} }} }}"
ASSIGNED = "query($modelId: ID) { model(modelId: $modelId) { computePickleUpload { id } } }"
ASSIGN = "mutation($modelId: String, $pickleId: ID) { assignPickleToModel(modelId: $modelId, pickleId: $pickleId) }"
START = """mutation($modelId: ID, $pickleId: ID) {
    triggerComputePickleUpload(modelId: $modelId, pickleId: $pickleId) { id } }"""
SUBMISSIONS = "query($modelId: ID) { submissions(modelId: $modelId) { id } }"
LOGS = "query($triggerId: ID!) { triggerLogs(triggerId: $triggerId) { timestamp message } }"
DATASET = "query($filename: String!, $tournament: Int) { dataset(filename: $filename, tournament: $tournament) }"

QUERIES: Mapping[str, str] = {
    name.lower(): text for name, text in list(globals().items()) if name.isupper() and not name.startswith("_")
}
"""The documents by name."""
