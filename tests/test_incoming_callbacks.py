"""What callbacks may do while more of what was received waits: change terminator and buffer, close, fail."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chat_support import Chat, Patient, ScriptedSocket, connected, fed, once, received, turn

LINES = b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n"
WORDS = LINES.split()

#: However many messages come before: the first ones are dealt with in another way than those that follow.
each = pytest.mark.parametrize("number", range(len(WORDS)))


def chat(terminator: Any = b"\n", *script: Any, make: type[Patient] = Patient) -> Patient:
    return make(ScriptedSocket(*script), terminator=terminator)


def at(channel: Chat, number: int, action: Callable[[], object]) -> None:
    """Do something when the message of that number is found, counted from 0."""
    channel.on_found = lambda message: action() if len(channel.messages) == number + 1 else None


# -- the terminator


@each
def test_a_terminator_set_when_one_was_found_holds_for_what_waits(number: int) -> None:
    channel = chat()
    at(channel, number, lambda: channel.set_terminator(b"e"))
    fed(channel, LINES + b"!e?e")
    rest = b"\n".join([*WORDS[number + 1 :], b"!e?e"]).split(b"e")
    assert channel.messages == [*WORDS[: number + 1], *rest[:-1]]


@each
@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_length_set_when_a_terminator_was_found_holds_for_what_waits(number: int, length: int) -> None:
    channel = chat()
    at(channel, number, lambda: channel.set_terminator(length))
    fed(channel, LINES + b"........." + b"rest")
    waiting = b"".join(word + b"\n" for word in WORDS[number + 1 :]) + b"........." + b"rest"
    assert channel.messages == [*WORDS[: number + 1], waiting[:length]]
    assert channel.unfinished == waiting[length:]


@each
@pytest.mark.parametrize("term", [None, 0, b""], ids=repr)
def test_an_end_of_terminators_holds_for_what_waits(number: int, term: Any) -> None:
    channel = chat()
    at(channel, number, lambda: channel.set_terminator(term))
    fed(channel, LINES, b"more\n")
    assert channel.messages == WORDS[: number + 1]
    assert channel.unfinished == b"".join(word + b"\n" for word in WORDS[number + 1 :]) + b"more\n"


@each
@pytest.mark.parametrize("set_it", ["set_terminator", "assign"])
def test_setting_the_same_terminator_again_changes_nothing(number: int, set_it: str) -> None:
    channel = chat()
    same = bytes(bytearray(b"\n"))
    ways = {
        "set_terminator": lambda: channel.set_terminator(same),
        "assign": lambda: setattr(channel, "terminator", same),
    }
    at(channel, number, ways[set_it])
    assert fed(channel, LINES).messages == WORDS


@each
def test_a_terminator_set_while_a_message_is_collected_holds_after_it(number: int) -> None:
    channel = chat()
    channel.on_data = lambda piece: channel.set_terminator(b"e\n") if piece == WORDS[number] else None
    fed(channel, LINES)
    rest = b"".join(word + b"\n" for word in WORDS[number + 1 :]).split(b"e\n")
    assert channel.messages == [*WORDS[: number + 1], *rest[:-1]]
    assert channel.unfinished == rest[-1]


def test_a_terminator_set_while_part_of_a_message_is_collected_holds_for_the_rest_of_it() -> None:
    channel = chat(b"\r\n")
    channel.on_data = once(lambda: channel.set_terminator(b"\r"))
    fed(channel, b"one\r", b"two\r")
    assert channel.messages == [b"one", b"two"]


def test_a_beginning_that_was_held_back_is_looked_at_again_for_another_terminator() -> None:
    channel = fed(chat(b"\r\n\r\n"), b"head\r\n\r")
    channel.set_terminator(b"\n")
    fed(channel, b"\nbody\n")
    assert channel.messages == [b"head\r", b"\r", b"body"]


@pytest.mark.parametrize("term", [2, None], ids=repr)
def test_a_beginning_that_was_held_back_counts_when_there_is_no_terminator_any_more(term: Any) -> None:
    channel = fed(chat(b"\r\n\r\n"), b"head\r\n\r")
    channel.set_terminator(term)
    fed(channel, b"\n")
    assert b"".join(channel.messages) + channel.unfinished == b"head\r\n\r\n"
    assert channel.messages == ([b"head\r\n"] if term else [])


def test_a_terminator_set_while_what_was_held_back_is_collected_holds_for_what_follows() -> None:
    channel = fed(chat(b"\r\n\r\n"), b"\r\n\r")
    channel.on_data = once(lambda: channel.set_terminator(b";"))
    fed(channel, b"one;two;")
    assert channel.messages == [b"\r\n\rone", b"two"]


def test_a_terminator_set_while_a_length_is_counted_holds_for_the_rest() -> None:
    channel = chat(10)
    channel.on_data = once(lambda: channel.set_terminator(b"\n"))
    fed(channel, b"abc", b"d\ne\n")
    assert channel.messages == [b"abcd", b"e"]


def test_a_length_set_while_another_is_counted_is_counted_from_there() -> None:
    channel = chat(10)
    channel.on_data = once(lambda: channel.set_terminator(4))
    fed(channel, b"abc", b"defgh")
    assert channel.messages == [b"abcdefg"]


# -- ac_in_buffer


@each
def test_what_waits_can_be_read_when_a_terminator_was_found(number: int) -> None:
    channel = chat()
    seen: list[bytes] = []
    at(channel, number, lambda: seen.append(channel.ac_in_buffer))
    fed(channel, LINES + b"tail")
    assert seen == [b"".join(word + b"\n" for word in WORDS[number + 1 :]) + b"tail"]


def test_what_waits_looks_the_same_while_each_of_several_messages_is_collected() -> None:
    channel = chat()
    starts = []
    for read in (LINES, b"one\n" + LINES):
        channel.on_data = lambda piece: starts.append(channel.ac_in_buffer[:1] == b"\n")
        fed(channel, read)
    assert len(set(starts)) == 1


def test_what_waits_can_be_read_when_a_length_was_reached() -> None:
    channel = chat(3)
    seen: list[bytes] = []
    channel.on_found = lambda message: seen.append(channel.ac_in_buffer)
    fed(channel, b"abcdef")
    assert seen == [b"def"]


@each
def test_what_waits_can_be_replaced_when_a_terminator_was_found(number: int) -> None:
    channel = chat()
    at(channel, number, lambda: setattr(channel, "ac_in_buffer", b"other\n" + channel.ac_in_buffer[:1]))
    fed(channel, LINES + b"tail")
    assert channel.messages == [*WORDS[: number + 1], b"other"]
    assert channel.unfinished == (LINES + b"tail").split(b"\n", number + 1)[-1][:1]


@each
@pytest.mark.parametrize("nothing", [b"", ""], ids=repr)
def test_what_waits_can_be_dropped_when_a_terminator_was_found(number: int, nothing: Any) -> None:
    channel = chat()
    at(channel, number, lambda: setattr(channel, "ac_in_buffer", nothing))
    fed(channel, LINES + b"tail", b"next\n")
    assert channel.messages == [*WORDS[: number + 1], b"next"]


@each
def test_what_waits_can_be_dropped_while_a_message_is_collected(number: int) -> None:
    channel = chat()
    channel.on_data = lambda piece: setattr(channel, "ac_in_buffer", "") if piece == WORDS[number] else None
    fed(channel, LINES, b"next\n")
    assert channel.messages == [*WORDS[: number + 1], b"next"]


@pytest.mark.parametrize("term", [b"\n", None, 9], ids=repr)
def test_a_piece_can_be_given_back_while_it_is_collected(term: Any) -> None:
    channel = chat(term)

    def give_back() -> None:
        channel.set_terminator(b";")
        channel.ac_in_buffer = channel.pieces.pop() + channel.ac_in_buffer

    channel.on_data = once(give_back)
    fed(channel, b"one;two;")
    assert channel.messages == [b"one", b"two"]


def test_a_beginning_that_is_held_back_can_be_dropped() -> None:
    channel = fed(chat(b"\r\n"), b"one\r")
    channel.ac_in_buffer = b""
    assert fed(channel, b"\ntwo\r\n").messages == [b"one\ntwo"]


def test_what_is_put_into_the_buffer_between_two_reads_comes_before_the_second() -> None:
    channel = fed(chat(), b"one\n")
    channel.ac_in_buffer = bytearray(b"two\nth")
    assert channel.messages == [b"one"]
    assert channel.ac_in_buffer == b"two\nth"
    assert fed(channel, b"ree\n").messages == [b"one", b"two", b"three"]


def test_the_buffer_takes_nothing_but_bytes() -> None:
    with pytest.raises(TypeError, match=r"wanted bytes as input, found list: \[1\]"):
        chat().ac_in_buffer = [1]


# -- the end of the channel


def end_by_close(channel: Chat) -> None:
    channel.close()


def end_by_handle_close(channel: Chat) -> None:
    channel.handle_close()


def end_when_done(channel: Chat) -> None:
    channel.close_when_done()


def end_by_the_queue(channel: Chat) -> None:
    channel.producer_fifo.append(None)


def end_by_pushing_none(channel: Chat) -> None:
    channel.push_with_producer(None)


ends = pytest.mark.parametrize(
    "end", [end_by_close, end_by_handle_close, end_when_done, end_by_the_queue, end_by_pushing_none]
)


@ends
@each
def test_nothing_is_delivered_after_the_end(number: int, end: Callable[[Chat], None]) -> None:
    channel = chat()
    at(channel, number, lambda: end(channel))
    fed(channel, LINES + b"tail")
    assert channel.messages == WORDS[: number + 1]
    assert channel.pieces == []
    assert channel.ac_in_buffer == b""


@ends
@each
def test_the_end_of_a_message_is_not_told_after_the_end(number: int, end: Callable[[Chat], None]) -> None:
    channel = chat()
    channel.on_data = lambda piece: end(channel) if piece == WORDS[number] else None
    fed(channel, LINES)
    assert channel.messages == WORDS[:number]
    assert channel.pieces == [WORDS[number]]


@ends
@pytest.mark.parametrize("term", [4, None, b"\r\n\r\n"], ids=repr)
def test_nothing_follows_data_that_led_to_the_end(term: Any, end: Callable[[Chat], None]) -> None:
    channel = fed(chat(b"\r\n\r\n"), b"\r\n\r")
    channel.set_terminator(term)
    channel.on_data = lambda piece: end(channel)
    channel.sock.script.append(b"12345678\r\n\r\nrest\r\n\r\n")
    channel.handle_read()
    assert channel.messages == []
    assert len(channel.pieces) == 1


@ends
def test_nothing_follows_what_was_held_back_and_led_to_the_end(end: Callable[[Chat], None]) -> None:
    channel = fed(chat(b"aab"), b"aa")
    channel.on_data = lambda piece: end(channel)
    fed(channel, b"abaab")
    assert (channel.messages, channel.pieces) == ([], [b"a"])


@ends
def test_what_arrives_after_the_end_is_not_delivered(end: Callable[[Chat], None]) -> None:
    with connected(Chat) as (channel, peer):
        channel.push_with_producer(Endless())
        channel.on_found = lambda message: end(channel)
        peer.sendall(b"QUIT\n")
        turn(channel._map)
        with contextlib.suppress(BrokenPipeError):
            peer.sendall(b"DELETE 1\n")
        turn(channel._map, 3)
        assert channel.messages == [b"QUIT"]


class Endless:
    """A producer that keeps the channel from being done."""

    def more(self) -> bytes:
        return b"x" * 65536


def test_after_the_buffers_were_discarded_input_is_delivered_again() -> None:
    channel = chat()
    channel.connected = False
    channel.push(b"not sent")
    channel.close_when_done()
    channel.discard_buffers()
    assert fed(channel, b"one\n").messages == [b"one"]


def test_after_the_close_mark_was_taken_off_the_queue_input_is_delivered_again() -> None:
    channel = chat()
    channel.close_when_done()
    channel.producer_fifo.clear()
    assert fed(channel, b"one\n").messages == [b"one"]


# -- errors


@each
@pytest.mark.parametrize("further", [b"", b"eight\n"], ids=["only", "more"])
def test_what_waits_when_found_terminator_fails_comes_with_the_next_read(number: int, further: bytes) -> None:
    with connected(Patient) as (channel, peer):
        at(channel, number, lambda: 1 / 0)
        peer.sendall(LINES)
        turn(channel._map)
        assert [type(error) for error in channel.errors] == [ZeroDivisionError]
        assert channel.messages == WORDS[: number + 1]
        peer.sendall(further + b"last\n")
        turn(channel._map)
        assert channel.messages == [*WORDS, *(further + b"last\n").split()]


@each
def test_what_waits_when_collect_incoming_data_fails_comes_with_the_next_read(number: int) -> None:
    channel = chat()
    channel.on_data = lambda piece: 1 / 0 if piece == WORDS[number] else None
    with pytest.raises(ZeroDivisionError):
        fed(channel, LINES)
    fed(channel, b"last\n")
    assert b"".join(channel.messages) == LINES.replace(b"\n", b"") + b"last"
    assert channel.messages[-1] == (b"last" if number < len(WORDS) - 1 else channel.messages[-1])


def test_a_failure_while_what_was_held_back_is_collected_loses_nothing_of_what_follows() -> None:
    channel = fed(chat(b"aab"), b"aa")
    channel.on_data = once(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"xaabyaab")
    fed(channel, b"zaab")
    assert b"".join(channel.messages) == b"aaxyz"


def test_a_failure_while_what_was_held_back_is_collected_does_not_lose_the_end_of_the_message() -> None:
    channel = fed(chat(b"aab"), b"aa")
    channel.on_data = once(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"abyaab")
    fed(channel, b"zaab")
    assert channel.messages == [b"a", b"y", b"z"]


def test_a_failure_while_the_end_of_a_length_is_collected_does_not_lose_the_end_of_the_message() -> None:
    channel = chat(3)
    channel.on_data = once(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"abcde")
    fed(channel, b"f")
    assert channel.messages == [b"abc"]
    assert channel.unfinished == b"def"


@each
def test_a_callback_that_replaces_the_buffer_and_fails_has_replaced_it(number: int) -> None:
    channel = chat()

    def replace_and_fail(piece: bytes) -> None:
        if piece == WORDS[number]:
            channel.ac_in_buffer = b"other\n"
            raise LookupError(piece)

    channel.on_data = replace_and_fail
    with pytest.raises(LookupError):
        fed(channel, LINES)
    fed(channel, b"last\n")
    assert channel.messages[:number] == WORDS[:number]
    assert channel.messages[-1] == b"last"
    assert b"".join(channel.messages[number:]) == WORDS[number] + b"otherlast"


def test_a_failure_while_a_length_is_counted_does_not_upset_the_count() -> None:
    channel = chat(10)
    channel.on_data = once(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"abc")
    assert channel.get_terminator() == 7
    fed(channel, b"defghijkl")
    assert channel.messages == [b"abcdefghij"]


def test_by_default_a_failing_callback_closes_the_channel(caplog: pytest.LogCaptureFixture) -> None:
    with connected(Chat) as (channel, peer):
        channel.on_found = lambda message: 1 / 0
        peer.sendall(b"one\ntwo\n")
        turn(channel._map)
        assert channel.messages == [b"one"]
        assert channel._map == {}
        assert received(peer) == b""
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_no_end_is_told_of_a_message_that_was_closed_while_it_was_collected() -> None:
    channel = Chat(ScriptedSocket(b"one\ntwo;three;"))
    channel.on_found = lambda message: channel.set_terminator(b";")
    channel.on_data = lambda piece: channel.close() if piece == b"two" else None
    channel.handle_read()
    assert (channel.messages, channel.pieces) == ([b"one"], [b"two"])


# -- going on after an error


class Resuming(Patient):
    resumes_after_errors = True


@each
def test_what_waits_when_found_terminator_fails_comes_soon_if_that_is_wanted(number: int) -> None:
    with connected(Resuming) as (channel, peer):
        at(channel, number, lambda: 1 / 0)
        peer.sendall(LINES)
        turn(channel._map, 2)
        assert [type(error) for error in channel.errors] == [ZeroDivisionError]
        assert channel.messages == WORDS


def test_each_of_several_failures_is_told_and_all_messages_come() -> None:
    with connected(Resuming) as (channel, peer):
        channel.on_found = lambda message: 1 / 0
        peer.sendall(LINES)
        turn(channel._map, len(WORDS) + 1)
        assert [type(error) for error in channel.errors] == [ZeroDivisionError] * len(WORDS)
        assert channel.messages == WORDS


def test_an_end_is_told_also_if_the_last_byte_before_it_fails_alone() -> None:
    with connected(Resuming, terminator=1) as (channel, peer):
        channel.on_data = lambda piece: 1 / 0

        def found(message: bytes) -> None:
            channel.set_terminator(1)
            if len(channel.messages) == 1:
                raise LookupError

        channel.on_found = found
        peer.sendall(b"ab")
        turn(channel._map, 6)
        assert channel.messages == [b"a", b"b"]


def test_what_waited_is_delivered_once_if_more_comes_before_its_turn() -> None:
    with connected(Resuming) as (channel, peer):
        at(channel, 0, lambda: 1 / 0)
        peer.sendall(LINES)
        with contextlib.suppress(ZeroDivisionError):
            channel.handle_read_event()
        peer.sendall(b"last\n")
        turn(channel._map, 3)
        assert channel.messages == [*WORDS, b"last"]
        assert channel.pieces == []


def test_the_beginning_of_a_terminator_that_waited_stays_one() -> None:
    with connected(Resuming, terminator=b"\r\n") as (channel, peer):
        channel.on_data = lambda piece: 1 / 0 if piece == b"one" else None
        peer.sendall(b"one\r")
        turn(channel._map, 2)
        peer.sendall(b"\ntwo\r\n")
        turn(channel._map, 2)
        assert channel.messages == [b"one", b"two"]


def test_what_would_fail_for_ever_is_not_tried_for_ever() -> None:
    class Wrong(Resuming):
        known = False

        def get_terminator(self) -> Any:
            if self.known:
                return b"\n"
            raise LookupError("no terminator")

    with connected(Wrong) as (channel, peer):
        peer.sendall(b"one\n")
        turn(channel._map, 10)
        assert len(channel.errors) == 2
        channel.known = True
        peer.sendall(b"two\n")
        turn(channel._map)
        assert channel.messages == [b"one", b"two"]


def test_what_waited_is_delivered_once_if_it_is_fed_before_its_turn() -> None:
    with connected(Resuming) as (channel, peer):
        at(channel, 0, lambda: 1 / 0)
        peer.sendall(LINES)
        with contextlib.suppress(ZeroDivisionError):
            channel.handle_read_event()
        channel._ac_go_on()
        turn(channel._map, 3)
        assert channel.messages == WORDS


def test_after_an_error_that_closes_the_channel_nothing_comes() -> None:
    class Closing(Resuming):
        def handle_error(self) -> None:
            super().handle_error()
            self.close()

    with connected(Closing) as (channel, peer):
        at(channel, 1, lambda: 1 / 0)
        peer.sendall(LINES)
        turn(channel._map, 3)
        assert channel.messages == WORDS[:2]


def test_after_a_close_when_done_nothing_that_waited_comes() -> None:
    with connected(Resuming) as (channel, peer):
        at(channel, 1, lambda: 1 / 0)
        peer.sendall(LINES)
        turn(channel._map)
        peer.sendall(b"more\n")
        channel.close_when_done()
        turn(channel._map, 3)
        assert channel.messages[:2] == WORDS[:2]
        assert b"more" not in channel.messages


def test_the_answers_to_what_waited_leave_in_one_send() -> None:
    with connected(Resuming) as (channel, peer):
        channel.on_found = lambda message: channel.push(message) if message != WORDS[0] else 1 / 0
        peer.sendall(LINES)
        turn(channel._map, 2)
        assert received(peer) == b"".join(WORDS[1:])
        assert len(channel.sock.sends) == 1
