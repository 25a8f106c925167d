"""What programs give a channel for a socket, and do to the one that it has."""

import errno
import os
import socket
import sys
from typing import Any

import pytest

from antiphon import pollers
from faults.originals import Modules, ours
from wild.parts import connected_pair, listener_and_address, noting, received, step

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's file descriptors")


class NoSocket:
    """Has what a channel asks of a socket and is none: a pipe, the connection of a Redis client."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.closed = 0

    def fileno(self) -> int:
        return self.reading

    def recv(self, size: int) -> bytes:
        return os.read(self.reading, size)

    def send(self, data: bytes) -> int:
        return os.write(self.writing, data)

    def close(self) -> None:
        self.closed += 1
        os.close(self.reading)
        os.close(self.writing)


@posix
def test_a_socket_may_be_any_object(modules: Modules) -> None:
    """hazelcast, cassandra-driver, pysnmp, collective.taskqueue: set_socket() with a stand-in."""
    channels: dict[int, Any] = {}
    stand_in = NoSocket()
    channel = noting(modules.asyncore.dispatcher)(map=channels)
    channel.set_socket(stand_in)
    channel.connected = True
    assert channels == {stand_in.reading: channel}
    channel.send(b"woken")
    step(modules, channels)
    channel.close()

    assert channel.read() == b"woken"
    assert stand_in.closed == 1
    assert channels == {}


class Counting:
    """A socket in the place of another, under the same descriptor, which counts; TLS sockets come so."""

    def __init__(self, sock: socket.socket, hidden: bytes = b"") -> None:
        self.sock, self.calls, self.hidden = sock, [], hidden  # type: ignore[var-annotated]

    def recv(self, size: int) -> bytes:
        self.calls.append("recv")
        return bytes(byte ^ 1 for byte in self.sock.recv(size))

    def send(self, data: bytes) -> int:
        self.calls.append("send")
        return self.sock.send(bytes(byte ^ 1 for byte in data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


@pytest.mark.parametrize("base", ["dispatcher", "async_chat"])
def test_the_socket_may_be_replaced_at_any_time(modules: Modules, base: str) -> None:
    """pyftpdlib, hazelcast, bacpypes, irc-bot and CPython's tests: TLS begins, and ends, under the
    same descriptor.
    """
    channels: dict[int, Any] = {}
    cls = getattr(modules.asynchat if base == "async_chat" else modules.asyncore, base)
    send = "push" if base == "async_chat" else "send"
    with connected_pair() as (near, far):
        channel = noting(cls, writable=cls.writable if base == "async_chat" else lambda self: False)(
            near, channels
        )
        far.sendall(b"plain")
        step(modules, channels)
        getattr(channel, send)(b"plain")
        wrapped = channel.socket = Counting(near)
        far.sendall(b"bd")
        step(modules, channels)
        getattr(channel, send)(b"bd")
        channel.socket = near
        far.sendall(b"plain")
        step(modules, channels)
        getattr(channel, send)(b"plain")
        step(modules, channels)

        assert channel.read() == b"plaincecplain".replace(b"cec", b"ce")
        assert received(far) == b"plaincecplain".replace(b"cec", b"ce")
        assert wrapped.calls == ["recv", "send"]


def test_a_channel_may_be_left_without_a_socket(modules: Modules) -> None:
    """`self.socket = None` after the socket went to somebody else."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        step(modules, channels)
        channel.del_channel()
        sock, channel.socket = channel.socket, None
        channel.close()

        assert sock is near
        assert sock.fileno() != -1
        far.sendall(b"x")
        assert received(near) == b"x"


def test_receiving_and_sending_can_be_overridden(modules: Modules) -> None:
    """medusa, ZServer, supervisor, pyftpdlib and bacpypes count bytes there."""

    class Counted(noting(modules.asyncore.dispatcher)):  # type: ignore[misc]
        bytes_in = bytes_out = 0

        def recv(self, size: int) -> Any:
            data = super().recv(size)
            self.bytes_in += len(data)
            return data

        def send(self, data: Any) -> Any:
            sent = super().send(data)
            self.bytes_out += sent
            return sent

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Counted(near, channels)
        far.sendall(b"four")
        step(modules, channels)
        channel.send(b"seven77")
        far.close()
        step(modules, channels)

        assert (channel.bytes_in, channel.bytes_out) == (4, 7)
        assert channel.events[-1] == ("close", None)


def test_the_end_is_no_bytes_after_handle_close(modules: Modules) -> None:
    """recv() answers b"" once handle_close() was called, which has closed the channel already."""
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, {})
        far.close()

        assert channel.recv(100) == b""
        assert channel.events == [("close", None)]
        assert near.fileno() == -1


def test_send_answers_how_much_was_taken_and_zero_when_none_is(modules: Modules) -> None:
    """PyBitmessage and waitress send slices of a bytearray, and memoryviews, and cut off what was taken."""
    with connected_pair() as (near, far):
        channel = modules.asyncore.dispatcher(near, {})
        buffer = bytearray(b"one two three")
        assert channel.send(buffer[:3]) == 3
        assert channel.send(memoryview(buffer)[3:7]) == 4
        assert channel.send(bytes(buffer[7:])) == 6
        assert received(far) == b"one two three"
        while channel.send(bytes(1 << 20)):
            pass
        assert channel.send(b"x") == 0
        assert near.fileno() != -1


