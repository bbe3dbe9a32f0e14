"""The object store: presigned URLs, ranges, entity tags, uploads."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from numerai_compute.sandbox.objects import UploadStore
from numerai_compute.sandbox.refusal import HttpRefusal
from numerai_compute.sandbox.switches import Switches

from tests.fixtures.sandbox import ServedSandbox

Factory = Callable[..., ServedSandbox]
TRAIN = "v5.3/train.parquet"


def url_of(sandbox: ServedSandbox, name: str = TRAIN, base: str | None = None) -> str:
    body = {"query": f'{{dataset(filename: "{name}")}}'}
    headers = {} if base is None else {"Host": base}
    return str(requests.post(sandbox.url, json=body, headers=headers, timeout=10).json()["data"]["dataset"])


def upload_url(sandbox: ServedSandbox) -> str:
    query = 'query($m: ID) {submissionUploadAuth(filename: "p.csv", tournament: 8, modelId: $m) {url}}'
    found = sandbox.graphql(query, m=sandbox.models["alice"])
    return str(found["data"]["submissionUploadAuth"]["url"])


@pytest.fixture
def url(sandbox: ServedSandbox) -> str:
    return url_of(sandbox)


class TestUrls:
    def test_they_are_built_on_the_host_of_the_request(self, sandbox: ServedSandbox) -> None:
        assert url_of(sandbox, base="host.docker.internal:8765").startswith("http://host.docker.internal:8765/objects/")
        assert url_of(sandbox, base="[::1]:80").startswith("http://[::1]:80/objects/")
        assert url_of(sandbox, base='evil" onload=').startswith(sandbox.url)

    @pytest.mark.slow
    def test_they_expire_on_the_sandboxs_clock(self, sandbox: ServedSandbox, url: str) -> None:
        put = upload_url(sandbox)
        assert requests.head(url, timeout=10).status_code == 200
        sandbox.clock(advance=3601)
        for answer in (requests.get(url, timeout=10), requests.put(put, data=b"x", timeout=10)):
            assert answer.status_code == 403
            assert "expired" in answer.text

    def test_how_long_is_a_setting(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(url_seconds=10)
        url = url_of(found)
        found.clock(advance=11)
        assert requests.get(url, timeout=10).status_code == 403

    @pytest.mark.parametrize(
        "change",
        [
            lambda url: url.replace("train", "live"),
            lambda url: re.sub(r"expires=\d+", "expires=9999999999", url),
            lambda url: re.sub(r"signature=.", "signature=g", url),
            lambda url: url.partition("?")[0],
        ],
    )
    def test_tampering_shows(self, url: str, change: Callable[[str], str]) -> None:
        answer = requests.get(change(url), timeout=10)
        assert answer.status_code == 403
        assert answer.headers["Content-Type"] == "application/xml"

    def test_each_is_for_one_method(self, sandbox: ServedSandbox, url: str) -> None:
        assert requests.put(url, data=b"x", timeout=10).status_code == 403
        assert requests.get(upload_url(sandbox), timeout=10).status_code == 403
        assert requests.delete(url, timeout=10).status_code == 405

    def test_signed_names_that_are_nothing(self, sandbox: ServedSandbox) -> None:
        signer = sandbox.running.sandbox.signer
        for key in ("submissions/x", "datasets/1000/v5.3/x.parquet", "other/x"):
            assert requests.get(signer.url(sandbox.url, key, "GET"), timeout=10).status_code == 404
        for key, status in (("datasets/x", 403), ("uploads/.x", 404), ("uploads/a/b", 404)):
            assert requests.put(signer.url(sandbox.url, key, "PUT"), data=b"", timeout=10).status_code == status


class TestPublication:
    """Live data are dated by the rounds' clock, wherever it stands."""

    LIVE = "v5.3/live.parquet"

    def modified(self, sandbox: ServedSandbox) -> datetime:
        return parsedate_to_datetime(requests.head(url_of(sandbox, self.LIVE), timeout=10).headers["Last-Modified"])

    def opened(self, sandbox: ServedSandbox) -> datetime:
        found = sandbox.running.sandbox.rounds.latest(8)
        assert found is not None
        return found.open_time.replace(microsecond=0)

    def test_they_come_out_when_their_round_opens(self, sandbox: ServedSandbox) -> None:
        for _ in range(2):
            sandbox.clock(advance=30 * 86400)
            sandbox.open_round("classic")
            assert self.modified(sandbox) == self.opened(sandbox)

    def test_they_may_come_out_a_little_later(self, sandbox_factory: Factory) -> None:
        sandbox = sandbox_factory(publish_minutes=2.0)
        sandbox.clock(advance=3600)
        before = requests.get(url_of(sandbox, self.LIVE), timeout=10)
        sandbox.open_round("classic")
        early = requests.get(url_of(sandbox, self.LIVE), timeout=10)
        assert early.content == before.content
        assert early.headers["Last-Modified"] == before.headers["Last-Modified"]
        sandbox.clock(advance=120)
        assert requests.get(url_of(sandbox, self.LIVE), timeout=10).content != before.content
        assert self.modified(sandbox) == self.opened(sandbox) + timedelta(minutes=2)

    @pytest.mark.slow
    @pytest.mark.parametrize("minutes", [0.0, 15.0])
    def test_they_may_come_out_before_the_opening(
        self, sandbox_factory: Factory, tmp_path: Path, minutes: float
    ) -> None:
        sandbox = sandbox_factory(calendar=True, switches=Switches(live_minutes_before_opening=minutes))
        sandbox.clock(now="2031-01-08T11:44:00Z", freeze=True)
        before = requests.get(url_of(sandbox, self.LIVE), timeout=10).content
        sandbox.clock(advance=60)
        early = requests.get(url_of(sandbox, self.LIVE), timeout=10)
        assert (early.content == before) is not bool(minutes)
        csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
        assert sandbox.submit(csv) == sandbox.entry()["id"]
        sandbox.clock(advance=15 * 60)
        opened = requests.get(url_of(sandbox, self.LIVE), timeout=10)
        assert (opened.content == early.content) is bool(minutes)
        assert (opened.headers["Last-Modified"] == early.headers["Last-Modified"]) is bool(minutes)
        assert sandbox.entry()["status"] == "on-time", "the early file was queued and cloned"

    def test_a_stale_answer_is_the_round_befores(self, sandbox: ServedSandbox) -> None:
        before = requests.get(url_of(sandbox, self.LIVE), timeout=10)
        sandbox.clock(advance=3000)
        sandbox.open_round("classic")
        sandbox.set_fault("download", "stale")
        stale = requests.get(url_of(sandbox, self.LIVE), timeout=10)
        assert stale.content == before.content
        assert stale.headers["Last-Modified"] == before.headers["Last-Modified"]
        assert requests.get(url_of(sandbox, self.LIVE), timeout=10).content != before.content


