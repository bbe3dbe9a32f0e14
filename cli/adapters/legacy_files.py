"""What the official numerai-cli writes, in every shape from 0.1 to 1.1. Read, never written.

Sources: the packages numerai-cli 0.1 to 1.1.7 on PyPI (`numerai_compute/cli.py` until 0.2, then
`numerai/cli/util/keys.py`, `numerai/cli/util/files.py` and `numerai/cli/node/config.py`). Until 0.2 `~/.numerai` is a
file with an INI section `default`, whose names ConfigParser writes in small letters, and each project has a folder
`.numerai`; from 0.3 on it is a folder with `.keys` and `nodes.json`; 0.4 added `aws` and `azure` in it, 1.0 `gcp` and
`.gcp_keys`.
"""

from __future__ import annotations

import configparser
import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import NumeraiError
from ..models import Node, Tournament
from ..names import check_distinct, check_name, is_name, shown

CLOUD_KEYS = ("aws", "azure", "gcp")
"""Where the official tool keeps keys of cloud accounts in its file. This tool reads none of them by itself."""

# The official tool's names for tournaments, as its node names begin.
_PREFIXES = {
    "numerai": Tournament.CLASSIC,
    "signals": Tournament.SIGNALS,
    "crypto": Tournament.CRYPTO,
    "cryptosignals": Tournament.CRYPTO,
}
# Of which section of today's file each name of the INI file is.
_INI_SECTIONS = {"AWS_": "aws", "NUMERAI_": "numerai"}


class _LegacyNode(msgspec.Struct, frozen=True):
    """A node as numerai-cli records it: cpu in 1024ths of a vCPU, memory in MiB, sometimes as text."""

    provider: str = "aws"
    cpu: float | str | None = None
    memory: float | str | None = None
    path: str | None = None
    timeout_minutes: int | float | str | None = None
    model_id: str | None = None
    cron: str | None = None
    webhook_url: str | None = None


def legacy_nodes(raw: Mapping[str, Any]) -> tuple[dict[str, Node], dict[str, str]]:
    """The nodes of the official `nodes.json` by name, and why the others cannot be used."""
    nodes: dict[str, Node] = {}
    reasons: dict[str, str] = {}
    for name, record in raw.items():
        try:
            check_distinct(name, nodes)
            nodes[name] = _node(name, record)
        except msgspec.ValidationError as error:
            reasons[name] = f"its record cannot be read: {error}."
        except (NumeraiError, ValueError, OverflowError) as error:
            reasons[name] = str(error)
    return nodes, reasons


def legacy_keys(content: bytes) -> dict[str, Any] | None:
    """What the official file of keys holds, by section; None where it is none. `content` is UTF-8.

    Beside JSON and INI: both in one file, which the official tool's own conversion leaves. It writes over the INI file
    without emptying it, so other sections stand before the JSON, and what was longer than that behind it.
    """
    text = content.decode("utf-8", "replace").strip()
    ini, json_text = (text, "") if text.startswith("[") else ("", text)
    if "\n{" in ini:
        ini, _, rest = ini.partition("\n{")
        json_text = "{" + rest
    keys = dict[str, Any](_ini_keys(ini)) if ini else {}
    if json_text.startswith("{"):
        try:
            raw, _ = json.JSONDecoder(object_pairs_hook=once).raw_decode(json_text)
        except (ValueError, RecursionError):
            return None
        keys.update({name: _set(value) for name, value in raw.items()})
    return keys or None


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """For `json`: of two entries of one name the second would win, and the first be lost with the next change of the
    file. `ValueError` then."""
    found = dict[str, object]()
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{shown(name)} stands there twice")
        found[name] = value
    return found


def _set(section: object) -> object:
    """What of a section has a value: the official tool also writes `null`, for a section or for a key."""
    if isinstance(section, dict):
        return {name: value for name, value in section.items() if value is not None}
    return {} if section is None else section


def _ini_keys(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    keys: dict[str, dict[str, str]] = {}
    for section in (parser.defaults(), *(dict(parser[name]) for name in parser.sections())):
        for name, value in section.items():
            for prefix, kept in _INI_SECTIONS.items():
                if name.upper().startswith(prefix):
                    keys.setdefault(kept, {})[name.upper()] = value.strip().strip("'\"")
    return keys


def _node(name: str, raw: object) -> Node:
    check_name(name, "A node")
    if not raw:
        raise NumeraiError("the official tool had not finished configuring it.")
    node = msgspec.convert(raw, _LegacyNode, strict=False)
    provider = node.provider.strip().lower()
    if not is_name(provider):
        raise NumeraiError(f"its provider is {shown(node.provider)}.")
    prefix, _, model_name = name.partition("-")
    volume = msgspec.convert(raw, dict[str, Any]).get("volume")
    return Node(
        name=name,
        model_name=model_name or name,
        model_id=node.model_id or "",
        tournament=_PREFIXES.get(prefix, Tournament.CLASSIC),
        provider=provider,
        path=node.path or "",
        cpu=_number("cpu", node.cpu, 2048) / 1024,
        memory_mib=int(_number("memory", node.memory, 16384)),
        timeout_minutes=int(_number("timeout_minutes", node.timeout_minutes, 60)),
        cron=_cron(node) or None,
        webhook_url=node.webhook_url or None,
        disk_gib=min(max(volume, 20), 200) if type(volume) is int and provider == "aws" else None,
        legacy=msgspec.convert(raw, dict[str, Any]),
    )


def _number(name: str, given: float | str | None, default: float) -> float:
    try:
        number = float(given or default)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise NumeraiError(f"its {name} is {shown(given)}, which is no number that can be meant.")
    return number


def _cron(node: _LegacyNode) -> str:
    """The schedule as this tool takes it. Azure's has the seconds before the minutes."""
    cron = (node.cron or "").strip()
    fields = cron.split()
    return " ".join(fields[1:]) if node.provider.strip().lower() == "azure" and len(fields) == 6 else cron
