"""How many connections a listener has, which it refuses, and what it does when descriptors run out."""

import errno
import gc
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.admission import Census
from antiphon.asynchat import async_chat
from antiphon.listener import LARGEST_BATCH, PAUSE
from antiphon.pollers.base import READ
from antiphon.reserve import reserve
from antiphon.testing import FakeClock, SilentPoller
from loop_support import Noting, Wires, is_closed, silent_map, spin

wires = loop_support.wires
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll


class Serving(asyncore.dispatcher):
    """Makes a channel of each connection."""

    makes: Any = Noting

    def __init__(self, map: Any = None, **limits: int | None) -> None:
        super().__init__(map=map)
        vars(self).update(limits)
        self.made: list[Any] = []

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        self.made.append(self.makes(sock, self._map))

    def close(self) -> None:
        for channel in getattr(self, "made", ()):
            channel.close()
        super().close()


class Waiting:
    """A connection that was not accepted yet; an open socket from then on."""

    numbers = iter(range(1000, 100_000))

    def __init__(self) -> None:
        self.number = next(self.numbers)

    def fileno(self) -> int:
        return self.number

    def getpeername(self) -> Any:
        return ("192.0.2.9", 9)

    def setblocking(self, flag: bool) -> None:
        """It has no kernel."""

    def close(self) -> None:
        self.number = -1


class Queue:
    """A listening socket whose connections come from the hosts that it is told."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.calls = 0
        self.given: list[Waiting] = []

    def come(self, host: str, number: int = 1) -> None:
        self.script += [(host, 1000 + port) for port in range(number)]

    def accept(self) -> Any:
        self.calls += 1
        answer = self.script.pop(0) if self.script else BlockingIOError(errno.EAGAIN, "empty")
        if isinstance(answer, BaseException):
            raise answer
        self.given.append(Waiting())
        return self.given[-1], answer

    def fileno(self) -> int:
        return 900

    def close(self) -> None:
        """It has no kernel."""


class Scene:
    """A listener on a scripted queue, with its map, its clock and its poller."""

    def __init__(self, wires: Wires, made: Any = Serving, **limits: int | None) -> None:
        self.clock: FakeClock
        self.poller: SilentPoller
        self.channels, self.clock, self.poller = silent_map(wires)
        self.queue = Queue()
        self.listener = wires.keep(made(map=self.channels, **limits))
        self.listener.set_socket(self.queue)
        self.listener.accepting = True
        reserve.keep_for(self.listener._ac_queue())  # As for a socket of the system.
        spin(self.channels)

    @property
    def is_watched(self) -> bool:
        spin(self.channels)
        return bool(self.poller.watched.get(900, 0) & READ)

    def turn(self, number: int = 1) -> None:
        """Let the listener be ready, as long as it wants to know."""
        for _ in range(number):
            if 900 in self.poller.watched or self.is_watched:
                self.poller.deliver((900, READ))
                spin(self.channels)

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        spin(self.channels)

    @property
    def made(self) -> list[Any]:
        made: list[Any] = self.listener.made
        return made


def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of refused connections."""
    return [record.getMessage() for record in caplog.records if " refused " in record.getMessage()]


# -- max_connections ---------------------------------------------------------------------------------------


def test_a_listener_without_limits_takes_all(wires: Wires) -> None:
    scene = Scene(wires)
    scene.queue.come("192.0.2.1", 300)
    scene.turn(12)
    assert len(scene.made) == 300
    assert scene.listener._ac_backlog.accepted == 300
    assert scene.listener._ac_backlog.refused == 0


