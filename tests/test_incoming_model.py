"""Any bytes, cut anywhere, with any terminators: the messages are those of a model that sees all at once."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from chat_support import Patient, ScriptedSocket, fed

#: Few different bytes, so that terminators occur, begin without ending, and overlap.
stream = st.lists(st.sampled_from([b"a", b"b", b"\r\n", b"\r", b"ab"]), max_size=60).map(b"".join)
short = st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n"]), min_size=1, max_size=4).map(b"".join)
long = st.builds(lambda unit, times, end: unit * times + end, short, st.integers(5, 20), short)
delimiter = st.one_of(short, short, long)
length = st.integers(1, 9)
terminator = st.one_of(delimiter, length)
endless = st.sampled_from([None, 0, b""])
cuts: st.SearchStrategy[list[int]] = st.one_of(
    st.just([]), st.just([1] * 500), st.lists(st.integers(1, 40), max_size=30)
)


class Outcome(NamedTuple):
    """What became of a stream.

    Attributes:
        messages: the finished ones.
        rest: what belongs to no finished message.
    """

    messages: list[bytes]
    rest: bytes


def model(data: bytes, terminators: Iterable[Any]) -> Outcome:
    """One terminator after the other, each looked for in all that is left."""
    messages = []
    for term in terminators:
        end = data.find(term) if isinstance(term, bytes) else term
        size = len(term) if isinstance(term, bytes) else 0
        if not term or end < 0 or end + size > len(data):
            break
        messages.append(data[:end])
        data = data[end + size :]
    return Outcome(messages, data)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes and a last one of what is left."""
    ends = [0, *itertools.accumulate(sizes), max(len(data), sum(sizes))]
    return [piece for start, end in itertools.pairwise(ends) if (piece := data[start:end])]


def outcome(channel: Patient) -> Outcome:
    return Outcome(channel.messages, channel.unfinished + channel.ac_in_buffer)


def reading(terminators: list[Any], how: Callable[[Patient, Any], None] = Patient.set_terminator) -> Patient:
    """A channel that goes on to the next terminator whenever one is found, and keeps the last."""
    channel = Patient(ScriptedSocket(), terminator=terminators[0])
    following = iter(terminators[1:])

    def go_on(message: bytes) -> None:
        how(channel, next(following, terminators[-1]))

    channel.on_found = go_on
    return channel


def keeping_the_last(terminators: list[Any]) -> Iterable[Any]:
    return itertools.chain(terminators, itertools.repeat(terminators[-1]))


@given(stream, cuts, delimiter)
def test_a_terminator_that_stays(data: bytes, sizes: list[int], term: bytes) -> None:
    channel = fed(Patient(ScriptedSocket(), terminator=term), *pieces(data, sizes))
    assert outcome(channel) == model(data, itertools.repeat(term))


@given(stream, cuts, delimiter)
def test_no_more_is_held_back_than_may_begin_the_terminator(
    data: bytes, sizes: list[int], term: bytes
) -> None:
    channel = fed(Patient(ScriptedSocket(), terminator=term), *pieces(data, sizes))
    rest = outcome(channel).rest
    assert channel.ac_in_buffer == max(
        (term[:size] for size in range(len(term)) if rest.endswith(term[:size])), key=len
    )


@given(stream, cuts, length, endless)
def test_a_length_and_then_no_end(data: bytes, sizes: list[int], term: int, after: Any) -> None:
    channel = Patient(ScriptedSocket(), terminator=term)
    channel.on_found = lambda message: channel.set_terminator(after)
    fed(channel, *pieces(data, sizes))
    assert outcome(channel) == model(data, [term, None])
    assert channel.get_terminator() == (term - len(data) if len(data) < term else after)


@given(stream, cuts, st.lists(terminator, min_size=1, max_size=12))
def test_terminators_set_one_after_the_other(data: bytes, sizes: list[int], terminators: list[Any]) -> None:
    channel = fed(reading(terminators), *pieces(data, sizes))
    assert outcome(channel) == model(data, keeping_the_last(terminators))