class TestDownloads:
    def test_head_and_get_agree(self, url: str) -> None:
        head, got = requests.head(url, timeout=10), requests.get(url, timeout=10)
        assert head.content == b""
        for name in ("Content-Length", "ETag", "Accept-Ranges", "Last-Modified"):
            assert head.headers[name] == got.headers[name]
        assert int(got.headers["Content-Length"]) == len(got.content)

    @pytest.mark.parametrize(
        ("wanted", "part"),
        [
            ("bytes=0-99", slice(0, 100)),
            ("bytes=100-", slice(100, None)),
            ("bytes=-100", slice(-100, None)),
            ("bytes=50-99999999", slice(50, None)),
            ("bytes=-99999999", slice(0, None)),
        ],
    )
    def test_ranges(self, url: str, wanted: str, part: slice) -> None:
        whole = requests.get(url, timeout=10).content
        answer = requests.get(url, headers={"Range": wanted}, timeout=10)
        assert answer.status_code == 206
        assert answer.content == whole[part]
        start = part.start if part.start >= 0 else len(whole) + part.start
        end = start + len(answer.content) - 1
        assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(whole)}"

    @pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-"])
    def test_what_is_no_single_range_gets_the_whole(self, url: str, wanted: str) -> None:
        assert requests.get(url, headers={"Range": wanted}, timeout=10).status_code == 200

    @pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
    def test_ranges_beyond_the_end(self, url: str, wanted: str) -> None:
        answer = requests.get(url, headers={"Range": wanted}, timeout=10)
        assert answer.status_code == 416
        assert answer.headers["Content-Range"].startswith("bytes */")

    def test_conditions(self, url: str) -> None:
        etag = requests.head(url, timeout=10).headers["ETag"]
        part = {"Range": "bytes=0-9"}
        assert requests.get(url, headers={**part, "If-Range": etag}, timeout=10).status_code == 206
        assert requests.get(url, headers={**part, "If-Range": '"old"'}, timeout=10).status_code == 200
        unchanged = requests.get(url, headers={"If-None-Match": f'"old", {etag}'}, timeout=10)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["ETag"] == etag
        assert unchanged.headers["Last-Modified"] == requests.head(url, timeout=10).headers["Last-Modified"]

    def test_a_connection_serves_one_request_after_the_other(self, sandbox: ServedSandbox, url: str) -> None:
        answers = [
            ("GET", url, {}, b"", 200),
            ("GET", url, {"Range": "bytes=99999999-"}, b"", 416),
            ("HEAD", url, {}, b"", 200),
            ("POST", "/", {}, b'{"query": "{tournaments {name}}"}', 200),
            ("PUT", upload_url(sandbox), {}, b"a whole body", 200),
            ("POST", "/sandbox/nothing", {}, b"", 404),
        ]
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.running.port, timeout=10)
        with closing(connection):
            connection.connect()
            first = connection.sock
            for method, target, headers, body, status in answers:
                connection.request(method, target, body=body, headers=headers)
                answer = connection.getresponse()
                answer.read()
                assert (answer.status, answer.will_close, connection.sock) == (status, False, first)
            connection.request("POST", "/nothing", body=b"that nobody reads")
            assert connection.getresponse().will_close

    def test_live_data_have_a_new_tag_in_every_round_and_training_data_keep_theirs(
        self, sandbox: ServedSandbox
    ) -> None:
        def tags() -> list[str]:
            names = ("v5.3/live.parquet", TRAIN)
            return [requests.head(url_of(sandbox, name), timeout=10).headers["ETag"] for name in names]

        before = tags()
        sandbox.open_round("classic")
        after = tags()
        assert before[0] != after[0]
        assert before[1] == after[1]

    def test_the_date_header_is_by_the_sandboxs_clock(self, sandbox: ServedSandbox, url: str) -> None:
        sandbox.clock(now="2031-01-07T12:00:00Z", freeze=True)
        assert requests.head(url, timeout=10).headers["Date"] == "Tue, 07 Jan 2031 12:00:00 GMT"

    def test_a_submission_of_the_made_up_past(self, sandbox_factory: Factory) -> None:
        found = sandbox_factory(history=1)
        submission = found.state()["submissions"][0]["id"]
        query = "query($i: ID!) {submissionDownloadAuth(id: $i) {url}}"
        url = found.graphql(query, i=submission)["data"]["submissionDownloadAuth"]["url"]
        first = requests.get(url, timeout=10).text
        assert first.splitlines()[0] in ("id,prediction", "numerai_ticker,prediction", "symbol,prediction")
        assert requests.get(url, timeout=10).text == first


