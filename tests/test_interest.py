"""What a channel waits for, and who is asked for it how often."""

from typing import Any

import pytest

import loop_support
from antiphon import asynchat, asyncore
from antiphon.interest import interest_of, noticed, tracked_interest, traits_of, unhandled, watched
from antiphon.pollers.base import READ, URGENT, WRITE
from loop_support import Foreign, Noting, Wires, Writing, spin

wires = loop_support.wires
each_engine = loop_support.each_engine
EVERYTHING = READ | URGENT


def wanted(channel: Any) -> int:
    return interest_of(channel, traits_of(type(channel)))


class Chat(asynchat.async_chat):
    """The usual channel."""

    def collect_incoming_data(self, data: bytes) -> None:
        pass

    def found_terminator(self) -> None:
        pass


class Asked(Noting):
    """Has predicates of its own, and notes when they are called."""

    wants_read, wants_write = True, False

    def readable(self) -> bool:
        self.events.append("readable")
        return self.wants_read

    def writable(self) -> bool:
        self.events.append("writable")
        return self.wants_write


class ExpectingUrgentData(Noting):
    def handle_expt(self) -> None:
        pass


class HandlingAllEvents(Noting):
    def handle_expt_event(self) -> None:
        pass

    def handle_write_event(self) -> None:
        pass


class AskedForReading(Noting):
    def readable(self) -> bool:
        return True


class AskedForWriting(Noting):
    def writable(self) -> bool:
        return False


class OwnState(Noting):
    connected = False


@pytest.mark.parametrize(
    ("made", "tracked"),
    [
        (asyncore.dispatcher, True),
        (asyncore.dispatcher_with_send, True),
        (Chat, True),
        (Noting, True),
        (Writing, True),
        (AskedForReading, False),
        (AskedForWriting, False),
        (OwnState, False),
        (Foreign, False),
    ],
)
def test_channels_with_our_predicates_over_our_state_are_tracked_and_no_others(
    made: type, tracked: bool
) -> None:
    assert traits_of(made).tracked is tracked


def test_traits_are_found_out_anew_when_the_predicates_of_a_class_are_replaced() -> None:
    class Changing(Noting):
        pass

    assert traits_of(Changing) is traits_of(Changing)
    assert traits_of(Changing).tracked
    setattr(Changing, "writable", lambda self: False)  # noqa: B010
    assert not traits_of(Changing).tracked
    delattr(Changing, "writable")
    assert traits_of(Changing).tracked


@pytest.mark.parametrize(
    ("made", "interest"),
    [
        (Noting, READ),
        (Writing, READ | WRITE),
        (ExpectingUrgentData, READ | URGENT),
        (HandlingAllEvents, READ | URGENT | WRITE),
        (Chat, READ),
        (asyncore.dispatcher_with_send, READ),
    ],
)
def test_a_connected_channel_waits_for_what_it_has_handlers_for(
    wires: Wires, made: Any, interest: int
) -> None:
    channel, _ = wires.channel(made, {})
    assert wanted(channel) == interest


@pytest.mark.parametrize("made", [Noting, Chat, asyncore.dispatcher_with_send])
def test_a_channel_that_is_not_connected_waits_to_be(wires: Wires, made: Any) -> None:
    channel, _ = wires.channel(made, {})
    channel.connected = False
    assert wanted(channel) & WRITE
    channel.connecting = True
    assert wanted(channel) & WRITE


def test_a_listener_waits_for_connections_only(wires: Wires) -> None:
    for made in Noting, Writing, HandlingAllEvents:
        assert wanted(wires.listener(made, {})) & ~URGENT == READ


def test_a_channel_that_was_hung_up_waits_for_no_more_input(wires: Wires) -> None:
    channel, far = wires.channel(Writing, {})
    channel.handle_close = lambda: None
    far.close()
    channel.recv(1)
    assert wanted(channel) == WRITE


@pytest.mark.parametrize("state", range(64))
@pytest.mark.parametrize("made", [Noting, Writing, ExpectingUrgentData, Chat, asyncore.dispatcher_with_send])
def test_what_a_tracked_channel_waits_for_is_what_its_predicates_would_say(
    wires: Wires, made: Any, state: int
) -> None:
    channel, _ = wires.channel(made, {})
    channel.connected, channel.connecting, channel.accepting = state & 1, state & 2, state & 4
    channel._ac_hung_up, channel._ac_paused, channel._ac_reading_paused = state & 8, state & 16, state & 32
    assert tracked_interest(channel, traits_of(made)) == wanted(channel)


