"""A full disk is named, whatever else it breaks first."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from numerai_compute.errors import ProviderError
from numerai_compute.models import CheckStatus
from numerai_compute.providers.local.checks import local_checks
from numerai_compute.providers.local.daemon import start_daemon
from numerai_compute.providers.local.parts import LocalParts

from tests.unit.providers.test_scheduler import context

Usage = namedtuple("Usage", "total used free")


def test_a_daemon_that_cannot_write_a_word_is_spoken_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ProviderError) as caught:
        start_daemon(context(tmp_path), report=lambda line: None, command=(sys.executable, "-c", "pass"))
    assert os.strerror(errno.ENOSPC) in caught.value.message and "Make room on the disk" in caught.value.message


def test_the_disk_is_looked_at_although_the_database_fails_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = LocalParts(context(tmp_path, executor="process"))
    parts.paths.root.mkdir(parents=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**9, 10**9, 0))
    for content in (b"", b"nonsense" * 200):
        parts.paths.database.write_bytes(content)
        found = {check.name: check for check in local_checks(parts, [], lambda node: "hash")}
        assert found["disk of the home folder"].status is CheckStatus.FAILED
        assert "no run can begin" in found["disk of the home folder"].why
    parts.store.close()
