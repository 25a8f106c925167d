"""Any bytes, cut anywhere, read in any way: nothing is lost, and nothing comes twice."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.aio.streams.arrivals import Arrivals
from antiphon.errors import MessageTooLong
from test_incoming_model import cuts, pieces, stream
from test_message_channel_model import delimiter, first_end, several, terminator

UNLIMITED = 10**9


def read(arrivals: Arrivals, term: Any) -> bytes | None:
    """The next message, as a reader asks for it."""
    if arrivals.sought is term:
        for message in arrivals.ready:
            return message
    return next(arrivals.ready) if arrivals.frame(term) else None


def read_bytes(arrivals: Arrivals, count: int) -> bytes | None:
    return None if arrivals.missing(count) else arrivals.cut(count)


@given(stream, cuts, st.lists(st.tuples(terminator, st.integers(1, 4)), min_size=1, max_size=8))
def test_messages_and_bytes_come_in_their_order(data: bytes, sizes: list[int], asked: list[Any]) -> None:
    """Each terminator some times; a length is read as bytes."""
    arrivals, left, questions = Arrivals(UNLIMITED, False), data, itertools.cycle(asked)
    rest = b""
    term, times = next(questions)
    for piece in pieces(data, sizes):
        arrivals.keep(piece)
        rest += piece
        while (
            message := read_bytes(arrivals, term) if isinstance(term, int) else read(arrivals, term)
        ) is not None:
            end = first_end(left, term)
            assert end is not None
            assert message == left[: end[0]]
            if not isinstance(term, int):
                assert arrivals.last_terminator == left[end[0] : end[1]]
            left, rest = left[end[1] :], rest[end[1] :]
            times -= 1
            if not times:
                term, times = next(questions)
        assert first_end(rest, term) is None

    assert arrivals.gathered().size == len(left)
    assert arrivals.take_rest() == left
    assert arrivals.take_rest() == b""


@given(stream, cuts, delimiter | several, st.lists(st.integers(0, 9), max_size=9))
def test_of_a_batch_any_number_may_be_used(data: bytes, sizes: list[int], term: Any, used: list[int]) -> None:
    arrivals, numbers, messages = Arrivals(UNLIMITED, False), itertools.cycle([*used, 1]), []
    for piece in pieces(data, sizes):
        arrivals.keep(piece)
        while (first := read(arrivals, term)) is not None:
            batch = arrivals.hand_over(first)
            count = min(next(numbers), len(batch))
            arrivals.put_back(count)
            messages += batch[:count]

    whole = Arrivals(UNLIMITED, False)
    whole.keep(data)
    expected = [*iter(lambda: read(whole, term), None)]
    assert messages == expected
    assert arrivals.take_rest() == whole.take_rest()


def test_the_terminator_of_each_message_is_known() -> None:
    arrivals, term = Arrivals(UNLIMITED, False), (b"\r\n", b"\n")
    assert arrivals.last_terminator == b""
    arrivals.keep(b"a\nb\r\nc")
    assert (read(arrivals, term), arrivals.last_terminator) == (b"a", b"\n")
    assert (read(arrivals, term), arrivals.last_terminator) == (b"b", b"\r\n")
    assert read(arrivals, term) is None
    assert (read_bytes(arrivals, 1), arrivals.last_terminator) == (b"c", b"")


def test_a_terminator_that_overlaps_itself_ends_as_early_as_it_can() -> None:
    arrivals = Arrivals(UNLIMITED, False)
    arrivals.keep(b"aaa")
    assert read(arrivals, b"aa") == b""
    assert read(arrivals, b"aa") is None
    assert arrivals.take_rest() == b"a"


def test_a_message_that_is_too_long_is_told_once_and_skipped() -> None:
    arrivals = Arrivals(3, False)
    arrivals.keep(b"1234\nok\n")
    with pytest.raises(MessageTooLong):
        arrivals.frame(b"\n")
    assert (read(arrivals, b"\n"), arrivals.discarded) == (b"ok", 0)


def test_a_message_that_is_too_long_may_be_discarded() -> None:
    arrivals = Arrivals(3, True)
    arrivals.keep(b"1234\nok\n12345")
    assert (read(arrivals, b"\n"), read(arrivals, b"\n")) == (b"ok", None)
    assert arrivals.discarded == 2


def test_a_message_that_is_skipped_ends_before_bytes_are_read() -> None:
    arrivals = Arrivals(3, True)
    arrivals.keep(b"12345")
    assert read(arrivals, b"\n") is None
    assert (arrivals.missing(2), arrivals.missing(0)) == (2, 1)
    arrivals.keep(b"6\nab")
    assert read_bytes(arrivals, 2) == b"ab"


def test_it_is_clean_when_nothing_is_there() -> None:
    arrivals = Arrivals(UNLIMITED, False)
    assert arrivals.clean
    arrivals.keep(b"a\n")
    assert not arrivals.clean
    assert read(arrivals, b"\n") == b"a"
    assert not arrivals.clean
    assert read(arrivals, b"\n") is None
    assert arrivals.clean
    arrivals.keep(b"b")
    assert read(arrivals, b"\n") is None
    assert not arrivals.clean


def test_only_of_the_last_batch_some_may_be_put_back() -> None:
    arrivals = Arrivals(UNLIMITED, False)
    with pytest.raises(ValueError, match="wanted a batch of which some were used, found none"):
        arrivals.put_back(0)
    arrivals.keep(b"a\nb\n")
    first = read(arrivals, b"\n")
    assert first is not None
    assert arrivals.hand_over(first) == [b"a", b"b"]
    with pytest.raises(ValueError, match="wanted 0 to 2 as the number of messages that were used, found 3"):
        arrivals.put_back(3)
    arrivals.put_back(1)
    with pytest.raises(ValueError, match="found none"):
        arrivals.put_back(1)
    assert read(arrivals, b"\n") == b"b"


def test_what_was_read_is_not_taken_again() -> None:
    arrivals = Arrivals(UNLIMITED, False)
    arrivals.keep(b"a\n")
    assert read(arrivals, b"\n") == b"a"
    assert arrivals.take_rest() == b""
