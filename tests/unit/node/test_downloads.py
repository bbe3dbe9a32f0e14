"""A download is whole and current, or it is not used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from numerai_node import connections
from numerai_node.downloads import Cache
from numerai_node.errors import ConfigurationError, TemporaryFailure
from numerai_node.transport import LONGEST_TROUBLE, Transport

from .conftest import Answer, Handler, Stub, drop, status

NAME = "v5.10/train.parquet"


@pytest.fixture
def cache(tmp_path: Path, transport: Transport) -> Cache:
    return Cache(tmp_path / "cache", transport)


@pytest.fixture
def fetch(stub: Stub, cache: Cache) -> Callable[..., Path]:
    return lambda name=NAME: cache.fetch(name, lambda _: f"{stub.url}/data/{name}?signature=SIGNATURE")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numerai_node.downloads.CHUNK", 500)


def leftovers(cache: Cache) -> set[str]:
    return {path.name for path in cache.folder.rglob("*.part*")}


def cut(size: int) -> Answer:
    return lambda handler: handler.serve(NAME, cut=size)


def test_a_file_arrives_whole(stub: Stub, cache: Cache, fetch: Callable[..., Path]) -> None:
    assert fetch().read_bytes() == stub.files[NAME]
    assert leftovers(cache) == set()


def test_an_unchanged_file_is_not_downloaded_again(
    stub: Stub, fetch: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first = fetch()
    before = first.stat().st_mtime_ns
    assert fetch() == first
    assert first.stat().st_mtime_ns == before
    assert stub.headers_of("download")[1]["If-None-Match"] == stub.etag(NAME)
    assert f"cached file={NAME}" in capsys.readouterr().out


def test_a_server_that_knows_no_conditions_is_not_read(stub: Stub, fetch: Callable[..., Path]) -> None:
    path = fetch()
    before = path.stat().st_mtime_ns
    stub.script["download"] = [
        lambda handler: handler.answer(200, stub.files[NAME], {"ETag": stub.etag(NAME)}, length=10**9)
    ]
    assert fetch().stat().st_mtime_ns == before
    assert stub.asked("download") == 2


def test_new_content_of_the_same_size_is_downloaded(stub: Stub, fetch: Callable[..., Path]) -> None:
    old = fetch().read_bytes()
    stub.files[NAME] = old[:100] + b"x" + old[101:]
    assert fetch().read_bytes() == stub.files[NAME]


def test_a_broken_download_resumes(stub: Stub, cache: Cache, fetch: Callable[..., Path]) -> None:
    stub.script["download"] = [cut(1000)]
    assert fetch().read_bytes() == stub.files[NAME]
    assert stub.headers_of("download")[1]["Range"] == "bytes=999-"
    assert stub.headers_of("download")[1]["If-Range"] == stub.etag(NAME)
    assert leftovers(cache) == set()


def test_a_download_that_gets_further_each_time_is_not_given_up(stub: Stub, fetch: Callable[..., Path]) -> None:
    stub.script["download"] = [cut(600)] * 6
    assert fetch().read_bytes() == stub.files[NAME]
    assert stub.asked("download") == 7


def test_a_later_run_resumes_too(stub: Stub, fetch: Callable[..., Path]) -> None:
    stub.script["download"] = [cut(1000), drop, drop, drop]
    with pytest.raises(TemporaryFailure):
        fetch()
    assert fetch().read_bytes() == stub.files[NAME]
    assert stub.headers_of("download")[-1]["Range"] == "bytes=999-"


def test_a_part_that_is_whole_is_not_downloaded_again(stub: Stub, cache: Cache, fetch: Callable[..., Path]) -> None:
    """A run that was ended as it looked through what had arrived leaves one."""
    part = cache.folder / f"{NAME}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(stub.files[NAME])
    part.with_name(part.name + ".etag").write_text(stub.etag(NAME))
    assert fetch().read_bytes() == stub.files[NAME]
    assert [headers["Range"] for headers in stub.headers_of("download")] == [f"bytes={len(stub.files[NAME]) - 1}-"]


def test_what_has_arrived_is_not_hurried(
    stub: Stub, fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk must not cost a whole download."""
    monkeypatch.setattr("os.fsync", lambda _: setattr(connections._active(), "_ends", 0.0))
    assert fetch().read_bytes() == stub.files[NAME]
    assert stub.asked("download") == 1


