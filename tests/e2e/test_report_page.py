"""The report in a real browser: light, dark, and as narrow as a phone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numerai_compute.modelling.figures import DARK, LIGHT, Palette
from numerai_compute.modelling.report import page
from PIL import Image

from tests.unit.modelling.validations import model, validation

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEIGHT = 6200
"""Pixels: the page ends before."""
PAGE = {"light": (246, 247, 248), "dark": (15, 18, 22)}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to look at the page with"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    long = "a-model-with-a-name-as-long-as-names-may-be-and-then-some-more-of-it"
    content = validation(model("new", 1), model(long, 2), model("v53_lgbm_ender20", 3), against=long, notes=["A note."])
    path.write_text(page(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
@pytest.mark.parametrize(("light", "palette"), [("light", LIGHT), ("dark", DARK)], ids=["light", "dark"])
def test_the_page_as_a_browser_shows_it(light: str, palette: Palette, width: int, report: Path, tmp_path: Path) -> None:
    shown = _shown(report, tmp_path / "shown.png", width, dark=light == "dark")
    ground = np.array(PAGE[light])
    assert shown.shape == (HEIGHT, width, 3)
    assert (shown[:, -6:] == ground).all(), "something is wider than the window"
    assert (shown[-200:] == ground).all(), "the page does not end"
    written = (shown != ground).any(axis=(1, 2)).nonzero()[0]
    assert written.max() > 2000
    gaps = np.diff(written)
    assert gaps.max() < 120, "there is an empty place in the page"
    colours = {f"#{colour:06x}" for colour in np.unique(shown.astype(np.int32) @ (1 << 16, 1 << 8, 1)).tolist()}
    assert {palette.ink, palette.surface, *palette.series[:3]} <= colours
    assert (LIGHT if palette is DARK else DARK).surface not in colours


def _shown(path: Path, to: Path, width: int, *, dark: bool) -> np.ndarray:
    assert BROWSER is not None
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
    ]
    command += [f"--window-size={width},{HEIGHT}", f"--screenshot={to}", f"--user-data-dir={to.parent / 'profile'}"]
    command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", path.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(to).convert("RGB"))
