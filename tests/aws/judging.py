"""What a session's record says: requests that AWS would not take, and what the policies would not allow.

`used.json` holds what was seen to be used: for each statement of the printed policy, and of each role's, the actions.
The tests with the emulator hold what they see to it; `NUMERAI_TEST_USED=1` lets them add what is new.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numerai_compute.providers.aws.policy import minimal_policy, own_boundary

from .access_keys import ROLE, USER
from .actions import BOUNDED
from .iam import Ask, decide

ACCOUNT, REGION = "123456789012", "us-east-1"
USED = Path(__file__).with_name("used.json")
AGAIN = "NUMERAI_TEST_USED"
NODE_ROLES = "run-"
"""What the names of the nodes' own roles begin with, behind the cluster's."""


def judge(record: Path, cluster: str = "numerai") -> list[str]:
    """All that is wrong with a record, each thing once."""
    policy, used, wrong = minimal_policy(cluster, ACCOUNT, REGION), known(), set()
    new: dict[str, set[str]] = {}
    for line in map(json.loads, record.read_text().splitlines() if record.exists() else ()):
        if "problem" in line:
            wrong.add(f"not understood: {line['problem']}")
            continue
        wrong |= {f"{line['operation']}: {complaint}" for complaint in line["complaints"]}
        for asked in line["asks"]:
            for statement in _statements(line["key"], asked, policy, cluster, wrong):
                if asked["action"] not in used.get(statement, ()):
                    new.setdefault(statement, set()).add(asked["action"])
    if new and os.environ.get(AGAIN):
        merged = {name: sorted({*used.get(name, ()), *new.get(name, ())}) for name in {*used, *new}}
        USED.write_text(json.dumps(dict(sorted(merged.items())), indent=1) + "\n")
    elif new:
        wrong |= {f"{name} is newly used for {', '.join(sorted(new[name]))}: run again with {AGAIN}=1" for name in new}
    return sorted(wrong)


def known() -> Mapping[str, list[str]]:
    """The actions that were seen to be used, by the statement that allows them."""
    return dict(json.loads(USED.read_text())) if USED.exists() else {}


def _statements(key: str, asked: Mapping[str, Any], policy: Any, cluster: str, wrong: set[str]) -> Iterator[str]:
    """The names of the statements that allow it; adds to what is wrong where none does."""
    action, resource = asked["action"], asked["resource"]
    if key == USER:
        context = dict(asked["context"])
        if action in BOUNDED:  # where nothing is enforced, roles have no boundary
            context.setdefault("iam:PermissionsBoundary", own_boundary(cluster, ACCOUNT))
        decision = decide(Ask(action, resource, context), [policy])
        if not decision.allowed:
            wrong.add(f"the printed policy does not allow {action} on {resource} with {asked['context']}")
        yield from (statement["Sid"] for statement in decision.statements)
    elif not asked["allowed"]:
        wrong.add(f"{key} may not do {action} on {resource}")
    else:
        role = key.removeprefix(ROLE).removeprefix(f"{cluster}-") if key.startswith(ROLE) else ""
        if role.startswith(NODE_ROLES):  # each node has one, and all have the same statements
            role = NODE_ROLES.rstrip("-")
        yield from (f"{role and role + '/'}{statement.get('Sid', '')}" for statement in asked["statements"])
