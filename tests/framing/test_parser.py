"""MessageParser: whatever the cuts, the messages are those of a model that sees all bytes at once."""

import doctest
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given

from antiphon.errors import MessageIncomplete, MessageTooLong
from antiphon.framing import MessageParser, parser
from test_incoming_model import cuts, pieces, stream
from test_message_channel_model import (
    Event,
    delimiter,
    keeping_the_last,
    limit,
    model,
    several,
    terminator,
    terminators,
    with_empty_bodies,
)


def fed(parser: MessageParser, *data: bytes) -> list[bytes]:
    return [message for piece in data for message in parser.feed(piece)]


def messages_of(events: list[Event]) -> list[bytes]:
    return [event[0] for event in events if isinstance(event, tuple)]


def test_the_examples_of_the_documentation_are_true() -> None:
    failures, examples = doctest.testmod(parser)
    assert (failures, bool(examples)) == (0, True)


# -- any cutting gives the same messages ---------------------------------------------------------------


@given(stream, cuts, terminator)
def test_fed_in_any_pieces_the_messages_are_the_same(data: bytes, sizes: list[int], term: Any) -> None:
    parser = MessageParser(term, None)
    events, rest = model(data, itertools.repeat(term))

    assert fed(parser, *pieces(data, sizes)) == messages_of(events)
    assert parser.pending == len(rest)
    assert parser.take_buffer() == rest


@given(stream, cuts, with_empty_bodies, limit)
def test_with_terminators_set_one_after_the_other_too(
    data: bytes, sizes: list[int], terms: list[Any], limit: int | None
) -> None:
    following = keeping_the_last(terms)
    parser = MessageParser(next(following), limit)
    events: list[Event] = []
    for piece in pieces(data, sizes):
        messages = parser.messages(piece)
        while True:
            try:
                for message in messages:
                    events.append((message, parser.last_terminator))
                    parser.set_terminator(next(following))
                break
            except MessageTooLong as error:
                events.append(error.limit)
                messages = parser.messages()

    assert events == model(data, keeping_the_last(terms), limit)[0]


@given(stream, cuts, terminators)
def test_a_loop_may_be_left_after_each_message(data: bytes, sizes: list[int], terms: list[Any]) -> None:
    following = keeping_the_last(terms)
    parser = MessageParser(next(following), None)
    messages = []
    for piece in pieces(data, sizes):
        last = next(parser.messages(piece), None)
        while last is not None:
            messages.append(last)
            parser.set_terminator(next(following))
            last = next(parser.messages(), None)

    events, rest = model(data, keeping_the_last(terms))
    assert messages == messages_of(events)
    assert parser.pending == len(rest)


@given(stream, cuts, delimiter | several, limit)
def test_what_is_too_long_is_discarded_in_silence(
    data: bytes, sizes: list[int], term: Any, limit: int | None
) -> None:
    parser = MessageParser(term, limit, overflow="discard")
    events, _ = model(data, itertools.repeat(term), limit)

    assert fed(parser, *pieces(data, sizes)) == messages_of(events)
    assert parser.discarded == len(events) - len(messages_of(events))


# -- feed ----------------------------------------------------------------------------------------------


def test_lines_end_with_cr_lf_by_default() -> None:
    parser = MessageParser()
    assert parser.feed(b"one\r\ntwo\n\r\n") == [b"one", b"two\n"]
    assert (parser.terminator, parser.max_size) == (b"\r\n", 1_048_576)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_data_may_be_of_any_kind_of_bytes(kind: Callable[[bytes], Any]) -> None:
    [message] = MessageParser(b"\n").feed(kind(b"one\n"))
    assert message == b"one"
    assert type(message) is bytes


def test_data_may_be_changed_afterwards() -> None:
    parser, data = MessageParser(b"\n"), bytearray(b"one")
    parser.feed(data)
    data[:] = b"two"
    assert parser.feed(b"\n") == [b"one"]


def test_with_none_what_is_fed_is_a_message() -> None:
    parser = MessageParser(None)
    assert fed(parser, b"one\r\n", b"", b"two") == [b"one\r\n", b"two"]


