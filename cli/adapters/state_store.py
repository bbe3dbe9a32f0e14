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
from ..models import NUMERAI_API_URL, Keys, Node
from ..names import check_distinct, check_name, shown
from ..pasted import pasted_keys
from .legacy_files import CLOUD_KEYS, legacy_keys, legacy_nodes, once

NODES_FILE = "nodes.json"
KEYS_FILE = ".keys"
NOTIFY_VARIABLE = "NUMERAI_NOTIFY"
VERSION = 1
LOCK_SECONDS = 10


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
        return self.read().nodes

    def unusable_nodes(self) -> Mapping[str, str]:
        return self.read().reasons

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
        return self.read().settings.get(provider, {})

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
            **self._stored_notify_urls(self.raw_keys()),
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
        with self.changing():
            aside = self.nodes_path.with_name(f"{NODES_FILE}.broken-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
            broken = self._content(self.nodes_path)
            if broken is not None:
                write_private(aside, broken, keep_previous=False)
            write_private(self.nodes_path, previous[0].read_bytes(), keep_previous=False)
        return aside if broken is not None else None

    def is_legacy(self) -> bool:
        keys = self.raw_keys()
        return self.legacy_nodes_file() or bool(keys and "version" not in keys)

    def legacy_nodes_file(self) -> bool:
        """Whether `nodes.json` is the official tool's."""
        content = self._nodes_content()
        return content is not None and "version" not in decoded(content, self.nodes_path)

    def changing(self) -> AbstractContextManager[None]:
        """Held while the home's files are changed."""
        return self._lock("home", seconds=LOCK_SECONDS, what=str(self.home))

    # the files

    def read(self) -> _NodesFile:
        """What `nodes.json` holds; `NumeraiError` with code `state-corrupt` when it cannot be read."""
        check_private_folder(self.home)
        content = self._nodes_content()
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
        to may be on a disk that is not mounted, and is not to be taken for empty, nor to be replaced. Where numerai-cli
        0.1 or 0.2 has made the home, it is a file of keys."""
        if (old := keys_alone(self.home)) is not None:
            return old.read_bytes() if path == self.keys_path else None
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

    def _nodes_content(self) -> bytes | None:
        """What `nodes.json` holds. An empty one is the official tool's, unless this tool has written one before."""
        content = self._content(self.nodes_path)
        return without_nothing(content) if content is not None and self.previous_nodes() is None else content

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
        with self.changing():
            if self.legacy_nodes_file():
                raise _needs_upgrade(self.nodes_path)
            write_private(self.nodes_path, _nodes_json(change(self.read())))

    def _update_keys(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        with self.changing():
            content = self.raw_keys()
            if content and "version" not in content:
                raise _needs_upgrade(self.keys_path)
            write_private(self.keys_path, _to_json({**change(content), "version": VERSION}))

    def raw_keys(self) -> dict[str, Any]:
        """What the file of keys holds, all of it."""
        check_private_folder(self.home)
        content = self._content(self.keys_path)
        if not content or not content.strip():
            return {}
        try:
            raw = decoded(content, self.keys_path)
        except NumeraiError:
            legacy = legacy_keys(as_utf_8(content))
            if legacy is None or "version" in legacy:
                raise
            return legacy
        _refuse_newer(raw, self.keys_path)
        return raw if "version" in raw else legacy_keys(as_utf_8(content)) or raw

    def _stored_notify_urls(self, content: dict[str, Any]) -> dict[str, str]:
        try:
            return msgspec.convert(content.get("notify", {}), dict[str, str])
        except msgspec.ValidationError:
            raise _corrupt(self.keys_path, "`notify` does not hold names and addresses") from None

    def _stored_keys(self) -> Keys | None:
        try:
            numerai = msgspec.convert(self.raw_keys(), _KeysFile).numerai
        except msgspec.ValidationError as error:
            raise _corrupt(self.keys_path, "not the expected content") from error
        public_id, secret_key = numerai.get("NUMERAI_PUBLIC_ID"), numerai.get("NUMERAI_SECRET_KEY")
        if not public_id or not secret_key:
            return None
        return Keys(public_id, secret_key, numerai.get("NUMERAI_API_URL") or NUMERAI_API_URL)

    def _lock(self, name: str, *, seconds: float, what: str) -> AbstractContextManager[None]:
        if self.home.is_file() and keys_alone(self.home) is not None:
            raise _needs_upgrade(self.home)
        busy = NumeraiError(f"Another numerai command is changing {what}.", "Try again when it has ended.", code="busy")
        return holding(self.home / "locks" / f"{name}.lock", busy=busy, seconds=seconds)


def converted(store: HomeStore) -> dict[Path, bytes]:
    """What those of the home's files would hold that the official tool wrote, in this tool's form. Keys of cloud
    accounts are left out: nothing here reads them."""
    files, keys = dict[Path, bytes](), store.raw_keys()
    if store.legacy_nodes_file():
        files[store.nodes_path] = _nodes_json(store.read())
    if keys and "version" not in keys:
        kept = {name: value for name, value in keys.items() if name not in CLOUD_KEYS}
        files[store.keys_path] = _to_json({**kept, "version": VERSION})
    return files


def without_nothing(content: bytes) -> bytes:
    """What the official tool's `nodes.json` holds: an empty one has no nodes."""
    return content if as_utf_8(content).strip() else b"{}"


def _needs_upgrade(path: Path) -> NumeraiError:
    return NumeraiError(
        f"{path} was written by the official numerai-cli, which may still be using it.",
        "Run `numerai upgrade`: it converts the file and keeps a backup.",
        code="needs-upgrade",
    )


def keys_alone(home: Path) -> Path | None:
    """The file that is the whole home of numerai-cli 0.1 and 0.2, or that an interrupted upgrade has moved aside; None
    where there is none, or the home has a file of keys."""
    try:
        path = home if home.is_file() else parked(home)
        if not path.is_file() or (path != home and (home / KEYS_FILE).exists()):
            return None
        return path if legacy_keys(as_utf_8(path.read_bytes())) else None
    except OSError:  # whoever reads the home says so
        return None


def parked(home: Path) -> Path:
    """Where the file is for a moment that a folder takes the place of."""
    return home.with_name(f"{home.name}.official")


def _parse_nodes(content: bytes, path: Path) -> _NodesFile:
    raw = decoded(content, path)
    if "version" not in raw:
        usable, why = legacy_nodes(raw)
        return _NodesFile(VERSION, usable, unusable={name: raw[name] for name in why}, reasons=why)
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
            ours = isinstance(record, dict) and "model_name" in record
            left = {} if ours else legacy_nodes({name: record})[1]  # as it was taken over
            reasons[name] = left.get(name, str(error))
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
    nodes = {**file.nodes, **{name: record for name, record in file.unusable.items() if name not in file.nodes}}
    return _to_json(_RawNodesFile(file.version, nodes, file.settings))


def _refuse_newer(raw: dict[str, Any], path: Path) -> None:
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise NumeraiError(
            f"{path} has version {version}; this numerai knows versions up to {VERSION}.",
            f"Install a newer numerai: `{install_command()}`.",
            code="state-newer",
        )


def decoded(content: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in a file of the home; `NumeraiError` with code `state-corrupt` where there is none."""
    text = as_utf_8(content)
    if is_utf_16(text):
        raise _corrupt(path, "it looks like UTF-16 without a mark, and is read as UTF-8")
    try:
        raw = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=once)
    except RecursionError as error:
        raise _corrupt(path, "it is nested too deeply") from error
    except (ValueError, msgspec.DecodeError) as error:
        raise _corrupt(path, str(error) if path.name != KEYS_FILE else "not valid JSON") from error
    if not isinstance(raw, dict):
        raise _corrupt(path, "not a JSON object")
    return raw


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
