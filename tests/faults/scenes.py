"""What the scenes of the old modules' defects have in common.

A scene is a function of one implementation that returns what happened, as plain data. It is played
with the old modules, to record that the defect is there, and with ours, to show that it is gone.
"""

import contextlib
import io
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from faults.originals import Modules

Scene = Callable[[Modules], object]


class Defect(NamedTuple):
    """A defect of the old modules.

    Attributes:
        scene: what to play.
        original: what happens with the old modules.
        wanted: what must happen.
    """

    scene: Scene
    original: object
    wanted: object


def defect(scene: Scene, *, original: object, wanted: object) -> Any:
    """A `Defect` as a parameter, named after its scene."""
    return pytest.param(Defect(scene, original, wanted), id=scene.__name__)


@contextmanager
def connected_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets that do not block; both are closed in the end."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def received(sock: socket.socket) -> bytes:
    """Everything that waits at `sock`."""
    pieces = []
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


class Heard(logging.Handler):
    """What a program says while it runs: on standard output, and to the logger `antiphon`."""

    def __init__(self) -> None:
        super().__init__()
        self.stdout = io.StringIO()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def levels(self) -> list[str]:
        """The level of each record, with a star where it carries a traceback."""
        return [record.levelname + "*" * bool(record.exc_info) for record in self.records]

    def text(self) -> str:
        """Messages and tracebacks of all records."""
        return "\n".join(map(logging.Formatter().format, self.records))


@contextmanager
def listening() -> Iterator[Heard]:
    """Hears what is printed and logged meanwhile, at every level, and keeps it to itself."""
    logger = logging.getLogger("antiphon")
    heard = Heard()
    before = logger.level, logger.propagate
    logger.addHandler(heard)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with contextlib.redirect_stdout(heard.stdout):
            yield heard
    finally:
        logger.removeHandler(heard)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def line_channel(modules: Modules, **body: Any) -> Any:
    """A class of channels of `modules` that keep their lines in `lines`; `body` adds to it."""

    def __init__(self: Any, sock: socket.socket | None = None, map: Any = None) -> None:  # noqa: N807
        modules.asynchat.async_chat.__init__(self, sock, map)
        self.lines, self.line = [], b""

    def collect_incoming_data(self: Any, data: bytes) -> None:
        self.line += data

    def found_terminator(self: Any) -> None:
        self.lines.append(self.line)
        self.line = b""

    methods = {method.__name__: method for method in (__init__, collect_incoming_data, found_terminator)}
    return type("LineChannel", (modules.asynchat.async_chat,), {**methods, **body})