def test_the_terminator_that_has_ended_the_last_message_is_known() -> None:
    parser = MessageParser((b"\r\n", b"\n"))
    assert parser.last_terminator == b""
    assert parser.feed(b"one\ntwo\r\nthree") == [b"one", b"two"]
    assert parser.last_terminator == b"\r\n"
    assert [(message, parser.last_terminator) for message in parser.messages(b"\nfour\r\n")] == [
        (b"three", b"\n"),
        (b"four", b"\r\n"),
    ]


def test_another_terminator_holds_for_what_is_kept() -> None:
    parser = MessageParser(b"\n")
    assert parser.feed(b"one;two;three") == []
    parser.set_terminator(b";")
    assert parser.feed() == [b"one", b"two"]
    assert parser.pending == 5


# -- messages ------------------------------------------------------------------------------------------


def test_the_terminator_may_be_set_between_two_messages() -> None:
    parser = MessageParser(b"\n")
    bodies = []
    for message in parser.messages(b"3\nab\n0\n4\nabcd5\nab"):
        if parser.terminator == b"\n":
            parser.set_terminator(int(message))
        else:
            bodies.append(message)
            parser.set_terminator(b"\n")

    assert bodies == [b"ab\n", b"", b"abcd"]
    assert parser.terminator == 5
    assert parser.feed(b"cde") == [b"abcde"]


def test_data_is_kept_when_messages_is_called() -> None:
    parser = MessageParser(b"\n")
    messages = parser.messages(b"one\n")
    assert parser.pending == 4
    assert list(messages) == [b"one"]


def test_what_a_loop_has_not_come_to_comes_out_of_the_next() -> None:
    parser = MessageParser(b"\n")
    for _ in parser.messages(b"one\ntwo\nthree\nfour"):
        break
    assert parser.pending == len(b"two\nthree\nfour")
    assert next(parser.messages(b"\n")) == b"two"
    assert parser.feed() == [b"three", b"four"]


def test_an_old_loop_goes_on_with_what_there_is() -> None:
    parser = MessageParser(b"\n")
    old = parser.messages(b"one\ntwo\nthree\n")
    assert next(old) == b"one"
    assert next(parser.messages()) == b"two"
    assert list(old) == [b"three"]


def test_a_length_of_0_is_one_empty_message_each_time_that_it_is_set() -> None:
    parser = MessageParser(0)
    messages = parser.messages(b"rest\n")
    for _ in range(3):
        assert next(messages) == b""
        parser.set_terminator(0)
    assert parser.terminator == 0
    parser.set_terminator(b"\n")
    assert list(messages) == [b"rest"]


@pytest.mark.parametrize("read", [MessageParser.feed, lambda parser: list(parser.messages())])
def test_a_length_of_0_that_stays_is_an_error(read: Callable[[MessageParser], list[bytes]]) -> None:
    with pytest.raises(ValueError, match="wanted another terminator behind a length of 0"):
        read(MessageParser(0))


# -- limits --------------------------------------------------------------------------------------------


def test_a_message_that_is_too_long_is_told_with_those_before_it_and_skipped() -> None:
    parser = MessageParser(b"\n", 5)
    with pytest.raises(MessageTooLong) as caught:
        parser.feed(b"one\n1234567\ntwo\n12345\n")
    assert (caught.value.limit, caught.value.size) == (5, 7)
    assert caught.value.messages == [b"one"]
    assert parser.feed() == [b"two", b"12345"]


def test_a_message_without_an_end_is_told_once_and_not_kept() -> None:
    parser = MessageParser(b"\n", 5)
    with pytest.raises(MessageTooLong, match="at most 5 bytes, found one of at least 8"):
        parser.feed(b"12345678")
    assert fed(parser, b"9" * 1000, b"0\nok\n") == [b"ok"]
    assert (parser.pending, parser.discarded) == (0, 0)


def test_the_messages_before_one_that_is_too_long_come_out_first() -> None:
    parser = MessageParser(b"\n", 5)
    messages = parser.messages(b"one\n1234567\ntwo\n")
    assert next(messages) == b"one"
    with pytest.raises(MessageTooLong):
        next(messages)
    assert list(parser.messages()) == [b"two"]


@pytest.mark.parametrize("overflow", ["raise", "discard"])
def test_a_length_above_the_limit_is_told_at_once_and_its_message_skipped(overflow: Any) -> None:
    parser = MessageParser(b"\n", 5, overflow=overflow)
    assert next(parser.messages(b"6\nabc")) == b"6"
    parser.set_terminator(6)
    with pytest.raises(MessageTooLong, match="at most 5 bytes, found one of 6"):
        next(parser.messages())
    parser.set_terminator(b"\n")
    assert parser.feed(b"de\nok\n") == [b"ok"]


