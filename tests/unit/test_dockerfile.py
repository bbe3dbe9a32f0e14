from __future__ import annotations

import pytest
from numerai_compute.dockerfile import instructions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\nRUN b\n", ["FROM a", "RUN b"]),
        ("  from a  \r\n\r\n# RUN x\r\nRUN b \\\r\n  c\r\n", ["from a", "RUN b   c"]),
        ("RUN a \\  \n# why\n\n  && b\nCMD c", ["RUN a   && b", "CMD c"]),
        ("FROM py\\\nthon\n", ["FROM python"]),
        ("RUN echo \\\\\nCMD c\n", ["RUN echo \\\\", "CMD c"]),
        ("# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b\nCOPY x c:\\\nCMD c",
         ["RUN a  b", "COPY x c:\\", "CMD c"]),
        ("# a comment\n# escape=`\nRUN a `\nCMD c", ["RUN a `", "CMD c"]),
        ("RUN <<EOF\nFROM nothing\nEOF\nCMD c\n", ["RUN <<EOF", "CMD c"]),
        ("COPY <<-'A' <<B /x/\n\tCMD a\n\tA\nCMD b\nB\nCMD c", ["COPY <<-'A' <<B /x/", "CMD c"]),
        ("RUN echo \"a <<EOF b\" $((1<<2))\nCMD c", ['RUN echo "a <<EOF b" $((1<<2))', "CMD c"]),
        ("ONBUILD RUN <<EOF\nCMD a\nEOF\nCMD b", ["ONBUILD RUN <<EOF", "CMD b"]),
        ("RUN echo 'a <<EOF b'\nCMD c\nEOF", ["RUN echo 'a <<EOF b'", "CMD c", "EOF"]),
        ("CMD <<EOF\nRUN x\nEOF\n", ["CMD <<EOF", "RUN x", "EOF"]),
        ("RUN a \\", ["RUN a"]),
        ("", []),
    ],
)  # fmt: skip
def test_instructions_are_what_the_builders_read(text: str, expected: list[str]) -> None:
    assert [each.text for each in instructions(text)] == expected


def test_an_instruction_knows_its_lines_and_its_word() -> None:
    found = instructions("# x\nFROM a AS b\n\nrun c \\\n  d\nCMD e")
    assert [(each.word, each.rest, each.first, each.last) for each in found] == [
        ("FROM", "a AS b", 1, 1),
        ("RUN", "c   d", 3, 4),
        ("CMD", "e", 5, 5),
    ]


def test_one_arg_may_declare_several_arguments() -> None:
    found = instructions("ARG A=1 B C='x D'\nENV E=1\nARG \"F\n")
    assert [each.arguments for each in found] == [[("A", "1"), ("B", None), ("C", "x D")], [], []]
