"""What waits in a long queue is read from as it is accepted, by those who bear it if nothing has arrived.

The poller of these tests tells of the listener alone.
"""

import contextlib
import logging
import socket
import sys
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, asyncore, early
from antiphon.asynchat import async_chat
from antiphon.counting import Counts
from antiphon.failures import ExitNow
from antiphon.pollers.base import READ
from antiphon.watching import Watch
from loop_support import Wires, silent_map, spin

wires = loop_support.wires
use_poll = loop_support.use_poll

LINE = b"line\n"


class Line(async_chat):
    """Notes its lines, and sends them back."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.lines: list[bytes] = []
        self.failures: list[BaseException | None] = []
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.lines.append(self._get_data())
        self.push(self.lines[-1] + b"\n")

    def handle_error(self) -> None:
        self.failures.append(sys.exc_info()[1])
        self.close()


class Lines(asyncore.dispatcher):
    """Makes a channel of each connection."""

    made: Any = Line

    def __init__(self, map: Any = None) -> None:
        super().__init__(map=map)
        self.channels: list[Any] = []

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.channels.append(self.made(sock, self._map))

    def close(self) -> None:
        for channel in getattr(self, "channels", ()):
            channel.close()
        super().close()


class Scene:
    """A listener, and clients that have connected to it."""

    def __init__(self, wires: Wires, made: type = Line) -> None:
        self.wires = wires
        self.map, self.clock, self.poller = silent_map(wires)
        self.listener = wires.listener(Lines, self.map)
        self.listener.made = made
        self.clients: list[socket.socket] = []
        spin(self.map)

    def connect(self, *sent: bytes) -> list[socket.socket]:
        """A client for each of `sent`, which has sent that."""
        clients = [self.wires.client(self.listener.addr) for _ in sent]
        for client, data in zip(clients, sent, strict=True):
            client.sendall(data)
            client.setblocking(False)
        self.clients += clients
        return clients

    def turn(self, *, use_poll: bool = False) -> None:
        """A turn in which the listener is ready."""
        self.poller.deliver((self.listener._fileno, READ))
        spin(self.map, use_poll=use_poll)

    @property
    def lines(self) -> list[list[bytes]]:
        return [channel.lines for channel in self.listener.channels]


@pytest.fixture
def scene(wires: Wires) -> Scene:
    scene = Scene(wires)
    scene.listener.addr = scene.listener.socket.getsockname()
    return scene


def received(client: socket.socket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return client.recv(100)
    return b""


# -- who is read from --------------------------------------------------------------------------------------


def test_those_who_have_waited_are_read_from_as_they_are_accepted(scene: Scene, use_poll: bool) -> None:
    scene.connect(*[LINE] * 7)
    scene.turn(use_poll=use_poll)
    assert scene.lines == [[]], "the queue may have had only one"
    scene.turn(use_poll=use_poll)
    assert scene.lines == [[], [b"line"], [b"line"]]
    scene.turn(use_poll=use_poll)
    assert scene.lines == [[], *[[b"line"]] * 6]
    assert [received(client) for client in scene.clients] == [b"", *[LINE] * 6]


def test_a_message_channel_is_read_from_too_with_the_limits_that_it_has_by_default(scene: Scene) -> None:
    class Messages(MessageChannel):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            self.lines: list[bytes] = []

        def message_received(self, message: bytes) -> None:
            self.lines.append(message)

    scene.listener.made = Messages
    scene.connect(*[b"line\r\n"] * 3)
    scene.turn()
    scene.turn()
    assert scene.lines == [[], [b"line"], [b"line"]]


def test_each_is_read_from_before_the_next_is_accepted(scene: Scene) -> None:
    order: list[str] = []

    class Noting(Line):
        def __init__(self, sock: Any, map: Any) -> None:
            order.append("accepted")
            super().__init__(sock, map)

        def found_terminator(self) -> None:
            order.append("read")

    scene.listener.made = Noting
    scene.connect(*[LINE] * 3)
    scene.turn()
    scene.turn()
    assert order == ["accepted", *["accepted", "read"] * 2]


def test_read_and_readwrite_are_called_as_for_any_event(
    scene: Scene, use_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    name = "readwrite" if use_poll else "read"
    monkeypatch.setattr(asyncore, name, lambda channel, *flags: told.append((channel, *flags)))
    scene.connect(LINE)
    scene.turn(use_poll=use_poll)
    assert told == [(scene.listener, READ) if use_poll else (scene.listener,)]
    monkeypatch.undo()
    scene.turn(use_poll=use_poll)
    scene.connect(LINE)
    first = scene.listener.channels[0]
    original = getattr(asyncore, name)

    def noting(channel: Any, *flags: int) -> None:
        told.append((channel, *flags))
        original(channel, *flags)

    monkeypatch.setattr(asyncore, name, noting)
    told.clear()
    scene.turn(use_poll=use_poll)
    [_, second] = scene.listener.channels
    flags = (READ,) if use_poll else ()
    assert first.lines == []
    assert told == [(scene.listener, *flags), (second, *flags)]


class OwnRecv(Line):
    def recv(self, buffer_size: int) -> bytes:
        pytest.fail("nobody knows whether something has arrived")


class OwnHandleRead(Line):
    def handle_read(self) -> None:
        pytest.fail("nobody knows whether something has arrived")


class OwnEvent(Line):
    def handle_read_event(self) -> None:
        pytest.fail("nobody knows whether something has arrived")


class Plain(asyncore.dispatcher):
    lines: tuple[bytes, ...] = ()

    def handle_read(self) -> None:
        pytest.fail("nobody knows whether something has arrived")


class Polled(Line):
    def readable(self) -> bool:
        return True


class Paused(Line):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.pause_reading()


class ReplacedPredicate(Line):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.readable = lambda: True  # type: ignore[method-assign]


class ClosedAtOnce(Line):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.close()


class Elsewhere(Line):
    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, {})


@pytest.mark.parametrize(
    "made",
    [
        OwnRecv,
        OwnHandleRead,
        OwnEvent,
        Plain,
        Polled,
        Paused,
        ReplacedPredicate,
        ClosedAtOnce,
        Elsewhere,
    ],
)
def test_any_other_channel_is_left_to_the_poller(scene: Scene, made: type) -> None:
    scene.listener.made = made
    scene.connect(*[LINE] * 7)
    for _ in range(3):
        scene.turn()
    assert [list(lines) for lines in scene.lines] == [[]] * 7


def test_a_listener_that_accepts_by_itself_leaves_all_to_the_poller(wires: Wires) -> None:
    class Accepting(Lines):
        def handle_accept(self) -> None:
            while (pair := self.accept()) is not None:
                self.handle_accepted(*pair)

    channels, _, poller = silent_map(wires)
    listener = wires.listener(Accepting, channels)
    for number in 1, 3:
        for _ in range(number):
            wires.client(listener.socket.getsockname()).send(LINE)
        poller.deliver((listener._fileno, READ))
        spin(channels)
    assert [channel.lines for channel in listener.channels] == [[]] * 4


def test_a_connection_without_a_channel_is_nobody_s(scene: Scene) -> None:
    scene.listener.made = lambda sock, map: Elsewhere(socket.socketpair()[0], map) if sock.close() else sock
    scene.connect(*[LINE] * 3)
    scene.turn()
    scene.turn()
    assert len(scene.listener.channels) == 3


# -- those who have sent nothing ---------------------------------------------------------------------------


def test_the_silent_cost_a_read_each_until_most_of_a_batch_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "SILENT", 12)
    counts = scene.map.loop.counts
    in_vain = []
    scene.connect(*[b""] * 63)
    for _ in range(6):
        scene.turn()
        in_vain.append(counts.vain)
    assert len(scene.listener.channels) == 63
    assert in_vain == [0, 2, 2, 2, 18, 18], "batches of 1, 2, 4, 8, 16 and 32"
    assert [channel.closing for channel in scene.listener.channels] == [False] * 63


def test_few_silent_ones_among_many_change_nothing(scene: Scene) -> None:
    scene.connect(*[LINE] * 3, b"", *[LINE] * 11)
    for _ in range(4):
        scene.turn()
    assert scene.lines == [[], *[[b"line"]] * 2, [], *[[b"line"]] * 11]
    assert scene.map.loop.counts.vain == 1


def test_who_has_gone_is_told(scene: Scene) -> None:
    for client in scene.connect(*[b""] * 3):
        client.close()
    scene.turn()
    scene.turn()
    assert [channel.closing for channel in scene.listener.channels] == [False, True, True]


# -- what the handlers do ----------------------------------------------------------------------------------


def test_an_error_is_that_channel_s(scene: Scene) -> None:
    class Failing(Line):
        def found_terminator(self) -> None:
            if self._get_data() == b"fail":
                raise LookupError("on purpose")
            self.lines.append(b"line")

    scene.listener.made = Failing
    scene.connect(LINE, b"fail\n", LINE)
    scene.turn()
    scene.turn()
    _, failed, well = scene.listener.channels
    assert [type(error) for error in failed.failures] == [LookupError]
    assert failed.closing
    assert well.lines == [b"line"]
    assert scene.listener.accepting


def test_what_is_raised_to_leave_the_loop_passes(scene: Scene) -> None:
    class Leaving(Line):
        def found_terminator(self) -> None:
            raise ExitNow("that is enough")

    scene.listener.made = Leaving
    scene.connect(*[LINE] * 3)
    scene.turn()
    with pytest.raises(ExitNow, match="that is enough"):
        scene.turn()
    assert [channel.closing for channel in scene.listener.channels] == [False, False]


def test_a_listener_that_is_closed_meanwhile_accepts_no_more(scene: Scene) -> None:
    class Closing(Line):
        def found_terminator(self) -> None:
            asyncore.dispatcher.close(scene.listener)

    scene.listener.made = Closing
    scene.connect(*[LINE] * 3)
    scene.turn()
    scene.turn()
    assert len(scene.listener.channels) == 2


@pytest.mark.parametrize("assigned_to", ["class", "channel"])
def test_limits_hold_from_the_first_byte_on(scene: Scene, assigned_to: str) -> None:
    class Limited(Line):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            if assigned_to == "channel":
                self.idle_timeout = 5

        def found_terminator(self) -> None:
            self.lines.append(b"watched" if self._ac_guard is not None else b"not watched")

    if assigned_to == "class":
        Limited.idle_timeout = 5
    scene.listener.made = Limited
    scene.connect(*[LINE] * 3)
    scene.turn()
    scene.turn()
    assert scene.lines == [[], [b"watched"], [b"watched"]]


def test_what_was_pushed_leaves_before_a_loop_inside_of_the_handler(scene: Scene) -> None:
    class Asking(Line):
        def found_terminator(self) -> None:
            self.push(b"well?\n")
            spin(self._map)
            self.lines.append(received(scene.clients[-1]))

    scene.connect(b"")
    scene.turn()
    scene.listener.made = Asking
    scene.connect(LINE)
    scene.turn()
    assert scene.lines == [[], [b"well?\n"]]
    assert scene.map.loop.served is None


# -- how long it takes -------------------------------------------------------------------------------------


class Slow(Line):
    """Takes as many seconds as each line says."""

    def found_terminator(self) -> None:
        self._map.loop.now.advance(float(self._get_data()))


def watched(scene: Scene, limit: float | None = 0.1) -> None:
    scene.map.loop.slow_callback = limit
    scene.listener.made = Slow
    scene.connect(b"")
    scene.turn()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_the_slow_one_is_named_and_not_the_listener(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    watched(scene)
    [_, slow] = scene.connect(b"0.01\n", b"0.25\n")
    scene.turn()
    [line] = said(caplog)
    assert f"Slow connected 127.0.0.1:{slow.getsockname()[1]} " in line
    assert line.endswith(
        ": Lines.handle_accepted or Slow.collect_incoming_data or Slow.found_terminator took 0.250 s"
    )
    assert scene.map.loop.stats().slow == 1


def test_many_quick_ones_are_not_a_slow_listener(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    watched(scene)
    scene.connect(*[b"0.09\n"] * 6)
    scene.turn()
    scene.turn()
    assert scene.clock() == pytest.approx(0.54)
    assert said(caplog) == []


def test_a_slow_listener_is_named_without_a_channel_too(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    watched(scene)

    def refuse(sock: socket.socket, map: Any) -> socket.socket:
        sock.close()
        scene.clock.advance(0.25)
        return sock

    scene.listener.made = refuse
    scene.connect(b"", b"")
    scene.turn()
    [first, *_] = said(caplog)
    assert "Lines listening 127.0.0.1:" in first
    assert first.endswith(": Lines.handle_accepted took 0.250 s")
    assert scene.map.loop.stats().slow == 2


def test_where_no_handler_is_the_program_s_accepting_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Watch(0.1, Counts()).look_at_arrival(asyncore.dispatcher(), None, 0.25)
    [line] = said(caplog)
    assert line.endswith(": accepting took 0.250 s")


def test_without_a_limit_nobody_is_slow(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    watched(scene, None)
    scene.connect(b"0.5\n", b"0.5\n")
    scene.turn()
    assert scene.clock() == 1.0
    assert said(caplog) == []
