"""The states of a channel's socket, and what leads from one to the next."""

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.endpoint import Endpoint, strerror
from antiphon.errors import WouldBlock
from antiphon.outbox import DELIVERING
from loop_support import Noting, Wires, Writing, spin

assert not TYPE_CHECKING or sys.platform != "win32"

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


@pytest.fixture
def refusing() -> Iterator[Any]:
    """An address at which nobody listens, and that nobody else can get."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def client(wires: Wires, channels: Any, made: Any = Noting) -> Any:
    channel = wires.keep(made(map=channels))
    channel.create_socket()
    return channel


def states(channel: Any) -> tuple[bool, bool, bool, bool]:
    return channel.connected, channel.connecting, channel.accepting, channel.closing


# -- connecting --------------------------------------------------------------------------------------------


def test_a_connection_is_made_told_and_used(
    wires: Wires, server: socket.socket, each_engine: str, use_poll: bool
) -> None:
    channels: dict[int, Any] = {}
    channel = client(wires, channels, Writing)
    channel.connect(server.getsockname())
    assert states(channel) == (False, True, False, False)
    assert channel.events == []
    asyncore.loop(10, use_poll, channels, 1)
    assert channel.events == ["connect", "write"]
    assert states(channel) == (True, False, False, False)
    assert channel.addr == server.getsockname()


def test_a_greeting_is_read_after_the_connection_is_told(wires: Wires, server: socket.socket) -> None:
    channels: dict[int, Any] = {}
    channel = client(wires, channels)
    channel.connect(server.getsockname())
    peer, _ = server.accept()
    with peer:
        peer.send(b"welcome")
        asyncore.loop(10, map=channels, count=1)
    assert channel.events[:2] == ["connect", "read"]
    assert channel.received == b"welcome"


def test_a_refused_connection_ends_the_channel(
    wires: Wires, refusing: Any, each_engine: str, use_poll: bool
) -> None:
    channels: dict[int, Any] = {}
    channel = client(wires, channels, Writing)
    channel.connect(refusing)
    asyncore.loop(10, use_poll, channels, 3)
    assert len(channel.events) == 1
    assert channel.events[0] == "close" or "ConnectionRefusedError" in channel.events[0]
    assert channels == {}


def test_the_error_of_a_connection_attempt_can_be_caught_by_an_override(wires: Wires, refusing: Any) -> None:
    caught: list[int | None] = []

    class Catching(Noting):
        def handle_connect_event(self) -> None:
            try:
                super().handle_connect_event()
            except OSError as error:
                caught.append(error.errno)
                self.close()

    channels: dict[int, Any] = {}
    channel = client(wires, channels, Catching)
    channel.connect(refusing)
    asyncore.loop(10, map=channels, count=3)
    assert caught == [errno.ECONNREFUSED]
    assert channel.events == []


@pytest.mark.parametrize("code", [0, errno.EISCONN])
def test_a_connection_that_is_made_at_once_is_told_at_once(wires: Wires, code: int) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.events.clear()
    channel.socket, real = Scripted(code), channel.socket
    channel.connect(("192.0.2.1", 1))
    channel.socket = real
    assert channel.events == ["connect"]
    assert states(channel) == (True, False, False, False)
    assert channel.addr == ("192.0.2.1", 1)


@pytest.mark.parametrize("code", [errno.EINPROGRESS, errno.EALREADY, errno.EINTR])
def test_an_attempt_that_takes_its_time_is_told_later(wires: Wires, code: int) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.socket, real = Scripted(code), channel.socket
    channel.connect(("192.0.2.1", 1))
    channel.socket = real
    assert channel.events == []
    assert states(channel) == (False, True, False, False)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EWOULDBLOCK])
@pytest.mark.parametrize(("platform", "in_progress"), [("win32", True), ("linux", False)])
def test_what_windows_says_of_an_attempt_in_progress_is_an_error_elsewhere(
    wires: Wires, monkeypatch: pytest.MonkeyPatch, platform: str, in_progress: bool, code: int
) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.socket, real = Scripted(code), channel.socket
    monkeypatch.setattr("sys.platform", platform)
    if in_progress:
        channel.connect(("192.0.2.1", 1))
    else:
        with pytest.raises(OSError, match=r"EINVAL|EAGAIN"):
            channel.connect(("192.0.2.1", 1))
    channel.socket = real
    assert channel.connecting is in_progress


@pytest.mark.parametrize(("code", "said"), [(errno.ENOENT, "ENOENT"), (9999, "Unknown error 9999")])
def test_an_attempt_that_fails_at_once_raises(wires: Wires, code: int, said: str) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.socket, real = Scripted(code), channel.socket
    with pytest.raises(OSError, match=said) as caught:
        channel.connect("/nowhere")
    channel.socket = real
    assert caught.value.errno == code
    assert channel.events == []
    assert states(channel) == (False, False, False, False)


class Scripted:
    """A socket whose attempt to connect ends with a code."""

    def __init__(self, code: int, error: int = 0) -> None:
        self.code, self.error = code, error

    def connect_ex(self, address: Any) -> int:
        return self.code

    def getsockopt(self, level: int, option: int) -> int:
        return self.error

    def close(self) -> None:
        pass


def test_a_unix_socket_connects_at_once(wires: Wires, use_poll: bool) -> None:
    channels: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = os.path.join(folder, "s")
        server.bind(path)
        server.listen()
        channel = wires.keep(Noting(map=channels))
        channel.create_socket(socket.AF_UNIX)
        channel.connect(path)
        assert channel.events == ["connect"]
        assert channel.addr == path
        spin(channels, use_poll=use_poll)
        channel.close()
    assert channel.events == ["connect"]


def test_a_connection_may_be_told_by_hand(wires: Wires) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.connected, channel.connecting = False, True
    channel.handle_connect_event()
    assert channel.events == ["connect"]
    assert states(channel) == (True, False, False, False)


@pytest.mark.parametrize("event", ["handle_read_event", "handle_write_event"])
def test_a_channel_that_closes_when_it_is_connected_gets_no_further_event(wires: Wires, event: str) -> None:
    class Closing(Writing):
        def handle_connect(self) -> None:
            super().handle_connect()
            self.close()

    channel, _ = wires.channel(Closing, {})
    channel.connected, channel.connecting = False, True
    getattr(channel, event)()
    assert channel.events == ["connect"]
    assert states(channel) == (False, False, False, True)


@pytest.mark.parametrize(
    ("event", "handled"), [("handle_read_event", "read"), ("handle_write_event", "write")]
)
def test_what_an_event_means_depends_on_the_state(wires: Wires, event: str, handled: str) -> None:
    class All(Writing):
        def handle_read(self) -> None:
            self.events.append("read")

        def handle_accept(self) -> None:
            self.events.append("accept")

    channel, _ = wires.channel(All, {})
    getattr(channel, event)()
    channel.connected, channel.connecting = False, True
    getattr(channel, event)()
    channel.connected = channel.connecting = False
    getattr(channel, event)()
    assert channel.events == [handled, "connect", handled, handled]
    channel.events.clear()
    for connected in False, True:
        channel.connected, channel.accepting = connected, True
        getattr(channel, event)()
    assert channel.events == ["accept"] * 2 * (handled == "read")


# -- binding, listening, options ---------------------------------------------------------------------------


def test_a_listener_is_one_from_listen_on(wires: Wires) -> None:
    channel = client(wires, {})
    assert channel.family_and_type == (socket.AF_INET, socket.SOCK_STREAM)
    assert channel.socket.gettimeout() == 0
    channel.bind(("127.0.0.1", 0))
    assert channel.addr == ("127.0.0.1", 0)
    channel.listen(5)
    assert states(channel) == (False, False, True, False)


def test_a_socket_of_another_kind_can_be_asked_for(wires: Wires) -> None:
    channel = wires.keep(Noting(map={}))
    channel.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert channel.family_and_type == (socket.AF_INET, socket.SOCK_DGRAM)
    assert channel.socket.type == socket.SOCK_DGRAM


def test_the_address_is_reused_where_that_is_possible(wires: Wires) -> None:
    channel = client(wires, {})
    channel.set_reuse_addr()
    assert channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    real, channel.socket = channel.socket, Unwilling()
    channel.set_reuse_addr()
    channel.socket = real


class Unwilling:
    def setsockopt(self, *option: int) -> None:
        raise OSError(errno.ENOPROTOOPT, "not here")


def test_a_closed_channel_can_be_opened_anew(wires: Wires, server: socket.socket, use_poll: bool) -> None:
    channels: dict[int, Any] = {}
    channel = client(wires, channels)
    for attempt in range(1, 4):
        channel.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            peer.send(b"x")
            asyncore.loop(10, use_poll, channels, 1)
        asyncore.loop(10, use_poll, channels, 5)
        assert channel.events == ["connect", "read", "read", "close"] * attempt
        assert states(channel) == (False, False, False, True)
        channel.create_socket()
        assert not channel.closing
    assert channel.received == b"xxx"


# -- accepting ---------------------------------------------------------------------------------------------


class Queue:
    """A listening socket that gives one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def accept(self) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def close(self) -> None:
        pass


