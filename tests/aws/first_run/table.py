"""What was proven as a table: on the terminal, and in docs/aws.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .model import Proof, Verdict

DOCUMENT = Path(__file__).parents[3] / "docs" / "aws.md"
BEGIN, END = "<!-- written by `make aws-first-run ARGS=--emulator`: begin -->", "<!-- end -->"


def document(proofs: Sequence[Proof]) -> str:
    """The table in docs/aws.md: the same text for the same proofs, with no times and no measures."""
    proven = sum(proof.seen.verdict is Verdict.PROVEN for proof in proofs)
    untold = sum(proof.seen.verdict is Verdict.UNTOLD for proof in proofs)
    head = (
        f"On the emulator {proven} of {len(proofs)} steps are as documented; of {untold} only an account can tell.\n\n"
    )
    rows = [
        f"| {number} | {_linked(proof)} | {proof.step.expected} | {_what(proof)} |\n"
        for number, proof in enumerate(proofs, 1)
    ]
    return head + "| | step | what is documented | on the emulator |\n| --- | --- | --- | --- |\n" + "".join(rows)


def _linked(proof: Proof) -> str:
    source = proof.step.source
    outside = "." in source.partition("/")[0]
    inside = source.removeprefix("docs/") if source.startswith("docs/") else f"../{source}"
    return f"[{proof.step.name}]({f'https://{source}' if outside else inside})"


def _what(proof: Proof) -> str:
    if proof.seen.verdict is Verdict.PROVEN:
        return proof.seen.what
    return f"**{proof.seen.verdict.value}**: {proof.seen.what}"


def section(text: str) -> str:
    """The part of docs/aws.md between the marks."""
    return text.partition(BEGIN + "\n")[2].partition(END)[0]


def written(text: str, proofs: Sequence[Proof]) -> str:
    """docs/aws.md with the table of these proofs."""
    before, _, rest = text.partition(BEGIN + "\n")
    return f"{before}{BEGIN}\n{document(proofs)}{END}{rest.partition(END)[2]}"


def table(proofs: Sequence[Proof]) -> str:
    """For a terminal: what each step saw, how that compares, what was measured, and the seconds it took."""
    head = ("", "step", "", "seconds", "what AWS did")
    rows = [
        (
            str(number),
            proof.step.name,
            proof.seen.verdict.value,
            f"{proof.seconds:.1f}",
            f"{proof.seen.what}{f' ({proof.seen.measured})' if proof.seen.measured else ''}",
        )
        for number, proof in enumerate(proofs, 1)
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in [head, *rows]
    )
