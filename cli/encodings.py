"""Text in the encodings in which editors and shells save it: UTF-8, with or without a mark, and UTF-16 with one."""

from __future__ import annotations

import codecs

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_utf_16(content: bytes) -> bool:
    """Whether a text file is UTF-16: by its mark, or by the zero bytes that no other text has."""
    return content.startswith(UTF_16) or b"\0" in content[:4096]


def as_utf_8(content: bytes) -> bytes:
    """A text file's content as UTF-8 without a mark. What is no valid UTF-16 in spite of its mark stays as it is."""
    if content.startswith(UTF_16):
        try:
            return content.decode("utf-16").encode()
        except UnicodeError:
            return content
    return content.removeprefix(codecs.BOM_UTF8)


def is_text(name: str) -> bool:
    """Whether a name that the system gave is text: bytes in it that are no UTF-8 have become surrogates (os.fsdecode),
    which no file of this tool can hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
