"""Memory and disk that a training takes, and what there is of them."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _OWN_PAGES = -3, 1 << 16
"""mallopt's M_MMAP_THRESHOLD (malloc.h of glibc), and the bytes from which on a block gets pages of its own."""


def free_at_once() -> None:
    """From now on larger blocks of memory go back to the system as they are freed.

    glibc raises the size from which on that is so up to 32 MiB as it sees blocks come and go, and what lies between
    others stays: a tenth of all memory while data are binned. Its own environment variable for it,
    MALLOC_MMAP_THRESHOLD_, would have to be set before Python starts. Nothing is done where there is no glibc.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _OWN_PAGES)
