"""A chat that pauses in a callback is called no more: what it had received comes later, in order, once."""

import itertools
import socket
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, asyncore
from chat_support import Chat, Patient, ScriptedSocket, connected, fed, received, turn
from counts.counters import Copies, steps
from loop_support import Wires

wires = loop_support.wires
each_poller = loop_support.each_poller


class Lines(MessageChannel):
    """Notes its messages as a `Chat` does."""

    terminator: Any = b"\n"

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, {} if map is None else map)
        self.sock, self.messages = sock, list[bytes]()
        self.on_found: Any = lambda message: None
        self.errors: list[BaseException | None] = []

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)
        self.on_found(message)

    def handle_error(self) -> None:
        self.errors.append(sys.exc_info()[1])


each_kind = pytest.mark.parametrize("made", [Patient, Lines])
#: The callback that pauses is the first, or comes when several messages were dealt with alike.
each_place = pytest.mark.parametrize("before", [0, 1, 5])


def by_hand(made: Any, *script: bytes) -> Any:
    """A channel in no map: what is kept is delivered inside of `resume_reading`."""
    channel = made(ScriptedSocket(*script))
    channel.del_channel()
    return channel


def pausing_at(channel: Any, *messages: bytes) -> Any:
    channel.on_found = lambda message: channel.pause_reading() if message in messages else None
    return channel


@each_kind
def test_a_message_at_a_time_for_as_many_times_as_it_is_resumed(made: Any, each_poller: str) -> None:
    with connected(made) as (channel, peer):
        channel.on_found = lambda message: channel.pause_reading()
        peer.sendall(b"".join(b"%d\n" % number for number in range(20)))
        for number in range(20):
            turn(channel._map, 3)
            assert channel.messages == [b"%d" % done for done in range(number + 1)]
            channel.resume_reading()
        turn(channel._map)
        assert not channel.reading_paused
        peer.sendall(b"more\n")
        turn(channel._map)
        assert channel.messages[-1] == b"more"


@each_kind
@each_place
def test_what_is_kept_needs_no_more_input_to_be_delivered(made: Any, before: int) -> None:
    with connected(made) as (channel, peer):
        pausing_at(channel, b"pause")
        peer.sendall(b"zero\n" * before + b"pause\none\ntwo\nthr")
        turn(channel._map, 3)
        assert channel.messages == [b"zero"] * before + [b"pause"]
        assert channel.ac_in_buffer == b"one\ntwo\nthr"
        channel.resume_reading()
        assert len(channel.messages) == before + 1, "the loop delivers it"
        turn(channel._map)
        assert channel.messages == [b"zero"] * before + [b"pause", b"one", b"two"]
        peer.sendall(b"ee\n")
        turn(channel._map)
        assert channel.messages[before + 1 :] == [b"one", b"two", b"three"]


@each_kind
@each_place
def test_what_is_kept_comes_before_what_arrives_in_the_turn_of_resuming(made: Any, before: int) -> None:
    with connected(made) as (channel, peer):
        pausing_at(channel, b"pause")
        peer.sendall(b"zero\n" * before + b"pause\none\ntw")
        turn(channel._map)
        peer.sendall(b"o\nthree\n")
        channel.resume_reading()
        turn(channel._map, 2)
        assert channel.messages[before:] == [b"pause", b"one", b"two", b"three"]


@each_kind
@pytest.mark.parametrize("pauses", [(b"pause",), (b"pause", b"one", b"two")], ids=["once", "at each"])
def test_what_is_kept_comes_before_the_end_in_the_turn_of_resuming(made: Any, pauses: Any) -> None:
    with connected(made) as (channel, peer):
        pausing_at(channel, *pauses)
        peer.sendall(b"pause\none\ntwo\nth")
        turn(channel._map)
        peer.shutdown(socket.SHUT_WR)
        for _ in pauses:
            assert not channel.closing
            # What comes from another thread is called at the beginning of a turn, which then looks for input.
            asyncore.get_loop(channel._map).call_soon_threadsafe(channel.resume_reading)
            turn(channel._map, 2)
        assert channel.messages == [b"pause", b"one", b"two"]
        turn(channel._map)
        assert channel.closing


