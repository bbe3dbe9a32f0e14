"""Whatever handlers print reaches the terminal without secrets, in whatever form and pieces it comes."""

from __future__ import annotations

import io
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from numerai_compute import redaction
from numerai_compute.events.printed import LONGEST_LINE, masked_output
from numerai_compute.events.runner import run_handlers
from numerai_compute.events.surroundings import Surroundings
from numerai_compute.models import Keys
from numerai_compute.numerauto.loop import NumerautoLoop

from tests.planted import SECRET, WINDOW, forms, found_in

from .conftest import World

WHOLE = {name: form.decode() for name, form in forms(SECRET).items() if not name.startswith("piece")}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {SECRET})


@contextmanager
def terminal() -> Iterator[io.StringIO]:
    """Where what is printed within the block comes out."""
    stream = io.StringIO()
    with masked_output(stream):
        yield stream


@pytest.mark.parametrize("form", WHOLE.values(), ids=WHOLE.keys())
def test_every_form_is_masked(form: str) -> None:
    with terminal() as shown:
        for stream in (sys.stdout, sys.stderr):
            print("before", form, "behind", file=stream)
            stream.buffer.write(f"bytes {form} too\n".encode())
    assert shown.getvalue() == "before *** behind\nbytes *** too\n" * 2


@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("cut", range(1, len(SECRET)))
def test_a_secret_in_two_pieces(cut: int, flush: bool) -> None:
    with terminal() as shown:
        print("x", SECRET[:cut], end="", flush=flush)
        print(SECRET[cut:], "y")
    assert shown.getvalue() == "x *** y\n"


def fail() -> None:
    raise RuntimeError(f"no {SECRET} {SECRET!r}")


def test_tracebacks_and_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has its own
    with terminal() as shown:
        try:
            fail()
        except RuntimeError:
            traceback.print_exc()
        logger = logging.Logger("a handler's own")
        logger.addHandler(logging.StreamHandler())
        logger.warning("the key is %s", SECRET)
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    said = shown.getvalue()
    assert said.count("RuntimeError: no *** '***'") == 2 and "the key is ***" in said
    assert not found_in(said.encode())


def test_what_is_flushed_or_moves_the_cursor_is_seen_at_once() -> None:
    with terminal() as shown:
        print("(Pdb) ", end="", flush=True)
        assert shown.getvalue() == "(Pdb) "
        print("\r10 %\r20 %", end="")
        assert shown.getvalue() == "(Pdb) \r10 %\r"
        sys.stdout.write("x" * (LONGEST_LINE + 1))
        assert len(shown.getvalue()) > LONGEST_LINE


def test_nothing_is_lost_at_the_end() -> None:
    with terminal() as shown:
        print("no newline, and the beginning of a key:", SECRET[: WINDOW - 1], end="", flush=True)
    assert shown.getvalue().endswith(f"key: {SECRET[: WINDOW - 1]}")


def test_characters_that_are_none_and_those_in_two_pieces() -> None:
    with terminal() as shown:
        sys.stdout.buffer.write("\u017c".encode()[:1])
        sys.stdout.buffer.write("\u017c".encode()[1:] + b"\xff\n")
        print("\udc80")
    assert shown.getvalue() == "\u017c\N{REPLACEMENT CHARACTER}\n\\udc80\n"


def test_a_terminal_that_is_gone_fails_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with masked_output(Gone()):
        print("nobody hears")


def test_events_run_masks_what_a_handler_prints(
    world: World,
    write_handlers: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also while its file is loaded, with a key that nothing but the home folder's file holds."""
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(type(world), "surroundings", property(surroundings_with(world, SECRET)))
    handlers = write_handlers(
        "import sys\n"
        "from numerai_compute.events import EventHandler\n"
        f"KEY = {SECRET!r}\n"
        "print('loaded with', KEY)\n"
        "class Careless(EventHandler):\n"
        "    def on_round_begin(self, round_number):\n"
        "        print('round', round_number, KEY)\n"
        "        sys.stderr.write(f'piece {KEY[:9]}')\n"
        "        sys.stderr.write(f'{KEY[9:]} end' + chr(10))\n"
        "        raise RuntimeError('the key is ' + KEY + repr(KEY))\n"
    )
    done = run_handlers([handlers], world.surroundings, single_run=True, loop=NumerautoLoop)
    assert not done.succeeded
    said = capsys.readouterr()
    assert said.out == ""
    assert "loaded with ***" in said.err and "round 100 ***" in said.err and "piece *** end" in said.err
    assert not found_in(said.err.encode())
    assert not found_in(Path(done.log).read_bytes())


def surroundings_with(world: World, secret: str) -> Callable[[World], Surroundings]:
    def keys() -> Keys:
        return Keys("PUBLICID", secret, world.api.url)

    return lambda _: Surroundings(world.home, world.clock, world.notifier, keys, lambda keys: world.api)
