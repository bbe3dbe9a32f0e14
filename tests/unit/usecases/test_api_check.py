"""What `numerai doctor --api` makes of an API's answers: what agrees, what differs and what that means, and a record
that gives nobody away."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.errors import ApiError, UsageError
from numerai_compute.usecases.api_check.answers import Answers, EntryRow, FileRow, ModelRow, RoundRow
from numerai_compute.usecases.api_check.ask import NO_SUCH_FIELD, ask_api, with_no_such_field
from numerai_compute.usecases.api_check.judge import CLASSIC_FILES, Finding, Verdict, judge
from numerai_compute.usecases.api_check.record import record, write_record
from numerai_compute.usecases.api_check.rules import RULES
from numerai_compute.usecases.api_check.schema import Schema, SchemaField, read_request

from tests.fakes import ABSINTHE, DOCUMENTS, GRAPHQL_CORE, NOW, FakeProbe, unreachable

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def round_row(number: int, tournament: int = 8) -> RoundRow:
    """A round of which 100 opened at NOW."""
    opens = NOW + (number - 100) * DAY
    return RoundRow(tournament, number, opens, opens + HOUR, opens + DAY, int(f"{opens - DAY:%Y%m%d}"))


def healthy() -> Answers:
    """An account with one model whose queued file of round 98 was submitted again in 99, and a late one of 100."""
    entry = EntryRow("m", 100, "late", "id-4", "d.csv", NOW + 2 * HOUR)
    entries = [
        replace(entry, round_number=101, status="queued"),
        entry,
        EntryRow("m", 99, "on-time", "id-3", "b.csv", NOW - DAY),
        EntryRow("m", 98, "late", "id-2", "b.csv", NOW - 2 * DAY + 5 * HOUR),
        EntryRow("m", 97, "on-time", "id-1", "a.csv", NOW - 3 * DAY + HOUR / 2),
        EntryRow("m", 96, "none", None, None, None),
    ]
    files = [
        FileRow("m", row.id, row.round_number, row.filename, "t" if row.id == "id-2" else None, row.moment)
        for row in entries[1:5]
        if row.id
    ]
    signals, crypto = ("signals/v2.1/live.parquet", "signals/v2.1/train.parquet"), ("c/live.parquet", "c/train.parquet")
    return Answers(
        NOW + 3 * HOUR,
        {name: read_request(text) for name, text in DOCUMENTS.items()},
        introspected={},
        schema=Schema({}, {}),
        scopes=("upload_submission",),
        rounds=[round_row(number) for number in (101, 100, 99, 98, 97)],
        round_zero={8: (100,)},
        models=[ModelRow("m", "alice", 8, webhook=True, pickle=False)],
        entries=entries,
        files=files,
        datasets={8: tuple(f"v5.3/{name}" for name in sorted(CLASSIC_FILES)), 11: signals, 12: crypto},
    )


def about(answers: Answers, rule: str) -> Finding:
    return next(finding for finding in judge(answers) if finding.rule == rule)


def test_a_healthy_api_agrees_in_every_rule_that_can_be_read() -> None:
    verdicts = {finding.rule: finding.verdict for finding in judge(healthy()) if finding.rule != "requests-valid"}
    assert set(verdicts) == set(RULES) - {"requests-valid"}
    assert {rule for rule, verdict in verdicts.items() if verdict is not Verdict.AGREES} == {"always-null"}


def test_nothing_read_is_nothing_checked_and_no_difference() -> None:
    empty = Answers(NOW, {}, refused="switched off", unread={"rounds": "no such field"})
    findings = judge(empty)
    assert {finding.verdict for finding in findings} == {Verdict.UNCHECKED}
    assert about(empty, "late-period").why == "no such field"
    assert "switched off" in findings[0].why


LATEST = round_row(100)
QUEUED = ((101, "queued"), (100, "none"))


@pytest.mark.parametrize(
    ("rule", "changes", "words"),
    [
        ("late-period", {"rounds": [replace(LATEST, closes=LATEST.deadline)]}, "Classic 0 h"),
        ("times-ordered", {"rounds": [replace(LATEST, deadline=LATEST.opens)]}, "0 of 1 rounds"),
        ("times-ordered", {"odd_rounds": 2}, "5 of 7 rounds"),
        ("window-one-hour", {"rounds": [replace(LATEST, deadline=NOW + HOUR / 2)]}, "Classic 0.5 h"),
        ("closes-at-next-opening", {"rounds": [round_row(101), replace(LATEST, closes=NOW + 9 * HOUR)]}, "0 of 1"),
        ("round-zero", {"round_zero": {8: ()}}, "it gives none"),
        ("datestamp-day-before", {"rounds": [replace(LATEST, datestamp=20260106)]}, "0 of 1"),
        ("entry-words", {"entries": [EntryRow("m", 99, "pending", None, None, None)]}, "1 pending"),
        ("entry-per-round", {"entries": [EntryRow("m", 99, "none", None, None, None)] * 2}, "1 rounds have several"),
        ("entry-times", {"entries": [EntryRow("m", 99, "on-time", "x", "x", NOW - 20 * HOUR)]}, "0 of 1"),
        ("entry-times", {"entries": [EntryRow("m", 99, "late", "x", "x", NOW - DAY)]}, "0 of 1"),
        ("entry-ids", {"entries": [EntryRow("m", 99, "on-time", "other", "e.csv", NOW - DAY)]}, "0 of 1"),
        ("entry-filenames", {"entries": [EntryRow("m", 99, "on-time", "id-3", "z.csv", NOW - DAY)]}, "0 of 1"),
        ("late-queued", {"entries": [EntryRow("m", n, s, "id", "d.csv", None) for n, s in QUEUED]}, "0 of 1"),
        ("clone-at-opening", {"rounds": [replace(round_row(99), opens=NOW - DAY - 3 * HOUR)]}, "0 of 1"),
        ("clones-listed", {"files": []}, "0 of 1"),
        (
            "data-listed",
            {"datasets": {8: ("v5.3/live.parquet",), 11: ()}},
            "Classic v5.3 (1 of 12 files), Signals nothing",
        ),
        ("webhook-or-pickle", {"models": [ModelRow("m", "alice", 8, webhook=True, pickle=True)]}, "both: alice"),
        ("scopes-known", {"scopes": ("stake", "fly")}, "fly"),
    ],
)
def test_each_difference_is_named_with_its_consequence(rule: str, changes: dict[str, Any], words: str) -> None:
    finding = about(replace(healthy(), **changes), rule)
    assert finding.verdict is Verdict.DIFFERS and words in finding.why
    assert finding.consequence == RULES[rule].consequence and finding.broken is not RULES[rule].harmless


def test_a_clone_that_keeps_its_trigger_is_named() -> None:
    answers = healthy()
    files = [replace(file, trigger_id="t") for file in answers.files]
    assert about(replace(answers, files=files), "clone-trigger").why == "1 of 1 clones keep it"


def schema_without(gone: str | None = None, deprecated: str | None = None) -> Schema:
    fields = {"number", "openTime", "closeStakingTime", "closeTime", "dataDatestamp", "opensAt"} - {gone}
    rounds = {name: SchemaField("Int", {}, "use it not" if name == deprecated else None) for name in fields}
    arguments = {"tournament": False, "limit": False, "number": False}
    return Schema(
        {"Round": rounds, "RootQueryType": {"rounds": SchemaField("Round", arguments)}}, {"query": "RootQueryType"}
    )


def requests_of(schema: Schema) -> list[Finding]:
    requests = {name: read_request(DOCUMENTS[name]) for name in ("rounds", "round")}
    return [
        finding
        for finding in judge(replace(healthy(), requests=requests, schema=schema))
        if finding.rule == "requests-valid"
    ]


def test_a_field_that_is_gone_deprecated_or_renamed_is_named_with_what_it_means() -> None:
    (fine,) = requests_of(schema_without())
    assert (fine.verdict, fine.why) == (Verdict.AGREES, "2 requests")
    (gone,) = requests_of(schema_without("closeStakingTime"))
    assert gone.broken and gone.why == "Round.closeStakingTime is gone; used by: rounds"
    assert "no watcher can warn" in (gone.consequence or "")
    (renamed,) = requests_of(schema_without("openTime"))
    assert "Round.openTime is gone (renamed to opensAt?)" in renamed.why
    deprecated, fine = requests_of(schema_without(deprecated="number"))
    assert deprecated.verdict is Verdict.DEPRECATED and not deprecated.broken
    assert "used by: round, rounds" in deprecated.why and "still works" in (deprecated.consequence or "")
    assert fine.verdict is Verdict.AGREES


def ask(probe: FakeProbe) -> Answers:
    return ask_api(probe, lambda: NOW + 3 * HOUR, lambda line: None)


def test_everything_is_read_and_odd_rows_break_nothing() -> None:
    answers = ask(FakeProbe())
    assert (len(answers.rounds), answers.odd_rounds, answers.round_zero) == (
        3,
        3,
        {8: (100, 99), 11: (100, 99), 12: (100, 99)},
    )
    assert answers.refused == "introspection is off" and answers.unread == {}
    assert [(entry.status, entry.moment) for entry in answers.entries] == [("Odd ALICE", None)]
    assert about(answers, "times-ordered").verdict is Verdict.DIFFERS


def test_without_an_introspection_each_request_is_tried_and_no_change_can_be_made() -> None:
    probe = FakeProbe()
    findings = judge(ask(probe))
    changes = [
        (document, variables, signed) for document, variables, signed in probe.sent if document.startswith("mutation")
    ]
    assert changes == [(with_no_such_field(DOCUMENTS["webhook"]), {}, False)]
    assert [finding.verdict for finding in findings[:2]] == [Verdict.UNCHECKED, Verdict.AGREES]
    probe.data["submissions"] = []
    assert "not tried: download" in judge(ask(probe))[0].why, "there is no id to ask with"


@pytest.mark.parametrize("scheme", [GRAPHQL_CORE, ABSINTHE])
def test_without_an_introspection_a_field_that_is_gone_is_named_by_the_refusal(scheme: str) -> None:
    findings = judge(ask(FakeProbe("closeStakingTime", scheme=scheme)))
    gone = next(finding for finding in findings if finding.broken)
    assert "Round.closeStakingTime is gone" in gone.why and "no watcher can warn" in (gone.consequence or "")
    late_period = next(finding for finding in findings if finding.rule == "late-period")
    assert late_period.verdict is Verdict.UNCHECKED and "closeStakingTime" in late_period.why


def test_refused_keys_and_an_api_that_cannot_be_reached_end_the_check() -> None:
    probe = FakeProbe(introspection=unreachable())
    with pytest.raises(ApiError):
        ask(probe)
    probe = FakeProbe(introspection=ApiError("HTTP 400", code="numerai-api"))
    assert ask(probe).refused == "HTTP 400"
    probe.fail["apiTokenInfo"] = ApiError("refused", code="keys-refused")
    with pytest.raises(ApiError):
        ask(probe)
    probe.fail["apiTokenInfo"] = ApiError("no scope", code="scope-missing")
    assert about(ask(probe), "scopes-known").why == "no scope"


def test_the_record_names_nothing_of_the_account(tmp_path: Path) -> None:
    answers = ask(FakeProbe())
    answers.tried["webhook"] = "ALICE is not allowed"
    path = tmp_path / "record.json"
    write_record(path, record(answers, judge(answers)))
    text = path.read_text()
    assert not [word for word in ("MODEL-ID", "ALICE", "HOOK", "ENTRY", "SUB", "FILE", "SECRET") if word in text]
    kept = json.loads(text)
    (model,) = kept["models"]
    assert model["webhook"] and not model["pickle"] and kept["requests_met"]["webhook"] == "refused"
    assert model["entries"] == [{"round": 100, "status": None, "id": "id-1", "file": "file-1", "seconds": None}]
    assert model["files"] == [{"round": 100, "id": "id-2", "file": "file-1", "trigger": None, "seconds": 600}]
    with pytest.raises(UsageError, match="is there already"):
        write_record(path, {})
    with pytest.raises(UsageError, match="cannot be written"):
        write_record(tmp_path / "no" / "such" / "folder.json", {})
    assert path.read_text() == text


def test_a_change_is_sent_with_a_field_that_no_api_has() -> None:
    document = "mutation Set($a: String = {b: 1}) { set(a: $a) { id } }"
    assert with_no_such_field("mutation($a: String) { set(a: $a) { id } }").startswith(
        f"mutation($a: String) {{ {NO_SUCH_FIELD}  set"
    )
    assert with_no_such_field(document).count(NO_SUCH_FIELD) == 1


def test_the_truth_names_every_rule_and_every_switch() -> None:
    from numerai_compute.sandbox.switches import Switches

    text = (Path(__file__).parents[3] / "docs" / "truth.md").read_text(encoding="utf-8")
    missing = [rule for rule in RULES if f"| `{rule}` **api** |" not in text]
    assert missing == []
    assert [each.name for each in fields(Switches) if f"`{each.name}`" not in text] == []
    ids = re.findall(r"^\| `([a-z0-9-]+)`", text, re.MULTILINE)
    assert len(ids) == len(set(ids)), "an id stands for one rule"
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \*\*api\*\*", text, re.MULTILINE)) == set(RULES)
