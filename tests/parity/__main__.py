"""Writes docs/parity.md."""

from __future__ import annotations

from tests.parity.table import DOCUMENT, document

DOCUMENT.write_text(document(), encoding="utf-8")
print(f"Written: {DOCUMENT.name}")