@each_kind
def test_a_callback_that_closes_behind_a_resumption_has_closed_before_the_end(made: Any) -> None:
    with connected(made) as (channel, peer):
        pausing_at(channel, b"pause")
        ends: list[str] = []
        channel.handle_close = lambda: ends.append("end")
        peer.sendall(b"pause\none\ntwo\n")
        turn(channel._map)
        peer.shutdown(socket.SHUT_WR)
        channel.on_found = lambda message: channel.close()
        asyncore.get_loop(channel._map).call_soon_threadsafe(channel.resume_reading)
        turn(channel._map, 2)
        assert (channel.messages, ends) == ([b"pause", b"one"], [])


@each_kind
@each_place
def test_pausing_and_resuming_in_one_callback_changes_nothing(made: Any, before: int) -> None:
    for channel in made(ScriptedSocket()), by_hand(made):
        channel.on_found = lambda message: (channel.pause_reading(), channel.resume_reading())  # noqa: B023
        fed(channel, b"zero\n" * before + b"one\ntwo\nthr", b"ee\n")
        assert channel.messages == [b"zero"] * before + [b"one", b"two", b"three"]


@each_place
@pytest.mark.parametrize("at", [b"pause", b"after"])
def test_pausing_with_a_piece_puts_the_end_of_its_message_off(before: int, at: bytes) -> None:
    channel = by_hand(Patient)
    channel.on_data = lambda piece: channel.pause_reading() if piece == at else None
    fed(channel, b"zero\n" * before + b"pause\nafter\nlast\n")
    done = before if at == b"pause" else before + 1
    assert len(channel.messages) == done
    assert channel.unfinished == at
    channel.resume_reading()
    assert channel.messages == [b"zero"] * before + [b"pause", b"after", b"last"]
    assert channel.unfinished == b""


@pytest.mark.parametrize("script", [[b"abcd", b"efgh"], [b"abcdefgh"]], ids=["in parts", "whole"])
def test_pausing_with_a_piece_of_a_known_length_does_not_upset_the_count(script: list[bytes]) -> None:
    channel = by_hand(Patient)
    channel.set_terminator(6)
    channel.on_data = lambda piece: channel.pause_reading()
    for number, piece in enumerate(script, 1):
        fed(channel, piece)
        assert channel.get_terminator() == (2 if number < len(script) else 0)
        assert channel.messages == []
        while channel.reading_paused:
            channel.on_found = lambda message: channel.set_terminator(6)
            channel.resume_reading()
    assert channel.messages == [b"abcdef"]
    assert channel.unfinished == b"gh"


@each_place
def test_pausing_with_a_piece_before_a_terminator_that_has_begun_keeps_the_beginning(before: int) -> None:
    channel = by_hand(Patient)
    channel.set_terminator(b"\r\n")
    channel.on_data = lambda piece: channel.pause_reading() if piece == b"one" else None
    fed(channel, b"zero\r\n" * before + b"one\r")
    assert channel.ac_in_buffer == b"\r"
    channel.resume_reading()
    fed(channel, b"\ntwo\r\n")
    assert channel.messages[before:] == [b"one", b"two"]


def test_a_callback_that_pauses_and_fails_counts_as_called() -> None:
    def fail(message: bytes) -> None:
        channel.pause_reading()
        raise ZeroDivisionError

    for name in "on_data", "on_found":
        for before in 0, 5:
            channel = by_hand(Patient)
            setattr(channel, name, lambda message: fail(message) if message == b"fail" else None)
            with pytest.raises(ZeroDivisionError):
                fed(channel, b"zero\n" * before + b"fail\nnext\n")
            assert channel.reading_paused
            channel.resume_reading()
            assert channel.messages == [b"zero"] * before + [b"fail", b"next"]


