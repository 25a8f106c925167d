"""What is pushed, and when it leaves.  test_outgoing_producers.py: producers; test_outgoing_queue.py: `producer_fifo`."""

import socket
from array import array
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.asynchat import async_chat
from antiphon.sizes import LARGEST
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


def chat(*script: Any, takes: Any = ()) -> Patient:
    return Patient(ScriptedSocket(*script, takes=takes))


def wire(channel: Chat) -> bytes:
    data: bytes = channel._socket.wire
    return data


# -- pushing


def test_what_is_pushed_leaves_at_once() -> None:
    channel = chat()
    channel.push(b"one")
    channel.push(b"two")
    assert channel._socket.sent == [b"one", b"two"]
    assert not channel.writable()


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: array("B", data)])
def test_what_is_pushed_may_be_changed_afterwards(make: Callable[[bytes], Any]) -> None:
    channel = chat(takes=[0])
    data = bytearray(b"good")
    pushed = make(data) if make is not bytes else bytes(data)
    if isinstance(pushed, array):
        pushed = memoryview(pushed)
    channel.push(pushed)
    data[:] = b"EVIL"
    if isinstance(pushed, bytearray):
        pushed[:] = b"EVIL"
    channel.handle_write()
    assert wire(channel) == b"good"


def test_a_push_of_wide_items_sends_their_bytes() -> None:
    numbers = array("I", [1, 2, 3])
    channel = chat(takes=[5])
    channel.push(memoryview(numbers))
    channel.handle_write()
    assert wire(channel) == numbers.tobytes()


def test_a_push_of_nothing_sends_nothing() -> None:
    channel = chat()
    channel.push(b"")
    channel.push(bytearray())
    assert channel._socket.offered == []
    assert not channel.writable()


class Word(bytes):
    """Bytes of a class of their own."""


def test_bytes_of_a_subclass_are_bytes() -> None:
    channel = chat()
    channel.push(Word(b"one"))
    channel.push_with_producer(Word(b"two"))
    assert wire(channel) == b"onetwo"
    assert channel.errors == []


@pytest.mark.parametrize(
    ("data", "found"),
    [("text", "str: 'text'"), (None, "NoneType: None"), (5, "int: 5"), ([b"x"], "list"), (Chunks(b"x"), "Chunks")],
    ids=repr,
)
@pytest.mark.parametrize("use_encoding", [0, 1])
def test_a_push_of_anything_else_is_refused_at_the_call(data: Any, found: str, use_encoding: int) -> None:
    channel = chat()
    channel.use_encoding = use_encoding
    with pytest.raises(TypeError, match="wanted bytes, bytearray or memoryview, found") as refused:
        channel.push(data)
    assert found in str(refused.value)
    channel.push(b"still works")
    assert wire(channel) == b"still works"


def test_a_channel_that_is_not_connected_keeps_what_is_pushed() -> None:
    channel = chat()
    channel.connected = False  # type: ignore[assignment]
    channel.push(b"one")
    channel.push(b"two")
    assert channel._socket.offered == []
    assert channel.writable()
    channel.connected = True  # type: ignore[assignment]
    channel.handle_write()
    assert channel._socket.sent == [b"onetwo"]


def test_with_nothing_to_send_handle_write_does_nothing() -> None:
    channel = chat()
    channel.handle_write()
    assert channel._socket.offered == []
    assert (channel.errors, channel.closes) == ([], 0)


# -- in one send


def test_pushes_of_one_read_event_leave_in_one_send() -> None:
    channel = chat()
    channel.on_data = channel.push
    channel.on_found = lambda message: channel.push(b"!")
    fed(channel, b"one\ntwo\nthree\n")
    assert channel._socket.sent == [b"one!two!three!"]


def test_64_pipelined_lines_make_one_recv_and_one_send() -> None:
    with connected(Chat) as (channel, peer):
        channel.on_found = lambda message: channel.push(message.upper() + b"\r\n")
        channel.set_terminator(b"\r\n")
        peer.sendall(b"".join(b"line %02d\r\n" % number for number in range(64)))
        turn(channel._map)
        assert received(peer) == b"".join(b"LINE %02d\r\n" % number for number in range(64))
        assert len(channel.socket.recvs) == 1
        assert channel.socket.sends == [9 * 64]


def test_producers_and_pushes_of_one_read_event_leave_in_their_order() -> None:
    channel = chat()

    def answer(message: bytes) -> None:
        channel.push(message)
        channel.push_with_producer(Chunks(b"<", message, b">"))

    channel.on_found = answer
    fed(channel, b"one\ntwo\n")
    assert wire(channel) == b"one<one>two<two>"


def test_a_class_may_have_each_push_sent_by_itself() -> None:
    class Eager(Patient):
        coalesce_pushes = False

    channel = Eager(ScriptedSocket())
    channel.on_found = channel.push
    fed(channel, b"one\ntwo\nthree\n")
    assert channel._socket.sent == [b"one", b"two", b"three"]


def test_an_instance_may_have_each_push_sent_by_itself() -> None:
    channel = chat()
    channel.coalesce_pushes = False
    channel.on_found = channel.push
    fed(channel, b"one\ntwo\n")
    assert channel._socket.sent == [b"one", b"two"]


def test_what_another_channel_pushes_does_not_wait_for_the_end_of_the_event() -> None:
    other = chat()
    channel = chat()
    seen: list[bytes] = []

    def tell(message: bytes) -> None:
        other.push(message)
        seen.append(wire(other))

    channel.on_found = tell
    fed(channel, b"one\ntwo\n")
    assert seen == [b"one", b"onetwo"]


