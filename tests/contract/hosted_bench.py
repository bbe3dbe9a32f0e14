"""The hosted provider under test: the sandbox as Numerai, and the container's programs as processes of this Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numerai_compute.adapters.clock import SystemClock
from numerai_compute.models import SIZES, Deployment, Keys, Node
from numerai_compute.ports import ContainerEngine, Report
from numerai_compute.providers.hosted.packing import RUNTIME, Packer
from numerai_compute.providers.hosted.provider import HostedProvider
from numerai_compute.providers.hosted.rehearsal import PROGRAMS, Limits, LiveData, Rehearsed, failed, judged, not_packed
from numerai_compute.providers.registry import ProviderContext

from tests.fixtures.sandbox import ServedSandbox

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
GOOD = """
import helper
def predict(live_features):
    return helper.ranks(live_features)
"""
HELPER = """
def ranks(frame):
    features = [name for name in frame.columns if name.startswith("feature_")]
    print("predicting", len(frame), "rows")
    return frame[features].sum(axis=1).rank(method="first", pct=True).to_frame("prediction")
"""


class ProcessWorkbench:
    """`Workbench` whose programs run here, without a container's walls but with their time limit."""

    def __init__(self, folder: Path, limits: Limits, *, rehearses: bool = True):
        self.folder = folder
        self.limits = limits
        self.rehearses = rehearses

    def pack(self, files: Mapping[str, Path], module: str, pickle: Path, report: Report) -> None:
        node = self.folder / "node"
        for name, path in files.items():
            (node / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, node / name)
        found = self._run("pack.py", str(node), module, str(pickle), str(self.folder / "result.json"), report=report)
        shutil.rmtree(node)
        if found["why"]:
            raise not_packed(found["why"])

    def rehearse(self, pickle: Path, data: LiveData, report: Report) -> Rehearsed:
        if not self.rehearses:
            return Rehearsed(120, 0.0, None)
        check = self.folder / "check"
        shutil.copytree(RUNTIME, check / "numerai_node", dirs_exist_ok=True)
        output, result = self.folder / "out.csv", self.folder / "result.json"
        paths = (pickle, data.live, data.benchmarks, output, result, check)
        return judged(self._run("rehearse.py", *map(str, paths), report=report), self.limits)

    def _run(self, program: str, *arguments: str, report: Report) -> dict[str, Any]:
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        command = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", str(PROGRAMS / program), *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.limits.seconds, cwd=self.folder, check=False
            )
        except subprocess.TimeoutExpired:
            raise failed({"kind": "time"}, self.limits) from None
        for line in (done.stdout + done.stderr).splitlines():
            report(f"  {line}")
        return dict(json.loads(result.read_text()))


def no_engine() -> ContainerEngine:
    """There is none here."""
    raise AssertionError("a container engine was asked for")


class HostedBench:
    """A home folder, its provider and nodes of the sandbox's model alice. With `rehearses` False the rehearsal, which
    takes seconds, is left out."""

    def __init__(
        self,
        folder: Path,
        sandbox: ServedSandbox,
        limits: Limits | None = None,
        *,
        rehearses: bool = True,
        **settings: str | int,
    ):
        self.rehearses = rehearses
        self.folder = folder
        self.sandbox = sandbox
        self.keys = Keys(sandbox.public_id, sandbox.secret_key, sandbox.url)
        self.said: list[str] = []
        self.context = ProviderContext(
            folder / "home", {"python": PYTHON, **settings}, lambda: self.keys, no_engine, SystemClock()
        )
        self.limits = limits or Limits(seconds=60)
        self.provider = self.renewed()

    def renewed(self) -> HostedProvider:
        """The provider as another command makes it."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        packer = Packer(
            no_engine, self.limits, lambda *_: ProcessWorkbench(work, self.limits, rehearses=self.rehearses)
        )
        return HostedProvider(self.context, packer, poll_seconds=0.05)

    def node(self, script: str = GOOD, model: str = "alice", **files: str) -> Node:
        """A node of its own folder, with a predict.py and a helper module; not configured yet."""
        source = self.folder / model
        source.mkdir(exist_ok=True)
        for name, content in {"predict": script, "helper": HELPER, **files}.items():
            (source / f"{name}.py").write_text(content)
        size = SIZES["gen-sm"]
        return Node(
            f"numerai-{model}",
            model,
            self.sandbox.models[model],
            8,
            "hosted",
            str(source),
            size.cpu,
            size.memory_mib,
            10,
        )

    def ready(self, script: str = GOOD) -> Node:
        """A node that is deployed and assigned."""
        node = self.provider.configure(self.node(script), self.say)
        self.assign(node, self.provider.deploy(node, force=False, report=self.say))
        return node

    def assign(self, node: Node, deployed: Deployment) -> None:
        """Let Numerai run what was deployed."""
        self.provider.assign(node, deployed.image.removeprefix("upload "), self.say)

    def say(self, line: str) -> None:
        """Takes progress."""
        self.said.append(line)

    def uploads(self) -> int:
        """How many uploads Numerai has."""
        return len(self.sandbox.running.sandbox.compute.pickles.all())