@pytest.mark.parametrize("by_none", [True, False], ids=["None", "pair"])
def test_handle_accept_takes_connections_itself(modules: Modules, by_none: bool) -> None:
    """fail2ban, PodSixNet, secure-smtpd and others override handle_accept(), and accept() by hand."""
    taken: list[Any] = []
    channels: dict[int, Any] = {}

    def handle_accept(self: Any) -> None:
        pair = self.accept()
        if pair is not None:
            taken.append(pair)
            noting(modules.asyncore.dispatcher)(pair[0], channels)

    with listener_and_address(modules.asyncore.dispatcher, channels, handle_accept=handle_accept) as found:
        listener, address = found
        if by_none:
            assert listener.accept() is None
            return
        with socket.create_connection(address, timeout=10) as client:
            step(modules, channels)
            client.sendall(b"x")
            step(modules, channels)

            [(sock, peer)] = taken
            assert peer == client.getsockname()
            assert channels[sock.fileno()].read() == b"x"
        modules.asyncore.close_all(channels)


def test_a_listener_that_unpacks_what_accept_answers_survives_a_false_alarm(modules: Modules) -> None:
    """fail2ban: `conn, addr = self.accept()`, and a TypeError that it takes for "nobody there"."""
    seen: list[str] = []

    def handle_accept(self: Any) -> None:
        try:
            conn, _ = self.accept()
            conn.close()
        except TypeError:
            seen.append("nobody")

    channels: dict[int, Any] = {}
    with listener_and_address(modules.asyncore.dispatcher, channels, handle_accept=handle_accept) as (
        listener,
        _,
    ):
        listener.handle_read_event()

        assert seen == ["nobody"]
        assert listener in channels.values()


def test_a_socket_that_listens_already(modules: Modules) -> None:
    """fail2ban: set_socket() with one that systemd has handed over, then `accepting = True`."""
    accepted: list[Any] = []
    channels: dict[int, Any] = {}
    with socket.create_server(("127.0.0.1", 0)) as ready:
        ready.setblocking(False)
        cls = noting(
            modules.asyncore.dispatcher, handle_accepted=lambda self, sock, addr: accepted.append(sock)
        )
        listener = cls(map=channels)
        listener.set_socket(ready)
        listener.accepting = True
        with socket.create_connection(ready.getsockname(), timeout=10):
            step(modules, channels, 2)

        assert len(accepted) == 1
        accepted[0].close()
        listener.close()


def test_the_family_and_type_of_the_socket_are_kept(modules: Modules) -> None:
    """medusa and ZServer make a second socket like the first."""
    channel = modules.asyncore.dispatcher(map={})
    channel.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert channel.family_and_type == (socket.AF_INET, socket.SOCK_DGRAM)
    assert channel.socket.type == socket.SOCK_DGRAM
    channel.close()


def test_datagrams(modules: Modules) -> None:
    """bacpypes, pysnmp and NeoDym: recvfrom() and sendto() on `self.socket` of a channel that is
    never connected.
    """

    class Datagrams(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self, channels: Any) -> None:
            super().__init__(map=channels)
            self.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.bind(("127.0.0.1", 0))
            self.waiting: list[tuple[bytes, Any]] = []
            self.got: list[bytes] = []

        def writable(self) -> bool:
            return len(self.waiting) > 0

        def handle_connect(self) -> None:
            pass

        def handle_write(self) -> None:
            self.socket.sendto(*self.waiting.pop(0))

        def handle_read(self) -> None:
            self.got.append(self.socket.recvfrom(100)[0])

    channels: dict[int, Any] = {}
    first, second = Datagrams(channels), Datagrams(channels)
    first.waiting.append((b"ping", second.socket.getsockname()))
    second.waiting.append((b"pong", first.socket.getsockname()))
    for _ in range(4):
        modules.asyncore.loop(1, map=channels, count=1)
        if first.got and second.got:
            break
    modules.asyncore.close_all(channels)

    assert (first.got, second.got) == ([b"pong"], [b"ping"])


def test_a_socket_that_was_closed_behind_the_channel_s_back(modules: Modules) -> None:
    """mlat-client, fail2ban: close() must not raise where the socket is closed, or gone, already."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        for sock in (near, far):
            channel = modules.asyncore.dispatcher(sock, channels)
            sock.close()
            channel.close()
            channel.close()
        modules.asyncore.dispatcher(map=channels).close()

        assert channels == {}


@pytest.mark.parametrize("poller", pollers.offered())
@pytest.mark.parametrize("use_poll", [False, True])
def test_a_socket_that_was_closed_behind_the_channel_s_back_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, poller: str, use_poll: bool
) -> None:
    """Threads of fail2ban and mlat-client do that; with the old modules it was EBADF, out of loop()."""
    monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, poller)
    modules = ours()
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), connected_pair() as (other, _):
        channel, lost = (noting(modules.asyncore.dispatcher)(sock, channels) for sock in (near, other))
        step(modules, channels)
        other.close()
        far.sendall(b"x")
        for _ in range(3):
            modules.asyncore.loop(0, use_poll, channels, 1)

        assert channel.read() == b"x"
        assert lost.events == ([] if poller == "epoll" else [("close", None)])
        lost.close()
        assert list(channels.values()) == [channel]


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EBADF])
def test_a_socket_that_fails_to_close(modules: Modules, number: int) -> None:
    class Failing(NoSocket):
        def close(self) -> None:
            super().close()
            raise OSError(number, "as asked")

    channels: dict[int, Any] = {}
    channel = modules.asyncore.dispatcher(map=channels)
    channel.set_socket(Failing())
    channel.close()

    assert channels == {}
