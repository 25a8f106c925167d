"""Accepting: in batches, from peers that are gone already, and when the system has nothing left."""

import errno
import logging
import socket
import subprocess
import sys
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon import listener as listener_module
from antiphon.asynchat import async_chat
from antiphon.listener import EXHAUSTED, LARGEST_BATCH, PAUSE, PEER_GONE
from antiphon.pollers.base import READ
from antiphon.testing import FakeClock, SilentPoller
from loop_support import Noting, Wires, is_closed, silent_map, spin, with_sources

wires = loop_support.wires
each_engine = loop_support.each_engine
each_poller = loop_support.each_poller
use_poll = loop_support.use_poll


class Listening(asyncore.dispatcher):
    """Keeps what it accepts."""

    def __init__(self, map: Any = None) -> None:
        super().__init__(map=map)
        self.accepted: list[socket.socket] = []
        self.failures: list[BaseException | None] = []

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.accepted.append(sock)

    def handle_error(self) -> None:
        self.failures.append(sys.exc_info()[1])
        super().handle_error()

    def close(self) -> None:
        for sock in getattr(self, "accepted", ()):
            sock.close()
        super().close()


class Queue:
    """A listening socket that gives what its script says, and then would block."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.calls = 0

    def accept(self) -> Any:
        self.calls += 1
        answer = self.script.pop(0) if self.script else BlockingIOError(errno.EAGAIN, "empty")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def fileno(self) -> int:
        return 900

    def close(self) -> None:
        pass


class Connection:
    """What a scripted queue gives."""

    def __init__(self) -> None:
        self.closed = 0

    def fileno(self) -> int:
        return 901

    def close(self) -> None:
        self.closed += 1


def scripted(wires: Wires, *script: Any, made: type = Listening) -> tuple[Any, Any, FakeClock, SilentPoller]:
    """A listener on a scripted queue: with it its map, its clock and its poller."""
    channels, clock, poller = silent_map(wires)
    listener = made(map=channels)
    listener.set_socket(Queue(*script))
    listener.accepting = True
    spin(channels)
    return listener, channels, clock, poller


def connections(number: int) -> list[Any]:
    return [(Connection(), ("192.0.2.1", port)) for port in range(number)]


def turn(listener: Any, channels: Any, poller: SilentPoller) -> int:
    """Let the listener be ready once; how often it called accept()."""
    before = listener.socket.calls
    poller.deliver((900, READ))
    spin(channels)
    return int(listener.socket.calls - before)


# -- batches -----------------------------------------------------------------------------------------------


def test_one_connection_costs_one_accept(wires: Wires) -> None:
    listener, channels, _, poller = scripted(wires, *connections(1))
    assert turn(listener, channels, poller) == 1
    assert len(listener.accepted) == 1


def test_connections_that_come_now_and_then_cost_one_accept_each(wires: Wires) -> None:
    listener, channels, _, poller = scripted(wires, *connections(5))
    for _ in range(5):
        assert turn(listener, channels, poller) == 1
        spin(channels)
    assert len(listener.accepted) == 5


def test_a_listener_that_has_left_its_map_takes_one_connection_a_call(wires: Wires) -> None:
    listener, _, _, _ = scripted(wires, *connections(7))
    listener.del_channel()
    calls = []
    for _ in range(3):
        before = listener.socket.calls
        listener.handle_accept()
        calls.append(listener.socket.calls - before)
    assert calls == [1, 1, 1]
    listener.socket.close()


def test_a_long_queue_is_taken_in_growing_batches(wires: Wires) -> None:
    listener, channels, _, poller = scripted(wires, *connections(300))
    batches = [turn(listener, channels, poller) for _ in range(9)]
    assert batches == [1, 2, 4, 8, 16, 32, LARGEST_BATCH, LARGEST_BATCH, LARGEST_BATCH]
    while len(listener.accepted) < 300:
        turn(listener, channels, poller)
    assert turn(listener, channels, poller) == 1
    listener.socket.script += connections(2)
    assert [turn(listener, channels, poller) for _ in range(2)] == [1, 1 + 1]


def test_all_waiting_connections_are_accepted(wires: Wires, each_engine: str, use_poll: bool) -> None:
    channels: dict[int, Any] = {}
    listener = wires.listener(Listening, channels)
    clients = [wires.client(listener.socket.getsockname()) for _ in range(20)]
    spin(channels, turns=10, use_poll=use_poll)
    assert {sock.getpeername() for sock in listener.accepted} == {sock.getsockname() for sock in clients}


@pytest.mark.parametrize("stop", ["close", "accepting"])
def test_a_listener_that_stops_in_the_middle_accepts_no_more(wires: Wires, stop: str) -> None:
    class Stopping(Listening):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            if len(self.accepted) == 2:
                self.close() if stop == "close" else setattr(self, "accepting", False)

    listener, channels, _, poller = scripted(wires, *connections(10), made=Stopping)
    turn(listener, channels, poller)
    turn(listener, channels, poller)
    assert len(listener.accepted) == 2
    listener.close()


# -- who is gone already -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(PEER_GONE), ids=lambda number: errno.errorcode[number])
def test_a_connection_that_died_in_the_queue_is_passed_over(
    wires: Wires, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    listener, channels, _, poller = scripted(wires, OSError(number, "gone"), *connections(1))
    turn(listener, channels, poller)
    assert listener.accepting
    turn(listener, channels, poller)
    assert len(listener.accepted) == 1
    assert (listener.failures, caplog.records) == ([], [])


def test_a_stand_in_that_answers_nothing_is_passed_over(wires: Wires) -> None:
    listener, channels, _, poller = scripted(wires, None, *connections(1))
    turn(listener, channels, poller)
    turn(listener, channels, poller)
    assert len(listener.accepted) == 1
    assert listener.failures == []


def test_handle_accept_may_be_overridden_and_accept_answers_none(wires: Wires, use_poll: bool) -> None:
    class Old(Listening):
        def handle_accept(self) -> None:
            pair = self.accept()
            self.events = [*getattr(self, "events", []), pair is not None]
            if pair is not None:
                self.accepted.append(pair[0])

    channels: dict[int, Any] = {}
    listener = wires.listener(Old, channels)
    listener.handle_accept()
    wires.client(listener.socket.getsockname())
    asyncore.loop(10, use_poll, channels, 1)
    assert listener.events == [False, True]
    assert len(listener.accepted) == 1


def test_accept_may_be_overridden(wires: Wires) -> None:
    class Own(Listening):
        def accept(self) -> Any:
            pair = super().accept()
            return pair and (pair[0], "somebody")

        def handle_accepted(self, sock: Any, addr: Any) -> None:
            self.accepted.append(addr)

        def close(self) -> None:
            asyncore.dispatcher.close(self)

    listener, channels, _, poller = scripted(wires, *connections(1), made=Own)
    turn(listener, channels, poller)
    turn(listener, channels, poller)
    assert listener.accepted == ["somebody"]


# -- what TCP sends at once --------------------------------------------------------------------------------


NO_DELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY


class Talking(Listening):
    """Makes channels of one class after the other."""

    makes: tuple[Any, ...] = ()

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.accepted.append(sock)
        made = self.makes[len(self.accepted) % len(self.makes)]
        made(sock, self._map)


class Delaying(async_chat):
    tcp_no_delay = False


class Sending(asyncore.dispatcher):
    tcp_no_delay = True


def accepted_for(wires: Wires, *makes: Any) -> tuple[list[bool], int]:
    """Which of 2 and then 6 connections of a listener have TCP_NODELAY, and how often it was set or taken."""
    channels = wires.map()
    listener = wires.listener(Talking, channels)
    listener.makes = makes
    calls = 0

    def setsockopt(sock: Any, *option: Any) -> None:
        nonlocal calls
        calls += option[:2] == NO_DELAY
        super(socket.socket, sock).setsockopt(*option)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "setsockopt", setsockopt)
        for number in 2, 6:
            clients = [wires.client(listener.socket.getsockname()) for _ in range(number)]
            spin(channels, 4)
            assert len(listener.accepted) == len(clients) + 2 * (number == 6)
    return [bool(sock.getsockopt(*NO_DELAY)) for sock in listener.accepted], calls


@pytest.mark.parametrize(
    ("makes", "found", "calls"),
    [
        ([async_chat], [True] * 8, 2 + 1),
        ([Sending], [True] * 8, 2 + 1),
        ([asyncore.dispatcher], [False] * 8, 0),
        ([Delaying], [False] * 8, 0),
        ([Delaying, async_chat], [True, False] * 4, 1 + 1 + 3),
    ],
)
@pytest.mark.skipif(not listener_module._INHERITED, reason="about Linux")
def test_a_channel_s_connection_sends_at_once_as_its_class_says(
    wires: Wires, makes: list[Any], found: list[bool], calls: int
) -> None:
    """The listener gets it with the first connection; those that come when its queue was empty have it."""
    assert accepted_for(wires, *makes) == (found, calls)


@pytest.mark.skipif(not listener_module._INHERITED, reason="about Linux")
def test_those_who_have_waited_before_the_listener_sends_at_once_do_too(wires: Wires) -> None:
    channels = wires.map()
    listener = wires.listener(Talking, channels)
    listener.makes = (async_chat,)
    for _ in range(7):
        wires.client(listener.socket.getsockname())
    spin(channels, 3)
    assert [sock.getsockopt(*NO_DELAY) for sock in listener.accepted] == [1] * 7


def test_where_nothing_is_inherited_it_is_set_for_each(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_INHERITED", False)
    assert accepted_for(wires, async_chat) == ([True] * 8, 8)


def test_a_stand_in_without_options_costs_nobody_the_connection(wires: Wires) -> None:
    class Optional(Connection):
        def setsockopt(self, *option: Any) -> None:
            assert option == (*NO_DELAY, True)

        def setblocking(self, blocking: bool) -> None:
            pass

    listener, channels, _, poller = scripted(wires, (Optional(), ("192.0.2.1", 1)), made=Talking)
    listener.makes = (Sending,)
    turn(listener, channels, poller)
    assert channels[901].addr == ("192.0.2.1", 1)


# -- errors ------------------------------------------------------------------------------------------------


def test_an_error_of_one_connection_closes_that_one_and_the_others_are_accepted(wires: Wires) -> None:
    class Choosy(Listening):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            super().handle_accepted(sock, addr)
            if len(self.accepted) == 1:
                raise LookupError("not this one")

    channels: dict[int, Any] = {}
    listener = wires.listener(Choosy, channels)
    clients = [wires.client(listener.socket.getsockname()) for _ in range(3)]
    spin(channels, turns=4)
    assert [repr(failure) for failure in listener.failures] == ["LookupError('not this one')"]
    assert len(listener.accepted) == 3
    for client in clients:
        client.setblocking(False)
    assert [is_closed(client) for client in clients] == [True, False, False]
    assert listener.accepting


def test_a_half_made_channel_goes_with_its_connection(wires: Wires) -> None:
    class Fragile(Noting):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            raise LookupError("half-made")

    class Serving(Listening):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            Fragile(sock, self._map)

    channels: dict[int, Any] = {}
    listener = wires.listener(Serving, channels)
    client = wires.client(listener.socket.getsockname())
    spin(channels, turns=2)
    client.setblocking(False)
    assert is_closed(client)
    assert list(channels.values()) == [listener]


@pytest.mark.parametrize("survives", [True, False])
def test_a_listener_survives_its_programs_errors_unless_told_not_to(wires: Wires, survives: bool) -> None:
    class Failing(Listening):
        survives_errors = survives

        def handle_accepted(self, sock: Any, addr: Any) -> None:
            raise LookupError("always")

    channels: dict[int, Any] = {}
    listener = wires.listener(Failing, channels)
    wires.client(listener.socket.getsockname())
    spin(channels, turns=2)
    assert listener.closing is not survives
    assert len(listener.failures) == 1


def test_a_listener_whose_socket_cannot_accept_is_closed(wires: Wires) -> None:
    error = OSError(errno.EINVAL, "no listener")
    listener, channels, _, poller = scripted(wires, error)
    turn(listener, channels, poller)
    assert listener.failures == [error]
    assert listener.closing


def test_what_is_raised_to_leave_the_loop_passes(wires: Wires) -> None:
    class Leaving(Listening):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            raise asyncore.ExitNow("enough")

    listener, channels, _, poller = scripted(wires, *connections(1), made=Leaving)
    with pytest.raises(asyncore.ExitNow, match="enough"):
        turn(listener, channels, poller)
    assert listener.accepting


# -- when nothing is left ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(EXHAUSTED), ids=lambda number: errno.errorcode[number])
def test_a_listener_rests_and_tries_again_and_says_so_once(
    wires: Wires, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    error = OSError(number, "nothing left")
    listener, channels, clock, poller = scripted(wires, error, error, *connections(2))
    assert turn(listener, channels, poller) == 1
    spin(channels)
    assert 900 not in poller.watched
    asyncore.loop(60, map=channels, count=1)
    assert clock() == PAUSE
    spin(channels)
    assert poller.watched[900] & READ
    turn(listener, channels, poller)
    clock.advance(PAUSE)
    spin(channels, turns=2)
    turn(listener, channels, poller)
    turn(listener, channels, poller)
    assert len(listener.accepted) == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "nothing left; trying again every 1 s" in caplog.text
    assert listener.failures == []


def test_a_second_shortage_is_told_again(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    error = OSError(errno.EMFILE, "nothing left")
    listener, channels, clock, poller = scripted(wires, error, *connections(1), error)
    for _ in range(3):
        turn(listener, channels, poller)
        clock.advance(PAUSE)
        spin(channels, turns=2)
    assert len(caplog.records) == 2


def test_a_listener_that_is_closed_while_it_rests_does_not_come_back(wires: Wires) -> None:
    listener, channels, clock, poller = scripted(wires, OSError(errno.EMFILE, "nothing left"))
    turn(listener, channels, poller)
    listener.close()
    asyncore.loop(60, map=channels)
    assert clock() == 0
    assert not asyncore.get_loop(channels).busy


def test_a_listener_that_is_opened_anew_after_it_rested_accepts(
    wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    listener, channels, _, poller = scripted(wires, OSError(errno.EMFILE, "nothing left"))
    turn(listener, channels, poller)
    listener.close()
    listener.set_socket(Queue(OSError(errno.EMFILE, "nothing left")))
    listener.accepting = True
    spin(channels)
    assert 900 in poller.watched
    turn(listener, channels, poller)
    assert len(caplog.records) == 2


def test_a_listener_that_is_opened_anew_after_it_broke_survives_errors_again(wires: Wires) -> None:
    class Failing(Listening):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            raise LookupError

    listener, channels, _, poller = scripted(wires, OSError(errno.EINVAL, "no listener"), made=Failing)
    turn(listener, channels, poller)
    assert listener.closing
    listener.set_socket(Queue(*connections(1)))
    listener.accepting = True
    spin(channels)
    turn(listener, channels, poller)
    assert not listener.closing


def run_with_few_descriptors(body: str) -> str:
    """What a process prints that can open 32 descriptors; `fill()` and `free()` take and give the rest."""
    script = f"""if True:
        import contextlib, logging, os, resource, socket, sys
        from antiphon import asyncore
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        logging.basicConfig(format="%(levelname)s", stream=sys.stdout)
        filled = []
        def fill():
            with contextlib.suppress(OSError):
                while True:
                    filled.append(os.dup(0))
        def free(number=None):
            for _ in range(len(filled) if number is None else number):
                os.close(filled.pop())
        class Listening(asyncore.dispatcher):
            accepted = 0
            def handle_accepted(self, sock, addr):
                sock.close()
                Listening.accepted += 1
        listener = Listening()
        listener.create_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        near, far = socket.socketpair()
        class Reader(asyncore.dispatcher):
            def handle_read(self):
                print(self.recv(10))
        reader = Reader(near)
        {body.replace(chr(10), chr(10) + " " * 8).strip()}
    """
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=with_sources(),
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_a_process_without_descriptors_goes_on_and_accepts_when_it_has_some_again() -> None:
    pytest.importorskip("resource")
    printed = run_with_few_descriptors(
        """
