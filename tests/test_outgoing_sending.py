"""How much each send is offered, and what becomes of what the system does not take."""

import socket
import ssl
from typing import Any

import pytest

from antiphon.asynchat import async_chat
from antiphon.outbox import LARGEST_PIECE
from chat_support import Chat, Chunks, Patient, ScriptedSocket, connected, received, transferred, turn


def chat(*script: Any, takes: Any = ()) -> Patient:
    return Patient(ScriptedSocket(*script, takes=takes))


def wire(channel: Chat) -> bytes:
    data: bytes = channel.sock.wire
    return data


# -- how much


def test_the_default_size_is_the_one_of_the_documentation() -> None:
    assert async_chat.ac_out_buffer_size == 4096
    assert async_chat(map={}).ac_out_buffer_size == 4096


class Small(Patient):
    ac_out_buffer_size = 3


class Documented(Patient):
    ac_out_buffer_size = 4096


@pytest.mark.parametrize(("make", "size"), [(Small, 3), (Documented, 4096)])
def test_a_size_set_by_the_class_bounds_each_send(make: type[Patient], size: int) -> None:
    channel = make(ScriptedSocket())
    channel.push(bytes(5 * size + 1))
    assert [len(data) for data in channel.sock.offered] == [size] * 5 + [1]


@pytest.mark.parametrize("early", [True, False], ids=["before __init__", "after __init__"])
def test_a_size_set_on_the_instance_bounds_each_send(early: bool) -> None:
    class Own(Patient):
        def __init__(self, *arguments: Any) -> None:
            if early:
                self.ac_out_buffer_size = 4
            super().__init__(*arguments)
            self.ac_out_buffer_size = 4

    channel = Own(ScriptedSocket())
    channel.push(b"one")
    channel.push_with_producer(Chunks(b"two", b"three"))
    assert max(len(data) for data in channel.sock.offered) <= 4
    assert wire(channel) == b"onetwothree"


def test_a_size_that_was_set_bounds_also_what_was_left_over() -> None:
    channel = Small(ScriptedSocket(takes=[2, 0, 3, 1, 0]))
    channel.push(b"abcdefghijkl")
    for _ in range(5):
        channel.handle_write()
    assert max(len(data) for data in channel.sock.offered) == 3
    assert wire(channel) == b"abcdefghijkl"


def test_left_alone_a_send_is_offered_all_that_was_pushed() -> None:
    channel = chat()
    channel.connected = False
    for _ in range(100):
        channel.push(b"x" * 1000)
    channel.connected = True
    channel.handle_write()
    assert channel.sock.sent == [b"x" * 100_000]


def test_many_pushes_are_offered_in_pieces_of_a_bounded_size() -> None:
    channel = chat()
    channel.connected = False
    for _ in range(1000):
        channel.push(b"x" * 1000)
    channel.connected = True
    while channel.writable():
        channel.handle_write()
    assert max(len(data) for data in channel.sock.offered) <= LARGEST_PIECE + 1000
    assert wire(channel) == b"x" * 1_000_000


# -- through the loop


@pytest.mark.parametrize("tcp", [False, True], ids=["socketpair", "tcp"])
def test_what_the_system_does_not_take_at_once_is_sent_when_it_does(tcp: bool) -> None:
    data = bytes(range(256)) * 8192
    with connected(Chat, tcp=tcp) as (channel, peer):
        channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for start in range(0, len(data), 100_000):
            channel.push(data[start : start + 100_000])
        assert channel.writable()
        assert transferred(channel, peer, len(data)) == data
        assert not channel.writable()


def test_a_slow_reader_gets_everything_in_order() -> None:
    with connected(Chat) as (channel, peer):
        channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        numbers = b"".join(b"%06d " % number for number in range(20_000))
        channel.push(numbers[:70_000])
        channel.push_with_producer(Chunks(numbers[70_000:70_007], numbers[70_007:140_000]))
        channel.close_when_done()
        pieces = []
        while channel._map:
            turn(channel._map)
            pieces.append(received(peer, 777))
        assert b"".join(pieces) == numbers
        assert channel.closes == 1


def test_a_send_that_takes_nothing_loses_nothing() -> None:
    channel = chat(takes=[0, 0, 2, 0])
    channel.push(b"abcdef")
    for _ in range(4):
        assert channel.writable()
        channel.handle_write()
    assert wire(channel) == b"abcdef"
    assert not channel.writable()


@pytest.mark.parametrize(
    "error", [BlockingIOError(), ssl.SSLWantReadError(), ssl.SSLWantWriteError()], ids=repr
)
def test_an_overridden_send_may_block_without_harm(error: Exception) -> None:
    class Own(Patient):
        def send(self, data: Any) -> int:
            return int(self.socket.send(data))

    channel = Own(ScriptedSocket(takes=[error, 3]))
    channel.push(b"abcdef")
    channel.handle_write()
    channel.handle_write()
    assert wire(channel) == b"abcdef"
    assert (channel.errors, channel.closes) == ([], 0)


def test_an_overridden_send_may_return_none() -> None:
    class Vague(Patient):
        calls = 0

        def send(self, data: Any) -> Any:
            self.calls += 1
            return None if self.calls == 1 else super().send(data)

    channel = Vague(ScriptedSocket())
    channel.push(b"abc")
    channel.handle_write()
    assert wire(channel) == b"abc"


def test_a_lost_connection_is_told_once_while_sending() -> None:
    channel = Chat(ScriptedSocket(takes=[BrokenPipeError(32, "broken pipe")]))
    channel.push(b"abc")
    channel.push(b"def")
    assert (channel.closes, channel._map) == (1, {})


def test_another_error_of_the_socket_goes_to_handle_error() -> None:
    channel = chat(takes=[OSError(5, "input/output error")])
    channel.push(b"abc")
    assert [str(error) for error in channel.errors] == ["[Errno 5] input/output error"]


def test_an_error_that_is_none_of_the_system_s_leaves_what_was_to_be_sent_in_the_queue() -> None:
    class Failing(Patient):
        def send(self, data: Any) -> int:
            raise LookupError("as asked")

    channel = Failing(ScriptedSocket())
    with pytest.raises(LookupError):
        channel.push(b"abc")
    assert b"".join(channel.producer_fifo) == b"abc"


def test_one_event_does_not_make_ever_so_many_small_sends() -> None:
    channel = Small(ScriptedSocket())
    channel.push(bytes(1000))
    assert 1 < len(channel.sock.offered) < 100
    while channel.writable():
        channel.handle_write()
    assert wire(channel) == bytes(1000)


def test_one_event_does_not_send_ever_so_many_large_chunks() -> None:
    channel = chat()
    channel.push_with_producer(Chunks(*[bytes(100_000)] * 100))
    assert 100_000 < len(wire(channel)) < 1_000_000
    while channel.writable():
        channel.handle_write()
    assert len(wire(channel)) == 10_000_000


def test_one_event_does_not_send_for_ever() -> None:
    class Endless:
        def more(self) -> bytes:
            return b"x" * 1000

    channel = chat()
    channel.push_with_producer(Endless())
    first = len(channel.sock.offered)
    assert 1 < first < 100
    channel.handle_write()
    assert len(channel.sock.offered) <= 2 * first
