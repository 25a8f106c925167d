"""Any bytes, cut anywhere: what is too long, and what comes, is what a model says that sees all at once.

Both kinds of channel, each policy, and channels that pause in any callback.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import MessageChannel, bounded
from antiphon.errors import MessageTooLong
from chat_support import Patient, ScriptedSocket
from test_incoming_model import cuts, delimiter, pieces, stream
from test_message_channel_model import begun, first_end, several

#: A message, or None for one that was found to be too long.
Event: TypeAlias = bytes | None

length = st.integers(1, 9)
terminators = st.lists(st.one_of(delimiter, length), min_size=1, max_size=12)
limits = st.integers(0, 12)
policies = st.sampled_from(["close", "discard", "pieces"])
pauses = st.sets(st.integers(0, 40), max_size=8)


@pytest.fixture(params=[False, True], ids=["as it is", "small"], scope="module", autouse=True)
def _bounds(request: pytest.FixtureRequest) -> Iterator[None]:
    """The sizes from which on things are done at once; small ones occur in short streams."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(bounded, "FIRST_WINDOW", 1)
            patch.setattr(bounded, "_WORTH_A_BATCH", 1)
        yield


class Outcome(NamedTuple):
    """What became of a stream.

    Attributes:
        events: in order.
        unfinished: what there is of the last message, unless it was dropped.
    """

    events: list[Event]
    unfinished: bytes


def model(data: bytes, terms: Iterator[Any], limit: int, policy: str) -> Outcome:
    """One message after the other, each looked for in all that is left.

    The next terminator is taken with each message, and with each that is dropped.
    """
    events: list[Event] = []
    term, waits = next(terms), True
    while True:
        end = first_end(data, term)
        if isinstance(term, int):
            size = 0 if waits and not data else term  # Nobody looks at it before something has arrived.
        else:
            size = len(data) - begun(data, term) if end is None else end[0]
        too_long = size > limit
        if too_long:
            events.append(None)
        if too_long and policy == "close":
            return Outcome(events, b"")
        if too_long and policy == "discard":
            following = next(terms)
            if end is None:
                return Outcome(events, b"")
        elif end is None:
            return Outcome(events, data)
        else:
            events.append(data[: end[0]])
            following = next(terms)
        term, data, waits = following, data[end[1] :], too_long and policy == "discard"


class Limited(Patient):
    """Classic callbacks."""

    def __init__(self, terms: Iterator[Any], limit: int | None, policy: str) -> None:
        self.terms, self.events = terms, list[Event]()
        super().__init__(ScriptedSocket(), terminator=next(terms))
        self.script = self.sock.script
        self.max_message_size, self.overflow_policy = limit, policy
        self.on_event: Callable[[], object] = lambda: None
        self.del_channel()  # It is fed by the test.

    def collect_incoming_data(self, data: bytes) -> None:
        assert data
        assert not self.reading_paused
        super().collect_incoming_data(data)
        assert self.overflow_policy == "pieces" or len(self.unfinished) <= (self.max_message_size or 0)
        self.on_event()

    def found_terminator(self) -> None:
        assert not self.reading_paused
        super().found_terminator()
        self.events.append(self.messages[-1])
        self.set_terminator(next(self.terms))
        self.on_event()

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.events.append(None)
        if self.overflow_policy == "close":
            super().handle_overflow(error)
        if self.overflow_policy == "discard":
            self.pieces.clear()
            self.set_terminator(next(self.terms))
        self.on_event()

    @property
    def outcome(self) -> Outcome:
        dropped = self.closing or self._ac_dropping is not None
        return Outcome(self.events, b"" if dropped else self.unfinished + self.ac_in_buffer)


class Whole(MessageChannel):
    """Whole messages, and parts of those that are too long."""

    def __init__(self, terms: Iterator[Any], limit: int | None, policy: str) -> None:
        self.terms, self.events, self.parts = terms, list[Event](), b""
        sock = ScriptedSocket()
        super().__init__(sock, {})
        self.script = sock.script
        self.max_message_size, self.overflow_policy = limit, policy
        self.set_terminator(next(terms))
        self.on_event: Callable[[], object] = lambda: None
        self.del_channel()

    def message_received(self, message: bytes) -> None:
        assert not self.reading_paused
        self.events.append(message)
        self.set_terminator(next(self.terms))
        self.on_event()

    def message_part_received(self, part: bytes, last: bool) -> None:
        assert not self.reading_paused
        assert part or last
        self.parts += part
        if last:
            whole, self.parts = self.parts, b""
            self.message_received(whole)
        else:
            self.on_event()

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.events.append(None)
        if self.overflow_policy == "close":
            super().handle_overflow(error)
        if self.overflow_policy == "discard":
            self.set_terminator(next(self.terms))
        self.on_event()

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.events, self.parts + self.ac_in_buffer)