def test_messages_that_are_discarded_are_counted() -> None:
    parser = MessageParser(b"\n", 5, overflow="discard")
    assert fed(parser, b"one\n1234567\ntwo\n123456", b"7\nthree\n") == [b"one", b"two", b"three"]
    assert parser.discarded == 2


# -- the end -------------------------------------------------------------------------------------------


def test_an_end_between_two_messages_is_none_to_speak_of() -> None:
    parser = MessageParser(b"\n")
    parser.feed(b"one\n")
    parser.feed_eof()
    assert parser.feed() == []


@pytest.mark.parametrize(
    ("term", "expected", "message"),
    [
        (b"\n", None, "wanted a terminator, found the end after 3 bytes: b'two'"),
        (4, 4, "wanted 4 bytes, found the end after 3 bytes: b'two'"),
    ],
)
def test_an_end_within_a_message_is_told(term: Any, expected: int | None, message: str) -> None:
    parser = MessageParser(term)
    parser.feed(b"two")
    with pytest.raises(MessageIncomplete) as caught:
        parser.feed_eof()
    assert (caught.value.partial, caught.value.expected, str(caught.value)) == (b"two", expected, message)
    assert parser.take_buffer() == b"two"


def test_an_end_within_a_message_that_is_skipped_is_told() -> None:
    parser = MessageParser(b"\n", 5, overflow="discard")
    parser.feed(b"1234567")
    with pytest.raises(MessageIncomplete) as caught:
        parser.feed_eof()
    assert caught.value.partial == b""


def test_what_no_loop_has_come_to_counts_as_partial() -> None:
    parser = MessageParser(b"\n")
    next(parser.messages(b"one\ntwo\n"))
    with pytest.raises(MessageIncomplete) as caught:
        parser.feed_eof()
    assert caught.value.partial == b"two\n"


def test_nothing_may_follow_the_end() -> None:
    parser = MessageParser()
    parser.feed_eof()
    with pytest.raises(ValueError, match="wanted nothing after the end, found 3 bytes: b'one'"):
        parser.feed(b"one")
    with pytest.raises(ValueError, match="wanted nothing after the end"):
        parser.messages(b"one")


# -- taking the rest -----------------------------------------------------------------------------------


def test_all_behind_the_current_message_may_be_taken() -> None:
    parser = MessageParser(b"\n")
    rest = b""
    for message in parser.messages(b"one\nupgrade\ntwo\nthree"):
        if message == b"upgrade":
            rest = parser.take_buffer()
    assert rest == b"two\nthree"
    assert (parser.pending, parser.feed(b"four\n")) == (0, [b"four"])


# -- bad input -----------------------------------------------------------------------------------------


def made(*given: Any, **named: Any) -> Iterator[MessageParser]:
    yield MessageParser(*given, **named)


@pytest.mark.parametrize(
    ("given", "named", "error", "complaint"),
    [
        (
            ("\n",),
            {},
            TypeError,
            "wanted bytes, a tuple of bytes, a length or None as the terminator, found str",
        ),
        ((b"",), {}, ValueError, "found an empty one"),
        (
            (11, 10),
            {},
            ValueError,
            "wanted at most 10 bytes, max_size, as the length of a message, found 11",
        ),
        ((b"\n", "1"), {}, TypeError, "wanted an int or None as max_size, found str: '1'"),
        ((b"\n", True), {}, TypeError, "wanted an int or None as max_size, found bool"),
        ((b"\n", 0), {}, ValueError, "wanted 1 byte or more as max_size, found 0"),
        ((), {"overflow": "ignore"}, ValueError, 'wanted "raise" or "discard" as overflow, found \'ignore\''),
    ],
)
def test_what_can_not_be_is_refused(
    given: tuple[Any, ...], named: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        next(made(*given, **named))


def test_what_is_no_bytes_is_not_fed() -> None:
    parser: Any = MessageParser()
    with pytest.raises(TypeError, match="wanted bytes as data, found str: 'one'"):
        parser.feed("one")


def test_without_a_limit_any_length_will_do() -> None:
    assert MessageParser(10**12, None).max_size is None
