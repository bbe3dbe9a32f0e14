"""Which arguments and attributes our root uses, read from its files as `terraform fmt` writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2] / "terraform" / "aws"
_OPENS = re.compile(r'( *)(\w+)(?: "([\w-]+)")?(?: "([\w-]+)")? \{(\})?$')
_ARGUMENT = re.compile(r"( *)(\w+) +=")
_TEXT = re.compile(r"<<-?(\w+)$")
_READ = re.compile(r"\b(data\.)?(aws_\w+)\.\w+(?:\[(?:[^\[\]]|\[[^\]]*\])*\])?\.(\w+)")
TERRAFORMS_OWN = {"for_each", "count", "depends_on", "provider", "lifecycle"}
"""Arguments of every resource."""


@dataclass
class Block:
    """A block: its arguments, and the blocks in it by their names; `dynamic` ones as what they make."""

    arguments: set[str] = field(default_factory=set)
    blocks: list[tuple[str, Block]] = field(default_factory=list)


def blocks_of(root: Path = ROOT) -> list[tuple[str, str, Block]]:
    """Every resource and data source of the root: `resource` or `data`, its type, and its block."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(root.glob("*.tf"))]
    return [found for text in texts for found in _blocks(text)]


def reads_of(root: Path = ROOT) -> set[tuple[str, str, str]]:
    """Every attribute that the root reads: `resource` or `data`, the type, the attribute's name."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(root.glob("*.tf")))
    return {("data" if data else "resource", type_, name) for data, type_, name in _READ.findall(text)}


def _blocks(text: str) -> list[tuple[str, str, Block]]:
    found: list[tuple[str, str, Block]] = []
    open_: list[Block] = []
    end = None
    for line in text.splitlines():
        if end is not None:
            end = None if line.strip() == end else end
            continue
        if heredoc := _TEXT.search(line):
            end = heredoc[1]
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() == "}" and indent == 2 * (len(open_) - 1):
            open_.pop()
        elif indent != 2 * len(open_):
            continue  # inside a value of several lines
        elif opened := _OPENS.match(line):
            block, (_, word, label, _, closed) = Block(), opened.groups()
            if not open_ and word in ("resource", "data"):
                found.append((word, str(label), block))
            elif open_ and word == "content":
                block = open_[-1]
            elif open_:
                open_[-1].blocks.append((label if word == "dynamic" else word, block))
            if not closed:
                open_.append(block)
        elif open_ and (argument := _ARGUMENT.match(line)):
            open_[-1].arguments.add(argument[2])
    return found
