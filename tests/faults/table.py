"""The matrix as a table: for people on a terminal, and as docs/faults.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.matrix import Fault

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"

_HEAD = """# The fault matrix

What becomes of a submission when something fails, found out by letting it fail: `make faults` injects each fault below
into the real path and writes this page. `tests/faults/rows.py` holds the rows as data.

- The node is a process of its own with the runtime that every node carries; under *Nodes, daemon and watcher* it is a
  whole home folder with its daemon. Numerai is the [sandbox](sandbox.md), served over HTTP, with a proxy before it
  where the fault lies on the way. A round has an hour until its deadline, the staking close; waiting moves the
  sandbox's clock and lasts a moment.
- *Submitted once, right* means: exit code 0 of the last run, one submission for this round under the trigger of that
  run (none where nobody called the webhook), and an entry of the model for the round that Numerai calls on-time (late
  where the row says so) and that is this very file, not a clone of an earlier one. The stored file holds the
  predictions that follow from this round's rows. What was printed, logged and told is searched for secrets, and each
  fault must have struck.
- Every run tells an address of `NUMERAI_NOTIFY` once how it ended: success, late, or failure with the reason. Only a
  process that is killed tells nothing; the run after it does, or the watcher. Under *Nodes, daemon and watcher*, *told*
  means that a notice arrived at an address of `numerai notify add`; none arrives there twice.
- `tests/e2e/test_month.py` draws from these faults: three months of 22 rounds of Numerai's calendar, which open up to
  54 minutes late, one to two faults in most of them, the daemon or the node killed in others. What is not known of
  Numerai is answered differently in each month. Each round must end with its one right submission, on time by Numerai's
  entries, and be told once, but for a daemon that is killed as it tells: it tells again. One node a month is held up
  until after the deadline: that round is late, told as late, and the next one is not taken as done because of its
  clone.
- The last column is plain numerapi 3.1 in the same fault: download the live data, predict, `upload_predictions`, as its
  README does it; nobody is told. Its waiting is counted, not waited for; it writes downloads by 16 KiB and not by
  1 MiB, as the data here are small.

"""
_COLUMNS = "| fault | what happens | outcome | plain numerapi 3.1 |\n| --- | --- | --- | --- |\n"


def document(rows: Sequence[Fault]) -> str:
    """docs/faults.md: the same text for the same rows."""
    survived = sum((fault.again or fault.outcome).right for fault in rows)
    lines = [
        _HEAD,
        f"{len(rows)} faults: in {survived} the right submission is made, {len(rows) - survived} fail loudly.\n",
    ]
    for group in dict.fromkeys(fault.group for fault in rows):
        lines.append(f"\n## {group[0].upper()}{group[1:]}\n\n{_COLUMNS}")
        lines += [
            f"| `{fault.name}` | {fault.what} | {outcome(fault)} | {beside(fault)} |\n"
            for fault in rows
            if fault.group == group
        ]
    return "".join(lines)


def outcome(fault: Fault) -> str:
    """What the product makes of it."""
    return (fault.again or fault.outcome).text


def beside(fault: Fault) -> str:
    """What numerapi makes of it."""
    if fault.numerapi is None:
        return "-"
    return fault.numerapi


def table(rows: Sequence[Fault], results: Mapping[str, str]) -> str:
    """The matrix for a terminal, with how each row went just now."""
    found = [(results.get(fault.name, "not run"), fault.name, outcome(fault), beside(fault)) for fault in rows]
    head = ("", "fault", "outcome", "plain numerapi 3.1")
    widths = [max(len(row[column]) for row in [head, *found]) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in [head, *found]
    )
