"""Numerai's data files, listed and downloaded by the node runtime's own client and cache."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..counting import sized
from ..errors import ApiError, EnvironmentNotReady
from ..foreign import one_line
from ..models import DataFile, DataListing
from ..ports import Report, Watch
from .numerai_api import HttpNumeraiApi

if TYPE_CHECKING:
    from numerai_node.cache_folder import default_cache
    from numerai_node.downloads import Cache, Missing
    from numerai_node.errors import NodeError
    from numerai_node.settings import cache_of
    from numerai_node.transport import Patience
    from numerai_node.versions import PREFIX, complete_versions, listed_versions
else:
    from numerai_compute.node_template.numerai_node.cache_folder import default_cache
    from numerai_compute.node_template.numerai_node.downloads import Cache, Missing
    from numerai_compute.node_template.numerai_node.errors import NodeError
    from numerai_compute.node_template.numerai_node.settings import cache_of
    from numerai_compute.node_template.numerai_node.transport import Patience
    from numerai_compute.node_template.numerai_node.versions import PREFIX, complete_versions, listed_versions

ROOM_LEFT = 64 << 20
"""Bytes that a download leaves free: a disk that is full to the last byte stops everything else."""


class HttpDataFiles(HttpNumeraiApi):
    """`ports.DataFiles` over HTTP. `report` is told what is waited for and tried again."""

    def __init__(self, api_url: str, report: Report, *, sleep: Callable[[float], None] = time.sleep):
        super().__init__(None, api_url=api_url, sleep=sleep)
        self._report = report

    def listing(self, tournament: int) -> DataListing:
        files = listed_versions(self._ask(lambda: self._client.datasets(tournament)), tournament)
        complete = complete_versions(files)
        return DataListing(
            {version: tuple(sorted(own)) for version, own in files.items()}, complete[-1] if complete else None
        )

    def folder(self, tournament: int, version: str) -> Path:
        return self._cache_folder() / f"{PREFIX[tournament]}{version}"

    def _cache_folder(self) -> Path:
        given = os.environ.get("NUMERAI_CACHE")
        return cache_of(self.url, Path(given) if given else default_cache())

    def download(self, tournament: int, version: str, name: str, folder: Path | None, watch: Watch) -> DataFile:
        full_name = f"{PREFIX[tournament]}{version}/{name}"
        kept_as = full_name if folder is None else name
        told: list[str] = []

        def hear(event: str, **about: object) -> None:
            told.append(event)
            if event == "waiting":
                self._report(f"Another process is downloading {full_name}: waiting for it.")

        cache = Cache(folder or self._cache_folder(), self._transport, report=hear, only_here=True)

        def address(patience: Patience) -> str:
            return self._ask(lambda: self._client.dataset_url(tournament, full_name, patience))

        def check_room(headers: Mapping[str, str]) -> None:
            if cache.etag(kept_as) is None or cache.etag(kept_as) != headers.get("ETag"):
                _check_room(cache.folder, full_name, headers)

        try:
            path = cache.fetch(kept_as, address, check_room, wait_for_missing=False, watch=watch)
        except Missing as error:
            raise _failed(
                f"Numerai lists {full_name} and does not serve it: {error}.",
                "It may be coming out just now: try again later, or give another --version.",
            ) from error
        except NodeError as error:
            raise _failed(
                one_line(str(error)),
                "Run the same command again: it goes on where it stopped, as far as that is possible.",
            ) from error
        return DataFile(full_name, path, path.stat().st_size, "downloaded" in told)


def _check_room(folder: Path, name: str, headers: Mapping[str, str]) -> None:
    length = headers.get("Content-Length", "")
    free = shutil.disk_usage(folder).free
    if length.isascii() and length.isdigit() and int(length) + ROOM_LEFT > free:
        raise EnvironmentNotReady(
            f"{name} does not fit: it has {sized(int(length))}, and {folder} has {sized(free)} free.",
            "Make room, or give a folder on another disk with --to.",
            code="disk-full",
        )


def _failed(message: str, hint: str) -> ApiError:
    return ApiError(message, hint, code="download-failed", temporary=True)
