"""Any bytes, cut anywhere, with any terminators: the events are those of a model that sees all at once."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import MessageChannel
from antiphon.errors import MessageTooLong
from antiphon.framing import messages as framing
from chat_support import ScriptedSocket
from test_incoming_model import cuts, pieces, short, stream

#: (message, what ended it), or the limit that a message broke
Event: TypeAlias = tuple[bytes, bytes] | int

delimiter = st.one_of(short, st.builds(lambda unit, times: unit * times, short, st.integers(5, 20)))
several = st.lists(short, min_size=1, max_size=4).map(tuple)
length = st.integers(1, 9)
terminator: st.SearchStrategy[Any] = st.one_of(delimiter, several, length)
terminators = st.lists(terminator, min_size=1, max_size=12)
#: 0 is a length that another terminator must follow.
with_empty_bodies = st.builds(
    lambda first, middle, last: [first, *middle, last],
    terminator,
    st.lists(st.one_of(terminator, st.just(0)), max_size=12),
    terminator,
)
#: A length may not be above it.
limit = st.one_of(st.none(), st.integers(9, 14))


@pytest.fixture(params=[512, 3], ids=["as it is", "small"], scope="module", autouse=True)
def _bounds(request: pytest.FixtureRequest) -> Iterator[None]:
    """The sizes from which on things are done in parts; small ones occur in short streams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_FIRST_WINDOW", request.param)
        patch.setattr(framing, "_MANY", request.param)
        yield


def first_end(data: bytes, term: Any) -> tuple[int, int] | None:
    """Where the first message ends, and its terminator: each place is tried, and each alternative."""
    if isinstance(term, int):
        return (term, term) if term <= len(data) else None
    for stop in range(1, len(data) + 1):
        ending = [
            len(one) for one in ((term,) if isinstance(term, bytes) else term) if data[:stop].endswith(one)
        ]
        if ending:
            return stop - max(ending), stop
    return None


def begun(data: bytes, term: Any) -> int:
    """How many bytes at the end of `data` may be the beginning of a terminator that ends before any other."""
    alternatives = () if isinstance(term, int) else (term,) if isinstance(term, bytes) else term
    winning = [one for one in alternatives if first_end(one, term) == (0, len(one))]
    return max((size for one in winning for size in range(len(one)) if data.endswith(one[:size])), default=0)


def model(data: bytes, terms: Iterable[Any], limit: int | None = None) -> tuple[list[Event], bytes]:
    """The events, and what belongs to no complete message."""
    events: list[Event] = []
    for term in terms:
        while (end := first_end(data, term)) is not None:
            start, stop = end
            message, ending, data = data[:start], data[start:stop], data[stop:]
            if limit is None or start <= limit or isinstance(term, int):
                events.append((message, ending))
                break
            events.append(limit)
        else:
            if limit is not None and not isinstance(term, int) and len(data) - begun(data, term) > limit:
                return [*events, limit], b""
            break
    return events, data


class Noting(MessageChannel):
    """Notes its events, and goes on to the next terminator with each message."""

    def __init__(self, terms: Iterable[Any], limit: int | None = None) -> None:
        super().__init__(ScriptedSocket(), {})
        self.max_message_size = limit
        self.events: list[Event] = []
        self.following = iter(terms)
        self.on_message: Callable[[], object] = lambda: None
        self.set_terminator(next(self.following))

    def message_received(self, message: bytes) -> None:
        self.events.append((message, self.last_terminator))
        self.set_terminator(next(self.following))
        self.on_message()

    def handle_overflow(self, error: MessageTooLong) -> None:
        assert error.size > error.limit
        self.events.append(error.limit)

    @property
    def messages(self) -> list[bytes]:
        return [event[0] for event in self.events if isinstance(event, tuple)]


class NotingBatches(Noting):
    """Likewise, without a call for each message: says how many it used when the terminator has changed."""

    def messages_received(self, messages: list[bytes]) -> int | None:
        current = self.get_terminator()
        for used, message in enumerate(messages, 1):
            self.events.append((message, self.last_terminator if used == len(messages) else b"?"))
            self.set_terminator(next(self.following))
            if self.get_terminator() is not current:
                return used
        return None


def keeping_the_last(terms: list[Any]) -> Iterator[Any]:
    return itertools.chain(terms, itertools.repeat(terms[-1]))


def read(channel: Any, data: bytes, sizes: list[int]) -> Any:
    """The channel after it has read `data` in pieces."""
    for piece in pieces(data, sizes):
        channel.socket.script.append(piece)
        while channel.socket is not None and channel.socket.script and not channel.socket.closed:
            channel.handle_read_event()
    return channel


def outcome(channel: Noting) -> tuple[list[Event], bytes]:
    return channel.events, channel.ac_in_buffer


@given(stream, cuts, st.one_of(delimiter, several), st.integers(0, 14))
def test_a_terminator_and_a_limit(data: bytes, sizes: list[int], term: Any, limit: int) -> None:
    channel = read(Noting(itertools.repeat(term), limit), data, sizes)
    events, rest = model(data, itertools.repeat(term), limit)
    assert channel.events == events
    assert rest.endswith(channel.ac_in_buffer)  # Of what is skipped nothing is kept.