def test_what_was_pushed_before_a_callback_failed_leaves() -> None:
    channel = chat()

    def fail(message: bytes) -> None:
        channel.push(b"500 " + message)
        raise LookupError(message)

    channel.on_found = fail
    with pytest.raises(LookupError):
        fed(channel, b"one\ntwo\n")
    assert wire(channel) == b"500 one"


# -- before anything by which it would be seen


def by_close(channel: Chat) -> None:
    channel.close()


def by_handle_close(channel: Chat) -> None:
    channel.handle_close()


def by_the_socket(channel: Chat) -> None:
    channel.socket.getpeername()


def by_replacing_the_socket(channel: Chat) -> None:
    channel.socket = channel._socket


def by_set_socket(channel: Chat) -> None:
    channel.set_socket(channel._socket)


def by_initiate_send(channel: Chat) -> None:
    channel.initiate_send()


def by_handle_write(channel: Chat) -> None:
    channel.handle_write()


@pytest.mark.parametrize(
    "use",
    [
        by_close,
        by_handle_close,
        by_the_socket,
        by_replacing_the_socket,
        by_set_socket,
        by_initiate_send,
        by_handle_write,
    ],
)
def test_what_was_pushed_in_a_callback_leaves_before_the_effect(use: Callable[[Chat], None]) -> None:
    channel = chat()
    seen: list[bytes] = []

    def answer(message: bytes) -> None:
        channel.push(message)
        channel.push(b"!")
        use(channel)
        seen.append(wire(channel))
        channel.on_found = lambda message: None

    channel.on_found = answer
    fed(channel, b"one\n")
    assert seen == [b"one!"]
    assert channel._socket.sent == [b"one!"]


def test_what_was_pushed_leaves_before_a_direct_send() -> None:
    channel = chat()

    def answer(message: bytes) -> None:
        channel.push(b"pushed ")
        channel.send(b"sent ")
        channel.push(b"pushed again")

    channel.on_found = answer
    fed(channel, b"one\n")
    assert channel._socket.sent == [b"pushed ", b"sent ", b"pushed again"]


def test_what_was_pushed_leaves_before_the_socket_is_shut_down() -> None:
    with connected(Chat) as (channel, peer):

        def answer() -> None:
            channel.push(b"bye")
            channel.socket.shutdown(socket.SHUT_WR)

        channel.on_found = once(answer)
        peer.sendall(b"one\n")
        turn(channel._map)
        assert peer.recv(100) == b"bye"
        assert peer.recv(100) == b""


def test_what_was_pushed_leaves_before_close_on_a_real_socket() -> None:
    with connected(Chat) as (channel, peer):

        def answer() -> None:
            channel.push(b"221 ")
            channel.push(b"bye\r\n")
            channel.close()

        channel.on_found = once(answer)
        peer.sendall(b"QUIT\nNOOP\n")
        turn(channel._map)
        assert received(peer) == b"221 bye\r\n"
        assert channel.messages == [b"QUIT"]


def test_what_is_pushed_after_close_never_leaves() -> None:
    channel = chat()
    channel.close()
    channel.push(b"late")
    assert channel._socket.offered == []


def test_what_was_pushed_leaves_through_the_socket_that_was_there() -> None:
    before, after = ScriptedSocket(), ScriptedSocket()
    channel = Patient(before)

    def start_tls() -> None:
        channel.push(b"220 go ahead")
        channel.socket = after
        channel.push(b"secret")

    channel.on_found = once(start_tls)
    fed(channel, b"STARTTLS\n")
    assert (before.wire, after.wire) == (b"220 go ahead", b"secret")


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
    assert [len(data) for data in channel._socket.offered] == [size] * 5 + [1]


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
    assert max(len(data) for data in channel._socket.offered) <= 4
    assert wire(channel) == b"onetwothree"


def test_a_size_that_was_set_bounds_also_what_was_left_over() -> None:
    channel = Small(ScriptedSocket(takes=[2, 0, 3, 1, 0]))
    channel.push(b"abcdefghijkl")
    for _ in range(5):
        channel.handle_write()
    assert max(len(data) for data in channel._socket.offered) == 3
    assert wire(channel) == b"abcdefghijkl"


def test_left_alone_a_send_is_offered_all_that_was_pushed() -> None:
    channel = chat()
    channel.connected = False  # type: ignore[assignment]
    for _ in range(100):
        channel.push(b"x" * 1000)
    channel.connected = True  # type: ignore[assignment]
    channel.handle_write()
    assert channel._socket.sent == [b"x" * 100_000]


def test_many_pushes_are_offered_in_pieces_of_a_bounded_size() -> None:
    channel = chat()
    channel.connected = False  # type: ignore[assignment]
    for _ in range(1000):
        channel.push(b"x" * 1000)
    channel.connected = True  # type: ignore[assignment]
    while channel.writable():
        channel.handle_write()
    assert max(len(data) for data in channel._socket.offered) <= LARGEST + 1000
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


def test_an_overridden_send_may_block_without_harm() -> None:
    class Own(Patient):
        def send(self, data: Any) -> int:
            return int(self.socket.send(data))

    channel = Own(ScriptedSocket(takes=[BlockingIOError(), 3]))
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


def test_one_event_does_not_send_for_ever() -> None:
    class Endless:
        def more(self) -> bytes:
            return b"x" * 1000

    channel = chat()
    channel.push_with_producer(Endless())
    first = len(channel._socket.offered)
    assert 1 < first < 100
    channel.handle_write()
    assert len(channel._socket.offered) <= 2 * first
