"""The functions' zips: the same bytes for the same source."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from numerai_compute.providers.aws.lambda_package import (
    FUNCTIONS,
    package_function,
    package_functions,
    source_folder,
)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_packed_source_is_the_one_in_the_tree(tmp_path: Path, function: str) -> None:
    target = tmp_path / "deep" / f"{function}.zip"
    digest = package_function(function, target)
    assert base64.b64decode(digest) == hashlib.sha256(target.read_bytes()).digest()
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == ["handler.py"]
        assert archive.read("handler.py") == (source_folder(function) / "handler.py").read_bytes()
        assert archive.infolist()[0].external_attr >> 16 & 0o444 == 0o444


def test_time_place_and_line_ends_do_not_change_it(tmp_path: Path) -> None:
    for name, newline in (("here", "\n"), ("there", "\r\n")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "handler.py"
        file.write_bytes(f"a = 1{newline}b = 2{newline}".encode())
        os.utime(file, (1_000_000_000 + len(newline), 1_000_000_000))
    one = package_function("webhook", tmp_path / "one.zip", tmp_path / "here")
    other = package_function("webhook", tmp_path / "other.zip", tmp_path / "there")
    assert one == other
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_it_changes_with_the_source_and_only_then(tmp_path: Path) -> None:
    source = tmp_path / "handler.py"
    source.write_text("a = 1\n")
    target = tmp_path / "webhook.zip"
    first = package_function("webhook", target, tmp_path)
    os.utime(target, (1, 1))
    assert package_function("webhook", target, tmp_path) == first
    assert target.stat().st_mtime == 1
    source.write_text("a = 2\n")
    assert package_function("webhook", target, tmp_path) != first
    assert target.stat().st_mtime > 1


def test_each_function_has_a_zip_and_variables_of_its_own(tmp_path: Path) -> None:
    variables = package_functions(tmp_path)
    assert set(variables) == {f"{name}_package_{what}" for name in FUNCTIONS for what in ("path", "sha256")}
    assert len(set(variables.values())) == 2 * len(FUNCTIONS)
    for function in FUNCTIONS:
        assert Path(variables[f"{function}_package_path"]).is_file()
