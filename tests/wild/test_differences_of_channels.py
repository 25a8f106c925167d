"""What channels do otherwise than the old ones, on purpose: docs/differences.md has the reasons.

Each scene is played with both, so that an entry of that list which is no longer true fails here. What the old
modules did wrong altogether is in tests/faults.
"""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import antiphon
from faults.originals import Modules, ours, the_originals
from faults.scenes import Defect, connected_pair, defect, line_channel, received
from wild.parts import noting, step

SOURCE = Path(antiphon.__file__).parents[1]


def after_close_when_done(modules: Modules) -> object:
    """Three lines arrive at once; the first is answered with the end. Which lines are delivered?"""

    def found_terminator(self: Any) -> None:
        self.lines.append(self.line)
        self.line = b""
        self.close_when_done()

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules, found_terminator=found_terminator)(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"QUIT\nDELE 1\nDELE 2\n")
        step(modules, channels, 2)
        return channel.lines


def the_end_read_twice(modules: Modules) -> object:
    """A handler calls recv() twice at the end of the connection, and handle_close() does not close."""
    ends: list[None] = []
    channels: dict[int, Any] = {}
    body = {
        "handle_read": lambda self: (self.recv(1), self.recv(1)),
        "handle_close": lambda self: ends.append(None),
    }
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, **body)(near, channels)
        far.close()
        step(modules, channels, 2)
        still_open = channel in channels.values()
        channel.close()
        return len(ends), still_open


def the_queue_after_close(modules: Modules) -> object:
    """Something was still to be sent when the channel was closed."""
    with connected_pair() as (near, _):
        channel = modules.asynchat.async_chat(near, {})
        channel.connected = False
        channel.push(b"x")
        channel.close()
        return len(channel.producer_fifo)


def the_queue_after_close_with_the_switch(modules: Modules) -> object:
    """The channel connects again. Which items are left, and what does the next peer get?"""
    channels: dict[int, Any] = {}
    producer = modules.asynchat.simple_producer(b"two")
    with connected_pair() as (near, _):
        channel = line_channel(modules, keeps_unsent=True)(near, channels)
        channel.connected = False
        channel.push(b"one")
        channel.push_with_producer(producer)
        channel.close()
        kept = list(channel.producer_fifo) == [b"one", producer]
    with connected_pair() as (near, far):
        channel.set_socket(near, channels)
        channel.connected = True
        step(modules, channels, 3)
        channel.close()
        return kept, received(far)


def pushes_after_close(modules: Modules) -> object:
    """Somebody goes on talking to who has left."""
    with connected_pair() as (near, _):
        channel = modules.asynchat.async_chat(near, {})
        channel.close()
        for _ in range(3):
            channel.push(b"x")
        return len(channel.producer_fifo)


def pushes_after_close_with_the_switch(modules: Modules) -> object:
    with connected_pair() as (near, _):
        channel = type("Keeping", (modules.asynchat.async_chat,), {"keeps_unsent": True})(near, {})
        channel.close()
        for _ in range(3):
            channel.push(b"x")
        return b"".join(channel.producer_fifo)


def closing_after_close(modules: Modules) -> object:
    channel = modules.asyncore.dispatcher(map={})
    channel.close()
    return channel.closing


def data_before_a_hang_up(modules: Modules) -> object:
    """The peer sent two bytes and hung up; handle_read() reads one at a time, under poll2()."""
    channels: dict[int, Any] = {}
    got: list[bytes] = []
    with connected_pair() as (near, far):
        noting(modules.asyncore.dispatcher, handle_read=lambda self: got.append(self.recv(1)))(near, channels)
        far.sendall(b"ab")
        far.close()
        for _ in range(4):
            modules.asyncore.poll2(0, channels)
        return b"".join(got)


