from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from numerai_compute.credentials import BLOCK, credentials_in
from numerai_compute.source import Source

SECRET = "CANARYCANARY0123"
OTHER = "OTHER2SECRET4OF6NUMERAI7" * 2
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("conf/secrets.json", "{}"),
        (".streamlit/secrets.toml", "x"),
        ("prod.env", "A=b"),
        ("home/.pgpass", "x"),
        ("home/.kube/config", "x"),
        (".dockercfg", "{}"),
        ("cloud.tfvars", "x"),
        ("id_ecdsa_sk", "x"),
        ("putty.ppk", "x"),
        ("putty.txt", "PuTTY-User-Key-File-3: ssh-ed25519"),
        ("backup.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----"),
        ("keys.json", json.dumps({"numerai": {"NUMERAI_SECRET_KEY": OTHER}})),
        ("config.py", f'NUMERAI_SECRET_KEY = "{OTHER}"'),
        ("main.py", f"os.environ['NUMERAI_SECRET_KEY'] = '{OTHER}'"),
        (".Renviron", f"NUMERAI_SECRET_KEY={OTHER}"),
        (".env.sample", f"NUMERAI_SECRET_KEY={OTHER}"),
        ("home/.aws/config", "aws_session_token = " + "a" * 200),
        ("chat.py", "token = 'xoxb-" + "1" * 12 + "-" + "a" * 24 + "'"),
        ("pip.conf", "index-url = https://me:pass@pypi.example.org/simple"),
        ("requirements.txt", "--index-url https://me:pass@pypi.example.org/simple"),
    ],
)
def test_common_credentials_are_found_by_name_and_by_content(folder: Path, name: str, content: str) -> None:
    write(folder, name, content)
    assert [each.file for each in credentials_in(Source(folder))] == [name]


def zipped(content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/model.txt", content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        SECRET.encode().hex().encode(),
        SECRET.encode().hex().upper().encode(),
        "".join(f"\\u{ord(each):04x}" for each in SECRET).encode(),
        f"KEY={SECRET}".encode("utf-32"),
        base64.b64encode(f"{{'key': '{SECRET}'}}".encode()),
        base64.urlsafe_b64encode(f"Basic {SECRET}".encode()),
        zipped(f"KEY={SECRET}"),
        gzip.compress(f"KEY={SECRET}".encode()),
    ],
)
def test_a_recorded_secret_is_found_in_any_form(folder: Path, content: bytes) -> None:
    write(folder, "notebook.ipynb", b"before " * 5 + content if content[:2] not in (b"PK", b"\x1f\x8b") else content)
    assert [str(each) for each in credentials_in(Source(folder), [SECRET])] == [
        "notebook.ipynb (one of your recorded secrets)"
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_recorded_secret_is_found_in_the_history_of_a_repository(folder: Path, packed: bool) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments], cwd=folder, check=True)

    write(folder, "old.py", "line\n" * 200)
    git("init", "-q")
    for content in ("line\n" * 200, "line\n" * 200 + f"KEY = '{SECRET}'\n", "line\n" * 201):
        write(folder, "old.py", content)
        git("add", ".")
        git("commit", "-q", "-m", "x")
    if packed:
        git("gc", "-q")
    found = credentials_in(Source(folder), [SECRET])
    assert len(found) == 1 and found[0].file.startswith(".git/objects/")
    assert credentials_in(Source(folder), ["ANOTHERSECRET99"]) == []


@pytest.mark.parametrize("content", [b"PK\x03\x04broken", b"\x1f\x8bbroken", b"PACK\0\0\0\2\0\0\0\1\xff"])
def test_an_archive_that_is_broken_is_no_credential(folder: Path, content: bytes) -> None:
    write(folder, "model.bin", content)
    assert credentials_in(Source(folder), [SECRET]) == []


def test_the_examples_hold_no_credential() -> None:
    examples = [each.parent for each in (Path(__file__).parents[2] / "node_template").glob("*/Dockerfile")]
    assert examples and not [found for example in examples for found in credentials_in(Source(example), [SECRET])]


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
        ("secrets.py", "import secrets\nKEY = os.environ['NUMERAI_SECRET_KEY']"),
        ("config.py", 'NUMERAI_SECRET_KEY = os.environ.get("NUMERAI_SECRET_KEY", default_of_this_environment)'),
        (".env.sample", "NUMERAI_SECRET_KEY=your_secret_key_of_numerai_here"),
        ("requirements.txt", "x @ git+https://${USER}:${TOKEN}@github.com/x/y"),
        ("README.md", "https://user:password@proxy.example.org"),
    ],
)
def test_what_holds_no_credential_is_left_alone(folder: Path, name: str, content: str) -> None:
    write(folder, name, content)
    assert credentials_in(Source(folder), [SECRET, "abc"]) == []


def test_a_recorded_value_that_is_too_short_to_be_told_from_words_is_not_sought(folder: Path) -> None:
    """A key of some letters, as in a rehearsal: every folder holds such letters."""
    write(folder, "model.py", "import numpy\nkey = 'abcdefgh'\n")
    assert not credentials_in(Source(folder), ["imp", "import", " numpy\n", "abcdefg"])
    assert [each.file for each in credentials_in(Source(folder), ["abcdefgh"])] == ["model.py"]
