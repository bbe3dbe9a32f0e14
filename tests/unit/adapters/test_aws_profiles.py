"""A profile is added to the AWS programs' own files, and nothing else in them changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.adapters.aws_profiles import plan_profile
from numerai_compute.errors import UsageError


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The credentials and the configuration; neither is there yet."""
    credentials, config = tmp_path / "credentials", tmp_path / "config"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return credentials, config


def refused(name: str, key_id: str = "AKIA", secret: str = "s3cret") -> str:
    with pytest.raises(UsageError) as caught:
        plan_profile(name, key_id, secret)
    assert secret not in caught.value.in_full and caught.value.hint
    return f"{caught.value.code}: {caught.value.message}"


@pytest.mark.parametrize(
    ("before", "added"),
    [
        (b"", b"[old]\naws_access_key_id = AKIA\naws_secret_access_key = s3cret\n"),
        (b"[a]\r\nx = 1\r\n", b"\r\n[old]\r\naws_access_key_id = AKIA\r\naws_secret_access_key = s3cret\r\n"),
        (b"# \xc3\xbc\n[a]\nx=1", b"\n\n[old]\naws_access_key_id = AKIA\naws_secret_access_key = s3cret\n"),
    ],
)
def test_the_file_keeps_its_bytes_and_its_line_ends(files: tuple[Path, Path], before: bytes, added: bytes) -> None:
    if before:
        files[0].write_bytes(before)
    add = plan_profile("old", "AKIA", "s3cret")
    assert files[0].exists() is bool(before) and (not before or files[0].read_bytes() == before), "only planned"
    assert add() == files[0] and files[0].read_bytes() == before + added
    assert plan_profile("old", "AKIA", "s3cret")() == files[0] and files[0].read_bytes() == before + added
    assert "profile-taken" in refused("old", "AKIAOTHER")


@pytest.mark.parametrize("title", ["profile old", 'profile "old"', "profile 'old'"])
def test_a_profile_that_gets_its_keys_elsewhere_is_not_covered_up(files: tuple[Path, Path], title: str) -> None:
    files[1].write_text(f"[{title}]\nregion = eu-west-1\n[profile other]\nrole_arn = x\n[old]\nrole_arn = no profile\n")
    plan_profile("old", "AKIA", "s3cret")
    files[1].write_text(f"[{title}]\nsso_session = corp\nregion = eu-west-1\n")
    assert f"profile-taken: {files[1]} has a profile old with sso_session" in refused("old")
    files[1].write_text("[default]\nrole_arn = x\n")
    assert "with role_arn" in refused("default")


def test_what_cannot_be_read_or_named_is_refused(files: tuple[Path, Path]) -> None:
    assert "bad-profile" in refused("a]b")
    assert "bad-keys" in refused("old", "AK\nIA")
    files[1].write_bytes(b"\xff\xfe[\x00")
    assert "profiles-unreadable" in refused("old")
    files[1].unlink()
    files[0].mkdir()
    assert "profiles-unreadable" in refused("old")
