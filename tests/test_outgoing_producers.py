"""Producers in the queue of a channel: asked at the right time, and never again too late."""

import socket
import tracemalloc
from typing import Any

import pytest

from antiphon import asyncore
from antiphon.asynchat import simple_producer
from antiphon.failures import ExitNow
from antiphon.producers import IterableProducer
from chat_support import (
    Chat,
    Chunks,
    ClosingChunks,
    Patient,
    ScriptedSocket,
    connected,
    fed,
    once,
    received,
    shown,
    transferred,
    turn,
)

MIB = 1 << 20


def chat(*script: Any, takes: Any = ()) -> Patient:
    return Patient(ScriptedSocket(*script, takes=takes))


def wire(channel: Chat) -> bytes:
    data: bytes = channel.sock.wire
    return data


def test_a_producer_that_has_the_channel_send_is_not_asked_again_meanwhile() -> None:
    channel = chat()

    class Sending(Chunks):
        def more(self) -> Any:
            channel.initiate_send()
            return super().more()

    chunks = Sending(b"one", b"two")
    channel.push_with_producer(chunks)
    assert (wire(channel), chunks.calls) == (b"onetwo", 3)


def finish(channel: Chat, events: int = 100) -> None:
    """Give the channel write events until it wants no more of them."""
    for _ in range(events):
        if channel.connected and channel.writable():
            channel.handle_write()


# -- what a producer is


def test_a_producer_is_asked_until_it_has_nothing_more() -> None:
    channel = chat()
    producer = Chunks(b"one", b"two", b"three")
    channel.push_with_producer(producer)
    finish(channel)
    assert wire(channel) == b"onetwothree"
    assert producer.calls == 4
    assert not channel.writable()


def test_producers_and_pushes_leave_in_their_order() -> None:
    channel = chat(takes=[0, 1, 0, 2, 3])
    channel.push(b"a")
    channel.push_with_producer(Chunks(b"b", b"c"))
    channel.push(b"d")
    channel.push_with_producer(Chunks())
    channel.push_with_producer(simple_producer(b"e" * 1000, 10))
    channel.push_with_producer(b"f")
    finish(channel)
    assert wire(channel) == b"abcd" + b"e" * 1000 + b"f"


class Falsy(Chunks):
    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        raise AssertionError("nobody has to compare producers")

    __hash__ = None  # type: ignore[assignment]


def test_a_producer_may_be_false_empty_and_beyond_comparison() -> None:
    channel = chat(takes=[1, 1])
    channel.push_with_producer(Falsy(b"one", b"two", b"three"))
    channel.push_with_producer(Falsy())
    channel.push(b"four")
    finish(channel)
    assert wire(channel) == b"onetwothreefour"


def test_a_producer_beyond_comparison_may_wait_when_input_is_not_wanted_any_more() -> None:
    channel = chat(b"ignored\n", takes=[0])
    channel.push_with_producer(Falsy(b"one"))
    channel.close_when_done()
    channel.handle_read()
    finish(channel)
    assert (channel.messages, wire(channel), channel.closes) == ([], b"one", 1)


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b""), None], ids=shown)
def test_an_empty_chunk_ends_the_producer(empty: Any) -> None:
    channel = chat()
    producer = Chunks(b"one", empty, b"two")
    channel.push_with_producer(producer)
    channel.push(b"three")
    finish(channel)
    assert wire(channel) == b"onethree"
    assert producer.calls == 2


def test_a_chunk_may_be_changed_after_it_was_given() -> None:
    class Reusing(Chunks):
        buffer = bytearray(4)

        def more(self) -> Any:
            word = super().more()
            self.buffer[:] = word or b"EVIL"
            return self.buffer if word else b""

    for make in (bytearray, memoryview):
        channel = chat(takes=[0, 2])
        producer = Reusing(b"one.", b"two.")
        channel.push_with_producer(producer)
        producer.buffer[:] = b"EVIL"
        finish(channel)
        assert wire(channel) == b"one.two.", make


@pytest.mark.parametrize(
    "data", [b"one", bytearray(b"one"), memoryview(b"one")], ids=lambda data: type(data).__name__
)
def test_data_may_stand_for_a_producer(data: Any) -> None:
    channel = chat(takes=[0])
    channel.push_with_producer(data)
    if isinstance(data, bytearray):
        data[:] = b"???"
    finish(channel)
    assert wire(channel) == b"one"


@pytest.mark.parametrize(
    "wrong", [object(), 5, [b"x"], Chunks, "text"], ids=lambda wrong: type(wrong).__name__
)
def test_anything_else_is_refused_at_the_call(wrong: Any) -> None:
    if wrong is Chunks:
        wrong = type("Wrong", (), {"more": b"not callable"})()
    channel = chat()
    with pytest.raises(TypeError, match=r"wanted an object with a method more\(\), found") as refused:
        channel.push_with_producer(wrong)
    assert type(wrong).__name__ in str(refused.value)
    assert not channel.writable()


class Text(Patient):
    use_encoding = 1


