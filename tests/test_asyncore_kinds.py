"""`dispatcher_with_send`, `file_dispatcher`, and state that is changed behind the loop's back."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import loop_support
from antiphon import asynchat, asyncore
from antiphon.maps import ChannelMap
from loop_support import Noting, Wires, Writing, is_closed, spin

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


@pytest.fixture(params=[ChannelMap, dict], ids=lambda make: make.__name__)
def channels(request: pytest.FixtureRequest, each_engine: str) -> Any:
    return request.param()


class Chat(asynchat.async_chat):
    def collect_incoming_data(self, data: bytes) -> None:
        pass

    def found_terminator(self) -> None:
        pass


class Sending(asyncore.dispatcher_with_send):
    def handle_read(self) -> None:
        self.recv(4096)

    def handle_close(self) -> None:
        self.close()


def take(far: socket.socket, channels: Any, size: int) -> bytes:
    """Read `size` bytes while the loop runs."""
    data = b""
    while len(data) < size:
        spin(channels)
        try:
            data += far.recv(1 << 20)
        except BlockingIOError:
            continue
    return data


# -- behind the loop's back --------------------------------------------------------------------------------


def test_a_channel_that_another_one_disconnects_waits_to_be_connected(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    target, _ = wires.channel(Noting, channels)

    class Meddling(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            target.connected = False
            target.connecting = True

    _, far = wires.channel(Meddling, channels)
    spin(channels, turns=2, use_poll=use_poll)
    assert target.events == []
    far.send(b"x")
    spin(channels, turns=2, use_poll=use_poll)
    assert target.events == ["connect"]
    assert target.connected


def test_a_channel_that_is_made_a_listener_by_hand_accepts(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    accepted: list[Any] = []

    class Listening(asyncore.dispatcher):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            accepted.append(addr)
            sock.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = wires.keep(Listening(map=channels))
        channel.set_socket(server)
        channel.accepting = True
        client = wires.client(server.getsockname())
        asyncore.loop(10, use_poll, channels, 1)
        assert accepted == [client.getsockname()]
        channel.close()


@pytest.mark.parametrize("how", ["append", "appendleft", "extend", "iadd", "insert"])
def test_what_another_channel_puts_into_the_queue_is_sent(
    wires: Wires, channels: Any, use_poll: bool, how: str
) -> None:
    target, yonder = wires.channel(Chat, channels)

    class Meddling(Noting):
        def handle_read(self) -> None:
            super().handle_read()
            match how:
                case "append" | "appendleft":
                    getattr(target.producer_fifo, how)(b"word")
                case "extend":
                    target.producer_fifo.extend([b"wo", b"rd"])
                case "insert":
                    target.producer_fifo.insert(0, b"word")
                case _:
                    queue = target.producer_fifo
                    queue += [b"word"]

    _, far = wires.channel(Meddling, channels)
    spin(channels, turns=2, use_poll=use_poll)
    far.send(b"x")
    spin(channels, turns=3, use_poll=use_poll)
    assert yonder.recv(10) == b"word"


def test_a_channel_that_empties_its_queue_by_hand_is_not_asked_to_write_any_more(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    asked: list[int] = []

    class Throttled(Chat):
        def initiate_send(self) -> None:
            """Send only when told to by the loop, in a way of its own."""

        def handle_write(self) -> None:
            asked.append(1)
            while self.producer_fifo:
                self.send(self.producer_fifo.popleft())

    channel, far = wires.channel(Throttled, channels)
    spin(channels, use_poll=use_poll)
    channel.push(b"word")
    spin(channels, turns=4, use_poll=use_poll)
    assert far.recv(10) == b"word"
    assert asked == [1]


def test_close_when_done_with_nothing_queued_closes(wires: Wires, channels: Any, use_poll: bool) -> None:
    channel, far = wires.channel(Chat, channels)
    spin(channels, turns=2, use_poll=use_poll)
    channel.close_when_done()
    spin(channels, turns=2, use_poll=use_poll)
    assert is_closed(far)
    assert len(channels) == 0


def test_a_predicate_that_is_assigned_late_is_asked(wires: Wires, channels: Any, use_poll: bool) -> None:
    channel, far = wires.channel(Noting, channels)
    spin(channels, turns=2, use_poll=use_poll)
    channel.readable = lambda: False
    far.send(b"x")
    spin(channels, turns=2, use_poll=use_poll)
    assert channel.events == []
    channel.readable = lambda: True
    spin(channels, use_poll=use_poll)
    assert channel.events == ["read"]


def test_a_channel_that_waits_for_nothing_is_told_nothing(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    channel, far = wires.channel(Writing, channels)
    channel.readable = channel.writable = lambda: False
    far.send(b"x")
    far.close()
    spin(channels, turns=3, use_poll=use_poll)
    assert channel.events == []
    channel.readable = lambda: True
    spin(channels, turns=2, use_poll=use_poll)
    assert channel.events == ["read", "read", "close"]


# -- dispatcher_with_send ----------------------------------------------------------------------------------


def test_everything_is_sent_in_order_whatever_the_system_takes_at_once(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Sending, channels)
    pieces = [bytes([number]) * 200_000 for number in range(5)]
    for piece in pieces:
        channel.send(piece)
    assert channel.writable()
    assert 0 < len(channel.out_buffer) < 1_000_000
    assert take(far, channels, 1_000_000) == b"".join(pieces)
    assert not channel.writable()
    assert channel.out_buffer == b""


def test_what_is_sent_may_be_changed_afterwards(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Sending, channels)
    channel.connecting = True
    data = bytearray(b"good")
    channel.send(data)
    data[:] = b"evil"
    channel.send(memoryview(b"!"))
    channel.connecting = False
    channel.initiate_send()
    assert far.recv(10) == b"good!"


def test_the_buffer_may_be_replaced(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Sending, channels)
    spin(channels)
    channel.out_buffer = b"word"
    spin(channels)
    assert far.recv(10) == b"word"
    channel.out_buffer = b"not sent"
    channel.out_buffer = b""
    assert not channel.writable()
    channel.handle_write()
    spin(channels)
    with pytest.raises(BlockingIOError):
        far.recv(10)


def test_nothing_is_sent_before_the_connection_is_made(wires: Wires, channels: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = wires.keep(Sending(map=channels))
        channel.handle_connect = lambda: None
        channel.create_socket()
        channel.connect(server.getsockname())
        channel.connecting = True
        channel.connected = False
        channel.send(b"early")
        assert channel.out_buffer == b"early"
        peer = server.accept()[0]
        with peer:
            peer.settimeout(10)
            asyncore.loop(10, map=channels, count=1)
            assert peer.recv(10) == b"early"


def test_what_was_not_sent_is_kept_when_sending_fails(wires: Wires) -> None:
    class Broken:
        def send(self, data: Any) -> int:
            raise OSError(5, "broken")

    channel, _ = wires.channel(Sending, wires.map())
    real, channel.socket = channel.socket, Broken()
    with pytest.raises(OSError, match="broken"):
        channel.send(b"word")
    channel.socket = real
    assert channel.out_buffer == b"word"


def test_debug_tells_what_is_sent(wires: Wires, capsys: pytest.CaptureFixture[str]) -> None:
    channel, _ = wires.channel(Sending, wires.map())
    channel.debug = True
    channel.send(b"word")
    assert capsys.readouterr().out == "info: sending b'word'\n"


def test_losing_the_connection_while_sending_ends_it(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Sending, channels)
    far.close()
    channel.send(b"word")
    assert channel.closing
    assert len(channels) == 0


# -- file_dispatcher ---------------------------------------------------------------------------------------


class FileNoting(asyncore.file_dispatcher):
    def __init__(self, fd: Any, channels: Any) -> None:
        self.events: list[str] = []
        self.received = b""
        super().__init__(fd, channels)

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self.received += self.recv(4)

    def handle_close(self) -> None:
        self.events.append("close")
        self.close()


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_is_read_until_its_writer_closes(
    wires: Wires, channels: Any, use_poll: bool, pipe: list[int]
) -> None:
    channel = FileNoting(pipe[0], channels)
    assert channel._fileno != pipe[0]
    assert not os.get_blocking(pipe[0])
    assert channel.connected
    os.write(pipe[1], b"some words")
    os.close(pipe.pop())
    spin(channels, turns=5, use_poll=use_poll)
    assert channel.received == b"some words"
    assert channel.events == ["close"]
    os.fstat(pipe[0])


def test_an_object_with_a_descriptor_will_do(wires: Wires, channels: Any, pipe: list[int]) -> None:
    with open(os.dup(pipe[0]), "rb") as file:
        channel = FileNoting(file, channels)
    os.write(pipe[1], b"word")
    spin(channels)
    assert channel.received == b"word"
    channel.close()


def test_a_pipe_is_written_to(wires: Wires, channels: Any, use_poll: bool, pipe: list[int]) -> None:
    class Speaking(asyncore.file_dispatcher):
        def readable(self) -> bool:
            return False

        def handle_write(self) -> None:
            self.send(b"word")
            self.close()

    Speaking(pipe[1], channels)
    spin(channels, turns=3, use_poll=use_poll)
    assert os.read(pipe[0], 10) == b"word"
    assert len(channels) == 0


def test_a_regular_file_is_read_to_its_end(wires: Wires, channels: Any, use_poll: bool) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"some words")
        file.seek(0)
        channel = FileNoting(file, channels)
    spin(channels, turns=4, use_poll=use_poll)
    assert (channel.received, channel.events) == (b"some words", ["close"])


def test_a_descriptor_that_is_not_open_is_refused(channels: Any) -> None:
    nothing = os.dup(0)
    os.close(nothing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        asyncore.file_dispatcher(nothing, channels)
    assert len(channels) == 0


def test_a_file_has_no_pending_error_but_may_be_urgent(wires: Wires, pipe: list[int]) -> None:
    with closing(FileNoting(pipe[0], {})) as channel:
        channel.handle_expt = lambda: channel.events.append("expt")  # type: ignore[method-assign]
        channel.handle_expt_event()
        assert channel.events == ["expt"]


def test_a_class_with_an_attribute_of_its_own_for_a_state_is_connected_by_its_socket(wires: Wires) -> None:
    class Shadowing(Noting):
        connected = False  # An ordinary one, which the channel's state is read from and written to.

    channels: dict[int, Any] = {}
    near, far = wires.pair()
    channel = Shadowing(near, channels)
    assert channel.connected
    far.send(b"x")
    spin(channels)
    assert channel.events[:1] == ["read"]
    channel.close()
    assert not channel.connected
