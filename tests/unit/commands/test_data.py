"""`numerai data`: what is listed, what is downloaded, and what is said of files that there are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.commands import data as data_commands
from numerai_compute.factory import Factory
from numerai_compute.main import run

from tests.fixtures.sandbox import ServedSandbox
from tests.unit.commands.conftest import FakeFactory, Line


class Data:
    """Types `numerai data ...` without keys, against a sandbox."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]):
        self.home, self._capsys = home, capsys

    def __call__(self, *arguments: str, exit_code: int = 0) -> tuple[str, str]:
        assert run(["data", *arguments], Factory(self.home)) == exit_code
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return captured.out, captured.err


@pytest.fixture
def data(
    sandbox: ServedSandbox,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Data:
    monkeypatch.setenv("NUMERAI_API_URL", sandbox.url)
    monkeypatch.setenv("NUMERAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return Data(home, capsys)


def test_versions_and_files_are_listed_with_what_is_here(line: Line, home: Path) -> None:
    assert "v5.3" in line("data", "list").out
    place = home / "data" / "v5.3" / "train.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"12345")
    listed = line("data", "list", "--version", "v5.3", "--json").json["files"]
    assert listed == [
        {"name": "features.json", "path": None, "size": None},
        {"name": "train.parquet", "path": str(place), "size": 5},
    ]
    assert line("data", "list", "--json").json["versions"][0]["here"] == 1


@pytest.mark.slow
def test_a_set_brings_its_files_into_the_folder_and_the_second_time_nothing(
    data: Data, sandbox: ServedSandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "given"
    out, _ = data("download", "live", "--to", str(folder))
    assert {path.name for path in folder.iterdir() if path.suffix in (".json", ".parquet")} == {
        "features.json",
        "live.parquet",
        "live_benchmark_models.parquet",
    }
    assert "was here" not in out
    assert (folder / "live.parquet").read_bytes() == sandbox.download("v5.3/live.parquet", tmp_path).read_bytes()
    assert data("download", "live", "--to", str(folder))[0].count("was here") == 3


def test_without_a_folder_files_go_where_the_nodes_of_this_machine_look(data: Data, tmp_path: Path) -> None:
    data("download", "features.json")
    (file,) = (tmp_path / "cache").glob("api-127.0.0.1-*/v5.3/*.json")  # Numerai's own lie in the cache itself
    assert file.name == "features.json"


@pytest.mark.slow
def test_other_tournaments_have_files_of_their_own(data: Data, tmp_path: Path) -> None:
    out, _ = data("download", "train", "-t", "crypto", "--to", str(tmp_path / "c"), "--json")
    assert '"crypto/v2.0/train.parquet"' in out
    _, err = data("download", "validation", "-t", "crypto", exit_code=2)
    assert "Version v2.0 of Crypto has no file validation.parquet." in err
    assert "There are: live.parquet, live_example_preds.parquet, train.parquet." in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("download", "--version", "v9.9"), "There is no version v9.9 of the data of Classic."),
        (("list", "--version", "v9.9"), "There is no version v9.9 of the data of Classic."),
        (("download", "trian.parquet"), "Did you mean train.parquet"),
        (("download", "../../etc/passwd"), "has no file ../../etc/passwd"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(line: Line, arguments: tuple[str, ...], said: str) -> None:
    answer = line("data", *arguments)
    assert answer.exit_code == 2
    assert said in answer.err
    assert "v5.3" in answer.err or "train.parquet" in answer.err


def test_a_long_download_says_how_far_it_is_and_how_long_it_takes_still(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factory = FakeFactory(home)
    hear = data_commands.hearing(factory, "train.parquet")
    for here in (1_000_000_000, 1_100_000_000, 1_200_000_000, 2_000_000_000):
        hear(here, 4_000_000_000)
        factory.clock.sleep(3)
    assert capsys.readouterr().err.splitlines() == ["train.parquet: 30% of 3.7 GiB, 84 s left"]
    hear(4_000_000_000, None)
    assert capsys.readouterr().err.splitlines() == ["train.parquet: 3.7 GiB"]
