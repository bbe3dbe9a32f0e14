"""What is no bug is not called one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from numerai_compute.translation import translated


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "room on the disk"),
        (errno.EACCES, "readable and writable"),
        (errno.EROFS, "readable and writable"),
        (errno.EMFILE, "ulimit"),
        (errno.EIO, "Look at that file"),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do(number: int, says: str, tmp_path: Path) -> None:
    error = translated(OSError(number, os.strerror(number), str(tmp_path)))
    assert error is not None and says in str(error.hint)
    assert os.strerror(number) in error.message and str(tmp_path) in error.message
    assert error.exit_code == 3


def test_what_is_no_text_is_said() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    error = translated(caught.value)
    assert error is not None and error.code == "encoding" and "UTF-8" in str(error.hint)
    with pytest.raises(UnicodeEncodeError) as unwritable:
        "\N{CHECK MARK}".encode("ascii")
    error = translated(unwritable.value)
    assert error is not None and "ascii" in error.message
    with pytest.raises(UnicodeEncodeError) as unnameable:
        "caf\udce9".encode()
    error = translated(unnameable.value)
    assert error is not None and "caf\\udce9" in error.message and "PYTHONIOENCODING" not in str(error.hint)


def test_a_missing_extra_is_said_and_a_bug_is_not_hidden() -> None:
    error = translated(ModuleNotFoundError("x", name="boto3"))
    assert error is not None and error.code == "extra-missing"
    assert translated(ModuleNotFoundError("x", name="numerai_compute.nothing")) is None
    for bug in (KeyError("x"), TypeError("x"), AssertionError()):
        assert translated(bug) is None
