"""What handlers print: on standard error, with the secrets of this process masked, whatever pieces it comes in."""

from __future__ import annotations

import codecs
import contextlib
import io
import threading
from collections.abc import Iterator
from typing import TextIO

from ..redaction import Redactor

LONGEST_LINE = 64 * 1024


@contextlib.contextmanager
def masked_output(stream: TextIO) -> Iterator[None]:
    """Send what is printed within the block, also by tracebacks, to the stream, without secrets. Only Python's own
    standard output and standard error go through here, not what a program that a handler starts prints by itself."""
    out, err = _Masked(stream), _Masked(stream)
    with contextlib.redirect_stdout(out.text()), contextlib.redirect_stderr(err.text()):
        try:
            yield
        finally:
            out.end()
            err.end()


class _Masked(io.RawIOBase):
    """Writes whole lines to a stream, and what is flushed, but for its end where that may begin a secret. What cannot
    be written there fails no handler."""

    name = "<masked>"

    def __init__(self, stream: TextIO):
        super().__init__()
        self._stream = stream
        self._redact = Redactor()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lock = threading.RLock()
        self._line = ""

    def text(self) -> io.TextIOWrapper:
        """The same for text."""
        return io.TextIOWrapper(self, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)

    def write(self, content: bytes) -> int:  # type: ignore[override]
        with self._lock:
            text = self._line + self._decoder.decode(bytes(content))
            end = max(text.rfind("\n"), text.rfind("\r")) + 1
            self._line = text[end:]
            self._pass(text[:end])
            if len(self._line) > LONGEST_LINE:
                self.flush()
        return len(content)

    def flush(self) -> None:
        with self._lock:
            held = self._redact.begun(self._line)
            self._pass(self._line[: len(self._line) - held])
            self._line = self._line[len(self._line) - held :]

    def end(self) -> None:
        """Write what is held back: nothing more comes."""
        with self._lock:
            text, self._line = self._line, ""
            self._pass(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _pass(self, text: str) -> None:
        if text:
            with contextlib.suppress(OSError, ValueError):  # full, or closed
                self._stream.write(self._redact(text))
                self._stream.flush()