def sizes_of_reads(modules: Modules, **body: Any) -> object:
    """How many bytes recv() is asked for while a peer sends much, and then little."""
    sizes: list[int] = []

    def recv(self: Any, size: int) -> Any:
        sizes.append(size)
        return modules.asynchat.async_chat.recv(self, size)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules, recv=recv, **body)(near, channels)
        channel.set_terminator(None)
        far.sendall(bytes(4096 + 8192))
        step(modules, channels, 2)
        for _ in range(3):
            far.sendall(b"x")
            step(modules, channels)
        return sizes[0], max(sizes), sizes[-1]


def sizes_of_reads_with_the_switch(modules: Modules) -> object:
    return sizes_of_reads(modules, ac_in_buffer_size=100)


def data_after_collecting_failed(modules: Modules) -> object:
    """collect_incoming_data() fails once, and handle_error() leaves the channel open. What is it given?"""
    given: list[bytes] = []

    def collect_incoming_data(self: Any, data: bytes) -> None:
        given.append(data)
        if len(given) == 1:
            raise LookupError("as asked")

    body = {"collect_incoming_data": collect_incoming_data, "handle_error": lambda self: None}
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules, **body)(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"one\n")
        step(modules, channels)
        far.sendall(b"two\n")
        step(modules, channels)
        return given


def sends_for_64_lines(modules: Modules, coalesce: bool = True) -> object:
    """64 lines arrive in one read, and each is answered with a push. How many times is send() called?"""
    sent: list[int] = []

    def send(self: Any, data: Any) -> Any:
        sent.append(len(data))
        return modules.asynchat.async_chat.send(self, data)

    def found_terminator(self: Any) -> None:
        self.push(b"answer\n")

    body = {"send": send, "found_terminator": found_terminator, "coalesce_pushes": coalesce}
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules, **body)(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"line\n" * 64)
        step(modules, channels)
        return len(sent), received(far) == b"answer\n" * 64


def sends_for_64_lines_with_the_switch(modules: Modules) -> object:
    return sends_for_64_lines(modules, coalesce=False)


def items_in_the_queue_of_a_long_push(modules: Modules) -> object:
    """200,000 bytes are pushed while there is no connection yet."""
    with connected_pair() as (near, _):
        channel = modules.asynchat.async_chat(near, {})
        channel.connected = False
        channel.push(bytes(200_000))
        return len(channel.producer_fifo)


class Failing:
    """A producer that fails when it is asked."""

    def more(self) -> bytes:
        raise LookupError("as asked")


def a_producer_that_fails(modules: Modules) -> object:
    """handle_error() only notes that it was called. Who sees the error, and is the channel open after it?"""
    errors: list[str] = []
    note = lambda self: errors.append(f"handle_error: {type(sys.exc_info()[1]).__name__}")  # noqa: E731
    channels: dict[int, Any] = {}
    with connected_pair() as (near, _):
        channel = line_channel(modules, handle_error=note)(near, channels)
        try:
            channel.push_with_producer(Failing())
        except LookupError:
            errors.append("push_with_producer raised")
        return errors, channel in channels.values()


def wrong_arguments(modules: Modules) -> object:
    """Which calls with something useless raise, and what?"""
    found = []
    with connected_pair() as (near, _):
        channel = modules.asynchat.async_chat(near, {})
        channel.connected = False
        for method, argument in (
            ("set_terminator", "text"),
            ("set_terminator", True),
            ("set_terminator", 1.5),
            ("push_with_producer", object()),
            ("push_with_producer", "text"),
        ):
            try:
                getattr(channel, method)(argument)
                found.append("")
            except Exception as error:
                found.append(type(error).__name__)
    return found


def where_states_are_kept(modules: Modules) -> object:
    """Which names are in vars() of a channel."""
    with connected_pair() as (near, _):
        channel = modules.asynchat.async_chat(near, {})
        return [name in vars(channel) for name in ("connected", "socket", "producer_fifo", "ac_in_buffer")]