@each_kind
def test_the_buffer_may_be_looked_at_and_replaced_while_paused(made: Any) -> None:
    channel = pausing_at(by_hand(made), b"pause")
    fed(channel, b"pause\none\n")
    assert channel.ac_in_buffer == b"one\n"
    channel.ac_in_buffer = b"other\n"
    assert channel.ac_in_buffer == b"other\n"
    channel.resume_reading()
    assert channel.messages == [b"pause", b"other"]


@each_kind
def test_a_callback_may_replace_the_buffer_after_it_has_paused(made: Any) -> None:
    channel = by_hand(made)

    def replace(message: bytes) -> None:
        if message == b"pause":
            channel.pause_reading()
            channel.ac_in_buffer = b"other\n"

    channel.on_found = replace
    fed(channel, b"pause\none\n")
    assert channel.messages == [b"pause"]
    channel.resume_reading()
    assert channel.messages == [b"pause", b"other"]


@each_kind
def test_discard_buffers_discards_what_is_kept_and_leaves_the_channel_paused(made: Any) -> None:
    channel = pausing_at(by_hand(made), b"pause")
    fed(channel, b"pause\none\n")
    channel.discard_buffers()
    channel.sock.script.append(b"two\n")
    channel.handle_read()
    assert channel.messages == [b"pause"]
    channel.resume_reading()
    assert channel.messages == [b"pause", b"two"]


@each_kind
def test_what_the_program_itself_reads_while_paused_is_kept_behind_the_rest(made: Any) -> None:
    channel = pausing_at(by_hand(made), b"pause")
    fed(channel, b"pause\none\ntw")
    channel.sock.script += [b"o\nth", b"ree\n"]
    channel.handle_read()
    channel.handle_read()
    assert channel.messages == [b"pause"]
    channel.resume_reading()
    assert channel.messages == [b"pause", b"one", b"two", b"three"]


@each_kind
def test_what_was_read_before_the_pause_and_failed_comes_with_the_resumption(made: Any) -> None:
    channel = by_hand(made)
    channel.on_found = lambda message: 1 / 0 if message == b"fail" else None
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"fail\none\n")
    channel.pause_reading()
    channel.resume_reading()
    assert channel.messages == [b"fail", b"one"]


@each_kind
@pytest.mark.parametrize("end", ["close", "close_when_done"])
def test_nothing_is_delivered_after_the_end_though_it_was_kept(made: Any, end: str) -> None:
    channel = pausing_at(by_hand(made), b"pause")
    channel._ac_cork = 1  # What is queued stays.
    fed(channel, b"pause\none\n")
    getattr(channel, end)()
    channel.resume_reading()
    assert channel.ac_in_buffer == b""
    assert channel.messages == [b"pause"]
    channel.pause_reading()
    channel.resume_reading()
    assert channel.messages == [b"pause"]


@each_kind
def test_a_callback_that_pauses_and_closes_has_closed(made: Any) -> None:
    for before in 0, 5:
        channel = by_hand(made)
        channel.on_found = lambda message: (
            (channel.pause_reading(), channel.close()) if message == b"end" else None  # noqa: B023
        )
        fed(channel, b"zero\n" * before + b"end\none\n")
        channel.resume_reading()
        assert channel.messages == [b"zero"] * before + [b"end"]


def test_a_piece_that_pauses_and_closes_owes_nothing() -> None:
    for before in 0, 5:
        channel = by_hand(Patient)
        channel.on_data = lambda piece: (
            (channel.pause_reading(), channel.close()) if piece == b"end" else None  # noqa: B023
        )
        fed(channel, b"zero\n" * before + b"end\none\n")
        channel.resume_reading()
        assert channel.messages == [b"zero"] * before


