"""Whom a loop asks what they wait for, and when; what it tells its poller of the answers."""

import errno
import gc
import os
import weakref
from collections import UserDict
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.calls import _pinned
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pollers.base import READ, WRITE
from antiphon.testing import FakeClock, SilentPoller
from loop_support import Foreign, Noting, Wires, Writing, silent_map, spin

wires = loop_support.wires


def silent_loop(channels: Any) -> tuple[Loop, SilentPoller]:
    """A loop of a map that does not tell, and its poller."""
    clock = FakeClock()
    poller = SilentPoller(clock)
    return Loop(channels, now=clock, make_poller=lambda: poller), poller


def look(loop: Loop) -> None:
    loop.turn(0, lambda turning, batch: None)


class Asked(Noting):
    wants = True

    def readable(self) -> bool:
        self.events.append("asked")
        return self.wants


def test_a_tracked_channel_is_watched_for_what_its_state_says(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    fd = channel._fileno
    seen = []
    for connected, connecting, accepting in (True, False, False), (False, True, False), (False, False, True):
        channel.connected, channel.connecting, channel.accepting = connected, connecting, accepting
        spin(channels)
        seen.append(poller.watched.get(fd))
    assert seen == [READ, READ | WRITE, READ]


def test_a_channel_that_wants_nothing_is_not_watched(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Asked, channels)
    for channel.wants in True, False, True:
        spin(channels)
        assert (channel._fileno in poller.watched) is channel.wants


def test_a_polled_channel_that_is_tracked_again_is_asked_no_more(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Asked, channels)
    spin(channels, turns=2)
    assert channel.events == ["asked"] * 2
    monkeypatch.delattr(Asked, "readable")
    channel.connected = False  # So that it is looked at again.
    spin(channels, turns=2)
    assert channel.events == ["asked"] * 2
    assert not channels.loop._polled


def test_a_polled_channel_that_the_map_lost_without_a_word_is_asked_no_more(wires: Wires) -> None:
    channels, _, _ = silent_map(wires)
    channel, _ = wires.channel(Asked, channels)
    spin(channels)
    dict.pop(channels, channel._fileno)
    wires.channel(Noting, channels)
    spin(channels, turns=2)
    assert channel.events == ["asked"]


def test_a_change_of_a_channel_that_the_map_lost_without_a_word_is_passed_over(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    wires.channel(Noting, channels)
    dict.pop(channels, channel._fileno)
    spin(channels)
    assert channel._fileno not in poller.watched


def test_a_channel_that_left_while_it_was_asked_is_not_watched(wires: Wires) -> None:
    class Leaving(Noting):
        def readable(self) -> bool:
            self.fd = self._fileno
            self.del_channel()
            return True

    private: dict[int, Any] = {}
    for channels in silent_map(wires)[0], private:
        channel, _ = wires.channel(Leaving, channels)
        spin(channels)
        assert asyncore.get_loop(channels).waits_for(channel.fd) == 0
        assert channels == {}


def test_what_fails_to_be_watched_ends_in_its_own_channel_and_is_forgotten(wires: Wires) -> None:
    class Refusing(SilentPoller):
        refused: int | None = None

        def watch(self, fd: int, interest: int) -> None:
            if fd == self.refused:
                raise OSError(errno.EPERM, "cannot be watched")
            super().watch(fd, interest)

    clock = FakeClock()
    poller = Refusing(clock)
    channels = wires.map(now=clock, make_poller=lambda: poller)
    foreign = Foreign(wires.pair()[0])
    healthy, _ = wires.channel(Noting, channels)
    channels[foreign.fileno()] = foreign
    spin(channels)
    assert {foreign.fileno(), healthy._fileno} <= set(poller.watched)
    poller.refused = foreign.fileno()
    spin(channels)
    assert "cannot be watched" in foreign.events[0]
    assert foreign.fileno() not in poller.watched
    assert healthy._fileno in poller.watched


def test_a_channel_whose_number_is_the_loops_own_ends(wires: Wires) -> None:
    """Its descriptor was closed by somebody else, and the next one to be opened was what wakes the loop."""
    channels, _, poller = silent_map(wires)
    loop = channels.loop
    channel, _ = wires.channel(Noting, channels)
    channel.socket.close()
    spin(channels)
    assert channel.events == [repr(OSError(errno.EBADF, os.strerror(errno.EBADF)))]
    assert channels == {}
    assert loop._wakeup is not None
    assert poller.watched == {loop._wakeup.fileno(): READ}


def test_a_foreign_object_keeps_its_attributes(wires: Wires) -> None:
    class Owning(Foreign):
        loop = _loop = "its own"

    channels, _, _ = silent_map(wires)
    foreign = Owning(wires.pair()[0])
    channels[foreign.fileno()] = foreign
    before = dict(vars(foreign))
    spin(channels)
    assert vars(foreign) == before
    assert Owning._loop == "its own"


@pytest.mark.parametrize("make", [dict, UserDict])
def test_a_map_that_does_not_tell_is_read_in_every_turn(wires: Wires, make: Any) -> None:
    channels = make()
    loop, poller = silent_loop(channels)
    first, second = Foreign(wires.pair()[0]), Foreign(wires.pair()[0])
    channels[first.fileno()] = first
    look(loop)
    assert poller.watched.keys() >= {first.fileno()}
    channels[second.fileno()] = second
    del channels[first.fileno()]
    look(loop)
    assert second.fileno() in poller.watched
    assert first.fileno() not in poller.watched
    channels.clear()
    channels[first.fileno()] = None
    look(loop)
    assert not {first.fileno(), second.fileno()} & set(poller.watched)
    loop.close()


def test_a_loop_that_was_closed_reads_its_map_anew(wires: Wires) -> None:
    channels: dict[int, Any] = {}
    loop, _ = silent_loop(channels)
    foreign = Foreign(wires.pair()[0])
    channels[foreign.fileno()] = foreign
    look(loop)
    loop.close()
    poller = SilentPoller(FakeClock())
    loop._make_poller = lambda: poller
    look(loop)
    assert foreign.fileno() in poller.watched
    loop.close()


@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_whoever_gives_up_a_number_leaves_its_present_owner_alone(wires: Wires, make: Any) -> None:
    class Clinging(Noting):
        def del_channel(self, map: Any = None) -> None:
            """Leave it to somebody else."""

    channels = make()
    former, _ = wires.channel(Clinging, channels)
    owner, far = wires.channel(Writing, channels)
    spin(channels)
    former._fileno = owner._fileno
    former.close()
    assert asyncore.get_loop(channels).waits_for(owner._fileno) == READ | WRITE
    del channels[next(fd for fd, channel in channels.items() if channel is former)]
    far.send(b"x")
    spin(channels)
    assert owner.received == b"x"


def test_a_change_that_a_channel_makes_while_it_is_asked_is_in_its_answer(wires: Wires) -> None:
    class Deciding(Asked):
        def readable(self) -> bool:
            self.connecting = not self.connecting
            return super().readable()

    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Deciding, channels)
    asyncore.loop(9, map=channels, count=2)
    assert channel.events == ["asked"] * 2
    assert poller.waits == [9, 9]


def test_a_loop_in_a_forked_child_begins_again(wires: Wires) -> None:
    from antiphon.loop import _leave_parents

    pollers = [SilentPoller(FakeClock()) for _ in range(2)]
    made = iter(pollers)
    channels = wires.map(make_poller=lambda: next(made))
    channel, _ = wires.channel(Noting, channels)
    spin(channels)
    with channels.loop._lock:  # A thread of the parent's may have held it.
        _leave_parents()  # As in the child.
        spin(channels)
    assert channel._fileno in pollers[1].watched
    with pytest.raises(ValueError, match="closed"):
        pollers[0].wait(0)


def test_a_channel_that_is_put_into_a_map_by_hand_tells_its_loop_of_changes(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, {})
    channels[channel._fileno] = channel
    spin(channels)
    channel.connected = False
    spin(channels)
    assert poller.watched[channel._fileno] == READ | WRITE


def test_a_channel_that_was_replaced_when_it_failed_is_not_forgotten_for_its_heir(wires: Wires) -> None:
    class Failing(Foreign):
        def readable(self) -> bool:
            raise LookupError

        def handle_error(self) -> None:
            channels[self.fileno()] = heir

    channels, _, poller = silent_map(wires)
    near, _ = wires.pair()
    failing, heir = Failing(near), Foreign(near)
    channels[near.fileno()] = failing
    spin(channels, turns=2)
    assert near.fileno() in poller.watched


def test_a_call_that_comes_when_the_loop_is_done_with_all_is_not_lost() -> None:
    """Another thread asks for it between the loop's last look and its letting go."""

    class Racing(Loop):
        racing = True

        def _unpin(self) -> None:
            if self.racing:
                self.racing = False
                self._calls.append((called.append, (1,)))
            super()._unpin()
            kept.append(self in _pinned)

    called: list[int] = []
    kept: list[bool] = []
    clock = FakeClock()
    loop = Racing({}, now=clock, make_poller=lambda: SilentPoller(clock))
    loop.call_soon_threadsafe(int)
    look(loop)
    loop.turn(5, lambda turning, batch: None)
    assert called == [1]
    assert kept == [True, False]
    assert clock() == 0
    loop.close()


def test_a_predicate_that_changes_another_channel_does_not_end_the_wait(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, _, _ = silent_map(wires)
    other, _ = wires.channel(Noting, channels)

    class Meddling(Noting):
        def readable(self) -> bool:
            other.connecting = not other.connecting
            return True

    wires.channel(Meddling, channels)
    spin(channels)
    wakes: list[int] = []
    monkeypatch.setattr(Loop, "wake", lambda loop: wakes.append(1))
    spin(channels, turns=3)
    assert wakes == []


def test_a_loop_whose_last_timer_is_cancelled_is_let_go_of() -> None:
    clock = FakeClock()
    loop = Loop({}, now=clock, make_poller=lambda: SilentPoller(clock))
    first, second = loop.call_later(5, int), loop.call_later(5, int)
    first.cancel()
    assert loop in _pinned
    loop.call_soon_threadsafe(int)
    second.cancel()
    assert loop in _pinned
    loop.turn(0, lambda turning, batch: None)
    assert loop not in _pinned
    loop.close()


def test_a_timer_that_is_reset_after_it_has_called_keeps_its_loop() -> None:
    clock = FakeClock()
    loop = Loop({}, now=clock, make_poller=lambda: SilentPoller(clock))
    called: list[float] = []
    timer = loop.call_later(5, lambda: called.append(clock()))
    loop.turn(None, lambda turning, batch: None)
    assert (called, loop in _pinned) == ([5], False)
    timer.reset()
    assert loop in _pinned
    loop.turn(None, lambda turning, batch: None)
    assert called == [5, 10]
    loop.close()


def test_at_the_end_of_the_interpreter_a_loop_closes_nothing() -> None:
    clock = FakeClock()
    loop = Loop({}, now=clock, make_poller=lambda: SilentPoller(clock))
    loop.call_later(5, int)
    loop.turn(0, lambda turning, batch: None)
    loop.__del__(lambda: True)
    assert loop._poller is not None
    loop.close()


def test_a_loop_with_a_call_pending_is_kept_though_nobody_holds_it() -> None:
    called: list[int] = []
    clock = FakeClock()
    loop = Loop({}, now=clock, make_poller=lambda: SilentPoller(clock))
    loop.call_later(5, called.append, 1)
    kept = weakref.ref(loop)
    del loop
    gc.collect()
    again = kept()
    assert again is not None
    while again.busy:
        again.turn(None, lambda turning, batch: None)
    assert called == [1]
    del again
    gc.collect()
    assert kept() is None


def test_a_predicate_that_changes_another_channel_has_that_looked_at_without_a_wait(wires: Wires) -> None:
    class Meddling(Noting):
        def readable(self) -> bool:
            other.connected = False
            return True

    channels, _, poller = silent_map(wires)
    other, _ = wires.channel(Noting, channels)
    spin(channels)
    wires.channel(Meddling, channels)
    asyncore.loop(9, map=channels, count=2)
    assert poller.waits[1:] == [0, 9]
    assert poller.watched[other._fileno] == READ | WRITE


@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_a_descriptor_is_forgotten_before_it_is_closed(wires: Wires, make: Any) -> None:
    """As the contract of pollers asks for: the kernel's table follows open files, not their numbers."""

    class Telling(Noting):
        def del_channel(self, map: Any = None) -> None:
            fd = self._fileno
            super().del_channel(map)
            watched.append(asyncore.get_loop(channels).waits_for(fd))

    watched: list[int] = []
    channels = make()
    channel, _ = wires.channel(Telling, channels)
    wires.channel(Noting, channels)
    spin(channels)
    assert asyncore.get_loop(channels).waits_for(channel._fileno) == READ
    channel.close()
    assert watched == [0]