client = socket.create_connection(listener.socket.getsockname())
asyncore.get_loop().turn(0, lambda *_: None)
fill()
asyncore.loop(0, count=3)
far.send(b"served")
asyncore.loop(0.01, count=1)
free()
asyncore.loop(2, count=2)
print(listener.accepting, Listening.accepted)
"""
    )
    assert printed.split("\n") == ["ERROR", "b'served'", "True 1", ""]


def test_a_process_without_descriptors_tells_those_that_wait_instead_of_letting_them_hang() -> None:
    pytest.importorskip("resource")
    printed = run_with_few_descriptors(
        """
early = [socket.create_connection(listener.socket.getsockname()) for _ in range(3)]
late = socket.socket()
asyncore.get_loop().turn(0, lambda *_: None)
fill()
asyncore.loop(0, count=3)
late.connect(listener.socket.getsockname())
asyncore.loop(2, count=4)
print([client.recv(1) for client in [*early, late]], listener.accepting, Listening.accepted)
free()
client = socket.create_connection(listener.socket.getsockname())
asyncore.loop(2, count=2)
print(Listening.accepted)
"""
    )
    lines = printed.split("\n")
    assert [line for line in lines if line not in ("ERROR", "WARNING")] == [
        "[b'', b'', b'', b''] True 0",
        "1",
        "",
    ]


def test_a_loop_that_cannot_even_open_its_poller_makes_do_without(each_poller: str) -> None:
    pytest.importorskip("resource")
    printed = run_with_few_descriptors(
        """
fill()
far.send(b"served")
asyncore.loop(0, count=2)
print(asyncore.get_loop()._poller)
far.send(b"again")
asyncore.loop(0, count=2)
free()
far.send(b"normal")
asyncore.loop(0, count=2)
print(asyncore.get_loop()._poller.name)
"""
    )
    assert printed.split("\n") == ["b'served'", "None", "b'again'", "b'normal'", each_poller, ""]