@each_kind
def test_a_mark_to_close_that_is_taken_off_the_queue_does_not_end_the_pause(made: Any) -> None:
    channel = by_hand(made)
    channel.pause_reading()
    channel.close_when_done()
    channel.producer_fifo.clear()
    channel.sock.script.append(b"one\n")
    channel.handle_read()
    assert channel.messages == []
    channel.resume_reading()
    assert channel.messages == [b"one"]


@each_kind
def test_resuming_inside_of_another_channel_s_handler_delivers_after_it(made: Any, wires: Wires) -> None:
    channels = wires.map()
    order: list[str] = []
    first, far_of_first = wires.channel(made, channels)
    second, far_of_second = wires.channel(made, channels)
    pausing_at(first, b"pause")

    def resume(message: bytes) -> None:
        order.append("begins")
        first.on_found = lambda message: order.append(message.decode())
        first.resume_reading()
        order.append("ends")

    second.on_found = resume
    far_of_first.send(b"pause\none\n")
    turn(channels)
    far_of_second.send(b"x\n")
    turn(channels)
    assert order == ["begins", "ends", "one"]


@each_kind
def test_an_exception_behind_a_resumption_goes_to_the_channel(made: Any) -> None:
    with connected(made) as (channel, peer):
        pausing_at(channel, b"pause")
        peer.sendall(b"pause\nfail\nnext\n")
        turn(channel._map)
        channel.on_found = lambda message: 1 / 0 if message == b"fail" else None
        channel.resume_reading()
        turn(channel._map)
        assert list(map(type, channel.errors)) == [ZeroDivisionError]
        channel.pause_reading()
        channel.resume_reading()
        turn(channel._map)
        assert channel.messages == [b"pause", b"fail", b"next"]


@each_kind
@pytest.mark.parametrize("coalesce", [True, False])
def test_what_is_pushed_behind_a_resumption_leaves_in_one_send(made: Any, coalesce: bool) -> None:
    with connected(made) as (channel, peer):
        channel.coalesce_pushes = coalesce
        pausing_at(channel, b"pause")
        peer.sendall(b"pause\n" + b"x\n" * 10)
        turn(channel._map)
        channel.on_found = channel.push
        channel.resume_reading()
        turn(channel._map)
        assert received(peer) == b"x" * 10
        assert len(channel.sock.sends) == (1 if coalesce else 10)


@each_kind
def test_a_loop_inside_of_the_callback_that_has_paused_delivers_nothing(made: Any) -> None:
    with connected(made) as (channel, peer):
        seen: list[list[bytes]] = []

        def nest(message: bytes) -> None:
            if message == b"nest":
                channel.pause_reading()
                peer.sendall(b"three\n")
                turn(channel._map, 3)
                seen.append(list(channel.messages))
                channel.resume_reading()
                turn(channel._map)
                seen.append(list(channel.messages))

        channel.on_found = nest
        peer.sendall(b"zero\nnest\none\ntwo\n")
        turn(channel._map, 2)
        assert seen[0] == [b"zero", b"nest"]
        assert channel.messages == [b"zero", b"nest", b"one", b"two", b"three"]


@each_kind
def test_resuming_costs_a_call_of_the_loop_only_if_there_is_something_to_deliver(made: Any) -> None:
    with connected(made) as (channel, peer):
        calls: list[Any] = []
        channel._ac_loop.call_soon_threadsafe = calls.append
        peer.sendall(b"one\n")
        turn(channel._map)
        channel.pause_reading()
        channel.resume_reading()
        assert calls == []
        pausing_at(channel, b"two")
        peer.sendall(b"two\nthree\n")
        turn(channel._map)
        channel.resume_reading()
        assert len(calls) == 1
        del channel._ac_loop.call_soon_threadsafe
        peer.sendall(b"four\n")
        turn(channel._map)
        calls.pop()()  # A new read was faster.
        assert channel.messages == [b"one", b"two", b"three", b"four"]