def test_above_max_connections_the_next_ones_wait_in_the_system_s_queue(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(wires, max_connections=3)
    scene.queue.come("192.0.2.1", 5)
    scene.turn(5)
    assert (len(scene.made), len(scene.queue.script), scene.queue.calls) == (3, 2, 3)
    assert not scene.is_watched
    assert caplog.messages == [f"{scene.listener!r} has max_connections=3: the next ones wait"]
    scene.made[1].close()
    assert scene.is_watched
    scene.turn()
    assert (len(scene.made), len(scene.queue.script)) == (4, 1)
    assert not scene.is_watched
    assert scene.listener._ac_backlog.accepted == 4
    assert scene.listener._ac_backlog.refused == 0


def test_being_full_is_told_again_only_after_a_quarter_was_free(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(wires, max_connections=8)
    scene.queue.come("192.0.2.1", 50)
    scene.turn(5)
    for _ in range(10):
        scene.made[-1].close()
        scene.turn()
    assert len(caplog.records) == 1
    for channel in scene.made:
        channel.close()
    scene.turn(5)
    assert len(caplog.records) == 2


def test_all_that_wait_are_accepted_one_after_the_other(
    wires: Wires, each_poller: str, use_poll: bool
) -> None:
    channels: dict[int, Any] = {}
    listener = wires.listener(Serving, channels, max_connections=4)
    clients = [wires.client(listener.socket.getsockname()) for _ in range(10)]
    most = 0
    while clients:
        spin(channels, turns=5, use_poll=use_poll)
        most = max(most, len(channels) - 1)
        clients.pop(0).close()
    spin(channels, turns=5, use_poll=use_poll)
    assert (len(listener.made), most, len(channels)) == (10, 4, 1)


class Plain(asyncore.dispatcher):
    """Keeps what it accepts as sockets."""

    def __init__(self, map: Any = None, **limits: int | None) -> None:
        super().__init__(map=map)
        vars(self).update(limits)
        self.made: list[Any] = []

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        self.made.append(sock)


@pytest.mark.parametrize("made", [Serving, Plain])
def test_a_connection_counts_until_it_is_closed(wires: Wires, made: Any) -> None:
    scene = Scene(wires, made, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn(3)
    assert len(scene.made) == 1
    scene.made[0].close()
    scene.later(PAUSE)  # Nobody tells of a plain socket that is kept.
    scene.turn()
    assert len(scene.made) == 2


@pytest.mark.parametrize("made", [Serving, Plain])
def test_a_connection_counts_until_it_is_garbage(wires: Wires, made: Any) -> None:
    scene = Scene(wires, made, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn(3)
    assert len(scene.made) == 1
    scene.channels.pop(scene.queue.given[0].fileno(), None)
    scene.queue.given.clear()
    scene.made.clear()
    gc.collect()
    assert scene.is_watched
    scene.turn()
    assert len(scene.made) == 1
    assert not scene.queue.script


def test_connections_of_an_overridden_handle_accept_count_too(wires: Wires) -> None:
    class Old(Serving):
        def handle_accept(self) -> None:
            pair = self.accept()
            if pair is not None:
                self.made.append(self.makes(pair[0], self._map))

    scene = Scene(wires, Old, max_connections=2)
    scene.queue.come("192.0.2.1", 4)
    scene.turn(4)
    assert len(scene.made) == 2
    assert scene.listener.accept() is None
    scene.made[0].close()
    scene.turn(2)
    assert len(scene.made) == 3


def test_a_channel_that_gets_its_socket_later_counts_until_it_is_closed(wires: Wires) -> None:
    class Late(Serving):
        def makes(self, sock: Any, map: Any) -> Any:
            channel = Noting(map=map)
            channel.set_socket(sock)
            return channel

    scene = Scene(wires, Late, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn()
    scene.made[0].close()
    assert scene.is_watched


class Wrapped:
    """What is made of a socket, as `SSLContext.wrap_socket` does."""

    def __init__(self, sock: Waiting) -> None:
        self.number, sock.number = sock.number, -1

    fileno = Waiting.fileno
    setblocking = Waiting.setblocking
    close = Waiting.close

    def getpeername(self) -> Any:
        return ("192.0.2.1", 1000)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_whose_socket_is_wrapped_counts_until_the_wrapper_is_closed(
    wires: Wires, when: str
) -> None:
    class Wrapping(Serving):
        def makes(self, sock: Any, map: Any) -> Any:
            if when == "before":
                return Noting(Wrapped(sock), map)
            channel = Noting(sock, map)
            channel.socket = Wrapped(sock)
            return channel

    scene = Scene(wires, Wrapping, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn()
    scene.queue.given.clear()
    gc.collect()
    scene.later(PAUSE)
    assert not scene.is_watched, "it is open"
    scene.made[0].close()
    assert scene.is_watched


def test_a_connection_that_is_handed_over_to_another_channel_counts_on(wires: Wires) -> None:
    scene = Scene(wires, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn()
    first = scene.made.pop()
    first.del_channel()
    second = Noting(first.socket, scene.channels)
    del first
    gc.collect()
    scene.later(PAUSE)
    assert not scene.is_watched
    second.close()
    scene.later(PAUSE)
    assert scene.is_watched


def test_a_channel_that_closes_its_socket_its_own_way_is_found(wires: Wires) -> None:
    class Own(Noting):
        def close(self) -> None:
            self.del_channel()
            self.socket.close()

    class Owning(Serving):
        makes = Own

    scene = Scene(wires, Owning, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn()
    scene.made[0].close()
    assert not scene.is_watched
    scene.later(PAUSE)
    assert scene.is_watched


def test_a_connection_that_the_program_failed_on_does_not_count(wires: Wires) -> None:
    class Fragile(Noting):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            raise LookupError("half-made")

    class Failing(Serving):
        makes = Fragile

    class Refusing(Serving):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            raise LookupError("not this one")

    for made in Failing, Refusing:
        scene = Scene(wires, made, max_connections=1)
        scene.queue.come("192.0.2.1", 5)
        scene.turn(6)
        assert not scene.queue.script
        assert {sock.fileno() for sock in scene.queue.given} == {-1}


def test_a_limit_may_be_raised_and_lifted_while_connections_wait(wires: Wires) -> None:
    scene = Scene(wires, max_connections=1)
    scene.queue.come("192.0.2.1", 9)
    scene.turn(3)
    scene.later(PAUSE)
    assert not scene.is_watched
    scene.listener.max_connections = 2
    scene.later(PAUSE)
    scene.turn(3)
    assert len(scene.made) == 2
    scene.listener.max_connections = None
    scene.later(PAUSE)
    scene.turn(4)
    assert len(scene.made) == 9


def test_a_listener_that_is_closed_while_it_is_full_does_not_come_back(wires: Wires) -> None:
    scene = Scene(wires, max_connections=1)
    scene.queue.come("192.0.2.1", 2)
    scene.turn(2)
    [channel] = scene.made
    asyncore.dispatcher.close(scene.listener)
    channel.close()
    asyncore.loop(60, map=scene.channels)
    assert scene.clock() == 0


def test_the_connections_of_before_count_when_a_listener_is_opened_anew(wires: Wires) -> None:
    scene = Scene(wires, max_connections=2)
    scene.queue.come("192.0.2.1", 2)
    scene.turn(2)
    asyncore.dispatcher.close(scene.listener)
    scene.queue.come("192.0.2.1", 2)
    scene.listener.set_socket(scene.queue)
    scene.listener.accepting = True
    scene.turn(2)
    assert len(scene.made) == 2
    scene.made[0].close()
    scene.turn(2)
    assert len(scene.made) == 3


class Racing(Census):
    """A connection ends in another thread just after it was looked whether there is room."""

    def look_again(self) -> None:
        super().look_again()
        ending = threading.Thread(target=next(iter(self._places)).leave)
        ending.start()
        ending.join(10)


def test_room_that_another_thread_makes_in_the_last_moment_is_not_missed(wires: Wires) -> None:
    scene = Scene(wires, max_connections=1)
    scene.listener._ac_census = Racing()
    scene.queue.come("192.0.2.1", 2)
    scene.turn()
    assert scene.is_watched
    scene.turn()
    assert len(scene.made) == 2


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_peer"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "10"])
def test_what_is_no_limit_is_refused_when_the_listener_opens(wires: Wires, name: str, value: Any) -> None:
    listener = wires.keep(Serving(map={}))
    listener.create_socket()
    setattr(listener, name, value)
    with pytest.raises(
        ValueError, match=re.escape(f"wanted None or an int above 0 as {name}, found {value!r}")
    ):
        listener.listen(5)


class Complaining(Serving):
    """Notes what is wrong, and stays."""

    errors: list[str]

    def handle_error(self) -> None:
        self.errors = [*getattr(self, "errors", ()), str(sys.exception())]


@pytest.mark.parametrize("name", ["max_connections", "max_connections_per_peer"])
@pytest.mark.parametrize("value", [True, 1.5, "10"])
def test_what_is_no_number_is_named_when_it_is_assigned_later(wires: Wires, name: str, value: Any) -> None:
    scene = Scene(wires, Complaining)
    setattr(scene.listener, name, value)
    scene.queue.come("192.0.2.1", 1)
    scene.turn()
    assert scene.listener.errors == [f"wanted None or an int above 0 as {name}, found {value!r}"]
    setattr(scene.listener, name, 1)
    scene.turn()
    assert len(scene.made) == 1


def test_nobody_is_let_in_while_the_limit_is_nothing(wires: Wires) -> None:
    scene = Scene(wires, max_connections=5)
    scene.listener.max_connections = 0
    scene.queue.come("192.0.2.1", 2)
    scene.turn()
    assert not scene.is_watched
    scene.listener.max_connections = 5
    scene.later(PAUSE)
    scene.turn(2)
    assert len(scene.made) == 2


# -- max_connections_per_peer ------------------------------------------------------------------------------


def test_a_peer_with_too_many_connections_is_refused_and_the_others_are_not(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(wires, max_connections_per_peer=2)
    scene.queue.come("192.0.2.1", 5)
    scene.queue.come("192.0.2.2", 1)
    scene.turn(4)
    assert [channel.addr[0] for channel in scene.made] == ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
    assert [sock.fileno() < 0 for sock in scene.queue.given] == [False, False, True, True, True, False]
    assert scene.listener._ac_backlog.refused == 3
    assert scene.listener._ac_backlog.accepted == 3
    assert refused(caplog) == [
        f"{scene.listener!r} refused 1 connection: 1 above max_connections_per_peer=2; "
        "the last from ('192.0.2.1', 1002)"
    ]


def test_a_peer_that_closes_a_connection_may_have_another(wires: Wires) -> None:
    scene = Scene(wires, max_connections_per_peer=1)
    for _ in range(5):
        scene.queue.come("192.0.2.1")
        scene.turn()
        scene.made[-1].close()
    assert len(scene.made) == 5


def test_a_plain_socket_that_was_closed_and_kept_is_found(wires: Wires) -> None:
    scene = Scene(wires, Plain, max_connections_per_peer=1)
    for _ in range(5):
        scene.queue.come("192.0.2.1")
        scene.turn()
        scene.made[-1].close()
    assert len(scene.made) == 5


def test_both_limits_hold_together(wires: Wires) -> None:
    scene = Scene(wires, max_connections=3, max_connections_per_peer=2)
    scene.queue.come("192.0.2.1", 4)
    scene.queue.come("192.0.2.2", 2)
    scene.turn(6)
    assert [channel.addr[0] for channel in scene.made] == ["192.0.2.1", "192.0.2.1", "192.0.2.2"]
    assert len(scene.queue.script) == 1


def test_a_turn_refuses_64_connections_at_most(wires: Wires) -> None:
    scene = Scene(wires, max_connections_per_peer=1)
    scene.queue.come("192.0.2.1", 1)
    scene.turn()
    scene.queue.come("192.0.2.1", 500)
    before = scene.queue.calls
    scene.turn()
    assert scene.queue.calls - before == LARGEST_BATCH
    scene.listener.del_channel()
    scene.listener.handle_accept()
    assert scene.queue.calls - before == 2 * LARGEST_BATCH


def test_a_stand_in_that_answers_nothing_is_passed_over(wires: Wires) -> None:
    class Shy(Queue):
        def accept(self) -> Any:
            return None

    scene = Scene(wires, max_connections=1)
    scene.listener.socket = Shy()
    assert scene.listener.accept() is None
    assert scene.listener.accepting


def test_unix_sockets_have_no_peers_to_count(wires: Wires) -> None:
    scene = Scene(wires, max_connections_per_peer=1)
    scene.queue.script += ["", ""]
    scene.turn(2)
    assert len(scene.made) == 2


def test_on_real_sockets_a_peer_is_refused_by_an_end_of_input(wires: Wires, each_poller: str) -> None:
    channels = wires.map()
    listener = wires.listener(Serving, channels, max_connections_per_peer=2)
    clients = [wires.client(listener.socket.getsockname()) for _ in range(3)]
    spin(channels, turns=4)
    for client in clients:
        client.setblocking(False)
    assert [is_closed(client) for client in clients] == [False, False, True]


# -- what is told ------------------------------------------------------------------------------------------


def test_refused_connections_are_told_once_a_second(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(wires, max_connections_per_peer=1)
    scene.queue.come("192.0.2.1", 1)
    scene.turn()
    for _ in range(8):
        scene.queue.come("192.0.2.1", 10)
        scene.turn()
        scene.later(0.125)
    assert len(refused(caplog)) == 2
    assert (
        " refused 79 connections: 79 above max_connections_per_peer=1; the last from" in caplog.messages[-1]
    )
    assert {record.name for record in caplog.records} == {"antiphon.listener"}
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    scene.later(5)
    assert len(caplog.records) == 2


def test_a_listener_that_closes_tells_what_was_not_told(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(wires, max_connections_per_peer=1)
    scene.queue.come("192.0.2.1", 10)
    scene.turn()
    scene.turn()
    scene.listener.close()
    assert [text.split(": ")[1].split(" ")[0] for text in refused(caplog)] == ["1", "8"]


# -- without descriptors -----------------------------------------------------------------------------------


def shortage() -> OSError:
    return OSError(errno.EMFILE, "no descriptor")


def test_a_shortage_that_passes_within_a_second_costs_nobody_the_connection(wires: Wires) -> None:
    scene = Scene(wires)
    scene.queue.script.append(shortage())
    scene.queue.come("192.0.2.1", 3)
    scene.turn()
    assert not scene.is_watched
    scene.later(PAUSE)
    scene.turn(3)
    assert len(scene.made) == 3
    assert scene.listener._ac_backlog.refused == 0


def test_in_a_shortage_that_lasts_those_that_wait_are_told_by_means_of_the_reserve(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(wires)
    scene.queue.script.append(shortage())
    scene.turn()
    scene.later(PAUSE)
    scene.queue.script.append(shortage())
    scene.queue.come("192.0.2.1", 3)
    scene.turn()
    assert scene.made == []
    assert [sock.fileno() for sock in scene.queue.given] == [-1, -1, -1]
    assert scene.listener._ac_backlog.refused == 3
    assert not scene.is_watched, "it rests again"
    scene.later(PAUSE)
    assert [text.partition(" refused ")[2] for text in refused(caplog)] == [
        "1 connection: 1 for want of a descriptor; the last from ('192.0.2.1', 1000)",
        "2 connections: 2 for want of a descriptor; the last from ('192.0.2.1', 1002)",
    ]
    scene.queue.come("192.0.2.1", 1)
    scene.turn()
    assert len(scene.made) == 1


def test_a_turn_without_descriptors_refuses_64_connections_and_goes_on_in_the_next(wires: Wires) -> None:
    scene = Scene(wires)
    scene.queue.script.append(shortage())
    scene.turn()
    scene.later(PAUSE)
    for _ in range(2):
        scene.queue.script.insert(0, shortage())
        scene.queue.come("192.0.2.1", 100)
        scene.turn()
    assert scene.is_watched
    assert len(scene.queue.given) == 2 * LARGEST_BATCH


def test_when_the_reserve_does_not_help_the_listener_rests(wires: Wires) -> None:
    scene = Scene(wires)
    for _ in range(3):
        scene.queue.script += [shortage(), shortage()]
        scene.turn()
        assert not scene.is_watched
        scene.later(PAUSE)
    assert scene.listener.accepting


def test_without_a_reserve_the_listener_rests(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(wires)
    reserve.give_up(scene.listener._ac_queue())
    monkeypatch.setattr(reserve, "_fill", lambda: None)
    with reserve.spent():
        """Nothing is left of it."""
    for _ in range(3):
        scene.queue.script.append(shortage())
        scene.turn()
        assert not scene.is_watched
        scene.later(PAUSE)
    assert scene.queue.given == []


def test_the_last_listener_takes_the_reserve_with_it(wires: Wires) -> None:
    assert reserve._fd is None
    first, second = (wires.listener(Serving, {}) for _ in range(2))
    assert reserve._fd is not None
    first.close()
    assert reserve._fd is not None
    second.close()
    assert reserve._fd is None


# -- channels of a connection ------------------------------------------------------------------------------


@pytest.mark.parametrize("makes", [Noting, async_chat])
def test_a_connection_that_nobody_counts_carries_nothing(wires: Wires, makes: Callable[..., Any]) -> None:
    class Making(Serving):
        pass

    Making.makes = makes
    scene = Scene(wires, Making)
    scene.queue.come("192.0.2.1", 2)
    scene.turn(2)
    assert len(scene.made) == 2
    assert [vars(channel).get("_ac_place") for channel in scene.made] == [None, None]
    assert not hasattr(socket.socket, "_ac_place")
