"""The user's home folder: `nodes.json` and `.keys`, read strictly and written atomically under a lock."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from ..addresses import origin
from ..counting import counted
from ..encodings import as_utf_8, is_utf_16
from ..errors import NumeraiError
from ..files.locks import holding
from ..files.private import PREVIOUS_SUFFIX, check_private_folder, remedy, write_private
from ..installation import install_command
from ..models import NUMERAI_API_URL, Keys, Node, Tournament
from ..names import check_distinct, check_name, shown
from ..pasted import pasted_keys

NODES_FILE = "nodes.json"
KEYS_FILE = ".keys"
NOTIFY_VARIABLE = "NUMERAI_NOTIFY"
CLOUD_KEYS = ("aws", "azure", "gcp")
"""Where the official tool keeps keys of cloud accounts in its file. This tool reads none of them."""
VERSION = 1
LOCK_SECONDS = 10

# The official tool's names for tournaments, as its node names begin.
_LEGACY_PREFIXES = {
    "numerai": Tournament.CLASSIC,
    "signals": Tournament.SIGNALS,
    "crypto": Tournament.CRYPTO,
    "cryptosignals": Tournament.CRYPTO,
}


class _RawNodesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    nodes: dict[str, Any] = {}
    settings: dict[str, dict[str, str | int]] = {}


class _NodesFile(msgspec.Struct, frozen=True):
    """`unusable` holds the nodes that could not be read, as they stand in the file: they are written back unchanged."""

    version: int
    nodes: dict[str, Node] = {}
    settings: dict[str, dict[str, str | int]] = {}
    unusable: dict[str, Any] = {}
    reasons: dict[str, str] = {}


class _LegacyNode(msgspec.Struct, frozen=True):
    """A node as numerai-cli 1.x records it: cpu in 1024ths of a vCPU, memory in MiB, sometimes as text."""

    provider: str = "aws"
    cpu: float | str = 2048
    memory: float | str = 16384
    path: str = ""
    timeout_minutes: int | str | None = None
    model_id: str = ""
    cron: str | None = None
    webhook_url: str | None = None


class _KeysFile(msgspec.Struct, frozen=True):
    numerai: dict[str, str] = {}
    version: int | None = None


class HomeStore:
    """`ports.StateStore` on a folder. Nothing is created before something is written."""

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None):
        self.home = home
        self._environ = os.environ if environ is None else environ

    @property
    def nodes_path(self) -> Path:
        return self.home / NODES_FILE

    @property
    def keys_path(self) -> Path:
        return self.home / KEYS_FILE

    # nodes and settings

    def nodes(self) -> Mapping[str, Node]:
        """All configured nodes by name; `NumeraiError` with code `state-corrupt` when the file cannot be read."""
        return self._read().nodes

    def unusable_nodes(self) -> Mapping[str, str]:
        return self._read().reasons

    def save_node(self, node: Node) -> None:
        check_name(node.name, "A node")

        def with_node(file: _NodesFile) -> _NodesFile:
            check_distinct(node.name, file.nodes)
            return msgspec.structs.replace(file, nodes={**file.nodes, node.name: node})

        self._update(with_node)

    def forget_node(self, name: str) -> None:
        self._update(
            lambda file: msgspec.structs.replace(
                file,
                nodes={k: v for k, v in file.nodes.items() if k != name},
                unusable={k: v for k, v in file.unusable.items() if k != name},
            )
        )

    def settings(self, provider: str) -> Mapping[str, str | int]:
        return self._read().settings.get(provider, {})

    def save_settings(self, provider: str, settings: Mapping[str, str | int]) -> None:
        self._update(
            lambda file: msgspec.structs.replace(file, settings={**file.settings, provider: dict(settings)}),
        )

    def node_lock(self, name: str) -> AbstractContextManager[object]:
        return self._lock(f"node-{name}", seconds=0, what=f"the node {name}")

    def folder_lock(self, folder: Path) -> AbstractContextManager[object]:
        digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
        return self._lock(f"folder-{digest[:16]}", seconds=LOCK_SECONDS, what=str(folder))

    # keys

    def keys(self) -> Keys | None:
        """The Numerai keys: environment variables win over the file; None when there are none.

        `NumeraiError` with code `keys-elsewhere` when the file's keys belong to another API than NUMERAI_API_URL
        names: keys are never sent to an address they were not given for.
        """
        env = self._environ
        public_id, secret_key = pasted_keys(env.get("NUMERAI_PUBLIC_ID"), env.get("NUMERAI_SECRET_KEY"))
        wanted_url = env.get("NUMERAI_API_URL")
        if public_id and secret_key:
            return Keys(public_id, secret_key, wanted_url or NUMERAI_API_URL)
        stored = self._stored_keys()
        if stored and wanted_url and wanted_url.rstrip("/") != stored.api_url.rstrip("/"):
            raise NumeraiError(
                f"The keys in {self.keys_path} belong to {stored.api_url}, but NUMERAI_API_URL is"
                f" {origin(wanted_url)}.",
                "Unset NUMERAI_API_URL, or run `numerai setup` with the keys of that API.",
                code="keys-elsewhere",
            )
        return stored

    def save_keys(self, keys: Keys) -> None:
        numerai = {"NUMERAI_PUBLIC_ID": keys.public_id, "NUMERAI_SECRET_KEY": keys.secret_key}
        if keys.api_url != NUMERAI_API_URL:
            numerai["NUMERAI_API_URL"] = keys.api_url
        self._update_keys(lambda content: {**content, "numerai": numerai})

    # whom to notify

    def notify_urls(self) -> Mapping[str, str]:
        """Whom to notify: name -> apprise URL, those of the file and then those of the environment variable
        NUMERAI_NOTIFY (separated by blanks), which are named env-1, env-2, ..."""
        given = self._environ.get(NOTIFY_VARIABLE, "").split()
        return {
            **self._stored_notify_urls(self._raw_keys()),
            **{f"env-{number}": url for number, url in enumerate(given, start=1)},
        }

    def save_notify_url(self, name: str, url: str) -> None:
        self._update_keys(lambda content: {**content, "notify": {**self._stored_notify_urls(content), name: url}})

    def forget_notify_url(self, name: str) -> None:
        """Remove one of the file's; one that is not there is fine."""

        def without(content: dict[str, Any]) -> dict[str, Any]:
            kept = {key: url for key, url in self._stored_notify_urls(content).items() if key != name}
            return {**content, "notify": kept}

        self._update_keys(without)

    # repair and upgrade

    def previous_nodes(self) -> tuple[Path, int] | None:
        path = self.nodes_path.with_name(NODES_FILE + PREVIOUS_SUFFIX)
        try:
            return path, len(_parse_nodes(path.read_bytes(), path).nodes)
        except (OSError, NumeraiError):
            return None

    def restore_previous_nodes(self) -> Path | None:
        previous = self.previous_nodes()
        if previous is None:
            raise NumeraiError(f"There is no readable previous version of {self.nodes_path}.", code="state-corrupt")
        with self._lock("home", seconds=LOCK_SECONDS, what=str(self.home)):
            aside = self.nodes_path.with_name(f"{NODES_FILE}.broken-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
            broken = self._content(self.nodes_path)
            if broken is not None:
                write_private(aside, broken, keep_previous=False)
            write_private(self.nodes_path, previous[0].read_bytes(), keep_previous=False)
        return aside if broken is not None else None

    def is_legacy(self) -> bool:
        content = self._content(self.nodes_path)
        raw = _decode(content, self.nodes_path) if content is not None else {"version": VERSION}
        keys = self._raw_keys()
        return "version" not in raw or bool(keys and "version" not in keys)

    def upgrade(self) -> list[Path]:
        backups = []
        with self._lock("home", seconds=LOCK_SECONDS, what=str(self.home)):
            nodes, keys = self._read(), self._raw_keys()
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            if self.nodes_path.exists() and "version" not in _decode(self.nodes_path.read_bytes(), self.nodes_path):
                backups.append(self._back_up(self.nodes_path, stamp))
                write_private(self.nodes_path, _nodes_json(nodes), keep_previous=False)
            if keys and "version" not in keys:
                backups.append(self._back_up(self.keys_path, stamp))
                kept = {name: value for name, value in keys.items() if name not in CLOUD_KEYS}
                write_private(self.keys_path, _to_json({**kept, "version": VERSION}), keep_previous=False)
        return backups

    def _back_up(self, path: Path, stamp: str) -> Path:
        backup = path.with_name(f"{path.name}.official-{stamp}")
        write_private(backup, path.read_bytes(), keep_previous=False)
        return backup

    # the files

    def _read(self) -> _NodesFile:
        check_private_folder(self.home)
        content = self._content(self.nodes_path)
        if content is None:
            self._refuse_lost()
            return _NodesFile(version=VERSION)
        try:
            return _parse_nodes(content, self.nodes_path)
        except NumeraiError as error:
            previous = self.previous_nodes()
            if error.code == "state-corrupt" and previous:
                error.hint = (
                    f"A previous version with {counted(previous[1], 'node')} was kept ({previous[0].name}): "
                    "`numerai doctor --fix` puts it back and keeps the broken file aside."
                )
            raise

    def _content(self, path: Path) -> bytes | None:
        """What a file of the home holds; None where there is none. A link that leads nowhere is an error: what it leads
        to may be on a disk that is not mounted, and is not to be taken for empty, nor to be replaced."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            for place in (self.home, path):
                if place.is_symlink() and not place.exists():
                    raise NumeraiError(
                        f"{place} is a link to {place.readlink()}, which is not there.",
                        "Mount the disk that it is on, or remove the link to begin anew.",
                        code="home-unreadable",
                    ) from None
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def _refuse_lost(self) -> None:
        """There is no nodes.json. Raise where there has been one with nodes."""
        previous = self.previous_nodes()
        if previous and previous[1]:
            raise NumeraiError(
                f"{self.nodes_path} is gone. It has held {counted(previous[1], 'node')}.",
                f"`numerai doctor --fix` puts the previous version back ({previous[0].name}); remove that one, too, to "
                "begin anew.",
                code="state-corrupt",
            )

    def _update(self, change: Callable[[_NodesFile], _NodesFile]) -> None:
        with self._lock("home", seconds=LOCK_SECONDS, what=str(self.home)):
            if self.nodes_path.exists() and "version" not in _decode(self.nodes_path.read_bytes(), self.nodes_path):
                raise self._needs_upgrade(self.nodes_path)
            write_private(self.nodes_path, _nodes_json(change(self._read())))

    def _update_keys(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        with self._lock("home", seconds=LOCK_SECONDS, what=str(self.home)):
            content = self._raw_keys()
            if content and "version" not in content:
                raise self._needs_upgrade(self.keys_path)
            write_private(self.keys_path, _to_json({**change(content), "version": VERSION}))

    def _raw_keys(self) -> dict[str, Any]:
        check_private_folder(self.home)
        content = self._content(self.keys_path)
        raw = _decode(content, self.keys_path) if content and content.strip() else {}
        _refuse_newer(raw, self.keys_path)
        return raw

    def _stored_notify_urls(self, content: dict[str, Any]) -> dict[str, str]:
        try:
            return msgspec.convert(content.get("notify", {}), dict[str, str])
        except msgspec.ValidationError:
            raise _corrupt(self.keys_path, "`notify` does not hold names and addresses") from None

    def _stored_keys(self) -> Keys | None:
        try:
            numerai = msgspec.convert(self._raw_keys(), _KeysFile).numerai
        except msgspec.ValidationError as error:
            raise _corrupt(self.keys_path, "not the expected content") from error
        public_id, secret_key = numerai.get("NUMERAI_PUBLIC_ID"), numerai.get("NUMERAI_SECRET_KEY")
        if not public_id or not secret_key:
            return None
        return Keys(public_id, secret_key, numerai.get("NUMERAI_API_URL") or NUMERAI_API_URL)

    def _needs_upgrade(self, path: Path) -> NumeraiError:
        return NumeraiError(
            f"{path} was written by the official numerai-cli, which may still be using it.",
            "Run `numerai upgrade`: it converts the file and keeps a backup.",
            code="needs-upgrade",
        )

    def _lock(self, name: str, *, seconds: float, what: str) -> AbstractContextManager[None]:
        busy = NumeraiError(f"Another numerai command is changing {what}.", "Try again when it has ended.", code="busy")
        return holding(self.home / "locks" / f"{name}.lock", busy=busy, seconds=seconds)


def _parse_nodes(content: bytes, path: Path) -> _NodesFile:
    raw = _decode(content, path)
    if "version" not in raw:
        return _NodesFile(version=VERSION, nodes={name: _from_legacy(name, node, path) for name, node in raw.items()})
    _refuse_newer(raw, path)
    try:
        file = msgspec.convert(raw, _RawNodesFile)
    except msgspec.ValidationError as error:
        raise _corrupt(path, str(error)) from error
    nodes: dict[str, Node] = {}
    reasons: dict[str, str] = {}
    for name, record in file.nodes.items():
        try:
            check_distinct(name, nodes)
            nodes[name] = _node(name, record)
        except (msgspec.ValidationError, NumeraiError) as error:
            reasons[name] = str(error)
    unusable = {name: file.nodes[name] for name in reasons}
    return _NodesFile(file.version, nodes, file.settings, unusable, reasons)


def _node(name: str, record: object) -> Node:
    check_name(name, "A node")
    node = msgspec.convert(record, Node)
    if node.name != name:
        raise NumeraiError(f"its record is that of {shown(node.name)}.")
    check_name(node.model_name, "Its model")
    return node


def _nodes_json(file: _NodesFile) -> bytes:
    nodes = {**file.unusable, **file.nodes}
    return _to_json(_RawNodesFile(file.version, nodes, file.settings))


def _refuse_newer(raw: dict[str, Any], path: Path) -> None:
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NumeraiError(
            f"{path} has version {version}; this numerai knows versions up to {VERSION}.",
            f"Install a newer numerai: `{install_command()}`.",
            code="state-newer",
        )


def _from_legacy(name: str, raw: object, path: Path) -> Node:
    try:
        node = msgspec.convert(raw, _LegacyNode, strict=False)
        prefix, _, model_name = name.partition("-")
        return Node(
            name=name,
            model_name=model_name or name,
            model_id=node.model_id,
            tournament=_LEGACY_PREFIXES.get(prefix, Tournament.CLASSIC),
            provider=node.provider,
            path=node.path,
            cpu=float(node.cpu) / 1024,
            memory_mib=int(float(node.memory)),
            timeout_minutes=int(node.timeout_minutes or 60),
            cron=node.cron or None,
            webhook_url=node.webhook_url or None,
            legacy=msgspec.convert(raw, dict[str, str | int | float | bool | None]),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise _corrupt(path, f"node {name}: {error}") from error


def _decode(content: bytes, path: Path) -> dict[str, Any]:
    text = as_utf_8(content)
    if is_utf_16(text):
        raise _corrupt(path, "it looks like UTF-16 without a mark, and is read as UTF-8")
    try:
        raw = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise _corrupt(path, "it is nested too deeply") from error
    except (ValueError, msgspec.DecodeError) as error:
        raise _corrupt(path, str(error) if path.name != KEYS_FILE else "not valid JSON") from error
    if not isinstance(raw, dict):
        raise _corrupt(path, "not a JSON object")
    return raw


def _once(pairs: list[tuple[str, object]]) -> None:
    """Of two entries of one name the second would win, and the first be lost with the next change of the file."""
    seen = set[str]()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"{shown(name)} stands there twice")
        seen.add(name)


def _to_json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _corrupt(path: Path, why: str) -> NumeraiError:
    return NumeraiError(
        f"{path} cannot be read: {why}.",
        "Restore it from a backup, or move it away and configure again; nothing was changed.",
        code="state-corrupt",
    )


def _unreadable(path: Path, error: OSError) -> NumeraiError:
    hint = remedy(error) or "Make it readable for you."
    if isinstance(error, NotADirectoryError):
        hint = f"NUMERAI_HOME must name a folder. {hint}"
    return NumeraiError(f"Cannot read {path}: {error.strerror or error}.", hint, code="home-unreadable")
