"""TLS that is cut, delayed, reset or spoilt at each step, in pieces of any size: each ends in its channel."""

import contextlib
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import loop_support
from antiphon.testing import FakeClock
from effort import some
from tls_support import (
    Lines,
    Peer,
    Plain,
    a_map,
    shared_context,
    sockets,
    start,
    turn,
    turn_until,
)

each_poller = loop_support.each_poller
each_engine = loop_support.each_engine


class Relay:
    """Carries bytes between a channel and its peer, as many and in such pieces as a test says.

    Attributes:
        counts: bytes that were carried so far, to the channel and from it.
        limits: bytes that are carried at most, likewise; None for all.
        piece: bytes that are carried at a time.
    """

    def __init__(self, channel_side: socket.socket, peer_side: socket.socket) -> None:
        self.ends = channel_side, peer_side
        for end in self.ends:
            end.setblocking(False)
        self.counts = [0, 0]
        self.limits: list[int | None] = [None, None]
        self.piece = 65536

    def step(self) -> None:
        for way in 0, 1:
            source, target = self.ends[1 - way], self.ends[way]
            limit = self.limits[way]
            size = self.piece if limit is None else min(self.piece, limit - self.counts[way])
            with contextlib.suppress(BlockingIOError, OSError):
                if size:
                    data = source.recv(size)
                    target.sendall(data)
                    self.counts[way] += len(data)
                    if not data:
                        target.shutdown(socket.SHUT_WR)

    @property
    def has_stopped(self) -> bool:
        """Whether as much was carried one way as was allowed."""
        return any(
            limit is not None and count >= limit
            for count, limit in zip(self.counts, self.limits, strict=True)
        )


class Scene:
    """A channel, its peer, and what is between them."""

    def __init__(self, channels: Any, channel: Any, peer: Peer, relay: Relay) -> None:
        self.channels, self.channel, self.peer, self.relay = channels, channel, peer, relay

    def step(self) -> None:
        self.peer.step()
        self.relay.step()

    def until(self, done: Any) -> None:
        turn_until(self.channels, done, self.step)

    def talk(self) -> None:
        """A whole dialogue: the handshake, a line and its answer, and both ends."""
        channel, peer = self.channel, self.peer
        channel.on_line = lambda line: (channel.push(line.upper() + b"\n"), channel.close_when_done())
        self.until(lambda: peer.done)
        peer.send(b"hello\n")
        self.until(lambda: peer.ended)
        peer.goodbye()
        self.until(lambda: channel.closing)


@contextmanager
def scene(
    made: Any = Lines, *, server_side: bool = True, version: str | None = None, now: Any = None
) -> Iterator[Scene]:
    """A channel that has begun with TLS, and a peer behind a relay."""
    how = {} if now is None else {"now": now}
    with a_map(**how) as channels, sockets() as (near, middle), sockets() as (other_middle, far):
        channel = made(near, channels)
        if server_side:
            start(channel, context=shared_context(True, version))
            peer = Peer.client(far)
        else:
            start(channel, server_side=False, context=shared_context(False, version))
            peer = Peer.server(far)
        yield Scene(channels, channel, peer, Relay(middle, other_middle))


SIDES = pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
VERSIONS = pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])


@SIDES
@VERSIONS
@pytest.mark.parametrize("piece", some((3, 1, 2, 7, 100)))
def test_a_dialogue_in_pieces_of_any_size_is_the_same(
    each_engine: str, piece: int, version: str, server_side: bool
) -> None:
    with scene(server_side=server_side, version=version) as here:
        here.relay.piece = piece
        here.talk()
        assert here.channel.lines == [b"hello"]
        assert (here.peer.received, here.peer.ended) == (b"HELLO\n", "TLS")
        assert here.channel.events == ["established", "close"]


def sizes(server_side: bool, version: str) -> tuple[int, int, int, int]:
    """Bytes to the channel and from it: of the handshake, and of a whole dialogue."""
    with scene(server_side=server_side, version=version) as here:
        here.until(lambda: here.peer.done and here.channel.events)
        handshake = tuple(here.relay.counts)
        here.talk()
        return (*handshake, *here.relay.counts)  # type: ignore[return-value]


