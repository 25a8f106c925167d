"""What is pushed, and when it leaves."""

from array import array
from collections.abc import Callable
from typing import Any

import pytest

from chat_support import (
    Chat,
    Chunks,
    Patient,
    ScriptedSocket,
    connected,
    fed,
    received,
    shown,
    turn,
)


def chat(*script: Any, takes: Any = ()) -> Patient:
    return Patient(ScriptedSocket(*script, takes=takes))


def wire(channel: Chat) -> bytes:
    data: bytes = channel.sock.wire
    return data


# -- pushing


def test_what_is_pushed_leaves_at_once() -> None:
    channel = chat()
    channel.push(b"one")
    channel.push(b"two")
    assert channel.sock.sent == [b"one", b"two"]
    assert not channel.writable()


@pytest.mark.parametrize("view", [lambda data: data, memoryview], ids=["bytearray", "memoryview"])
def test_what_is_pushed_may_be_changed_afterwards(view: Callable[[bytearray], Any]) -> None:
    channel = chat(takes=[0])
    data = bytearray(b"good")
    channel.push(view(data))
    data[:] = b"EVIL"
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
    assert channel.sock.offered == []
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
    [
        ("text", "str: 'text'"),
        (None, "NoneType: None"),
        (5, "int: 5"),
        ([b"x"], "list"),
        (Chunks(b"x"), "Chunks"),
    ],
    ids=shown,
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
    channel.connected = False
    channel.push(b"one")
    channel.push(b"two")
    assert channel.sock.offered == []
    assert channel.writable()
    channel.connected = True
    channel.handle_write()
    assert channel.sock.sent == [b"onetwo"]


def test_with_nothing_to_send_handle_write_does_nothing() -> None:
    channel = chat()
    channel.handle_write()
    assert channel.sock.offered == []
    assert (channel.errors, channel.closes) == ([], 0)


# -- in one send


def test_pushes_of_one_read_event_leave_in_one_send() -> None:
    channel = chat()
    channel.on_data = channel.push
    channel.on_found = lambda message: channel.push(b"!")
    fed(channel, b"one\ntwo\nthree\n")
    assert channel.sock.sent == [b"one!two!three!"]


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
    assert channel.sock.sent == [b"one", b"two", b"three"]


def test_an_instance_may_have_each_push_sent_by_itself() -> None:
    channel = chat()
    channel.coalesce_pushes = False
    channel.on_found = channel.push
    fed(channel, b"one\ntwo\n")
    assert channel.sock.sent == [b"one", b"two"]


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
