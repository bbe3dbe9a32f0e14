"""Release days: what the examples do when a data version comes, comes by halves, and goes. Processes, no containers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from numerai_compute.sandbox.data.catalog import Catalog
from numerai_compute.sandbox.switches import Switches
from numerai_node.node import Node
from numerai_node.settings import from_environment
from numerai_node.transport import Transport

from tests.e2e.test_node_template import Runner
from tests.fixtures.sandbox import ServedSandbox
from tests.listeners import Inbox, http_inbox

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MODELS = {8: "alice", 11: "bob", 12: "carol"}
EXAMPLES = {8: "tournament-python3", 11: "signals-python3", 12: "crypto-python3"}


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """Where the node's notices arrive."""
    with http_inbox() as opened:
        yield opened


@pytest.fixture
def catalog(sandbox: ServedSandbox) -> Catalog:
    """The data that the sandbox serves: what is published there is published at Numerai."""
    return sandbox.running.sandbox.catalog


@pytest.fixture
def example_of(sandbox: ServedSandbox, inbox: Inbox, tmp_path: Path) -> Callable[[int], Runner]:
    """The example of a tournament, quick to train, in a folder of its own."""

    def make(tournament: int) -> Runner:
        model = MODELS[tournament]
        environment = sandbox.environment | {
            "MODEL_ID": sandbox.models[model],
            "NUMERAI_TOURNAMENT": str(tournament),
            "NUMERAI_NODE": f"node-{model}",
            "NUMERAI_ARTIFACTS": str(tmp_path / "artifacts"),
            "NUMERAI_CACHE": str(tmp_path / "cache"),
            "NUMERAI_NOTIFY": f"json://127.0.0.1:{inbox.port}",
            "NUMERAI_CPU": "1",
            "TMPDIR": str(tmp_path),
        }
        folder = tmp_path / "node"
        folder.mkdir()
        runner = Runner(folder, environment).copy(EXAMPLES[tournament])
        for name in ("train.py", "predict.py"):
            code = folder / name
            if code.is_file():
                text = code.read_text(encoding="utf-8")
                code.write_text(text.replace("TREES = 1000", "TREES = 20").replace("TREES = 300", "TREES = 20"))
        return runner

    return make


def next_round(sandbox: ServedSandbox, runner: Runner, **changes: str) -> str:
    """What the run of a new round prints; it must have submitted on time."""
    sandbox.open_round()
    code, out = runner("predict.py", TRIGGER_ID=str(uuid.uuid4()), **changes)
    assert code == 0, out
    assert " submitted submission_id=" in out
    return out


def notices(inbox: Inbox) -> list[str]:
    """The titles of the notices about data."""
    return [body["title"] for _, body in inbox.posts if "data version" in body["title"]]


@pytest.mark.parametrize(("release", "renames"), [("v5.3", False), ("v6.0", True)])
def test_a_node_goes_through_a_release_untouched(
    example_of: Callable[[int], Runner],
    sandbox: ServedSandbox,
    catalog: Catalog,
    inbox: Inbox,
    release: str,
    renames: bool,
) -> None:
    catalog.publish("v5.2")
    catalog.remove("v5.3")
    node = example_of(8)
    first = next_round(sandbox, node)
    assert "data version=v5.2" in first
    assert " trained trees=" in first

    for files in (["train.parquet"], ["live.parquet", "features.json"]):
        catalog.publish(release, files, renames)
        out = next_round(sandbox, node)
        assert f'data version=v5.2 why="the model was trained on it" coming={release}' in out
        assert " loaded model=" in out
    assert notices(inbox) == []

    catalog.publish(release, None, renames)
    for _ in range(2):
        out = next_round(sandbox, node)
        assert f'data version=v5.2 why="the model was trained on it" newer={release}' in out
        assert " loaded model=" in out
        assert " trained trees=" not in out
    assert notices(inbox) == [f"node-alice: the data version {release} is out"]

    out = next_round(sandbox, node, NUMERAI_DATA_VERSION="newest")
    assert f"data version={release}" in out
    assert (" trained trees=" in out) is renames
    assert f"data version={release}" in next_round(sandbox, node), "the model is of the new version now"


@pytest.mark.parametrize("pinned", [False, True])
def test_a_model_whose_version_goes_is_trained_anew(
    example_of: Callable[[int], Runner], sandbox: ServedSandbox, catalog: Catalog, inbox: Inbox, pinned: bool
) -> None:
    changes = {"NUMERAI_DATA_VERSION": "v5.3"} if pinned else {}
    node = example_of(8)
    next_round(sandbox, node, **changes)
    catalog.publish("v6.0", renames=True)
    catalog.remove("v5.3")
    out = next_round(sandbox, node, **changes)
    assert "data version=v6.0" in out
    assert "gone=v5.3" in out
    assert "trained on other features" in out
    assert " trained trees=" in out
    out = next_round(sandbox, node, **changes)
    assert " loaded model=" in out
    assert notices(inbox) == ["node-alice: the data version v5.3 is gone"]


def test_code_that_cannot_be_helped_ends_with_78_and_says_what_to_do(
    example_of: Callable[[int], Runner], sandbox: ServedSandbox, catalog: Catalog
) -> None:
    """A model that came with the image, for features that no served version has."""
    node = example_of(8)
    feature = catalog.source(8).signal.columns[0]
    (node.folder / "predict.py").write_text(
        "from numerai_node import run_and_submit\n"
        f"run_and_submit(lambda node: node.submit(node.live(['{feature}']).rank(pct=True)['{feature}']))\n"
    )
    assert node("predict.py", NUMERAI_DATA_VERSION="v5.3")[0] == 0
    catalog.publish("v6.0", renames=True)
    sandbox.open_round()
    assert node("predict.py", NUMERAI_DATA_VERSION="v5.3")[0] == 0
    catalog.remove("v5.3")
    sandbox.open_round()
    code, out = node("predict.py", NUMERAI_DATA_VERSION="v5.3")
    assert code == 78, out
    assert "v5.3 that this model needs is no longer served. Train it on v6.0" in out
    assert "Traceback" not in out