@SIDES
@VERSIONS
@pytest.mark.parametrize("fault", ["cut", "reset", "garbage"])
def test_a_connection_that_is_spoilt_at_any_byte_ends_in_its_channel(
    fault: str, version: str, server_side: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "antiphon")
    total = sizes(server_side, version)[2]
    for at in [*range(12), *range(12, total, 37), *range(total - 30, total)]:
        with scene(server_side=server_side, version=version) as here:
            here.relay.limits[0] = at
            spoil(here, fault)
            events = [event for event in here.channel.events if isinstance(event, str)]
            assert events in (["close"], ["established", "close"]), (at, here.channel.events)
            assert here.channel.closing
            assert here.channels == {}
            assert not here.channels.loop.busy, "no timer is left"
    assert caplog.records == []


def spoil(here: Scene, fault: str) -> None:
    """Talk until the relay may not carry more, then do it."""
    channel, peer, relay = here.channel, here.peer, here.relay
    channel.on_line = lambda line: (channel.push(line.upper() + b"\n"), channel.close_when_done())
    said = False
    for _ in range(200):
        if peer.done and not said:
            peer.send(b"hello\n")
            said = True
        if peer.ended == "TLS":
            peer.goodbye()
        if relay.has_stopped or channel.closing:
            break
        here.step()
        turn(here.channels)
    carrying = relay.ends[0]
    if fault == "garbage":
        with contextlib.suppress(OSError):
            carrying.send(b"\xff" * 100)
            carrying.send(bytes(20_000))
    if fault == "reset":
        with contextlib.suppress(OSError):
            carrying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    carrying.close()
    turn_until(here.channels, lambda: channel.closing)


@SIDES
@VERSIONS
def test_a_handshake_that_stops_at_any_byte_times_out_and_the_loop_waits_meanwhile(
    version: str, server_side: bool
) -> None:
    total = sizes(server_side, version)[0]
    for at in [*range(8), *range(8, total, 41), total - 1]:
        clock = FakeClock()
        with scene(server_side=server_side, version=version, now=clock) as here:
            here.relay.limits[0] = at
            for _ in range(20):
                here.step()
                turn(here.channels)
            if here.channel.events == ["established"]:
                continue  # What is missing comes after the handshake: tickets.
            assert here.channel.events == []
            loop = here.channels.loop
            assert loop.waits_for(here.channel._fileno) & 4 == 0
            clock.advance(61)
            turn(here.channels)
            assert isinstance(here.channel.error, TimeoutError), at
            assert here.channels == {}


@pytest.mark.parametrize(
    "hello",
    [
        b"\r\n",
        b"EHLO mail.test\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x00" * 100,
        b"\xff" * 100,
        b"\x16\x03\x01\xff\xff" + b"x" * 1000,
        b"\x16\x03\x01\x00\x05hello",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
    ids=repr,
)
@pytest.mark.parametrize("made", [Lines, Plain])
def test_what_is_no_client_hello_ends_the_channel(made: Any, hello: bytes) -> None:
    with a_map() as channels, sockets() as (near, far):
        channel = made(near, channels)
        start(channel)
        far.send(hello)
        far.shutdown(socket.SHUT_WR)
        turn_until(channels, lambda: channel.closing)
        assert channel.events == [channel.error, "close"]
        assert isinstance(channel.error, OSError)


@pytest.mark.parametrize("made", [Lines, Plain])
def test_a_peer_that_reads_nothing_holds_nobody_up(made: Any) -> None:
    clock = FakeClock()
    with a_map(now=clock) as channels, sockets(buffers=4096) as (near, far), sockets() as (quiet, client):
        channel = made(near, channels)
        start(channel)
        peer = Peer.client(far)
        turn_until(channels, lambda: channel.events, peer.step)
        if made is Lines:
            channel.push(bytes(1 << 20))
            channel.close_when_done()
        else:
            channel.output = bytes(1 << 20)
        other = Lines(quiet, channels)
        other.on_line = lambda line: other.push(b"answer\n")
        for _ in range(10):
            client.send(b"line\n")
            turn(channels, 2)
            assert client.recv(100) == b"answer\n"
        channel.close()
