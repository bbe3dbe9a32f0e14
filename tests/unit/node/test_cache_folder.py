"""Others on the same machine can neither direct what a download writes nor choose what a run reads."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numerai_node.cache_folder import default_cache, fallback_cache, make_own
from numerai_node.downloads import Cache
from numerai_node.settings import from_environment
from numerai_node.transport import Transport

from .conftest import Stub

NAME = "v5.10/features.json"
POISON = b'{"feature_sets": {"small": ["POISON"]}, "targets": []}'

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes and links on Windows")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder and a folder for temporary files of its own."""
    for name in ("XDG_CACHE_HOME", "NUMERAI_CACHE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "user"))
    return tmp_path


@pytest.fixture
def fetch(stub: Stub, transport: Transport) -> Callable[[Path], Path]:
    return lambda folder: Cache(folder, transport).fetch(NAME, lambda _: f"{stub.url}/data/{NAME}")


def test_without_a_word_it_is_the_users_own(machine: Path) -> None:
    folder = from_environment().cache
    assert folder == default_cache()
    assert folder.is_relative_to(machine / "user")
    assert not folder.is_relative_to(machine / "tmp")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is for the others")
@pytest.mark.parametrize(("named", "expected"), [("/var/x", "/var/x/numerai"), ("x", "/h/.cache/numerai")])
def test_xdg(named: str, expected: str) -> None:
    assert default_cache({"HOME": "/h", "XDG_CACHE_HOME": named}) == Path(expected)


def test_a_user_without_a_home_has_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert default_cache({}) == fallback_cache()


@posix
def test_only_the_user_may_look_into_it(fetch: Callable[[Path], Path], stub: Stub) -> None:
    before = os.umask(0)
    try:
        assert fetch(default_cache()).read_bytes() == stub.files[NAME]
    finally:
        os.umask(before)
    assert stat.S_IMODE(default_cache().stat().st_mode) == 0o700


@posix
def test_a_folder_that_others_can_write_into_is_not_used(
    fetch: Callable[[Path], Path], stub: Stub, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default_cache().mkdir(parents=True)
    default_cache().chmod(0o777)
    assert fetch(default_cache()).is_relative_to(fallback_cache())
    assert "others can write into it" in capsys.readouterr().out


@posix
def test_a_planted_folder_of_temporary_files_is_not_used(
    fetch: Callable[[Path], Path], stub: Stub, machine: Path
) -> None:
    theirs = machine / "theirs"
    theirs.mkdir()
    fallback_cache().symlink_to(theirs, target_is_directory=True)
    path = fetch(fallback_cache())
    assert path.read_bytes() == stub.files[NAME]
    assert path.is_relative_to(machine / "tmp")
    assert not list(theirs.iterdir())


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used() -> None:
    fallback_cache().mkdir()
    os.chown(fallback_cache(), 65534, 65534)
    with pytest.raises(PermissionError, match="another user owns it"):
        make_own(fallback_cache())


@posix
@pytest.mark.parametrize("end", [".part", ".part.etag", ".etag", ".sha256", ""])
@pytest.mark.parametrize("hard", [False, True])
def test_nothing_is_written_through_a_planted_link(
    fetch: Callable[[Path], Path], stub: Stub, machine: Path, end: str, hard: bool
) -> None:
    victim, folder = machine / "victim", machine / "shared"
    victim.write_text("what is theirs stays")
    planted = folder / f"{NAME}{end}"
    planted.parent.mkdir(parents=True)
    os.link(victim, planted) if hard else planted.symlink_to(victim)
    if end == ".part":
        planted.with_name(planted.name + ".etag").write_text(stub.etag(NAME))
    assert fetch(folder).read_bytes() == stub.files[NAME]
    assert victim.read_text() == "what is theirs stays"


@posix
def test_a_planted_lock_leads_nowhere(fetch: Callable[[Path], Path], stub: Stub, machine: Path) -> None:
    folder = machine / "shared"
    (folder / "v5.10").mkdir(parents=True)
    (folder / f"{NAME}.lock").symlink_to(machine / "made")
    assert fetch(folder).read_bytes() == stub.files[NAME]
    assert not (machine / "made").exists()


def test_a_planted_file_is_not_believed(fetch: Callable[[Path], Path], stub: Stub, machine: Path) -> None:
    planted = machine / "shared" / NAME
    planted.parent.mkdir(parents=True)
    planted.write_bytes(POISON)
    planted.with_name(planted.name + ".etag").write_text(stub.etag(NAME))
    assert fetch(machine / "shared").read_bytes() == stub.files[NAME]


def test_a_file_that_was_changed_is_not_believed(fetch: Callable[[Path], Path], stub: Stub, machine: Path) -> None:
    path = fetch(machine / "shared")
    about = path.stat()
    path.write_bytes(path.read_bytes().replace(b"small", b"smell"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert fetch(machine / "shared").read_bytes() == stub.files[NAME]
    assert fetch(machine / "shared").read_bytes() == stub.files[NAME]
    assert stub.asked("download") == 3


def test_a_sandbox_s_files_lie_in_a_folder_of_its_address(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "LOCALAPPDATA": str(tmp_path)}
    own = from_environment(environment).cache
    assert own == default_cache(environment)
    other = {**environment, "NUMERAI_API_URL": "http://127.0.0.1:8765"}
    assert from_environment(other).cache == own / "api-127.0.0.1-8765"
    assert from_environment({**other, "NUMERAI_CACHE": "/cache"}).cache == Path("/cache")