def accepted(wires: Wires, answer: Any) -> Any:
    """What `accept` makes of what the system answers."""
    channel = client(wires, wires.map())
    real, channel.socket = channel.socket, Queue(answer)
    channel.accepting = True
    try:
        return channel.accept()
    finally:
        channel.socket = real


def test_accept_gives_what_the_system_gives(wires: Wires) -> None:
    assert accepted(wires, ("connection", "address")) == ("connection", "address")


@pytest.mark.parametrize(
    "answer", [None, BlockingIOError(errno.EAGAIN, "none"), OSError(errno.ECONNABORTED, "gone")]
)
def test_accept_gives_none_where_nothing_can_be_taken(wires: Wires, answer: Any) -> None:
    assert accepted(wires, answer) is None


def test_accept_gives_none_when_descriptors_have_run_out(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    assert accepted(wires, OSError(errno.EMFILE, "too many open files")) is None
    assert "too many open files" in caplog.text


def test_accept_raises_what_is_a_fault_of_the_socket(wires: Wires) -> None:
    with pytest.raises(OSError, match="no listener"):
        accepted(wires, OSError(errno.EINVAL, "no listener"))


def test_each_connection_is_handed_over(wires: Wires) -> None:
    taken: list[Any] = []
    channel = wires.listener(Noting, {})
    channel.handle_accepted = lambda sock, addr: taken.append((sock.close(), addr))
    peer = wires.client(channel.socket.getsockname())
    channel.handle_accept()
    channel.handle_accept()
    assert taken == [(None, peer.getsockname())]


def test_urgent_data_is_told_from_an_error_that_is_pending(wires: Wires) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.handle_expt = lambda: channel.events.append("expt")
    channel.socket, real = Scripted(0, error=0), channel.socket
    channel.handle_expt_event()
    channel.socket = Scripted(0, error=errno.ECONNREFUSED)
    channel.handle_expt_event()
    real.close()
    assert channel.events == ["expt", "close"]


def test_an_attempt_that_failed_is_told_by_its_error(wires: Wires) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.connected, channel.connecting = False, True
    channel.socket, real = Scripted(0, error=errno.ECONNREFUSED), channel.socket
    with pytest.raises(ConnectionRefusedError, match=os.strerror(errno.ECONNREFUSED)):
        channel.handle_connect_event()
    channel.socket = real
    assert channel.events == []
    assert not channel.connected


# -- the words for it --------------------------------------------------------------------------------------


def test_the_representation_tells_the_state(wires: Wires) -> None:
    def words(channel: Any) -> str:
        text = repr(channel)
        assert text.endswith(f" at {id(channel):#x}>")
        return text.rpartition(" at ")[0]

    name = "<loop_support.Noting"
    channel = wires.keep(Noting(map={}))
    assert words(channel) == name
    channel.addr = ("127.0.0.1", 80)
    assert words(channel) == f"{name} 127.0.0.1:80"
    channel.connected = True
    assert words(channel) == f"{name} connected 127.0.0.1:80"
    channel.accepting = True
    assert words(channel) == f"{name} listening 127.0.0.1:80"
    channel.addr = ""
    assert words(channel) == f"{name} connected ''"
    channel.connected = False
    for addr in "/a/path", "ab", ("::1", 80, 0, 0), 7, ("name", None):
        channel.addr = addr
        assert words(channel) == f"{name} listening {addr!r}"
    channel.addr = None
    assert words(channel) == name
    assert repr(asyncore.dispatcher(map={})).startswith("<asyncore.dispatcher at 0x")


def test_every_error_number_has_words() -> None:
    assert strerror(errno.EPIPE) == os.strerror(errno.EPIPE)
    assert strerror(-1)
    assert strerror(10**30) == f"Unknown error {10**30}"


def test_a_number_that_the_system_refuses_has_words_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> str:
        raise ValueError("strerror() argument out of range")

    monkeypatch.setattr(os, "strerror", refuse)
    assert strerror(7) == "Unknown error 7"


def test_an_endpoint_by_itself_has_nowhere_to_keep_a_socket() -> None:
    class Bare(Endpoint):
        def _state_changed(self) -> None:
            pass

    with pytest.raises(NotImplementedError):
        Bare().set_socket(None)
    with pytest.raises(NotImplementedError):
        Bare().create_socket()
    bare = Bare()
    bare._ac_flush()
    bare._ac_stop_delivering()
    assert bare.socket is None


def test_what_was_pushed_leaves_before_the_socket_is_used_or_replaced() -> None:
    class Pushing(Endpoint):
        flushed = 0

        def _ac_flush(self) -> None:
            self.flushed += 1

    pushing = Pushing()
    assert (pushing.socket, pushing.flushed) == (None, 0)
    pushing._ac_cork = DELIVERING
    assert (pushing.socket, pushing.flushed) == (None, 1)
    pushing.socket = None
    assert pushing.flushed == 2


def test_another_base_may_take_the_arguments_of_the_constructor() -> None:
    class Named:
        def __new__(cls, name: str) -> "Named":
            made = super().__new__(cls)
            made.name = name
            return made

        name: str

    class Both(asyncore.dispatcher, Named):
        def __init__(self, name: str) -> None:
            super().__init__(map={})

    assert Both("channel").name == "channel"


def test_a_handshake_in_handle_connect_that_has_to_wait_is_called_again(wires: Wires) -> None:
    class Shaking(Noting):
        def handle_connect(self) -> None:
            super().handle_connect()
            if self.events != ["connect"] * 3:
                raise WouldBlock

    channels = wires.map()
    server = wires.owned(socket.create_server(("127.0.0.1", 0)))
    channel = wires.keep(Shaking(map=channels))
    channel.create_socket()
    channel.connect(server.getsockname())
    wires.owned(server.accept()[0])
    spin(channels, turns=5)
    assert channel.events == ["connect"] * 3
    assert channel.connected