@given(stream, cuts, st.lists(terminator, min_size=1, max_size=12), endless)
def test_terminators_and_then_none(data: bytes, sizes: list[int], terminators: list[Any], last: Any) -> None:
    channel = fed(reading([*terminators, last]), *pieces(data, sizes))
    assert outcome(channel) == model(data, [*terminators, last])


def assign_a_copy(channel: Patient, term: Any) -> None:
    channel.terminator = bytearray(term) if isinstance(term, bytes) else term


def set_a_copy(channel: Patient, term: Any) -> None:
    channel.set_terminator(bytes(bytearray(term)) if isinstance(term, bytes) else term)


@given(
    stream, cuts, st.lists(terminator, min_size=1, max_size=12), st.sampled_from([assign_a_copy, set_a_copy])
)
def test_it_does_not_matter_how_a_terminator_is_set(
    data: bytes, sizes: list[int], terminators: list[Any], how: Callable[[Patient, Any], None]
) -> None:
    channel = fed(reading(terminators, how), *pieces(data, sizes))
    assert outcome(channel) == model(data, keeping_the_last(terminators))


@given(stream, cuts, delimiter, st.sets(st.integers(0, 30), max_size=6))
def test_what_is_given_back_comes_again(data: bytes, sizes: list[int], term: bytes, when: set[int]) -> None:
    channel = Patient(ScriptedSocket(), terminator=term)
    given_back: list[int] = []

    def give_back(message: bytes) -> None:
        if len(channel.messages) - 1 in when - set(given_back):
            given_back.append(len(channel.messages) - 1)
            channel.ac_in_buffer = message + term + channel.ac_in_buffer

    channel.on_found = give_back
    fed(channel, *pieces(data, sizes))
    expected = model(data, itertools.repeat(term))
    assert [
        message for number, message in enumerate(channel.messages) if number not in given_back
    ] == expected.messages
    assert outcome(channel).rest == expected.rest


@given(stream, cuts, delimiter, st.sets(st.integers(0, 30), max_size=6))
def test_failing_callbacks_lose_nothing(data: bytes, sizes: list[int], term: bytes, when: set[int]) -> None:
    channel = Patient(ScriptedSocket(), terminator=term)
    channel.on_found = lambda message: 1 / 0 if len(channel.messages) in when else None
    for piece in [*pieces(data, sizes), *[b"z"] * (len(when) + 1)]:
        try:
            fed(channel, piece)
        except ZeroDivisionError:
            continue
    assert outcome(channel) == model(data + b"z" * (len(when) + 1), itertools.repeat(term))


@given(stream, cuts, st.lists(terminator, min_size=1, max_size=12), st.sets(st.integers(0, 30), max_size=6))
def test_reading_more_inside_of_found_terminator_keeps_the_order(
    data: bytes, sizes: list[int], terminators: list[Any], when: set[int]
) -> None:
    channel = reading(terminators)
    go_on = channel.on_found

    def read_more(message: bytes) -> None:
        go_on(message)
        if len(channel.messages) in when:
            channel.handle_read()

    channel.on_found = read_more
    script = channel.sock.script
    script.extend(pieces(data, sizes))
    while script:
        channel.handle_read()
    assert outcome(channel) == model(data, keeping_the_last(terminators))


@given(stream, cuts, delimiter, st.integers(0, 30))
def test_nothing_is_delivered_after_the_channel_was_closed(
    data: bytes, sizes: list[int], term: bytes, last: int
) -> None:
    channel = Patient(ScriptedSocket(), terminator=term)
    channel.on_found = lambda message: channel.close() if len(channel.messages) == last else None
    fed(channel, *pieces(data, sizes))
    messages = model(data, itertools.repeat(term)).messages
    assert channel.messages == (messages[:last] if last else messages)
