from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.credentials import BLOCK, credentials_in
from numerai_compute.source import Source

SECRET = "CANARYCANARY0123"
PEM = "-----BEGIN {}PRIVATE KEY-----\nMIIabc\n"


def write(folder: Path, name: str, content: str | bytes = "x") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "Dockerfile", "FROM x")
    write(tmp_path, "predict.py", "print('no secret')\n" * 100)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env", "A=b"),
        ("sub/.env.production", "A=b"),
        ("deep/er/.keys", "{}"),
        ("home/.netrc", "machine x"),
        ("home/.aws/credentials", "[default]"),
        ("home/.docker/config.json", "{}"),
        ("home/.ssh/id_ed25519", "x"),
        ("certs/store.P12", "x"),
        ("certs/tls.pem", PEM.format("")),
        ("certs/rsa.key", PEM.format("RSA ")),
        ("certs/anything.txt", PEM.format("OPENSSH ")),
        ("service.json", '{"private_key": "-----BEGIN PRIVATE KEY-----\\\\nMII"}'),
        ("settings.ini", "aws_secret_access_key = " + "a" * 40),
        (".npmrc", "//registry/:_authToken=0123456789abcdef0"),
        ("repo/.git/config", "[remote]\n\turl = https://me:pass@example.org/x.git\n"),
        ("notes.txt", "token ghp_" + "a" * 36),
        ("model.py", f"KEY = '{SECRET}'"),
        ("windows.txt", f"KEY={SECRET}".encode("utf-16")),
        ("big.bin", b"x" * (BLOCK - 7) + SECRET.encode() + b"x" * 100),
    ],
)
def test_credentials_are_found_at_any_depth(folder: Path, name: str, content: str | bytes) -> None:
    write(folder, name, content)
    found = credentials_in(Source(folder), [SECRET, None, ""])
    assert [each.file for each in found] == [name]
    assert SECRET not in str(found[0])


def test_what_dockerignore_leaves_out_does_not_matter(folder: Path) -> None:
    write(folder, "sub/.env", f"KEY={SECRET}")
    write(folder, ".dockerignore", "**/.env")
    assert credentials_in(Source(folder), [SECRET]) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env.example", "A="),
        ("certs/ca.pem", "-----BEGIN CERTIFICATE-----\nMII"),
        ("certs/public.pem", "-----BEGIN PUBLIC KEY-----"),
        ("environment.py", "x"),
        ("repo/.git/config", "url = https://example.org/x.git"),
        ("short.txt", "abc"),
    ],
)
def test_what_holds_no_credential_is_left_alone(folder: Path, name: str, content: str) -> None:
    write(folder, name, content)
    assert credentials_in(Source(folder), [SECRET, "abc"]) == []
