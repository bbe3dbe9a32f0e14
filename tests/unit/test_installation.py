"""Hints name what pip can find."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from numerai_compute import installation
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.installation import EXTRAS, extra_needed, install_command, missing_part


def record(monkeypatch: pytest.MonkeyPatch, origin: object) -> None:
    monkeypatch.setattr(installation, "_origin", lambda: origin)


def test_the_command_names_where_the_tool_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    record(monkeypatch, {"url": tmp_path.as_uri(), "dir_info": {}})
    assert install_command("aws") == f"pip install '{tmp_path}[aws]'"
    record(monkeypatch, {"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert install_command() == f"pip install -e '{tmp_path}'"
    record(monkeypatch, {"url": "https://example.org/n.git", "vcs_info": {"vcs": "git"}})
    assert install_command("aws") == "pip install --upgrade 'numerai-compute[aws] @ git+https://example.org/n.git'"


def test_a_registry_is_named_only_where_the_tool_came_from_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record(monkeypatch, None)
    assert install_command("aws") == "pip install --upgrade 'numerai-compute[aws]'"
    for unknown in ({}, {"url": (tmp_path / "gone").as_uri(), "dir_info": {}}, {"url": 5}):
        record(monkeypatch, unknown)
        assert install_command("aws") == "pip install '.[aws]' in a clone of its repository"


def test_a_missing_package_names_its_extra() -> None:
    for extra, packages in EXTRAS.items():
        for package in packages:
            missing = missing_part(ImportError(name=f"{package}.part"))
            assert missing is not None and f"'{extra}'" in missing.message and missing.code == "extra-missing"
    assert missing_part(ImportError(name="somebody_elses")) is None
    with pytest.raises(EnvironmentNotReady), extra_needed():
        raise ModuleNotFoundError(name="boto3")
    with pytest.raises(ModuleNotFoundError), extra_needed():
        raise ModuleNotFoundError(name="somebody_elses")


def test_the_extras_are_those_of_the_package() -> None:
    from importlib.metadata import requires

    texts = [text.replace("_", "-").lower() for text in requires("numerai-compute") or ()]
    for extra, packages in EXTRAS.items():
        declared = [text for text in texts if f'extra == "{extra}"' in text]
        for package in {*packages} - {"botocore", "graphql"}:  # botocore comes with boto3, graphql is graphql-core
            assert any(text.startswith(package.replace("_", "-")) for text in declared), package


@pytest.mark.skipif(os.name != "posix", reason="Windows finds programs by their suffix")
def test_a_path_to_another_tools_numerai_is_told_from_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, others = tmp_path / "ours", tmp_path / "others"
    for folder in (ours, others):
        folder.mkdir()
        (folder / "numerai").touch(mode=0o755)
    (tmp_path / "link").symlink_to(ours)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(ours))
    for path, missing in ((ours, None), (tmp_path / "link", None), (others, ours), (tmp_path, ours)):
        monkeypatch.setenv("PATH", str(path))
        assert installation.folder_to_add() == missing
    (ours / "numerai").unlink()
    assert installation.folder_to_add() is None  # run as `python -m numerai_compute`: there is no such command


def test_what_pip_takes_with_the_official_tool_is_put_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pip removes every file that a package lists, whoever wrote it last: `numerai`, and for numerai-cli 0.1 and 0.2
    the folder numerai_compute as well. Only a forced install writes them again (tried with pip 23.2.1)."""
    (tmp_path / "setup.py").touch()
    versions = {"numerai-cli": "1.1.7"}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr("importlib.metadata.version", version)
    for origin in (
        None,
        {"url": tmp_path.as_uri(), "dir_info": {}},
        {"url": "https://e/n", "vcs_info": {"vcs": "git"}},
    ):
        record(monkeypatch, origin)
        found = installation.beside_official()
        assert found is not None and "numerai-cli 1.1.7" in found[0]
        first, then = found[1].split(", then ")
        assert first == "pip uninstall numerai-cli"
        assert then.startswith("pip install --force-reinstall --no-deps ") and "--upgrade" not in then
    versions.clear()
    assert installation.beside_official() is None