def test_a_file_that_changed_meanwhile_is_started_over(stub: Stub, fetch: Callable[..., Path]) -> None:
    def change(handler: Handler) -> None:
        handler.serve(NAME, cut=1000)
        stub.files[NAME] = stub.files["v5.10/validation.parquet"]

    stub.script["download"] = [change]
    assert fetch().read_bytes() == stub.files["v5.10/validation.parquet"]


def test_a_range_that_is_ignored_starts_over(stub: Stub, fetch: Callable[..., Path]) -> None:
    stub.script["download"] = [
        cut(1000),
        lambda handler: handler.answer(200, stub.files[NAME], {"ETag": stub.etag(NAME)}),
    ]
    assert fetch().read_bytes() == stub.files[NAME]


@pytest.mark.parametrize("content_range", ["bytes 5-9/10", "", "bytes */10"])
def test_the_wrong_part_is_not_appended(stub: Stub, fetch: Callable[..., Path], content_range: str) -> None:
    stub.script["download"] = [
        cut(1000),
        lambda handler: handler.answer(206, b"wrong", {"ETag": stub.etag(NAME), "Content-Range": content_range}),
    ]
    assert fetch().read_bytes() == stub.files[NAME]


def test_a_weak_etag_is_never_resumed(stub: Stub, cache: Cache, fetch: Callable[..., Path]) -> None:
    stub.etags[NAME] = 'W/"weak"'
    stub.script["download"] = [cut(1000)]
    assert fetch().read_bytes() == stub.files[NAME]
    assert "Range" not in stub.headers_of("download")[1]


@pytest.mark.parametrize("code", [403, 404, 416, 500])
def test_an_error_page_is_never_a_file(stub: Stub, cache: Cache, fetch: Callable[..., Path], code: int) -> None:
    stub.script["download"] = [cut(1000), status(code)]
    assert fetch().read_bytes() == stub.files[NAME]


def no_length(content: Callable[[Stub], bytes]) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content(handler.stub))
        handler.close_connection = True

    return answer


def test_a_truncated_file_without_a_length_is_not_used(stub: Stub, cache: Cache, fetch: Callable[..., Path]) -> None:
    truncated = no_length(lambda stub: stub.files[NAME][:-50])
    stub.script["download"] = [truncated, truncated, no_length(lambda stub: b"PAR1")]
    with pytest.raises(TemporaryFailure, match="no whole Parquet file"):
        fetch()
    assert not (cache.folder / NAME).exists()
    assert leftovers(cache) == set()
    stub.script["download"] = [no_length(lambda stub: stub.files[NAME])]
    assert fetch().read_bytes() == stub.files[NAME]


def test_a_file_that_nothing_proves_whole_is_not_used(stub: Stub, fetch: Callable[..., Path]) -> None:
    stub.files["v5.10/note.csv"] = b"id,prediction\n"
    stub.script["download"] = [no_length(lambda stub: b"id,pre")] * 3
    with pytest.raises(TemporaryFailure, match="did not say how long"):
        fetch("v5.10/note.csv")


def test_json_must_be_json(stub: Stub, fetch: Callable[..., Path]) -> None:
    name = "v5.10/features.json"
    stub.script["download"] = [no_length(lambda stub: stub.files[name][:-5])]
    assert fetch(name).read_bytes() == stub.files[name]
    assert stub.asked("download") == 2


def from_s3(etag: str, **headers: str) -> Answer:
    named = {"Server": "AmazonS3", "ETag": etag} | {name.replace("_", "-"): text for name, text in headers.items()}

    def answer(handler: Handler) -> None:
        handler.server_version, handler.sys_version = "AmazonS3", ""
        handler.version_string = lambda: "AmazonS3"  # type: ignore[method-assign]
        named.pop("Server", None)
        handler.answer(200, handler.stub.files[NAME], named)

    return answer


def test_an_s3_etag_proves_the_bytes(stub: Stub, fetch: Callable[..., Path]) -> None:
    right = hashlib.md5(stub.files[NAME], usedforsecurity=False).hexdigest()
    stub.script["download"] = [from_s3('"' + "0" * 32 + '"'), from_s3(f'"{right}"')]
    assert fetch().read_bytes() == stub.files[NAME]
    assert stub.asked("download") == 2


