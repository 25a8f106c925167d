"""What becomes of a batch of events when handlers close, open and change channels in the middle of it."""

import socket
import sys
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.maps import ChannelMap
from antiphon.pollers.base import ERROR, HANGUP, READ, URGENT, WRITE
from asyncio_engine import ON_UVLOOP
from loop_support import CountingPoller, Noting, Wires, Writing, silent_map, spin

wires = loop_support.wires
each_engine = loop_support.each_engine
use_poll = loop_support.use_poll


@pytest.fixture(params=[ChannelMap, dict], ids=lambda make: make.__name__)
def channels(request: pytest.FixtureRequest, each_engine: str) -> Any:
    return request.param()


class Acting(Noting):
    """Does what `act` says when it has something to read."""

    def act(self) -> None:
        """Replaced by each test."""

    def handle_read(self) -> None:
        super().handle_read()
        self.act()


def others(channel: Any, channels: Any) -> list[Any]:
    return [other for other in list(channels.values()) if other is not channel]


# -- closing in a batch ------------------------------------------------------------------------------------


def test_no_handler_is_called_of_a_channel_that_was_closed_earlier_in_the_batch(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    class Jealous(Acting):
        def act(self) -> None:
            for other in others(self, channels):
                other.close()

    pairs = [wires.channel(Jealous, channels) for _ in range(5)]
    for _, far in pairs:
        far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert [event for channel, _ in pairs for event in channel.events] == ["read"]
    spin(channels, turns=3, use_poll=use_poll)
    assert [event for channel, _ in pairs for event in channel.events] == ["read"]
    assert len(channels) == 1


def test_a_new_channel_with_the_number_of_a_closed_one_gets_no_event_of_the_old(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    born: list[Any] = []

    class Replacing(Acting):
        def act(self) -> None:
            for other in others(self, channels):
                number = other._fileno
                other.close()
                born.append(wires.channel(Writing, channels)[0])
                assert born[-1]._fileno == number, "the system gave another number than the lowest"

    pairs = [wires.channel(Replacing, channels) for _ in range(2)]
    for _, far in pairs:
        far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert len(born) == 1
    assert born[0].events == []
    spin(channels, use_poll=use_poll)
    assert born[0].events == ["write"]


def test_a_channel_that_was_opened_anew_with_its_old_number_gets_no_event_of_its_former_socket(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    class Reopening(Acting):
        def act(self) -> None:
            for other in others(self, channels):
                number = other._fileno
                other.close()
                other.create_socket()
                assert other._fileno == number

    pairs = [wires.channel(Reopening, channels) for _ in range(2)]
    for _, far in pairs:
        far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert sorted(channel.events for channel, _ in pairs) == [[], ["read"]]


def test_a_channel_that_opens_itself_anew_while_reading_is_not_written_to_for_the_old_socket(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    class Renewing(Writing):
        def handle_read(self) -> None:
            super().handle_read()
            number = self._fileno
            self.close()
            self.create_socket()
            assert self._fileno == number

    channel, far = wires.channel(Renewing, channels)
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert channel.events == ["read"]


def test_the_owner_of_a_number_is_not_disturbed_by_a_former_one_that_closes(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    near, _ = wires.pair()
    former = wires.keep(Noting(near, channels))
    spin(channels, use_poll=use_poll)
    number = near.fileno()
    near.close()  # Behind the channel's back.
    present, far = wires.channel(Noting, channels)
    assert present._fileno == number
    spin(channels, use_poll=use_poll)
    former.close()
    assert channels[number] is present
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert present.received == b"x"


def test_reading_and_closing_ends_the_event(wires: Wires, channels: Any, use_poll: bool) -> None:
    class Closing(Writing):
        def handle_read(self) -> None:
            super().handle_read()
            self.close()

    channel, far = wires.channel(Closing, channels)
    far.send(b"x")
    far.close()
    spin(channels, turns=3, use_poll=use_poll)
    assert channel.events == ["read"]
    assert not channels


def test_the_end_is_told_once_however_often_it_is_noticed(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    class Reluctant(Writing):
        def handle_close(self) -> None:
            self.events.append("close")

        def handle_write(self) -> None:
            self.send(b"x")

    channel, far = wires.channel(Reluctant, channels)
    far.close()
    spin(channels, turns=5, use_poll=use_poll)
    assert channel.recv(1) == b""
    assert channel.send(b"x") == 0
    assert channel.events.count("close") == 1


def test_what_arrived_before_the_end_is_read_before_the_end_is_told(
    wires: Wires, channels: Any, use_poll: bool
) -> None:
    channel, far = wires.channel(Writing, channels)
    sent = b"".join(b"%d," % number for number in range(3000))
    far.send(sent)
    far.close()
    asyncore.loop(0, use_poll, channels, 30)
    assert channel.received == sent
    assert channel.events[-1] == "close"
    assert channel.events.count("close") == 1


def test_an_event_of_two_kinds_reads_first(wires: Wires, channels: Any, use_poll: bool) -> None:
    channel, far = wires.channel(Writing, channels)
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert channel.events == ["read", "write"]


# -- what the bits mean ------------------------------------------------------------------------------------


class All(Writing):
    def handle_expt(self) -> None:
        self.events.append("expt")

    def handle_read(self) -> None:
        self.events.append("read")


@pytest.mark.parametrize(
    ("flags", "as_poll", "as_poll2"),
    [
        (READ, ["read"], ["read"]),
        (WRITE, ["write"], ["write"]),
        (URGENT, ["expt"], ["expt"]),
        (READ | WRITE | URGENT, ["read", "write", "expt"], ["read", "write", "expt"]),
        (HANGUP, ["read"], ["close"]),
        (ERROR, ["read"], ["close"]),
        (READ | HANGUP, ["read"], ["read"]),
        (READ | WRITE | ERROR | HANGUP, ["read", "write"], ["read", "write"]),
        (WRITE | HANGUP, ["read", "write"], ["write", "close"]),
    ],
)
def test_what_is_ready_is_handled_in_order(
    wires: Wires, flags: int, as_poll: list[str], as_poll2: list[str]
) -> None:
    for turn, wanted in (asyncore.poll, as_poll), (asyncore.poll2, as_poll2):
        channels, _, poller = silent_map(wires)
        channel, _ = wires.channel(All, channels)
        poller.deliver((channel._fileno, flags))
        turn(0, channels)
        assert channel.events == wanted


def test_trouble_of_a_channel_that_does_not_read_is_for_its_next_write_to_find(wires: Wires) -> None:
    class Deaf(All):
        def readable(self) -> bool:
            return False

    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Deaf, channels)
    poller.deliver((channel._fileno, HANGUP))
    asyncore.poll(0, channels)
    assert channel.events == ["write"]


def test_urgent_data_is_told_apart(wires: Wires, channels: Any, use_poll: bool) -> None:
    class Urgent(Noting):
        def handle_expt(self) -> None:
            self.events.append(f"expt {self.socket.recv(1, socket.MSG_OOB)!r}")

    near, far = wires.pair(socket.AF_INET)
    channel = wires.keep(Urgent(near, channels))
    far.send(b"!", socket.MSG_OOB)
    asyncore.loop(10, use_poll, channels, 1)
    assert "expt b'!'" in channel.events


# -- tracked and polled ------------------------------------------------------------------------------------


def calls_of(function: Any) -> list[str]:
    """The names of all Python functions that are called meanwhile."""
    called: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return called


@pytest.mark.parametrize(
    "idle", [300, pytest.param(9000, marks=pytest.mark.slow)], ids=lambda idle: f"{idle} idle"
)
def test_a_turn_costs_what_is_ready_however_many_channels_are_idle(wires: Wires, idle: int) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * idle + 200:
        pytest.skip(f"no more than {hard} descriptors allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * idle + 200), hard))
    try:
        poller = CountingPoller()
        channels = wires.map(make_poller=lambda: poller)
        sleepers = [wires.channel(Noting, channels) for _ in range(idle)]
        _, far = sleepers[idle // 2]
        spin(channels, turns=2)
        poller.calls.clear()
        counts = []
        for _ in range(3):
            far.send(b"x")
            called = calls_of(lambda: spin(channels))
            assert not {"readable", "writable"} & set(called)
            counts.append(len(called))
        assert poller.calls == {"wait": 3}
        assert max(counts) < 40, "calls of Python functions in one turn with one event"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Asked(Noting):
    def readable(self) -> bool:
        self.events.append("readable")
        return True

    def writable(self) -> bool:
        self.events.append("writable")
        return False


def test_a_channel_with_predicates_of_its_own_is_asked_once_in_each_turn(
    wires: Wires, channels: Any, use_poll: bool, each_engine: str
) -> None:
    if each_engine == "asyncio":
        pytest.skip("asks when something is ready, and after a while")
    channel, far = wires.channel(Asked, channels)
    spin(channels, turns=3, use_poll=use_poll)
    assert channel.events == ["readable", "writable"] * 3
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert channel.events[6:] == ["readable", "writable", "read"]


def test_a_channel_is_asked_once_in_a_turn_also_if_it_changes_its_state_when_it_is_asked(
    wires: Wires,
) -> None:
    class Fickle(Asked):
        def readable(self) -> bool:
            self.connecting = not self.connecting
            return super().readable()

    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Fickle, channels)
    asyncore.loop(30, map=channels, count=3)
    assert channel.events == ["readable", "writable"] * 3
    assert poller.waits == [30] * 3, "what a predicate changes made the loop spin"


def test_a_predicate_may_close_its_own_channel_and_others(
    wires: Wires, channels: Any, use_poll: bool, each_engine: str
) -> None:
    if each_engine == "asyncio":
        pytest.skip("asks when something is ready, and after a while")

    class Fatal(Noting):
        def readable(self) -> bool:
            for other in others(self, channels):
                other.close()
            return True

    pairs = [wires.channel(Fatal, channels) for _ in range(4)]
    spin(channels, use_poll=use_poll)
    assert len(channels) == 1
    survivor = next(iter(channels.values()))
    survivor.readable = survivor.close
    spin(channels, turns=2, use_poll=use_poll)
    assert not channels
    assert [channel.events for channel, _ in pairs] == [[]] * 4


def test_a_predicate_may_open_channels(wires: Wires, channels: Any, use_poll: bool) -> None:
    born: list[Any] = []

    class Fertile(Noting):
        def readable(self) -> bool:
            if len(born) < 3:
                born.append(wires.channel(Writing, channels)[0])
            return True

    wires.channel(Fertile, channels)
    spin(channels, turns=4, use_poll=use_poll)
    assert [channel.events[:1] for channel in born] == [["write"]] * 3


def test_a_predicate_that_fails_ends_in_its_channel(wires: Wires, channels: Any, use_poll: bool) -> None:
    class Failing(Noting):
        def readable(self) -> bool:
            raise LookupError("unreadable")

    channel, _ = wires.channel(Failing, channels)
    healthy, far = wires.channel(Noting, channels)
    far.send(b"x")
    spin(channels, turns=2, use_poll=use_poll)
    assert channel.events == ["LookupError('unreadable')"]
    assert healthy.received == b"x"
    assert list(channels.values()) == [healthy]


def test_a_channel_whose_descriptor_was_closed_behind_its_back_ends_and_the_others_go_on(
    wires: Wires, channels: Any, use_poll: bool, each_engine: str
) -> None:
    if each_engine == "asyncio" and ON_UVLOOP:
        pytest.skip("whenever it is run, uvloop opens descriptors, and one of them has the number then")
    healthy, far = wires.channel(Noting, channels)
    for watched_before in False, True:
        channel, _ = wires.channel(Noting, channels)
        if watched_before:
            spin(channels, use_poll=use_poll)
        channel.socket.close()
        if watched_before:
            channel.connected = False  # Its interest changes, so that epoll hears of the descriptor again.
        far.send(b"x")
        spin(channels, turns=3, use_poll=use_poll)
        assert channel not in channels.values()
        assert channel.events
    assert healthy.received == b"xx"