each_kind = pytest.mark.parametrize("made", [Limited, Whole])


def keeping_the_last(terms: list[Any]) -> Iterator[Any]:
    return itertools.chain(terms, itertools.repeat(terms[-1]))


def read(channel: Any, data: bytes, sizes: list[int]) -> Any:
    """The channel after it has read `data` in pieces; whenever it pauses, it is resumed after the read."""
    script = channel.script
    for piece in pieces(data, sizes):
        script.append(piece)
        while script and not channel.closing:
            channel.handle_read_event()
            while channel.reading_paused:
                channel.resume_reading()
    return channel


def pausing(channel: Any, when: set[int]) -> Any:
    """The channel, which pauses in the callbacks of these numbers."""
    numbers = itertools.count()

    def pause() -> None:
        if next(numbers) in when:
            channel.pause_reading()

    channel.on_event = pause
    return channel


@each_kind
@given(stream, cuts, terminators, limits, policies)
def test_the_verdict_is_that_on_the_bytes_however_they_are_cut(
    made: Any, data: bytes, sizes: list[int], terms: list[Any], limit: int, policy: str
) -> None:
    channel = read(made(keeping_the_last(terms), limit, policy), data, sizes)
    assert channel.outcome == model(data, keeping_the_last(terms), limit, policy)


@each_kind
@given(stream, cuts, terminators, limits, policies, pauses)
def test_pausing_in_any_callback_changes_nothing_but_when(
    made: Any, data: bytes, sizes: list[int], terms: list[Any], limit: int, policy: str, when: set[int]
) -> None:
    channel = read(pausing(made(keeping_the_last(terms), limit, policy), when), data, sizes)
    assert channel.outcome == model(data, keeping_the_last(terms), limit, policy)


@given(
    stream, cuts, st.lists(st.one_of(delimiter, several, length), min_size=1, max_size=12), limits, policies
)
def test_several_terminators_at_once(
    data: bytes, sizes: list[int], terms: list[Any], limit: int, policy: str
) -> None:
    channel = read(Whole(keeping_the_last(terms), limit, policy), data, sizes)
    assert channel.outcome == model(data, keeping_the_last(terms), limit, policy)


@each_kind
@given(stream, cuts, terminators, pauses)
def test_pausing_without_a_limit_changes_nothing_but_when(
    made: Any, data: bytes, sizes: list[int], terms: list[Any], when: set[int]
) -> None:
    channel = pausing(made(keeping_the_last(terms), None, "pieces"), when)
    read(channel, data, sizes)
    assert channel.outcome == model(data, keeping_the_last(terms), len(data) + 10, "pieces")


@each_kind
@given(stream, cuts, terminators, limits, st.sampled_from(["discard", "pieces"]), pauses)
def test_failing_callbacks_lose_nothing_and_repeat_nothing(
    made: Any, data: bytes, sizes: list[int], terms: list[Any], limit: int, policy: str, when: set[int]
) -> None:
    channel = made(keeping_the_last(terms), limit, policy)
    numbers = itertools.count()
    channel.on_event = lambda: 1 / 0 if next(numbers) in when else None
    for piece in [*pieces(data, sizes), *[b""] * len(when)]:
        try:
            if piece or channel._ac_has_more():
                channel._ac_feed(piece)
        except ZeroDivisionError:
            continue
    assert channel.outcome == model(data, keeping_the_last(terms), limit, policy)


@each_kind
@given(stream, cuts, terminators, limits, policies, st.sets(st.integers(0, 30), max_size=6))
def test_reading_more_inside_of_any_callback_keeps_the_order(
    made: Any, data: bytes, sizes: list[int], terms: list[Any], limit: int, policy: str, when: set[int]
) -> None:
    channel = made(keeping_the_last(terms), limit, policy)
    numbers = itertools.count()
    channel.on_event = lambda: channel.handle_read() if next(numbers) in when else None
    read(channel, data, sizes)
    assert channel.outcome == model(data, keeping_the_last(terms), limit, policy)
