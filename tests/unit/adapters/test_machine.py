"""Which machines may sleep, on trees as Linux shows them."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest
from numerai_compute.adapters.machine import how_to_keep_it_awake, why_it_may_sleep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links to /dev/null")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("chassis", "why"),
    [("10\n", "it is a notebook"), ("9", "it is a laptop"), ("31\n", "it is a convertible"), ("3\n", None),
     ("23\n", None), ("1\n", None), ("what\n", None)],
)  # fmt: skip
def test_the_firmware_says_what_the_chassis_is(tmp_path: Path, chassis: str, why: str | None) -> None:
    assert why_it_may_sleep("linux", tree(tmp_path, {"sys/class/dmi/id/chassis_type": chassis})) == why


@pytest.mark.parametrize(
    ("name", "kind", "scope", "why"),
    [
        ("BAT0", "Battery\n", None, "it has a battery"),
        ("macsmc-battery", "Battery\n", "System\n", "it has a battery"),
        ("hidpp_battery_0", "Battery\n", "Device\n", None),
        ("ups", "UPS\n", None, None),
        ("AC", "Mains\n", None, None),
    ],
)
def test_a_battery_counts_where_it_is_the_machines(
    tmp_path: Path, name: str, kind: str, scope: str | None, why: str | None
) -> None:
    files = {f"sys/class/power_supply/{name}/type": kind}
    if scope is not None:
        files[f"sys/class/power_supply/{name}/scope"] = scope
    assert why_it_may_sleep("linux", tree(tmp_path, files)) == why


def test_a_laptop_whose_sleep_is_masked_stays_awake(tmp_path: Path) -> None:
    tree(tmp_path, {"sys/class/dmi/id/chassis_type": "10\n", "etc/systemd/system/other": ""})
    assert why_it_may_sleep("linux", tmp_path) is not None
    (tmp_path / "etc/systemd/system/sleep.target").symlink_to("/dev/null")
    assert why_it_may_sleep("linux", tmp_path) is None
    assert "mask sleep.target" in how_to_keep_it_awake("linux"), "what is advised is what is looked for"


def test_a_machine_that_says_nothing_is_not_accused(tmp_path: Path) -> None:
    assert why_it_may_sleep("linux", tmp_path) is None


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_a_battery_decides(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", object, raising=False)
    assert why_it_may_sleep(platform) == "it has a battery"
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert why_it_may_sleep(platform) is None

    def broken() -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(psutil, "sensors_battery", broken, raising=False)
    assert why_it_may_sleep(platform) is None
    assert how_to_keep_it_awake(platform)


def test_this_machine_can_be_asked() -> None:
    assert why_it_may_sleep() is None or why_it_may_sleep().startswith("it ")  # type: ignore[union-attr]