def test_an_s3_etag_of_an_encrypted_object_proves_nothing(stub: Stub, fetch: Callable[..., Path]) -> None:
    stub.script["download"] = [from_s3('"' + "0" * 32 + '"', x_amz_server_side_encryption="aws:kms")]
    assert fetch().read_bytes() == stub.files[NAME]


def test_an_interrupted_download_without_an_etag_leaves_nothing(
    stub: Stub, cache: Cache, fetch: Callable[..., Path]
) -> None:
    stub.script["download"] = [lambda handler: handler.answer(200, stub.files[NAME], cut=500)] * 3
    with pytest.raises(TemporaryFailure):
        fetch()
    assert leftovers(cache) == set()


@pytest.mark.slow
def test_a_download_that_drips_is_ended_and_resumed(
    stub: Stub, fetch: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then beats a read timeout of 60 s for ever."""
    monkeypatch.setattr("numerai_node.downloads.CHUNK_SECONDS", 0.3)
    gave_up = threading.Event()

    def drip(handler: Handler) -> None:
        content = stub.files[NAME]
        handler.send_response(200)
        handler.send_header("ETag", stub.etag(NAME))
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:1000])
        for byte in content[1000:]:
            try:
                handler.wfile.write(bytes([byte]))
            except OSError:
                break
            if gave_up.wait(0.02):
                break
        handler.close_connection = True

    stub.script["download"] = [drip]
    try:
        assert fetch().read_bytes() == stub.files[NAME]
    finally:
        gave_up.set()
    assert stub.headers_of("download")[1]["Range"].startswith(("bytes=999-", "bytes=1"))


@pytest.mark.slow
def test_two_at_once_get_the_same_whole_file(stub: Stub, tmp_path: Path) -> None:
    stub.files[NAME] = b"PAR1" + bytes(3_000_000) + b"PAR1"
    results: list[bytes] = []

    def work() -> None:
        cache = Cache(tmp_path / "cache", Transport())
        results.append(cache.fetch(NAME, lambda _: f"{stub.url}/data/{NAME}").read_bytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [stub.files[NAME]] * 4
    assert sum("If-None-Match" not in headers for headers in stub.headers_of("download")) == 1


@pytest.mark.parametrize(
    ("round_left", "seconds"), [(600.0, 600.0), (None, LONGEST_TROUBLE), (90_000.0, LONGEST_TROUBLE)]
)
def test_another_runs_download_is_not_waited_for_without_end(
    cache: Cache,
    fetch: Callable[..., Path],
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    round_left: float | None,
    seconds: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    monkeypatch.setattr("numerai_node.downloads.LOCK_POLL", 60.0)
    monkeypatch.setattr("numerai_node.downloads._try_lock", lambda _: False)
    monkeypatch.setattr(transport, "seconds_left", lambda: round_left)
    transport.monotonic = lambda: now[0]
    transport.sleep = lambda wait: now.__setitem__(0, now[0] + wait)
    with pytest.raises(TemporaryFailure, match=f"Another run downloads {NAME}"):
        fetch()
    assert now[0] == seconds
    assert capsys.readouterr().out.count("another run downloads") == 1


def test_a_cache_that_cannot_be_written_is_replaced(
    stub: Stub,
    tmp_path: Path,
    transport: Transport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    cache = Cache(tmp_path / "file" / "cache", transport)
    path = cache.fetch(NAME, lambda _: f"{stub.url}/data/{NAME}")
    assert path.is_relative_to(tmp_path / "tmp")
    assert "cannot be used" in capsys.readouterr().out


def test_nowhere_to_write_is_a_configuration_error(
    tmp_path: Path, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="NUMERAI_CACHE"):
        Cache(tmp_path / "file" / "cache", transport).fetch(NAME, lambda _: "http://127.0.0.1/")


def test_an_unreadable_etag_file_is_ignored(stub: Stub, cache: Cache, fetch: Callable[..., Path]) -> None:
    path = fetch()
    path.with_name(path.name + ".etag").write_bytes(b"\xff\xfe")
    assert fetch().read_bytes() == stub.files[NAME]


@pytest.mark.parametrize("name", ["../secret", "v5.3/../../secret", "/etc/passwd", "C:/x", "..\\x", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(cache: Cache, name: str) -> None:
    with pytest.raises(ConfigurationError, match="names no file inside"):
        cache.fetch(name, lambda _: pytest.fail("nothing is asked for"))
