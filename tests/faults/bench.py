"""One fault at work: a sandbox, a proxy before it, children in a folder of their own, and what Numerai holds after."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from numerai_compute.sandbox.compute import RUN_BY_NUMERAI

from tests.faults.children import Child
from tests.faults.held import MODEL, TOURNAMENT, assert_submitted, entry, held, wrong_with
from tests.faults.job import Job
from tests.faults.matrix import Fault, Order, Outcome
from tests.faults.model import PREDICT
from tests.faults.proxy import Proxy, Rule, self_signed
from tests.fixtures.sandbox import ServedSandbox
from tests.listeners import Inbox, http_inbox

TRIGGER = "7c9f1f9e-3b0a-4a53-9d6f-0d8f5a1c2b3e"
"""The webhook's call that every run answers, but for those of a row whose environment says otherwise."""
MORE_MODELS = tuple(f"model{number:02}" for number in range(2, 31))
"""What a row with several nodes has besides."""
TOLD = {
    0: ("submitted", "success"),
    69: ("was late", "warning"),
    73: ("is covered by an earlier file", "warning"),
    76: ("submitted, unconfirmed", "failure"),
}
"""How a node's title ends and the type that apprise gives it, by exit code (docs/node.md); any other is a failure."""


class Bench:
    """Where one row is run."""

    def __init__(self, fault: Fault, sandbox: ServedSandbox, folder: Path, stack: ExitStack) -> None:
        self.fault = fault
        self.sandbox = sandbox
        self.folder = folder
        self._stack = stack
        self.proxy: Proxy | None = None
        self.url = sandbox.url
        self.models = (MODEL, *MORE_MODELS)[: fault.nodes]
        self.trigger = fault.environment.get("TRIGGER_ID", TRIGGER) or None
        self._inbox: Inbox = stack.enter_context(http_inbox())
        self._outputs = 0

    # before

    def prepare(self, what: str) -> None:
        """Bring about the state of things that the row asks for, and the fault."""
        if self.fault.round == "none":
            self.sandbox.clock(advance=2 * 86400)
        elif self.fault.round == "late":
            self.sandbox.clock(advance=3600 + 600)
        self.start = self._now()
        rules = [order for order in self.fault.orders if isinstance(order, Rule)]
        tls = self_signed(str(self.folder)) if self.fault.tls else None
        if rules or tls:
            events: dict[str, Callable[[], object]] = {
                "let the deadline pass": lambda: self.sandbox.clock(advance=3600 + 60),
                "let six minutes pass": lambda: self.sandbox.clock(advance=360),
                "open the next round": lambda: self.sandbox.open_round(TOURNAMENT),
                "bring the deadline forward": lambda: self.sandbox.move_deadline(-60, TOURNAMENT),
                "wait for the twin": threading.Barrier(2, timeout=60).wait,
            }
            proxy = Proxy(self.sandbox.url, rules, tls=tls, events=events, minutes=self._minutes)
            self.proxy = self._stack.enter_context(proxy)
            self.url = self.proxy.url
        for order in self.fault.orders:
            if isinstance(order, Order):
                self._order(order)
        if self.fault.yesterday:
            child = self.child(what)
            assert child.wait(120) == 0, child.output
            self._inbox.posts.clear()
            self.sandbox.open_round(TOURNAMENT)

    def _order(self, order: Order) -> None:
        """Ask the sandbox for a fault, a change of its data, or a pickle for the model."""
        if order.kind == "publish":
            self.sandbox.publish_data(order.options["version"], order.options.get("files"))
        elif order.kind == "remove":
            self.sandbox.remove_data(order.options["version"])
        elif order.kind == "assign":
            account = self.sandbox.running.sandbox.account
            account.change(account.model(self.sandbox.models[MODEL]), pickle_id="a-pickle")
        else:
            self.sandbox.set_fault(order.target, order.kind, **order.options)

    def _now(self) -> datetime:
        return datetime.fromisoformat(self.sandbox.clock()["now"].replace("Z", "+00:00"))

    def _minutes(self) -> float:
        return (self._now() - self.start).total_seconds() / 60

    # the run

    def child(self, what: str, model: str = MODEL) -> Child:
        """Start a child: `node` or `numerapi`."""
        fault = self.fault
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            **self.sandbox.environment,
            "NUMERAI_API_URL": self.url,
            "MODEL_ID": self.sandbox.models[model],
            "TRIGGER_ID": TRIGGER,
            "NUMERAI_NODE": node_of(model),
            "NUMERAI_NOTIFY": f"json://127.0.0.1:{self._inbox.port}/",
            "NUMERAI_CACHE": str(self.folder / "cache"),
            "TMPDIR": str(self.folder),
        }
        words = {"{bob}": self.sandbox.models["bob"], "{elsewhere}": str(self.folder.parent)}
        environment |= {name: words.get(value, value) for name, value in fault.environment.items()}
        arguments: tuple[str, ...] = ()
        if what == "node" and fault.program:
            what = "cli"
            program = self.folder / "predict.py"
            program.write_text(PREDICT)
            arguments = ("exec", "--csv", "--", sys.executable, "-S", str(program))
        self._outputs += 1
        return Child(
            Job(
                what,
                str(self.folder),
                environment,
                arguments=arguments,
                spoil=fault.spoil,
                sandbox=self.sandbox.url,
                skew=fault.skew,
                patches={} if what == "numerapi" else dict(fault.patches),
                output=str(self.folder.with_name(f"output-{self._outputs}.txt")),
            )
        )

    # after

    def check(self, outcome: Outcome, code: int | None, output: str, model: str = MODEL) -> None:
        """Assert that a model's run ended as it must, and that people were told so."""
        assert code == outcome.exit, f"exit {code}, not {outcome.exit}:\n{output}"
        for word in outcome.words:
            assert word in output, f"“{word}” is missing:\n{output}"
        self.no_secret(output)
        self._check_told(outcome, model)
        if outcome.right:
            assert_submitted(self.sandbox, model=model, made=outcome.held, late=outcome.late, trigger_id=self.trigger)
        else:
            found = held(self.sandbox, model=model)
            assert len(found) == outcome.held, [found, output]
            assert found or entry(self.sandbox, model=model)["status"] == outcome.entry

    def _check_told(self, outcome: Outcome, model: str) -> None:
        """Assert that one notice of the run came, of the right kind, which says why where it failed; none of a run
        that was killed. Of what is told besides, each came once. All are then forgotten."""
        for words in self.fault.also_told:
            (other,) = [each for each in self._inbox.posts if words in each[1]["title"]]
            self._inbox.posts.remove(other)
        mine = [each for each in self._inbox.posts if each[1]["title"].startswith(f"{node_of(model)} ")]
        for each in mine:
            self._inbox.posts.remove(each)
        notices = [post for _, post in mine]
        assert outcome.exit is not None
        ending, kind = TOLD.get(outcome.exit, ("failed", "failure"))
        told = [(f"{node_of(model)} {ending}", kind)] if outcome.exit >= 0 else []
        assert [(post["title"], post["type"]) for post in notices] == told, notices
        for post in notices:
            self.no_secret(json.dumps(post))
            assert outcome.exit == 0 or all(word in post["message"] for word in outcome.words[:1]), post

    def check_rest(self) -> None:
        """Assert that the row's faults have all struck, as often as they should, and that nothing else was told."""
        for order in self.fault.orders:
            times = order.times if isinstance(order, Rule) else order.options.get("times", 1)
            assert self._strikes(order) >= (times or 1), f"it did not strike so often: {order}"
        assert not self._inbox.posts, self._inbox.posts
        assert not self.fault.at_once or self._minutes() < 1

    def met(self) -> bool:
        """Whether each of the row's faults has struck."""
        return all(self._strikes(order) for order in self.fault.orders)

    def _strikes(self, order: Order | Rule) -> int:
        if isinstance(order, Rule):
            assert self.proxy is not None
            return self.proxy.strikes(order)
        requests = self.sandbox.state()["requests"]
        if order.target == "data":
            return sum("listDatasets" in (each["operation"] or "") for each in requests)
        if order.target == "model":
            return sum(RUN_BY_NUMERAI in (each["error"] or "") for each in requests)
        return sum(each["fault"] == order.kind for each in requests)

    def no_secret(self, text: str) -> None:
        """Assert that no secret is in a text: neither the key nor a signature of an address."""
        assert self.sandbox.secret_key not in text, text
        assert "signature=" not in text, text
        assert "Traceback" not in text, text

    def numerapi_did(self, code: int | None, output: str, model: str = MODEL) -> str:
        """What numerapi made of it, in words that are the same in every run."""
        self.sandbox.clock(advance=60)  # Numerai may show an entry only after a while
        found, counts = held(self.sandbox, model=model), entry(self.sandbox, model=model)
        counting = [each for each in found if each["filename"] == counts["filename"]]
        wrong = wrong_with(self.sandbox, counting[0]) if counting else None
        right = bool(counting) and wrong is None
        if right:
            holds = "submitted" + (", late" if counts["status"] == "late" else "")
        elif counting:
            holds = f"Numerai holds a wrong file ({wrong})"
        else:
            holds = "nothing is submitted"
        if len(found) > 1:
            holds += f", {len(found)} times"
        if code is None:
            return f"hangs, without a time limit; {holds}"
        result = json.loads(output.strip().splitlines()[-1])
        waited = f" after {result['waited']:.0f} s" if result["waited"] else ""
        if "error" in result:
            words = result["message"].partition(":")[0]
            message = f" ({words})" if re.fullmatch(r"[\w' .]{1,50}", words) else ""
            return f"{result['error']}{message}{waited}; {'although it was ' if right else ''}{holds}"
        return f"{holds}{waited}" if right else f"reports success{waited}, but {holds}"


def node_of(model: str) -> str:
    """The name of a model's node."""
    return f"numerai-{model}"