@given(stream, cuts, terminator)
def test_a_terminator_that_stays(data: bytes, sizes: list[int], term: Any) -> None:
    channel = read(Noting(itertools.repeat(term)), data, sizes)
    assert outcome(channel) == model(data, itertools.repeat(term))


@given(stream, cuts, with_empty_bodies, limit)
def test_terminators_set_one_after_the_other(
    data: bytes, sizes: list[int], terms: list[Any], limit: int | None
) -> None:
    channel = read(Noting(keeping_the_last(terms), limit), data, sizes)
    assert channel.events == model(data, keeping_the_last(terms), limit)[0]


@given(stream, cuts, terminators)
def test_nothing_is_lost_of_what_is_not_complete(data: bytes, sizes: list[int], terms: list[Any]) -> None:
    channel = read(Noting(keeping_the_last(terms)), data, sizes)
    assert outcome(channel) == model(data, keeping_the_last(terms))


@given(stream, cuts, with_empty_bodies, limit)
def test_a_handler_of_batches_says_how_many_it_used(
    data: bytes, sizes: list[int], terms: list[Any], limit: int | None
) -> None:
    channel = read(NotingBatches(keeping_the_last(terms), limit), data, sizes)
    expected = model(data, keeping_the_last(terms), limit)[0]
    assert [event if isinstance(event, int) else event[0] for event in channel.events] == [
        event if isinstance(event, int) else event[0] for event in expected
    ]
    for event, right in zip(channel.events, expected, strict=True):
        assert isinstance(event, int) or event[1] == b"?" or event == right


@given(stream, cuts, terminators)
def test_without_a_terminator_at_last_all_comes_as_it_is(
    data: bytes, sizes: list[int], terms: list[Any]
) -> None:
    channel = read(Noting(keeping_the_last([*terms, None])), data, sizes)
    messages, rest = model(data, terms)
    count = len(messages)
    assert channel.events[:count] == messages
    if count == len(terms):
        assert b"".join(channel.messages[count:]) == rest
    else:
        assert outcome(channel) == (messages, rest)


@given(stream, cuts, terminators, st.sets(st.integers(0, 30), max_size=6))
def test_failing_callbacks_lose_nothing_and_repeat_nothing(
    data: bytes, sizes: list[int], terms: list[Any], when: set[int]
) -> None:
    channel = Noting(keeping_the_last(terms))
    channel.on_message = lambda: 1 / 0 if len(channel.events) in when else None
    for piece in [*pieces(data, sizes), *[b""] * len(when)]:
        try:
            channel.feed(piece)
        except ZeroDivisionError:
            continue
    assert outcome(channel) == model(data, keeping_the_last(terms))


@given(stream, cuts, terminators, st.sets(st.integers(0, 30), max_size=6))
def test_reading_more_inside_of_a_message_keeps_the_order(
    data: bytes, sizes: list[int], terms: list[Any], when: set[int]
) -> None:
    channel = Noting(keeping_the_last(terms))
    channel.on_message = lambda: channel.handle_read() if len(channel.events) in when else None
    script = channel.socket.script
    script.extend(pieces(data, sizes))
    while script:
        channel.handle_read()
    assert outcome(channel) == model(data, keeping_the_last(terms))


@given(stream, cuts, terminators, st.sets(st.integers(0, 30), max_size=6))
def test_reading_more_inside_of_a_batch_keeps_the_order(
    data: bytes, sizes: list[int], terms: list[Any], when: set[int]
) -> None:
    channel = NotingBatches(keeping_the_last(terms))
    used = channel.messages_received

    def read_more(messages: list[bytes]) -> int | None:
        if len(channel.events) in when:
            channel.handle_read()
        count = used(messages)
        if len(channel.events) in when:
            channel.handle_read()
        return count

    channel.messages_received = read_more  # type: ignore[method-assign]
    script = channel.socket.script
    script.extend(pieces(data, sizes))
    while script:
        channel.handle_read()
    assert channel.messages == [event[0] for event in model(data, keeping_the_last(terms))[0]]  # type: ignore[index]
    assert channel.ac_in_buffer == model(data, keeping_the_last(terms))[1]


@given(stream, cuts, terminators, terminators, st.integers(1, 12))
def test_a_connection_handed_over_loses_no_byte(
    data: bytes, sizes: list[int], before: list[Any], after: list[Any], when: int
) -> None:
    first, second = Noting(keeping_the_last(before)), Noting(keeping_the_last(after))
    reader = [first]

    def hand_over() -> None:
        if len(first.events) == when:
            reader[0] = second
            second.feed(first.take_buffer())

    first.on_message = hand_over
    for piece in pieces(data, sizes):
        reader[0].feed(piece)
    events, rest = model(data, itertools.islice(keeping_the_last(before), when))
    assert first.events == events
    if len(events) == when:
        assert first.ac_in_buffer == b""
        assert outcome(second) == model(rest, keeping_the_last(after))
    else:
        assert outcome(first) == (events, rest)


@given(stream, cuts, terminators, st.integers(0, 30))
def test_nothing_is_delivered_after_the_channel_was_closed(
    data: bytes, sizes: list[int], terms: list[Any], last: int
) -> None:
    channel = Noting(keeping_the_last(terms))
    channel.on_message = lambda: channel.close() if len(channel.events) == last else None
    read(channel, data, sizes)
    events = model(data, keeping_the_last(terms))[0]
    assert channel.events == (events[:last] if last else events)