class TestUploads:
    def test_a_part_of_a_file_is_no_file(self, sandbox: ServedSandbox) -> None:
        url = urlsplit(upload_url(sandbox))
        with socket.create_connection((str(url.hostname), int(url.port or 0))) as connection:
            request = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this"
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            assert b"400 Bad Request" in connection.recv(1000)
        folder = sandbox.running.sandbox.upload_store.path("x").parent
        assert list(folder.iterdir()) == []

    def test_no_length_no_upload(self, sandbox: ServedSandbox) -> None:
        answer = requests.put(upload_url(sandbox), data=iter([b"a", b"b"]), timeout=10)
        assert answer.status_code == 411

    def test_the_same_url_again_replaces(self, sandbox: ServedSandbox) -> None:
        url = upload_url(sandbox)
        for body in (b"first", b"second"):
            requests.put(url, data=body, timeout=10).raise_for_status()
        name = urlsplit(url).path.rpartition("/")[2]
        assert sandbox.running.sandbox.upload_store.path(name).read_bytes() == b"second"

    @pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
    def test_names_stay_in_the_folder(self, tmp_path: object, name: str) -> None:
        with pytest.raises(HttpRefusal):
            UploadStore(tmp_path / "objects").path(name)  # type: ignore[operator]

    def test_too_much_is_refused_before_it_is_read(self, sandbox: ServedSandbox) -> None:
        for url, limit in ((urlsplit(upload_url(sandbox)), 2**31 + 1), (urlsplit(sandbox.url + "/"), 2**23)):
            method = "PUT" if url.query else "POST"
            with socket.create_connection((str(url.hostname), int(url.port or 0))) as connection:
                head = f"{method} {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {limit}\r\n\r\n"
                connection.sendall(head.encode())
                assert b" 413 " in connection.recv(1000)
