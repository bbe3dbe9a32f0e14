"""The root against the names that a later version of the AWS provider has: what an upgrade would break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws.root_names import ROOT, TERRAFORMS_OWN, Block, blocks_of, reads_of

HERE = Path(__file__).parents[2] / "aws" / "provider6.json"
RENAMED = {("aws_batch_compute_environment", "compute_environment_name_prefix"): "name_prefix"}
"""What the root uses and version 6 calls otherwise; docs/aws.md lists it."""


@pytest.fixture(scope="module")
def names() -> dict[str, dict[str, Any]]:
    document = json.loads(HERE.read_text(encoding="utf-8"))
    assert document["version"].startswith("6.")
    used = {(kind, type_) for kind, type_, _ in blocks_of()}
    unknown = sorted(type_ for kind, type_ in used if type_ not in document[kind])
    assert unknown == [], "tests/aws/provider_names.py derives provider6.json anew"
    return {kind: document[kind] for kind in ("resource", "data")}


def unknown_to(takes: dict[str, Any], block: Block) -> Iterator[str]:
    """The arguments and blocks of a block that are not among those."""
    yield from (name for name in block.arguments - TERRAFORMS_OWN if name not in takes)
    for name, inner in block.blocks:
        if name not in TERRAFORMS_OWN:
            yield from unknown_to(takes[name], inner) if takes.get(name) is not None else (name,)


def test_version_6_knows_every_argument_but_those_that_it_renamed(names: dict[str, dict[str, Any]]) -> None:
    missing = {
        (type_, name) for kind, type_, block in blocks_of() for name in unknown_to(names[kind][type_]["takes"], block)
    }
    assert missing == set(RENAMED)
    for (type_, _), name in RENAMED.items():
        assert name in names["resource"][type_]["takes"]


def test_version_6_gives_every_attribute_that_the_root_reads(names: dict[str, dict[str, Any]]) -> None:
    reads = reads_of()
    assert ("resource", "aws_batch_job_queue", "arn") in reads and ("data", "aws_partition", "partition") in reads
    for kind, type_, name in reads:
        assert name in (*names[kind][type_]["takes"], *names[kind][type_]["gives"]), f"{type_}.{name}"


def test_the_documentation_lists_what_changes() -> None:
    text = (ROOT.parents[1] / "docs" / "aws.md").read_text(encoding="utf-8")
    for (type_, before), after in RENAMED.items():
        assert f"| `{type_}` | `{before}` | `{after}` |" in text


def test_no_block_of_the_root_is_overlooked() -> None:
    found = blocks_of()
    written = [
        line
        for path in ROOT.glob("*.tf")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("resource ", "data "))
    ]
    assert len(found) == len(written)
    environment = next(block for _, type_, block in found if type_ == "aws_batch_compute_environment")
    inner = dict(dict(environment.blocks)["compute_resources"].blocks)
    assert inner["ec2_configuration"].arguments == {"for_each", "image_type"}, "a dynamic block is what it makes"


def test_an_argument_that_does_not_exist_is_found(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(
        'resource "aws_x" "this" {\n  name = "a"\n  tags = {\n    inner = "no argument"\n  }\n\n'
        "  part {\n    nme = 1\n  }\n}\n"
    )
    ((_, _, block),) = blocks_of(tmp_path)
    assert list(unknown_to({"name": None, "tags": None, "part": {"name": None}}, block)) == ["nme"]
    assert list(unknown_to({"name": None, "tags": None}, block)) == ["part"]
