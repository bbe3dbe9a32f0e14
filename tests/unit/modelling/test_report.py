"""The report: one page that asks nobody for anything, says what it shows, and can be read in both lights."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numerai_compute.errors import EnvironmentNotReady, UsageError
from numerai_compute.main import main
from numerai_compute.modelling.figures import DARK, LIGHT, Palette, drawdown, style
from numerai_compute.modelling.report import TILES, page, pictures
from numerai_compute.usecases.report import read_validation, write_page, write_pictures
from PIL import Image

from .validations import ERAS, model, validation


class _Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.says: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[str(value)] += 1
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.links.append(str(value))
            if name == "aria-label":
                self.says.append(str(value))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


@pytest.fixture
def two() -> dict[str, Any]:
    return validation(model("new", 1), model("old", 2), against="old", notes=["BMC: eras before 0158 have none."])


@pytest.mark.slow
def test_a_page_asks_nobody_for_anything(two: dict[str, Any]) -> None:
    text = page(two)
    read = _Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(read.tags)
    assert all(link.startswith("#") for link in read.links)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


@pytest.mark.slow
def test_a_page_shows_every_figure_and_says_it_to_who_cannot_see(two: dict[str, Any]) -> None:
    read = _Page(page(two))
    titles = ["Cumulative CORR", "Cumulative MMC", "Cumulative BMC", "Drawdown of CORR", "CORR of each era: new"]
    titles += ["CORR of each era: old", "Mean absolute exposure", "Predictions"]
    for title, says in zip(titles, read.says, strict=True):
        assert says.startswith(f"{title}: ")
    assert read.tags["svg"] == len(titles)
    assert all(count == 1 for count in read.ids.values())


def test_a_page_compares_and_names_the_best(two: dict[str, Any]) -> None:
    text = page(two)
    for each in two["models"]:
        assert f"{each['metrics']['corr']['mean']:.4f}" in text
    best = max(each["metrics"]["corr"]["sharpe"] for each in two["models"])
    row = re.search(r"<th>CORR, Sharpe</th>(.*?)</tr>", text)
    assert row and f'best">{best:.2f}<' in row[1]
    assert "BMC: eras before 0158 have none." in text


@pytest.mark.slow
def test_a_page_says_what_changed_against_the_deployed_model(two: dict[str, Any]) -> None:
    changed = page(two).split("What changed against the deployed model")[1]
    assert "parameters.learning_rate" in changed and "0.02" in changed and "preset" not in changed
    assert "deployed" not in page(validation(model("new", 1), model("benchmark", 2)))


@pytest.mark.slow
def test_foreign_names_cannot_write_into_the_page() -> None:
    text = page(validation(model("<script>alert(1)</script>", 1), model("$x_1$ & \\frac", 2), notes=["<b>"]))
    read = _Page(text)
    assert not read.tags["script"]
    assert read.tags["b"] == len(TILES)
    assert "$x_1$ & \\frac" in " ".join(read.words)


@pytest.mark.slow
def test_the_same_validation_gives_the_same_page(two: dict[str, Any]) -> None:
    assert page(two) == page(json.loads(json.dumps(two)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "thin",
    [
        model("no scores", 1, metrics={}, windows={}, per_era={}, exposures={}, histogram=None, training=None),
        model("empty eras", 1, per_era={"corr": [None] * len(ERAS)}),
        model("nothing but corr", 1, per_era={"corr": [0.0] * len(ERAS)}, exposures=None),
    ],
    ids=lambda each: each["name"],
)
def test_what_is_not_there_is_left_out(thin: dict[str, Any]) -> None:
    read = _Page(page(validation(thin)))
    assert "nan" not in " ".join(read.words).lower() and "None" not in read.words


@pytest.mark.slow
def test_one_era_is_enough() -> None:
    one = model("new", 1, per_era={"corr": [0.02]})
    content = validation(one)
    content["data"]["eras"] = ["0575"]
    assert "1 era, 0575" in page(content)


def test_the_drawdown_is_what_was_lost_since_the_best_time() -> None:
    got = drawdown(np.array([0.1, -0.3, 0.1, np.nan, 0.3, -0.1]))
    assert got == pytest.approx([0.0, -0.3, -0.2, -0.2, 0.0, -0.1])
    assert drawdown(np.array([-0.1]))[0] == pytest.approx(-0.1)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_read(palette: Palette) -> None:
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for what a figure consists of (1.4.11)."""
    assert _contrast(palette.ink, palette.surface) > 7
    assert _contrast(palette.muted, palette.surface) >= 4.5
    assert all(_contrast(colour, palette.surface) >= 3 for colour in palette.series)
    assert len(set(style(palette).values())) > 20


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_figures_are_pictures_too(two: dict[str, Any], palette: Palette) -> None:
    drawn = pictures(two, palette)
    assert len(drawn) == 8
    for content in drawn.values():
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        assert picture.width == 1080
        ground = tuple(int(palette.surface[at : at + 2], 16) for at in (1, 3, 5))
        assert picture.getpixel((2, picture.height - 3)) == ground
        colours = picture.getcolors(1 << 20)
        assert colours is not None and len(colours) > 10


@pytest.mark.slow
def test_the_command_writes_the_page_beside_the_validation(
    two: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "alice.json"
    path.write_text(json.dumps(two))
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(path)])
    assert f"The report is {tmp_path / 'alice.html'}." in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "alice.html").read_text(encoding="utf-8") == page(two)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "it names no models"),
        (b'{"models": [], "data": {}}', "of format None"),
        (b'{"format": 2, "models": [], "data": {}}', "of format 2"),
        (b'{"format": 1, "models": [], "data": {}}', "holds no scores"),
        (b'{"format": 1, "models": [{}], "data": []}', "holds no scores"),
    ],
)
def test_what_is_no_validation_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        read_validation(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_validation(tmp_path / "none.json")


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_one_message(two: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentNotReady):
        write_page(two, tmp_path / "file" / "report.html")


@pytest.mark.slow
def test_pictures_go_into_a_folder(two: dict[str, Any], tmp_path: Path) -> None:
    written = write_pictures(two, tmp_path / "new" / "figures", dark=True)
    assert sorted(written) == sorted((tmp_path / "new" / "figures").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken", [{"name": None}, {"per_era": []}, {"metrics": {"corr": 1}}], ids=["name", "eras", "metrics"]
)
def test_what_was_changed_by_hand_is_one_message(broken: dict[str, Any], tmp_path: Path) -> None:
    content = validation({**model("new", 1), **broken})
    if broken.get("name", "") is None:
        del content["models"][0]["name"]
    with pytest.raises(UsageError, match="cannot be drawn"):
        write_page(content, tmp_path / "report.html")