@pytest.mark.parametrize("version", ["signals/v2.1", "signals/v3.1"])
def test_signals(example_of: Callable[[int], Runner], sandbox: ServedSandbox, catalog: Catalog, version: str) -> None:
    if version == "signals/v2.1":
        catalog.remove("signals/v3.1")
    out = next_round(sandbox, example_of(11))
    assert "live round=" in out
    assert f"data={version}" in out
    assert " trained trees=20 features=20 " in out


def grow_old(artifacts: Path) -> None:
    """Let the kept model have been trained a century ago."""
    record = artifacts / "training.json"
    record.write_text(record.read_text().replace('"trained_at": "20', '"trained_at": "19'))


def test_classic_trains_again_when_its_model_is_old(
    example_of: Callable[[int], Runner], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    node, artifacts = example_of(8), tmp_path / "artifacts"
    assert " retraining " not in next_round(sandbox, node, NUMERAI_RETRAIN_DAYS="30"), "it is new"
    grow_old(artifacts)
    old = (artifacts / "model.json").read_text()
    code = tmp_path / "node" / "train.py"
    code.write_text(code.read_text().replace("TREES = 20", "TREES = 21"))
    out = next_round(sandbox, node, NUMERAI_RETRAIN_DAYS="30")
    assert out.index(" loaded model=") < out.index(" submitted ") < out.index(" trained trees=21 ")
    assert (artifacts / "model.json").read_text() != old
    assert " retraining " not in next_round(sandbox, node, NUMERAI_RETRAIN_DAYS="30")
    exit_code, out = node("predict.py", NUMERAI_TRAIN="1", NUMERAI_NO_SUBMIT="1")
    assert exit_code == 0 and " trained trees=21 " in out and " retrained " in out and " loaded " not in out


def test_a_model_toml_is_trained_on_the_node_as_the_documentation_has_it(
    example_of: Callable[[int], Runner], sandbox: ServedSandbox, tmp_path: Path
) -> None:
    node, folder, artifacts = example_of(8), tmp_path / "node", tmp_path / "artifacts"
    documented = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").split("### Train on a node's provider")[1]
    (folder / "train.py").write_text(documented.split("```python\n")[1].split("```")[0])
    predict = (ROOT / "node_template" / "model-python3" / "predict.py").read_text(encoding="utf-8")
    (folder / "predict.py").write_text(predict.replace("node.model()", 'node.model(node.artifacts / "own.model")'))
    (folder / "model.toml").write_text(
        '[data]\nfeature_sets = ["small"]\n[held_out]\neras = 3\n[parameters]\ntrees = 20\n'
    )
    exit_code, out = node("predict.py", NUMERAI_TRAIN="1", NUMERAI_NO_SUBMIT="1", NUMERAI_RUN_ID="r1")
    assert exit_code == 0, out
    assert json.loads((artifacts / "training.json").read_text())["files"] == ["data_version", "own.model"]
    assert " loaded model=" in next_round(sandbox, node)


def test_crypto_keeps_its_model_until_it_is_old(
    example_of: Callable[[int], Runner], sandbox: ServedSandbox, catalog: Catalog, tmp_path: Path
) -> None:
    node = example_of(12)
    first = next_round(sandbox, node)
    assert " validated corr_mean=" in first
    assert " trained trees=20 features=22 " in first
    second = next_round(sandbox, node)
    assert " loaded model=" in second
    assert "file=crypto/v2.0/train.parquet" not in second

    grow_old(tmp_path / "artifacts")
    third = next_round(sandbox, node)
    assert third.index(" loaded model=") < third.index(" submitted ") < third.index(" trained trees=20 ")
    assert " retrained " in third and " retraining " not in next_round(sandbox, node)
    catalog.publish("crypto/v3.0", renames=True)
    assert 'version=v2.0 why="the model was trained on it" newer=v3.0' in next_round(sandbox, node)
    catalog.remove("crypto/v2.0")
    assert "trained on other features" in next_round(sandbox, node)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (30, 0), (660, 0), (0, 5)])
def test_live_data_come_out_before_the_opening_or_after_it(
    sandbox_factory: Callable[..., ServedSandbox], tmp_path: Path, before: int, after: int
) -> None:
    """When Numerai publishes them is not known: a run has its round's data in any case, and waits only when it must."""
    switches = Switches(live_minutes_before_opening=before)
    served = sandbox_factory(calendar=True, publish_minutes=after, switches=switches)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        served.clock(advance=seconds)

    environment = served.environment | {"MODEL_ID": served.models["alice"], "NUMERAI_CACHE": str(tmp_path / "cache")}
    seen: list[frozenset[str]] = []
    for day in ("2027-01-05", "2027-01-06", "2027-01-07"):
        served.clock(now=f"{day}T12:00:30Z")
        node = Node(from_environment(environment | {"NUMERAI_ARTIFACTS": str(tmp_path / "a")}), Transport(sleep=sleep))
        seen.append(frozenset(node.live().index))
    assert len(set(seen)) == 3, "no round is predicted from another one's rows"
    if after:
        assert 200 <= sum(waited) <= 3 * 400
    else:
        assert waited == []