def handlers_of_names_that_are_new(modules: Modules) -> object:
    """A program has methods of these names for purposes of its own. Which are called?"""
    called: list[str] = []

    def handle_eof(self: Any) -> None:
        called.append("handle_eof")
        self.close()

    body = {
        "handle_eof": handle_eof,
        "handle_connect_failed": lambda self, error: called.append("handle_connect_failed"),
        "handle_error": lambda self: self.close(),
    }
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        noting(modules.asyncore.dispatcher, **body)(near, channels)
        far.close()
        step(modules, channels)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        channel = noting(modules.asyncore.dispatcher, **body)(map=channels)
        channel.create_socket()
        channel.connect(unused.getsockname())
        modules.asyncore.loop(1, map=channels, count=1)
        channel.close()
    return called


def whether_tcp_waits(modules: Modules, **body: Any) -> object:
    """Whether a channel's connection sends at once what it is given, accepted and made by connect()."""
    no_delay = socket.IPPROTO_TCP, socket.TCP_NODELAY
    made = line_channel(modules, **body)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connecting = made(None, {})
        connecting.create_socket()
        connecting.connect(server.getsockname())
        accepted = made(server.accept()[0], {})
        found = [bool(channel.socket.getsockopt(*no_delay)) for channel in (accepted, connecting)]
        accepted.close()
        connecting.close()
        return found


def whether_tcp_waits_with_the_switch(modules: Modules) -> object:
    return whether_tcp_waits(modules, tcp_no_delay=False)


def connections_told_when_telling_fails(modules: Modules) -> object:
    """handle_connect() raises, and handle_error() leaves the channel open. How often is it called?"""
    calls: list[None] = []

    def handle_connect(self: Any) -> None:
        calls.append(None)
        raise LookupError("as asked")

    body = {"handle_connect": handle_connect, "handle_error": lambda self: None}
    channels: dict[int, Any] = {}
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = noting(modules.asyncore.dispatcher, **body)(map=channels)
        channel.create_socket()
        channel.connect(server.getsockname())
        step(modules, channels, 3)
        told = len(calls), channel.connected
        channel.close()
        return told


ALL = [b"QUIT", b"DELE 1", b"DELE 2"]
DIFFERENCES = [
    defect(after_close_when_done, original=ALL, wanted=[b"QUIT"]),
    defect(the_end_read_twice, original=(4, True), wanted=(1, False)),
    defect(sends_for_64_lines, original=(64, True), wanted=(1, True)),
    defect(sends_for_64_lines_with_the_switch, original=(64, True), wanted=(64, True)),
    defect(sizes_of_reads, original=(65536, 65536, 65536), wanted=(4096, 16384, 4096)),
    defect(sizes_of_reads_with_the_switch, original=(100, 100, 100), wanted=(100, 100, 100)),
    defect(items_in_the_queue_of_a_long_push, original=4, wanted=1),
    defect(the_queue_after_close, original=1, wanted=0),
    defect(the_queue_after_close_with_the_switch, original=(True, b"onetwo"), wanted=(True, b"onetwo")),
    defect(pushes_after_close, original=3, wanted=0),
    defect(pushes_after_close_with_the_switch, original=b"xxx", wanted=b"xxx"),
    defect(data_before_a_hang_up, original=b"a", wanted=b"ab"),
    defect(data_after_collecting_failed, original=[b"one", b"one", b"two"], wanted=[b"one", b"two"]),
    defect(connections_told_when_telling_fails, original=(3, False), wanted=(1, True)),
    defect(wrong_arguments, original=[""] * 5, wanted=["TypeError"] * 5),
    defect(
        a_producer_that_fails,
        original=(["push_with_producer raised"], True),
        wanted=(["handle_error: LookupError"], False),
    ),
    defect(closing_after_close, original=False, wanted=True),
    defect(handlers_of_names_that_are_new, original=[], wanted=["handle_eof", "handle_connect_failed"]),
    defect(whether_tcp_waits, original=[False, False], wanted=[True, True]),
    defect(whether_tcp_waits_with_the_switch, original=[False, False], wanted=[False, False]),
    defect(where_states_are_kept, original=[True] * 4, wanted=[False] * 4),
]


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_the_old_modules_did_that(difference: Defect) -> None:
    assert difference.scene(the_originals()) == difference.original


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_antiphon_does_this(difference: Defect) -> None:
    assert difference.scene(ours()) == difference.wanted
