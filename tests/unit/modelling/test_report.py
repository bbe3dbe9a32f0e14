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

from .validations import ERAS, figures, model, validation


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
    titles += ["CORR of each era: old", "Mean exposure to each feature", "Predictions"]
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


def _row(text: str, label: str) -> list[str]:
    """The cells of a row; the best one is in stars."""
    row = re.search(rf"<th>{re.escape(label)}</th>(.*?)</tr>", text)
    assert row, f"there is no row {label}"
    cells = re.findall(r'<td class="([^"]*)">(.*?)</td>', row[1])
    return [f"*{text}*" if "best" in kind else text for kind, text in cells]


@pytest.mark.slow
def test_a_page_shows_of_each_metric_what_means_something(two: dict[str, Any]) -> None:
    """An exposure is never below 0: it has no drawdown and no hit rate, and its Sharpe says nothing."""
    for each, exposure in zip(two["models"], (0.286, 0.31), strict=True):
        each["per_era"]["exposure"] = [exposure + era / 1e4 for era in range(-62, 63)]
        each["metrics"]["exposure"] = figures(each["per_era"]["exposure"])
    text = page(two)
    assert _row(text, "Largest exposure in an era, mean") == ["*0.2860*", "0.3100"]
    rows = re.findall(r"<th>Largest exposure in an era, (.*?)</th>", text)
    assert rows == ["mean", "standard deviation"]
    assert "Mean exposure to each feature" in text


@pytest.mark.slow
def test_the_benchmark_is_no_better_for_contributing_nothing_to_itself(two: dict[str, Any]) -> None:
    nothing = [0.0] * len(ERAS)
    itself = {"mean": 0.0, "std": 0.0, "sharpe": None, "max_drawdown": 0.0, "autocorrelation": None, "hit_rate": 0.0}
    two["models"].append(
        model("benchmark", 3, metrics={"bmc": itself}, per_era={"bmc": nothing}, windows={}, exposures={})
    )
    text = page(two)
    assert _row(text, "BMC, mean")[2] == "0.0000"
    for figure in ("Sharpe", "largest drawdown", "hit rate"):
        *others, own = _row(text, f"BMC, {figure}")
        assert own == "-" and "-" not in others
    assert any(cell.startswith("*") for cell in _row(text, "BMC, largest drawdown")[:2])
    assert _row(text, "CORR, mean")[2] == "-", "one sign for what is not known, as in the terminal"


@pytest.mark.slow
def test_only_scores_of_the_same_eras_are_compared(two: dict[str, Any]) -> None:
    two["models"][1]["per_era"]["corr"][0] = None
    text = page(two)
    assert not any(cell.startswith("*") for cell in _row(text, "CORR, largest drawdown"))
    assert any(cell.startswith("*") for cell in _row(text, "FNC, largest drawdown"))


@pytest.mark.slow
def test_what_reads_alike_is_equally_good(two: dict[str, Any]) -> None:
    for each, mean in zip(two["models"], (0.02001, 0.02002), strict=True):
        each["metrics"]["corr"]["mean"] = mean
    assert _row(page(two), "CORR, mean") == ["0.0200", "0.0200"]


@pytest.mark.slow
def test_caveats_stand_under_a_heading_of_their_own(two: dict[str, Any]) -> None:
    text = page({**two, "caveats": ["new was stopped by its CORR on 30 eras of these."]})
    caveats, left_out = text.split("Read with care")[1].split("What could not be looked at")
    assert "new was stopped by" in caveats and "BMC: eras before 0158" not in caveats
    assert "BMC: eras before 0158" in left_out and "new was stopped by" not in left_out
    assert "Read with care" not in page(two)
    assert "What could not be looked at" not in page({**two, "notes": []})


@pytest.mark.slow
def test_the_training_is_told_in_words(two: dict[str, Any]) -> None:
    two["models"][0]["training"] = {
        "data": "v5.3",
        "members": ["target, seed 0, 1500 trees", "target, seed 1, 1500 trees"],
        "neutralized": 0.5,
        "eras": ["0001", "0046"],
        "held_out": ["0055", "0060"],
        "every": 4,
        "purge": 8,
        "patience": 500,
        "stopped": ["all trees are trained", "all trees are trained"],
        "parameters": {"block": 100, "trees": 2000, "num_leaves": 31, "path_smooth": 0.1},
        "something_new": {"of_later": 1},
    }
    text = page(two)
    told = {
        "Data version": "v5.3",
        "Eras trained on": "0001 to 0046",
        "Eras held out": "0055 to 0060",
        "Eras taken": "one in 4",
        "Eras left out before those held out": "8",
        "Trees between two looks at CORR": "100",
        "Trees at most": "2000",
        "Leaves of a tree": "31",
        "Path smooth": "0.1",
        "Stopped because": "all trees are trained",
        "Neutralized": "50%",
        "Something new, of later": "1",
    }
    assert {label: _row(text, label)[0] for label in told} == told
    assert "parameters." not in text and "held_out" not in text


@pytest.mark.slow
def test_a_page_says_what_changed_against_the_deployed_model(two: dict[str, Any]) -> None:
    changed = page(two).split("What changed against the deployed model")[1]
    assert "Learning rate" in changed and "0.02" in changed and "Preset" not in changed
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
def test_the_text_of_a_figure_can_be_read_on_a_phone(two: dict[str, Any]) -> None:
    """390 pixels less the margins of the page and of the figure leave 328 for a figure."""
    for figure in re.findall(r"<svg .*?</svg>", page(two), re.DOTALL):
        width = re.match(r'<svg viewBox="0 0 ([\d.]+) ', figure)
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", figure)]
        assert width and sizes
        assert min(sizes) * 328 / float(width[1]) > 10.5


@pytest.mark.slow
def test_names_are_whole_in_the_tables(two: dict[str, Any]) -> None:
    two["models"][1]["name"] = "v53_lgbm_ender20_<b>"
    text = page(two)
    assert "v53_<wbr>lgbm_<wbr>ender20_<wbr>&lt;b&gt;</th>" in text
    assert "ellipsis" not in text


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
def test_the_title_of_a_picture_is_whole_beside_long_names() -> None:
    long = {f"feature_antistrophic_striate_conscriptionist_{number}": 0.1 for number in range(9)}
    content = pictures(validation(model("new", 1, per_era={}, exposures=long, histogram=None)))["exposure.png"]
    assert (np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[:50, -10:] == 255).all()


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