def test_with_use_encoding_text_may_be_produced() -> None:
    channel = Text(ScriptedSocket())
    channel.push_with_producer("\u00e9 ")
    channel.push_with_producer(Chunks("\u00e9", "", "lost"))
    channel.push_with_producer(simple_producer("\u00e9" * 3, 2))
    finish(channel)
    assert wire(channel) == b"\xe9 \xe9\xe9\xe9\xe9"


def test_text_is_encoded_in_the_encoding_of_the_channel() -> None:
    class Utf8(Text):
        encoding = "utf-8"

    channel = Utf8(ScriptedSocket())
    channel.push_with_producer("\u00e9")
    assert wire(channel) == b"\xc3\xa9"


def test_use_encoding_may_be_set_when_something_was_sent_already() -> None:
    channel = chat()
    channel.push(b"one ")
    channel.use_encoding, channel.encoding = 1, "utf-8"
    channel.push_with_producer(Chunks("\u00e9"))
    assert wire(channel) == b"one \xc3\xa9"


# -- large and small chunks


def test_a_huge_chunk_is_never_copied() -> None:
    chunk = bytes(64 * MIB)
    sock = ScriptedSocket(takes=[MIB] * 63)
    sock.sent = Sizes()
    channel = Patient(sock)
    producer = Chunks(chunk)
    tracemalloc.start()
    try:
        channel.push_with_producer(producer)
        finish(channel)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sock.sent) == len(chunk)
    assert peak < 3 * MIB  # The fake copies what one call takes.
    assert all(base_of(data) is chunk for data in sock.offered)


class Sizes(list[Any]):
    """Instead of what was sent: how much."""

    def append(self, data: Any) -> None:
        super().append(Counted(len(data)))


class Counted(int):
    def __len__(self) -> int:
        return int(self)


def base_of(data: Any) -> Any:
    return data.obj if isinstance(data, memoryview) else data


@pytest.mark.parametrize("push", ["push", "push_with_producer", "one producer"])
def test_a_huge_chunk_behind_a_small_one_is_not_copied_either(push: str) -> None:
    chunk = bytes(8 * MIB)
    sock = ScriptedSocket(takes=[0])
    sock.sent = Sizes()
    channel = Patient(sock)
    channel.connected = False
    if push == "one producer":
        channel.push_with_producer(Chunks(b"head", chunk))
    else:
        channel.push(b"head")
        getattr(channel, push)(Chunks(chunk) if push == "push_with_producer" else chunk)
    channel.connected = True
    finish(channel)
    assert sum(sock.sent) == 4 + len(chunk)
    assert any(base_of(data) is chunk for data in sock.offered)
    assert max(len(data) for data in sock.offered if base_of(data) is not chunk) <= MIB


def test_the_rest_of_a_huge_push_is_not_copied_however_often_it_is_offered() -> None:
    chunk = bytes(8 * MIB)
    sock = ScriptedSocket(takes=[100_000] * 1000)
    sock.sent = Sizes()
    channel = Patient(sock)
    channel.push(chunk)
    finish(channel)
    assert sum(sock.sent) == len(chunk)
    assert all(base_of(data) is chunk for data in sock.offered)


def test_a_producer_of_tiny_chunks_lets_the_others_have_their_turn() -> None:
    channel = chat()
    chunks = simple_producer(b"x" * 100_000, 1)
    channel.push_with_producer(chunks)
    assert 0 < len(wire(channel)) <= 16 * 1024
    finish(channel, 1000)
    assert wire(channel) == b"x" * 100_000


def test_many_small_chunks_are_put_together() -> None:
    channel = chat()
    channel.push_with_producer(simple_producer(b"x" * 100_000, 10))
    finish(channel)
    assert wire(channel) == b"x" * 100_000
    assert len(channel.sock.sent) < 20


def test_a_producer_is_not_asked_for_more_than_the_system_takes() -> None:
    channel = chat(takes=[0] * 10)
    producer = Chunks(*[b"x" * 10_000] * 50)
    channel.push_with_producer(producer)
    for _ in range(5):
        channel.handle_write()
    assert producer.calls <= 2


def test_a_real_connection_gets_all_of_a_large_producer() -> None:
    data = bytes(range(256)) * 20_000
    with connected(Chat, tcp=True) as (channel, peer):
        channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        channel.push_with_producer(
            IterableProducer(data[start : start + 9_999] for start in range(0, len(data), 9_999))
        )
        assert transferred(channel, peer, len(data)) == data


# -- None


def test_none_closes_after_everything_before_it_was_sent() -> None:
    channel = chat(takes=[0, 1, 0, 2])
    channel.push(b"one")
    channel.push_with_producer(Chunks(b"two", b"three"))
    channel.push_with_producer(None)
    assert channel.closes == 0
    finish(channel)
    assert wire(channel) == b"onetwothree"
    assert (channel.closes, channel.sock.closed, channel._map) == (1, True, {})


def test_close_when_done_closes_after_everything_before_it_was_sent() -> None:
    with connected(Chat) as (channel, peer):
        data = bytes(3 * MIB)
        channel.push(data)
        channel.close_when_done()
        assert transferred(channel, peer, len(data)) == data
        turn(channel._map)
        assert peer.recv(1) == b""
        assert channel.closes == 1


