"""What kind of machine this is: whether it may go to sleep, and with it whatever it watches."""

from __future__ import annotations

import sys
from pathlib import Path

PORTABLE = {
    8: "a portable",
    9: "a laptop",
    10: "a notebook",
    11: "a hand-held computer",
    14: "a sub-notebook",
    30: "a tablet",
    31: "a convertible",
    32: "a detachable tablet",
}
"""SMBIOS specification (DMTF DSP0134), 7.4.1, System Enclosure or Chassis Types: those that are carried about."""


def why_it_may_sleep(platform: str = sys.platform, root: Path = Path("/")) -> str | None:
    """What makes this machine likely to sleep ("it is a laptop"), None where nothing speaks for it.

    On Linux what the firmware calls its chassis, else a battery that feeds the whole machine; elsewhere a battery.
    A Linux whose `sleep.target` is masked cannot sleep (systemd.special(7): every kind of sleep needs it). A desktop
    can be set to sleep as well: that is not found here.
    """
    if platform == "linux":
        return None if _sleep_is_masked(root) else _chassis(root) or _battery_of(root)
    return "it has a battery" if _has_battery() else None


def how_to_keep_it_awake(platform: str = sys.platform) -> str:
    """What keeps such a machine from sleeping."""
    if platform == "linux":
        return "sudo systemctl mask sleep.target suspend.target hibernate.target hybrid-sleep.target"
    if platform == "darwin":
        return "sudo pmset -c sleep 0, and leave it open and plugged in"  # pmset(1)
    if platform == "win32":
        return "powercfg /change standby-timeout-ac 0, and leave it open and plugged in"  # powercfg, Microsoft Learn
    return "switch its sleep off"


def _sleep_is_masked(root: Path) -> bool:
    units = (root / folder / "sleep.target" for folder in ("etc/systemd/system", "run/systemd/system"))
    return any(unit.is_symlink() and str(unit.readlink()) == "/dev/null" for unit in units)


def _chassis(root: Path) -> str | None:
    try:
        kind = int((root / "sys/class/dmi/id/chassis_type").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return f"it is {PORTABLE[kind]}" if kind in PORTABLE else None


def _battery_of(root: Path) -> str | None:
    """A battery of the machine itself, not of a mouse or a UPS (sysfs-class-power: type Battery, scope not Device)."""
    try:
        supplies = sorted((root / "sys/class/power_supply").iterdir())
    except OSError:
        return None
    for supply in supplies:
        if _word(supply / "type") == "Battery" and _word(supply / "scope") != "Device":
            return "it has a battery"
    return None


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _has_battery() -> bool:
    import psutil

    try:
        return hasattr(psutil, "sensors_battery") and psutil.sensors_battery() is not None
    except (OSError, RuntimeError, psutil.Error):
        return False
