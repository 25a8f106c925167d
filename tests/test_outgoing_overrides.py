"""Programs with an `initiate_send` or `send` of their own; other threads; a second connection."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import asyncore
from antiphon.asynchat import async_chat
from antiphon.maps import ChannelMap
from chat_support import (
    Chat,
    Chunks,
    Patient,
    ScriptedSocket,
    connected,
    fed,
    once,
    received,
    transferred,
    turn,
)

BIG = bytes(range(256)) * 16384


class Counting(Patient):
    """Has an `initiate_send` that counts how often it is called."""

    calls = 0

    def initiate_send(self) -> None:
        self.calls += 1
        super().initiate_send()


class Sending(Patient):
    """Sends the queue itself, with `self.send`, as programs with their own `initiate_send` do."""

    def initiate_send(self) -> None:
        while self.producer_fifo and self.connected:
            first = self.producer_fifo[0]
            if first is None:
                self.handle_close()
                return
            taken = self.send(first)
            if taken < len(first):
                self.producer_fifo[0] = first[taken:]
                return
            del self.producer_fifo[0]


class Direct(Sending):
    """Likewise, with the socket itself."""

    def send(self, data: Any) -> int:
        return int(self.socket.send(data))


# -- initiate_send


def test_push_calls_an_overridden_initiate_send() -> None:
    channel = Counting(ScriptedSocket())
    channel.push(b"one")
    channel.push_with_producer(Chunks(b"two"))
    channel.handle_write()
    assert channel.calls == 3
    assert channel.sock.wire == b"onetwo"


def test_push_calls_an_initiate_send_that_was_assigned() -> None:
    channel = Patient(ScriptedSocket())
    calls: list[str] = []
    channel.initiate_send = lambda: calls.append("sent")  # type: ignore[method-assign]
    channel.push(b"one")
    channel.push_with_producer(Chunks(b"two"))
    channel.handle_write()
    assert calls == ["sent"] * 3
    assert len(channel.producer_fifo) == 2
    assert channel.writable()


def test_pushes_of_one_read_event_call_an_overridden_initiate_send_once() -> None:
    channel = Counting(ScriptedSocket())
    channel.on_found = channel.push
    fed(channel, b"one\ntwo\nthree\n")
    assert channel.calls == 1
    assert channel.sock.wire == b"onetwothree"


def test_the_loop_goes_on_calling_an_initiate_send_that_was_assigned() -> None:
    with connected(Patient) as (channel, peer):
        blocked = [True]

        def throttled() -> None:
            if not blocked[0]:
                async_chat.initiate_send(channel)

        channel.initiate_send = throttled  # type: ignore[method-assign]
        channel.push(b"one")
        turn(channel._map, 2)
        assert received(peer) == b""
        blocked[0] = False
        turn(channel._map, 2)
        assert received(peer) == b"one"


@pytest.mark.parametrize("make", [Sending, Direct])
def test_an_initiate_send_of_the_program_s_own_sends_everything(make: type[Patient]) -> None:
    with connected(make) as (channel, peer):
        channel.on_found = channel.push
        peer.sendall(b"one\ntwo\n")
        turn(channel._map, 2)
        assert received(peer) == b"onetwo"
        channel.push(b"x" * 50_000)
        channel.close_when_done()
        assert transferred(channel, peer, 50_000) == b"x" * 50_000
        turn(channel._map)
        assert (channel._map, channel.errors) == ({}, [])


def use_close(channel: Chat) -> None:
    channel.close()


def use_socket(channel: Chat) -> None:
    channel.socket.getsockname()


def use_send(channel: Chat) -> None:
    channel.send(b"")


@pytest.mark.parametrize("make", [Sending, Direct])
@pytest.mark.parametrize("use", [use_close, use_socket, use_send])
def test_an_initiate_send_of_the_program_s_own_sends_before_anything_else_takes_effect(
    make: type[Patient], use: Callable[[Chat], None]
) -> None:
    with connected(make) as (channel, peer):
        seen: list[bytes] = []

        def answer() -> None:
            channel.push(b"one ")
            channel.push(b"two")
            use(channel)
            seen.append(received(peer))

        channel.on_found = once(answer)
        peer.sendall(b"go\n")
        turn(channel._map)
        assert channel.errors == []
        assert seen == [b"one two"]


def test_an_initiate_send_that_fails_in_a_read_event_goes_to_handle_error() -> None:
    class Failing(Patient):
        def initiate_send(self) -> None:
            raise LookupError("as asked")

    with connected(Failing) as (channel, peer):
        channel.on_found = channel.push
        peer.sendall(b"one\n")
        turn(channel._map)
        assert [repr(error) for error in channel.errors] == ["LookupError('as asked')"]


# -- the other methods


def test_an_overridden_push_may_call_ours() -> None:
    class Encoding(Patient):
        def push(self, data: Any) -> None:
            async_chat.push(self, data.encode() + b"\r\n")

    channel = Encoding(ScriptedSocket())
    channel.push("text")
    assert channel.sock.wire == b"text\r\n"


def test_an_overridden_writable_decides_whether_anything_is_sent_by_the_loop() -> None:
    class Choosy(Patient):
        willing = False

        def writable(self) -> bool:
            return self.willing and super().writable()

    with connected(Choosy) as (channel, peer):
        channel.push(BIG)
        received(peer)
        turn(channel._map, 3)
        assert received(peer) == b""
        channel.willing = True
        turn(channel._map)
        assert received(peer) != b""


def test_an_overridden_send_sees_all_that_leaves() -> None:
    class Logging(Patient):
        log_of_sends: list[bytes]

        def send(self, data: Any) -> int:
            self.log_of_sends.append(bytes(data))
            return super().send(data)

    channel = Logging(ScriptedSocket())
    channel.log_of_sends = []
    channel.push(b"one")
    channel.push_with_producer(Chunks(b"two"))
    assert b"".join(channel.log_of_sends) == channel.sock.wire == b"onetwo"


def test_an_overridden_handle_close_may_leave_the_channel_open() -> None:
    class Reusing(Patient):
        def handle_close(self) -> None:
            self.closes += 1

    channel = Reusing(ScriptedSocket())
    channel.push(b"one")
    channel.close_when_done()
    channel.handle_write()
    assert (channel.closes, channel.sock.closed) == (1, False)
    channel.close()


# -- other threads


class InTheLoop:
    """A thread that runs the loop of a map until it is empty."""

    def __init__(self, channels: Any) -> None:
        self.thread = threading.Thread(target=asyncore.loop, kwargs={"timeout": 30.0, "map": channels})
        self.thread.start()

    def ended(self) -> bool:
        self.thread.join(10)
        return not self.thread.is_alive()


@pytest.mark.parametrize("make_map", [ChannelMap, dict], ids=["a map that tells", "a plain map"])
def test_another_thread_may_push_and_close_while_the_loop_waits(make_map: Callable[[], Any]) -> None:
    with connected(Chat, make_map()) as (channel, peer):
        peer.setblocking(True)
        peer.settimeout(10)
        loop = InTheLoop(channel._map)
        channel.push(b"one")
        assert peer.recv(100) == b"one"
        channel.producer_fifo.append(b"two")
        assert peer.recv(100) == b"two"
        channel.close_when_done()
        assert peer.recv(100) == b""
        assert loop.ended()
        assert channel.closes == 1


def test_a_push_from_another_thread_may_be_more_than_fits() -> None:
    with connected(Chat, ChannelMap()) as (channel, peer):
        peer.settimeout(10)
        loop = InTheLoop(channel._map)
        channel.push(BIG)
        channel.push_with_producer(Chunks(BIG, b"end"))
        channel.close_when_done()
        pieces = []
        while piece := peer.recv(1 << 20):
            pieces.append(piece)
        assert b"".join(pieces) == BIG + BIG + b"end"
        assert loop.ended()


def test_pushes_of_several_threads_arrive_whole_and_each_thread_s_in_order() -> None:
    def talk(name: int) -> None:
        for number in range(300):
            channel.push(b"%d %d %s\n" % (name, number, b"x" * (number % 50)))

    with connected(Chat, ChannelMap()) as (channel, peer):
        peer.settimeout(10)
        channel.on_found = lambda message: channel.push(b"0 0 \n")
        loop = InTheLoop(channel._map)
        talkers = [threading.Thread(target=talk, args=(name,)) for name in (1, 2, 3)]
        for talker in talkers:
            talker.start()
        peer.sendall(b"ping\n" * 100)
        text = b""
        while text.count(b"\n") < 3 * 300 + 100:
            text += peer.recv(65536)
        for talker in talkers:
            talker.join(10)
        channel.close()
        assert loop.ended()
    said = [line.split(b" ") for line in text.splitlines()]
    for name in (1, 2, 3):
        assert [int(number) for who, number, _ in said if int(who) == name] == list(range(300))
    assert all(len(padding) == int(number) % 50 for _, number, padding in said)


# -- again


def test_a_channel_may_connect_again_after_it_was_closed() -> None:
    channels = ChannelMap()
    channel = Chat(map=channels)
    for greeting in (b"first", b"second"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            channel.create_socket()
            channel.push(b"hello " + greeting)
            channel.connect(listener.getsockname())
            peer, _ = listener.accept()
            with peer:
                turn(channels, 3)
                assert peer.recv(100) == b"hello " + greeting
                peer.sendall(greeting + b"\nhalf")
                peer.setblocking(False)
                channel.push(BIG)
                turn(channels, 2)
                assert channel.messages[-1] == greeting
                assert channel.unfinished == b"half"
                channel.pieces.clear()
                channel.close_when_done()
                channel.close()
                assert channel.ac_in_buffer == b""
                assert not channel.producer_fifo
    assert channel.closes == 0


def test_a_second_connection_is_sent_all_of_what_did_not_fit_at_once() -> None:
    with connected(Chat, ChannelMap()) as (channel, _):
        channel.push(BIG)
        channel.close()
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            channel.set_socket(near)
            channel.connected = True
            turn(channel._map, 2)
            channel.push(BIG)
            assert transferred(channel, far, len(BIG)) == BIG


def test_input_is_delivered_again_on_a_second_connection() -> None:
    channel = fed(Patient(ScriptedSocket(), terminator=b"\r\n"), b"one\r")
    channel.close()
    assert channel.ac_in_buffer == b""
    channel.pieces.clear()
    channel.set_socket(ScriptedSocket())
    channel.connected = True
    assert fed(channel, b"\ntwo\r\n").messages == [b"\ntwo"]


def test_a_producer_is_asked_no_more_when_send_has_closed_the_channel() -> None:
    class Leaving(Chat):
        keeps_unsent = True

        def send(self, data: Any) -> int:
            sent = super().send(data)
            self.close()
            return sent

    channel = Leaving(ScriptedSocket())
    producer = Chunks(bytes(20_000), b"more")
    channel.push_with_producer(producer)
    assert producer.calls == 1
    assert list(channel.producer_fifo) == [producer]