@each_place
def test_resuming_inside_of_a_nested_delivery_leaves_nothing_out(before: int) -> None:
    channel = by_hand(Patient)
    channel.on_found = lambda message: channel._ac_feed(b"") if message == b"nest" else None
    fed(channel, b"zero\n" * before + b"nest\none\ntwo\n")
    assert channel.messages == [b"zero"] * before + [b"nest", b"one", b"two"]


@pytest.mark.parametrize("made", [Patient, Lines])
@pytest.mark.parametrize("where", ["on_data", "on_found"])
@each_place
def test_a_message_that_pauses_is_counted_once(made: Any, where: str, before: int) -> None:
    with connected(made) as (channel, peer):
        counts = channel._ac_loop
        counts.collect_stats()
        try:
            setattr(channel, where, lambda data: channel.pause_reading() if data == b"pause" else None)
            peer.sendall(b"zero\n" * before + b"pause\none\ntwo\nthr")
            turn(channel._map, 2)
            assert counts.stats().messages == len(channel.messages)
            channel.resume_reading()
            turn(channel._map)
            assert len(channel.messages) == before + 3
            assert counts.stats().messages == before + 3
        finally:
            counts.collect_stats(False)


def test_of_a_batch_that_is_out_nothing_can_be_kept() -> None:
    class Batches(Lines):
        def messages_received(self, messages: list[bytes]) -> None:
            self.messages += messages
            if b"pause" in messages:
                self.pause_reading()

    channel = by_hand(Batches)
    channel.ac_in_buffer_size = 1000
    fed(channel, b"zero\npause\none\ntw")
    assert channel.messages == [b"zero", b"pause", b"one"]
    channel.feed(b"o\nthree\n")
    assert channel.messages == [b"zero", b"pause", b"one"]
    channel.resume_reading()
    assert channel.messages == [b"zero", b"pause", b"one", b"two", b"three"]


def test_a_message_of_no_bytes_may_pause() -> None:
    channel = by_hand(Lines)

    def pause(message: bytes) -> None:
        if message == b"empty":
            channel.set_terminator(0)
        elif not message:
            channel.pause_reading()
            channel.set_terminator(b"\n")

    channel.on_found = pause
    fed(channel, b"empty\none\n")
    assert channel.messages == [b"empty", b""]
    channel.resume_reading()
    assert channel.messages == [b"empty", b"", b"one"]


def test_a_handler_that_waits_for_the_end_of_each_request_costs_the_same_for_each() -> None:
    """Where one read has many: nothing that waits is looked at, or copied, again and again."""
    for made in Chat, Lines:
        few, many = (steps(lambda: one_by_one(made, count)) for count in (500, 5000))  # noqa: B023
        assert many <= 11 * few
        copied = Copies()
        copied.of(lambda: one_by_one(made, 5000, copied.look))  # noqa: B023
        assert copied.total <= 5000 * 8000, "a bounded number of bytes for each"


def requests(count: int) -> Iterable[bytes]:
    return (b"%08d\n" % number for number in range(count))


def one_by_one(made: Any, count: int, look: Any = lambda: None) -> None:
    channel = by_hand(made)
    channel.ac_in_buffer_size = 1 << 20
    seen = itertools.count()
    channel.on_found = lambda message: (next(seen), channel.pause_reading(), look())
    fed(channel, b"".join(requests(count)))
    while channel.reading_paused:
        channel.resume_reading()
    assert next(seen) == count


def test_a_chat_whose_mark_at_the_end_was_taken_off_silently_hears_again() -> None:
    with connected(Chat) as (channel, _):
        channel.close_when_done()
        deque.pop(channel.producer_fifo)
        assert channel._ac_hears_again(b"data")


def test_a_queue_of_ones_own_is_taken_over_with_all_output() -> None:
    with connected(Chat) as (channel, _):
        channel.connected = False
        channel.producer_fifo = deque([b"one"])
        assert list(channel._ac_take_output() or ()) == [b"one"]
