"""In-memory implementations of the ports, for tests of what stands above them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from numerai_compute.errors import ApiError, NumeraiError, ProviderError
from numerai_compute.models import (
    Check,
    DataFile,
    DataListing,
    DataVersions,
    Deployment,
    Keys,
    LogLine,
    Model,
    Node,
    Notice,
    Round,
    Run,
    RunState,
    Submission,
    SubmissionEntry,
    TokenInfo,
    WebhookCall,
)
from numerai_compute.ports import Report, Silence, Watch

NOW = datetime(2026, 1, 6, 12, 0, tzinfo=timezone.utc)
SCOPES = ("upload_submission", "read_submission_info", "read_user_info", "write_user_info")


def round_of(number: int, opens: datetime, tournament: int = 8) -> Round:
    """A round of a weekday: an hour until the deadline, a day until the next opening."""
    return Round(number, tournament, opens, opens + timedelta(hours=1), opens + timedelta(days=1))


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, start: datetime = NOW):
        self.start, self.elapsed = start, 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds


class FakeApi:
    """A Numerai account with models; `fail` holds an error to raise at the next call of a method."""

    def __init__(self, models: Iterable[Model] = (), url: str = "http://127.0.0.1:9"):
        self.url = url
        self.account = TokenInfo("tester", "key", SCOPES)
        self.by_id = {model.id: model for model in models}
        self.round: Round | None = round_of(100, NOW)
        self.held: list[Submission] = []
        self.entries_by: dict[str, list[SubmissionEntry]] = {}
        self.held_by: dict[str, list[Submission]] = {}
        self.past: list[Round] = []
        self.upcoming: Round | None = None
        self.data = DataVersions(("v5.2", "v5.3"), "v5.3")
        self.fail: dict[str, Exception] = {}
        self.clock: FakeClock = FakeClock()
        self.on_trigger: Callable[[Model, str], object] = lambda model, trigger_id: None
        self.calls: list[tuple[str, object]] = []

    def _called(self, name: str, detail: object = None) -> None:
        self.calls.append((name, detail))
        if name in self.fail:
            raise self.fail[name]

    def token_info(self) -> TokenInfo:
        self._called("token_info")
        return self.account

    def models(self) -> list[Model]:
        self._called("models")
        return list(self.by_id.values())

    def set_webhook(self, model_id: str, url: str | None) -> None:
        self._called("set_webhook", (model_id, url))
        self.by_id[model_id] = replace(self.by_id[model_id], webhook=url)

    def trigger(self, model_id: str) -> str:
        self._called("trigger", model_id)
        trigger_id = f"trigger-{len(self.calls)}"
        self.on_trigger(self.by_id[model_id], trigger_id)
        return trigger_id

    def data_versions(self, tournament: int) -> DataVersions:
        self._called("data_versions", tournament)
        return self.data

    def current_round(self, tournament: int) -> Round | None:
        self._called("current_round", tournament)
        return self.round

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        self._called("rounds", tournament)
        found = [*([self.round] if self.round else []), *self.past]
        fitting = [each for each in found if each.tournament == tournament and each.open_time <= self.clock.now()]
        return sorted(fitting, key=lambda each: each.number, reverse=True)[:limit]

    def upcoming_round(self, tournament: int) -> Round | None:
        self._called("upcoming_round", tournament)
        return self.upcoming

    def submissions(self, model_id: str) -> list[Submission]:
        self._called("submissions", model_id)
        return list(self.held_by.get(model_id, self.held))

    def entries(self, model_id: str) -> list[SubmissionEntry]:
        self._called("entries", model_id)
        return sorted(self.entries_by.get(model_id, ()), key=lambda entry: entry.round_number, reverse=True)

    def server_time(self) -> datetime:
        self._called("server_time")
        return self.clock.now()

    def heard_time(self) -> datetime | None:
        return self.clock.now() if self.calls else None


class FakeProvider:
    """A provider whose runs end as `ending` says, at once."""

    name = "local"
    timed_here = True

    def __init__(self, reachable: bool = True):
        self.reachable = reachable
        self.no_capabilities: str | None = None
        self.base = "http://127.0.0.1:5"
        self.silent: Silence | None = None
        self.differing: list[str] = []
        self.restarts = 0
        self.configured: dict[str, Node] = {}
        self.deployments: dict[str, Deployment] = {}
        self.all_runs: list[Run] = []
        self.printed: list[str] = []
        self.ending: dict[str, object] = {"state": RunState.SUCCEEDED, "exit_code": 0}
        self.starts = True
        self.calls: list[WebhookCall] = []
        self.found: list[Check] = []
        self.fail: dict[str, NumeraiError] = {}
        self.awake = False
        self.hash = "h1"
        self.clock: FakeClock = FakeClock()

    def configure(self, node: Node, report: Report) -> Node:
        if "configure" in self.fail:
            raise self.fail["configure"]
        done = replace(node, webhook_url=node.webhook_url or f"{self.base}/{node.name}/token-of-{node.name}")
        self.configured[node.name] = done
        return done

    def webhook_url(self, node_name: str) -> str | None:
        configured = self.configured.get(node_name)
        if configured is None or configured.webhook_url is None:
            return None
        return self.base + configured.webhook_url.removeprefix("http://127.0.0.1:5")

    def differences(self) -> list[str]:
        return self.differing

    def silence(self) -> Silence | None:
        return self.silent

    def restart(self, report: Report) -> None:
        self.restarts += 1
        self.silent = None

    def run_without_submitting(self, node: Node) -> Run:
        return self.trigger(node, f"no-submit-{len(self.all_runs)}")

    def reachable_by(self, api_url: str) -> bool:
        return self.reachable

    def deploy(self, node: Node, *, force: bool, report: Report) -> Deployment:
        if "deploy" in self.fail:
            raise self.fail["deploy"]
        current = self.deployments.get(node.name)
        if current and current.source_hash == self.hash and not force:
            return replace(current, changed=False)
        self.deployments[node.name] = Deployment(node.name, f"image:{self.hash}", self.hash, NOW)
        return self.deployments[node.name]

    def deployment(self, node_name: str) -> Deployment | None:
        return self.deployments.get(node_name)

    def source_hash(self, node: Node) -> str:
        return self.hash

    def wake(self, report: Report) -> None:
        if "wake" in self.fail:
            raise self.fail["wake"]
        self.awake = True

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        if "trigger" in self.fail:
            raise self.fail["trigger"]
        for known in self.all_runs:
            if trigger_id is not None and (known.node, known.trigger_id) == (node.name, trigger_id):
                return known
        run = Run(f"run-{len(self.all_runs) + 1}", node.name, RunState.QUEUED, self.clock.now(), trigger_id)
        self.all_runs.insert(0, run)
        return run

    def run(self, run_id: str) -> Run:
        for index, run in enumerate(self.all_runs):
            if run.id == run_id:
                if self.starts and not run.state.final:
                    ended = {"started_at": NOW, "ended_at": NOW + timedelta(seconds=2), **self.ending}
                    self.all_runs[index] = replace(run, **ended)  # type: ignore[arg-type]
                return self.all_runs[index]
        raise ProviderError(f"no run {run_id}", code="no-such-run")

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        if "runs" in self.fail:
            raise self.fail["runs"]
        return [run for run in self.all_runs if run.node == node_name][:limit]

    def find_run(self, node_name: str, trigger_id: str) -> Run | None:
        return next((run for run in self.all_runs if run.trigger_id == trigger_id), None)

    def logs(self, run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        yield from (LogLine(text, NOW) for text in self.printed)

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[WebhookCall]:
        return self.calls[:limit]

    def cancel(self, run_id: str) -> Run:
        run = replace(self.run(run_id), state=RunState.CANCELLED)
        self.all_runs = [run if old.id == run_id else old for old in self.all_runs]
        return run

    def destroy(self, node_name: str, *, force: bool, report: Report) -> None:
        if "destroy" in self.fail:
            raise self.fail["destroy"]
        self.configured.pop(node_name, None)
        self.deployments.pop(node_name, None)

    def checks(self, nodes: Iterable[Node]) -> Iterator[Check]:
        yield from self.found


DOCUMENTS = {
    "rounds": "query($tournament: Int!, $limit: Int!) { rounds(tournament: $tournament, limit: $limit) "
    "{ number openTime closeStakingTime closeTime dataDatestamp } }",
    "round": "query($tournament: Int!, $number: Int!) { rounds(tournament: $tournament, number: $number) { number } }",
    "token_info": "query { apiTokenInfo { scopes } }",
    "datasets": "query($tournament: Int) { listDatasets(tournament: $tournament) }",
    "models": "query { account { models { id name } } }",
    "entries": "query($modelId: ID) { model(modelId: $modelId) { latestSubmissions { id status } } }",
    "submissions": "query($modelId: ID) { submissions(modelId: $modelId) { id } }",
    "download": "query($id: ID!) { submissionDownloadAuth(id: $id) { url } }",
    "webhook": "mutation($modelId: String) { setSubmissionWebhook(modelId: $modelId) }",
}


GRAPHQL_CORE, ABSINTHE = "Cannot query field '{}' on type '{}'.", 'Cannot query field "{}" on type "{}".'


class FakeDataFiles:
    """Numerai's data in memory: version -> name -> content, the same for every tournament."""

    def __init__(self, folder: Path, versions: Mapping[str, Mapping[str, bytes]] | None = None, newest: str = "v5.3"):
        self.place, self.newest = folder, newest
        self.versions = versions or {"v5.3": {"features.json": b"{}", "train.parquet": b"12345"}}

    def listing(self, tournament: int) -> DataListing:
        return DataListing({version: tuple(sorted(own)) for version, own in self.versions.items()}, self.newest)

    def folder(self, tournament: int, version: str) -> Path:
        return self.place / version

    def download(self, tournament: int, version: str, name: str, folder: Path | None, watch: Watch) -> DataFile:
        path = (folder or self.folder(tournament, version)) / name
        new, content = not path.exists(), self.versions[version][name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        watch(len(content), len(content))
        return DataFile(name, path, len(content), new)


class FakeProbe:
    """Answers by a document's only field; `gone` are fields that the API says it does not have."""

    url = "http://127.0.0.1:9"

    def __init__(
        self, gone: str = "", introspection: Any = None, scheme: str = "Cannot query field '{}' on type '{}'."
    ):
        self.documents: Mapping[str, str] = DOCUMENTS
        self.gone, self.introspection, self.scheme = gone, introspection, scheme
        self.sent: list[tuple[str, Mapping[str, object], bool]] = []
        self.fail: dict[str, ApiError] = {}
        self.data: dict[str, Any] = {
            "rounds": [
                {
                    "number": 100,
                    "openTime": "2026-01-06T12:00:00Z",
                    "closeStakingTime": "2026-01-06T13:00:00Z",
                    "closeTime": "2026-01-07T12:00:00Z",
                    "dataDatestamp": 20260105,
                },
                {"number": 99},
                "nonsense",
            ],
            "apiTokenInfo": {"scopes": ["stake"]},
            "listDatasets": ["v5.3/live.parquet"],
            "account": {"models": [{"id": "MODEL-ID", "name": "ALICE", "tournament": 8, "submissionWebhook": "HOOK"}]},
            "model": {
                "latestSubmissions": [
                    {"roundNumber": 100, "status": "Odd ALICE", "id": "ENTRY", "filename": "FILE", "timestamp": "junk"},
                    {"roundNumber": "x"},
                ]
            },
            "submissions": [
                {"id": "SUB", "filename": "FILE", "insertedAt": "2026-01-06T12:10:00Z", "round": {"number": 100}}
            ],
            "submissionDownloadAuth": {"url": "SECRET"},
        }

    def answer(self, document: str, variables: Mapping[str, object], *, signed: bool = True) -> Mapping[str, Any]:
        self.sent.append((document, variables, signed))
        if "__schema" in document:
            if isinstance(self.introspection, ApiError):
                raise self.introspection
            return self.introspection or {"errors": [{"error": "introspection is off", "code": "x"}]}
        if "doctorAsksForNoSuchField" in document:
            return {"errors": [{"message": self.scheme.format("doctorAsksForNoSuchField", "RootMutationType")}]}
        field = document.partition("{")[2].split("(")[0].split()[0]
        if field in self.fail:
            raise self.fail[field]
        if self.gone and self.gone in document:
            return {"errors": [{"message": self.scheme.format(self.gone, "Round")}]}
        return {"data": {field: self.data[field]}}

    def heard_time(self) -> datetime | None:
        return NOW + timedelta(hours=3)


class FakeNotifier:
    """Remembers what it was asked to tell; `refusals` holds name -> why not (None: it went out)."""

    def __init__(self, refusals: Mapping[str, str | None] | None = None):
        self.told: list[Notice] = []
        self.refusals: dict[str, str | None] = dict(refusals if refusals is not None else {"somebody": None})

    def tell(self, notice: Notice) -> Mapping[str, str | None]:
        self.told.append(notice)
        return dict(self.refusals)


def unreachable() -> ApiError:
    """What the API adapter raises when nobody answers."""
    return ApiError("cannot be reached", "Check the network.", code="numerai-unreachable", temporary=True)


KEYS = Keys("PUBLIC", "SECRET-SECRET", "http://127.0.0.1:9")
ALICE = Model("id-alice", "alice", 8)
