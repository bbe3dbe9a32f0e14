"""Nothing is deleted that does not lie inside the folder that belongs to us."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.files.private import remove_file, remove_tree

OUTSIDE = ("../victim", "nodes/../../victim", "nodes/numerai-../../../../victim", ".", "", "..", "nodes/..")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "nodes" / "numerai-alice" / "deep").mkdir(parents=True)
    (home / "nodes" / "numerai-alice" / "deep" / "file").write_text("ours")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("theirs")
    return home


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_what_is_ours_is_removed(home: Path) -> None:
    remove_tree(home / "nodes" / "numerai-alice", home)
    assert everything(home) == {home / "nodes"}


def test_what_is_not_there_is_fine(home: Path) -> None:
    remove_tree(home / "nodes" / "numerai-bob", home)
    remove_file(home / "nodes" / "numerai-bob", home)


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_is_removed(home: Path, tmp_path: Path, path: str) -> None:
    before = everything(tmp_path)
    for remove in (remove_tree, remove_file):
        with pytest.raises(NumeraiError) as caught:
            remove(home / path, home)
        assert caught.value.code == "outside-home"
    assert everything(tmp_path) == before


def test_an_absolute_name_is_outside(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NumeraiError):
        remove_tree(home / str(tmp_path / "victim"), home)
    assert (tmp_path / "victim" / "file").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_folder_reached_through_a_link_that_leads_out_stays(home: Path, tmp_path: Path) -> None:
    (home / "attempts").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(NumeraiError):
        remove_tree(home / "attempts" / "victim", home)
    assert (tmp_path / "victim" / "file").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_of_a_link_only_the_link_is_removed(home: Path, tmp_path: Path) -> None:
    link = home / "nodes" / "numerai-bob"
    link.symlink_to(tmp_path / "victim", target_is_directory=True)
    remove_tree(link, home)
    assert not link.is_symlink()
    assert (tmp_path / "victim" / "file").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_home_that_is_itself_reached_through_a_link_is_ours(home: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(home, target_is_directory=True)
    remove_tree(tmp_path / "linked" / "nodes" / "numerai-alice", tmp_path / "linked")
    assert not (home / "nodes" / "numerai-alice").exists()


def test_only_one_function_deletes_folders() -> None:
    import numerai_compute.files.private as private

    assert private.__file__
    room = Path(private.__file__).parents[1]
    users = {
        str(path.relative_to(room).as_posix()) for path in room.rglob("*.py") if "rmtree" in path.read_text("utf-8")
    }
    assert users == {"files/private.py", "sandbox/core.py"}  # the sandbox's is a folder that it made itself by mkdtemp