@pytest.mark.parametrize("use_poll", [False, True])
def test_close_when_done_with_nothing_to_send_closes_in_the_next_turn(use_poll: bool) -> None:
    with connected(Chat) as (channel, peer):
        turn(channel._map)
        channel.close_when_done()
        asyncore.loop(30, use_poll, channel._map, 1)
        assert (channel.closes, channel._map) == (1, {})
        assert received(peer) == b""


def test_what_is_pushed_after_close_when_done_never_leaves() -> None:
    channel = chat(takes=[0] * 3)
    late = ClosingChunks(b"late")
    channel.push(b"one")
    channel.close_when_done()
    channel.push(b"late")
    channel.push_with_producer(late)
    finish(channel)
    assert wire(channel) == b"one"
    assert channel.closes == 1
    assert late.closings == 1
    assert late.calls == 0


def test_close_when_done_in_a_callback_closes_when_the_answers_have_left() -> None:
    with connected(Chat) as (channel, peer):

        def answer() -> None:
            channel.push(b"221 ")
            channel.push_with_producer(Chunks(b"by", b"e\r\n"))
            channel.close_when_done()

        channel.on_found = once(answer)
        peer.sendall(b"QUIT\nNOOP\n")
        turn(channel._map, 2)
        assert received(peer) == b"221 bye\r\n"
        assert channel.messages == [b"QUIT"]
        assert channel._map == {}


# -- producers that fail


def test_a_producer_that_raises_closes_the_channel_through_handle_error() -> None:
    channel = chat(takes=[0, 0])
    producer = ClosingChunks(b"x" * 5000, LookupError("as asked"))
    waiting = ClosingChunks(b"never asked for")
    channel.push_with_producer(producer)
    channel.push_with_producer(waiting)
    finish(channel)
    assert [repr(error) for error in channel.errors] == ["LookupError('as asked')"]
    assert (channel.sock.closed, channel._map) == (True, {})
    assert (producer.closings, waiting.closings, waiting.calls) == (1, 1, 0)


def test_by_default_the_error_of_a_producer_is_reported_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = Chat(ScriptedSocket())
    channel.push_with_producer(Chunks(LookupError("as asked")))
    assert (channel.closes, channel.sock.closed) == (1, True)
    assert [record.exc_info and type(record.exc_info[1]) for record in caplog.records] == [LookupError]


def test_what_a_producer_gave_before_it_raised_leaves() -> None:
    channel = chat()
    channel.push(b"head ")
    channel.push_with_producer(Chunks(b"one ", b"two ", LookupError("as asked")))
    finish(channel)
    assert wire(channel) == b"head one two "
    assert channel.sock.closed


def test_a_producer_that_gives_something_else_fails_too() -> None:
    channel = chat()
    channel.push_with_producer(Chunks("text"))
    assert [str(error) for error in channel.errors] == ["wanted bytes to send, found str: 'text'"]
    assert channel.sock.closed


@pytest.mark.parametrize("error", [ExitNow("leave"), KeyboardInterrupt(), SystemExit(3)], ids=shown)
def test_a_producer_may_leave_the_loop(error: Any) -> None:
    class Leaving:
        def more(self) -> bytes:
            raise error

    channel = chat()
    with pytest.raises(type(error)):
        channel.push_with_producer(Leaving())
    assert channel.errors == []


# -- producers that use the channel


def test_a_producer_may_push() -> None:
    channel = chat()

    class Pushing(Chunks):
        def more(self) -> Any:
            chunk = super().more()
            if chunk:
                channel.push(b"pushed ")
            return chunk

    channel.push_with_producer(Pushing(b"one ", b"two "))
    finish(channel)
    assert wire(channel) == b"one two pushed pushed "


@pytest.mark.parametrize("action", ["close", "handle_close"])
def test_a_producer_that_closes_the_channel_is_asked_no_more_and_nothing_is_sent(action: str) -> None:
    channel = chat()

    class Closing(ClosingChunks):
        def more(self) -> Any:
            getattr(channel, action)()
            return super().more()

    producer = Closing(b"one", b"two", b"three")
    channel.push_with_producer(producer)
    assert producer.calls == 1
    assert producer.closings >= 1
    assert channel.sock.offered == []
    assert channel.closes == (action == "handle_close")
    assert channel.errors == []


def test_a_producer_that_discards_the_buffers_is_asked_no_more() -> None:
    channel = chat()

    class Discarding(ClosingChunks):
        def more(self) -> Any:
            chunk = super().more()
            channel.discard_buffers()
            return chunk

    producer = Discarding(b"one", b"two", b"three")
    channel.push_with_producer(producer)
    channel.push(b"after")
    finish(channel)
    assert producer.calls == 1
    assert producer.closings >= 1
    assert wire(channel).endswith(b"after")


def test_answers_of_a_producer_in_a_callback_leave_when_the_event_ends() -> None:
    channel = chat()
    channel.on_found = lambda message: channel.push_with_producer(Chunks(message, b"!"))
    fed(channel, b"one\ntwo\n")
    assert wire(channel) == b"one!two!"
