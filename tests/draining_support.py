"""Loops that are stopped and drained, in other threads too, with channels that note their end."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon import asynchat, asyncore
from antiphon.maps import ChannelMap
from loop_support import Wires

#: Seconds after which something that should have happened is taken not to.
PATIENCE = 30
#: More than the kernel keeps for a peer that doesn't read.
MUCH = bytes(range(256)) * 40_000


@pytest.fixture(params=[ChannelMap, dict], ids=lambda make: make.__name__)
def channels(request: pytest.FixtureRequest, each_poller: str, wires: Wires) -> Any:
    """A map that tells its loop of changes, and one that doesn't."""
    return wires.map() if request.param is ChannelMap else wires.plain_map()


class Chat(asynchat.async_chat):
    """Notes its lines and its end."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.events: list[Any] = []
        super().__init__(sock, map)
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.events.append(self._get_data())

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()


@contextlib.contextmanager
def thread(function: Callable[[], object]) -> Iterator[list[object]]:
    """Runs it meanwhile; what it returned is in the list after that."""
    results: list[object] = []
    runner = threading.Thread(target=lambda: results.append(function()), daemon=True)
    runner.start()
    yield results
    runner.join(PATIENCE)
    assert results, "it raised, or hangs"


def until_stopped(channels: Any) -> str:
    asyncore.loop(None, map=channels)
    return "returned"


def reads_all(peer: socket.socket) -> Callable[[], bytes]:
    """Reads from a socket until its end."""
    peer.setblocking(True)
    peer.settimeout(PATIENCE)

    def read() -> bytes:
        with peer, contextlib.suppress(ConnectionResetError):
            return b"".join(iter(lambda: peer.recv(65536), b""))
        return b"reset"

    return read