def test_the_predicates_are_asked_once_each_and_readable_first(wires: Wires) -> None:
    channel, _ = wires.channel(Asked, {})
    assert wanted(channel) == READ
    assert channel.events == ["readable", "writable"]
    channel.wants_read, channel.wants_write = False, True
    assert wanted(channel) == 0  # It has no handler for being able to write.
    channel.connected = False
    assert wanted(channel) == WRITE


def test_an_object_that_is_no_dispatcher_is_taken_by_its_word(wires: Wires) -> None:
    foreign: Any = Foreign(wires.pair()[0])
    assert wanted(foreign) == READ | URGENT
    foreign.writable = lambda: 1
    assert wanted(foreign) == READ | URGENT | WRITE
    foreign.readable = lambda: 0
    assert wanted(foreign) == WRITE
    foreign.accepting = True
    assert wanted(foreign) == 0


@pytest.mark.parametrize("name", ["writable", "readable"])
@pytest.mark.parametrize("made", [Noting, Chat, asyncore.dispatcher_with_send])
def test_a_predicate_that_is_put_on_an_instance_is_asked(wires: Wires, made: Any, name: str) -> None:
    channels = wires.map()
    channel, _ = wires.channel(made, channels)
    spin(channels, turns=2)
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        return False

    setattr(channel, name, ask)
    spin(channels, turns=3)
    assert len(asked) == 3
    assert getattr(channel, name)() is False
    delattr(channel, name)
    assert getattr(channel, name)() in (True, False)
    spin(channels, turns=2)
    assert len(asked) == 4


@pytest.mark.parametrize("name", ["handle_write", "handle_write_event", "handle_expt", "handle_expt_event"])
def test_a_handler_that_is_put_on_an_instance_has_its_events_waited_for(wires: Wires, name: str) -> None:
    channel, _ = wires.channel(Noting, wires.map())
    assert wanted(channel) == READ
    called: list[str] = []
    setattr(channel, name, lambda: called.append(name))
    assert wanted(channel) == READ | URGENT | WRITE
    getattr(channel, name)()
    assert called == [name]


def test_a_write_handler_that_is_put_on_a_channel_late_is_called(wires: Wires, each_engine: str) -> None:
    channels: dict[int, Any] = {}
    channel, _ = wires.channel(asyncore.dispatcher, channels)
    spin(channels)
    called: list[int] = []
    channel.handle_write = lambda: called.append(1)
    spin(channels)
    assert called == [1]


def test_the_class_itself_answers_with_what_was_defined() -> None:
    assert asyncore.dispatcher.connected is False
    assert callable(asyncore.dispatcher.writable)
    assert asyncore.dispatcher.writable.__doc__ is not None
    assert "writable" in asyncore.dispatcher.writable.__qualname__


# -- the parts by themselves -------------------------------------------------------------------------------


class State:
    """Something with a watched attribute and a noticed method."""

    open = watched(False)
    _ac_untracked = False

    def __init__(self) -> None:
        self.changes = 0

    def _ac_state_changed(self) -> None:
        self.changes += 1

    @noticed
    def question(self) -> str:
        """Doc."""
        return "ours"

    @unhandled
    def event(self) -> None:
        """Doc."""


def test_assigning_another_value_is_a_change_and_the_same_is_none() -> None:
    state = State()
    state.open = False
    assert (state.open, state.changes) == (False, 0)
    state.open = True
    state.open = True
    assert (state.open, state.changes) == (True, 1)
    state.open = False
    assert (state.open, state.changes) == (False, 2)
    assert State.open is False


def test_replacing_a_noticed_method_is_a_change_for_that_instance_only() -> None:
    state, other = State(), State()
    setattr(state, "question", lambda: "theirs")  # noqa: B010
    assert (state.question(), other.question()) == ("theirs", "ours")
    assert (state.changes, other.changes) == (1, 0)
    assert (state._ac_untracked, other._ac_untracked) == (True, False)
    del state.question
    assert state.question() == "ours"


def test_the_mark_of_a_default_leaves_it_callable() -> None:
    State().event()
    assert State.event.__name__ == "event"


@pytest.mark.parametrize("change", ["connected", "connecting", "accepting"])
def test_the_state_of_a_channel_is_read_back_as_it_was_written(wires: Wires, change: str) -> None:
    channel, _ = wires.channel(Noting, wires.map())
    for value in True, False, 1:
        setattr(channel, change, value)
        assert getattr(channel, change) == value


def test_state_can_be_set_before_the_channel_is_made() -> None:
    class Early(asyncore.dispatcher):
        def __init__(self) -> None:
            self.connected = True
            setattr(self, "writable", lambda: False)  # noqa: B010
            super().__init__(map={})

    early = Early()
    assert early.connected is True
    assert early.writable() is False
