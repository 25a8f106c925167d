"""What a server executes for an operation: bytecodes and Python calls by function, counted and not timed.

The clock says how long something takes; this says where, and says the same in each run.  The user's code is
that of the benchmark's servers, and counts.  Run as a program, with the folder of antiphon as its argument,
it prints JSON.
"""

import argparse
import contextlib
import json
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import CodeType
from typing import Any, Final

from bench.processes import PROJECT, Setting, run_module

__all__ = ["Counts", "measure_profile", "profile"]

#: Functions that are named; the others are counted together.
NAMED: Final = 10
#: Connections that are served in one turn, and lines that come in one read.
CONNECTIONS: Final = 16
LINES: Final = 64
#: Rounds before the counting, after which nothing is done for the first time; and those that are counted.
WARM_UP, COUNTED = 40, 10
#: Seconds after which the program is ended.
LIMIT: Final = 120

_LINE: Final = b"x" * 62 + b"\r\n"


class Counts:
    """The bytecodes and calls of what runs within `counting()`."""

    def __init__(self) -> None:
        self.bytecodes: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()
        self.wanted = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count, if that is wanted now. This module's own functions don't count."""
        if not self.wanted:
            yield
            return
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore] # since Python 3.12
        events, tool = monitoring.events, monitoring.PROFILER_ID
        monitoring.use_tool_id(tool, "antiphon's benchmark")
        monitoring.register_callback(tool, events.INSTRUCTION, self._executed)
        monitoring.register_callback(tool, events.PY_START, self._called)
        monitoring.set_events(tool, events.INSTRUCTION | events.PY_START)
        try:
            yield
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

    def _executed(self, code: CodeType, offset: int) -> None:
        if code.co_filename not in _NOT_COUNTED:
            self.bytecodes[code] += 1

    def _called(self, code: CodeType, offset: int) -> None:
        if code.co_filename not in _NOT_COUNTED:
            self.calls[code] += 1

    def of_each(self, total: int) -> dict[str, Any]:
        """What one of `total` operations takes, and the functions that take most of it."""
        most = sorted(self.bytecodes, key=lambda code: (-self.bytecodes[code], code.co_qualname))
        return {
            "bytecodes": round(self.bytecodes.total() / total, 1),
            "calls": round(self.calls.total() / total, 2),
            "functions": [
                [code.co_qualname, round(self.bytecodes[code] / total, 1), round(self.calls[code] / total, 2)]
                for code in most[:NAMED]
            ],
        }


_NOT_COUNTED: Final = frozenset({__file__, contextlib.__file__})


class _Server:
    """A listener of one of the modules in this process, and its clients."""

    def __init__(self, asyncore: Any, channel: Any, opened: ExitStack) -> None:
        self.counts = Counts()

        class Listener(asyncore.dispatcher):  # type: ignore[misc]
            def handle_accepted(self, sock: Any, addr: Any) -> None:
                channel(sock)

        self.map = asyncore.socket_map
        self._poll = asyncore.poll2
        listener = Listener()
        opened.callback(asyncore.close_all)
        listener.create_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(CONNECTIONS)
        self._address = listener.socket.getsockname()
        self._opened = opened

    def connect(self) -> socket.socket:
        """A client, whose connection waits to be accepted."""
        return self._opened.enter_context(socket.create_connection(self._address))

    def turn(self) -> None:
        """One turn of the loop."""
        with self.counts.counting():
            self._poll(0.2, self.map)

    def turn_until(self, channels: int) -> None:
        """Turn until the map has so many channels."""
        while len(self.map) != channels:
            self.turn()


def _exchange(server: _Server, clients: list[socket.socket], data: bytes) -> None:
    for client in clients:
        client.sendall(data)
    for client in clients:
        missing = len(data)
        client.setblocking(False)
        while missing:
            try:
                missing -= len(client.recv(missing))
            except BlockingIOError:
                server.turn()
        client.setblocking(True)


def _come_and_go(server: _Server) -> None:
    idle = len(server.map)
    with ExitStack() as opened:
        clients = [opened.enter_context(server.connect()) for _ in range(CONNECTIONS)]
        server.turn_until(idle + CONNECTIONS)
        _exchange(server, clients, _LINE)
    server.turn_until(idle)


def _count(server: _Server, operation: Callable[[], None], number: int) -> dict[str, Any]:
    """What the server executes for one of the `number` operations that a call is."""
    for _ in range(WARM_UP):
        operation()
    server.counts = counts = Counts()
    counts.wanted = True
    for _ in range(COUNTED):
        operation()
    counts.wanted = False
    return counts.of_each(COUNTED * number)


def profile(asyncore: Any, channel: Any) -> Iterator[dict[str, Any]]:
    """What the operations execute on one of the modules.

    Args:
        asyncore: antiphon's or the old one.
        channel: what serves a connection.
    """
    with ExitStack() as opened:
        server = _Server(asyncore, channel, opened)
        yield {"operation": "connection"} | _count(server, lambda: _come_and_go(server), CONNECTIONS)
        clients = [server.connect() for _ in range(CONNECTIONS)]
        server.turn_until(CONNECTIONS + 1)
        yield {"operation": "ping-pong"} | _count(
            server, lambda: _exchange(server, clients, _LINE), CONNECTIONS
        )
        yield {"operation": "pipelined line"} | _count(
            server, lambda: _exchange(server, clients[:1], LINES * _LINE), LINES
        )


def _main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("source")
    theirs = import_module("asyncore"), import_module("asynchat")
    sys.path[:0] = [arguments.parse_args().source, str(PROJECT / "bench" / "servers")]
    ours = import_module("antiphon.asyncore"), import_module("antiphon.asynchat")
    assert ours[0] is not theirs[0], "wanted the old asyncore first on the path, found antiphon's"
    application: Any = import_module("_application")
    servers = {
        "antiphon": (ours[0], application.make_channel(ours[1].async_chat)),
        "antiphon messages": (
            ours[0],
            application.make_message_channel(import_module("antiphon").MessageChannel),
        ),
        "pyasynchat poll": (theirs[0], application.make_channel(theirs[1].async_chat)),
    }
    found = []
    for name, (asyncore, channel) in servers.items():
        found += [{"server": name} | one for one in profile(asyncore, channel)]
    print(json.dumps(found))


def measure_profile(setting: Setting) -> list[dict[str, Any]]:
    """Run this module as a program; nothing where the interpreter can't count: before Python 3.12.

    Raises:
        RuntimeError: it failed; with the last thing that it said.
    """
    if sys.version_info < (3, 12):
        return []
    return run_module(setting, "bench.profile", limit=LIMIT)


if __name__ == "__main__":
    _main()
