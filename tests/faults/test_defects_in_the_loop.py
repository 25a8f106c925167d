"""Defects of the old modules in the loop and around it: D3, D4, D11, D13, D16 and D17."""

import contextlib
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from faults.originals import Modules, ours, the_originals
from faults.scenes import Defect, connected_pair, defect, line_channel, listening

pytestmark = pytest.mark.usefixtures("engine")

assert not TYPE_CHECKING or sys.platform != "win32"
resource = pytest.importorskip("resource", reason="the limit on descriptors is set with getrlimit(2)")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """The next descriptor that this process asks for is refused with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    taken = [spare]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


@contextmanager
def descriptors_above_1024() -> Iterator[None]:
    """The limit on descriptors is high enough for one above 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1100
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} descriptors allowed here, {wanted} needed")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if soft != resource.RLIM_INFINITY else soft, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def can_connect(address: Any) -> bool:
    """Whether somebody listens at `address`."""
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True


def d03_a_listener_after_one_emfile(modules: Modules) -> object:
    """Three clients wait; the process has no descriptor left for them."""
    channels: dict[int, Any] = {}
    with contextlib.ExitStack() as opened, listening():
        listener = modules.asyncore.dispatcher(map=channels)
        opened.callback(listener.close)
        listener.create_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        address = listener.socket.getsockname()
        for _ in range(3):
            opened.enter_context(socket.create_connection(address))
        with no_descriptor_left():
            modules.asyncore.loop(0, map=channels, count=1)
        return listener in channels.values(), can_connect(address)


def d03_the_clients_that_waited(modules: Modules) -> object:
    """As before; how many of the clients are accepted once there are descriptors again?"""
    channels: dict[int, Any] = {}

    class Counting(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        accepted = 0

        def handle_accepted(self, sock: Any, addr: Any) -> None:
            Counting.accepted += 1
            sock.close()

    with contextlib.ExitStack() as opened, listening(), mock.patch("antiphon.listener.PAUSE", 0.0):
        listener = Counting(map=channels)
        opened.callback(listener.close)
        listener.create_socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        for _ in range(3):
            opened.enter_context(socket.create_connection(listener.socket.getsockname()))
        with no_descriptor_left():
            modules.asyncore.loop(0, map=channels, count=1)
        modules.asyncore.loop(0, map=channels, count=10)
        return Counting.accepted


def d04_a_descriptor_above_1024(modules: Modules) -> object:
    """A line waits for each of two channels; the descriptor of one of them is above 1,024."""
    import fcntl

    channels: dict[int, Any] = {}
    with contextlib.ExitStack() as opened, descriptors_above_1024(), connected_pair() as (near, far):
        low = line_channel(modules)(near, channels)
        high = line_channel(modules)(socket.socket(fileno=fcntl.fcntl(near, fcntl.F_DUPFD, 1024)), channels)
        for channel in low, high:
            opened.callback(channel.close)
            channel.set_terminator(b"\n")
            channel.ac_in_buffer_size = len(b"one\n")
        far.sendall(b"one\ntwo\n")
        try:
            modules.asyncore.loop(0, map=channels, count=2)
        except ValueError:
            return "the loop ended"
        return sorted(low.lines + high.lines)


def d11_a_refused_connection(modules: Modules) -> object:
    """Nobody listens where a channel connects to."""
    channels: dict[int, Any] = {}
    with socket.create_server(("127.0.0.1", 0)) as closing:
        address = closing.getsockname()
    with listening() as heard:
        channel = line_channel(modules)(map=channels)
        channel.create_socket()
        channel.connect(address)
        modules.asyncore.loop(5, map=channels, count=3)
        printed = "uncaptured python exception" in heard.stdout.getvalue()
        return printed, heard.levels(), channel in channels.values()


def d13_a_loop_with_nothing_to_wait_for(modules: Modules) -> object:
    """The only channel wants neither to read nor to write; another thread asks for its end."""

    class Idle(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def readable(self) -> bool:
            return False

        def writable(self) -> bool:
            return False

    channels: dict[int, Any] = {}
    with connected_pair() as (near, _), mock.patch.object(time, "sleep") as deaf:
        channel = Idle(near, channels)
        wake = getattr(channel, "call_soon_threadsafe", None)
        if wake is None:  # The old modules have no way to be woken.
            modules.asyncore.loop(3600, map=channels, count=1)
        else:
            waker = threading.Thread(target=wake, args=(channel.close,))
            waker.start()
            modules.asyncore.loop(3600, map=channels)
            waker.join()
        return [call.args for call in deaf.call_args_list], channel in channels.values()


def d16_an_event_that_nobody_handles(modules: Modules) -> object:
    """A dispatcher that overrides nothing gets data."""

    class Careless(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def writable(self) -> bool:
            return False

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening() as heard:
        Careless(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(0, map=channels, count=1)
        return "unhandled read event" in heard.stdout.getvalue() + heard.text(), len(heard.records)


class RecordingPoll:
    """A `select.poll()` that notes the timeouts it is given, in milliseconds."""

    waits: list[float | None]
    real = staticmethod(select.poll)

    def __init__(self) -> None:
        self._poll = self.real()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poll, name)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        self.waits.append(timeout)
        return self._poll.poll(timeout)


def d17_a_timeout_below_a_millisecond(modules: Modules) -> object:
    """How long poll2(0.0004) tells poll(2) to wait, in milliseconds."""
    RecordingPoll.waits = []
    channels: dict[int, Any] = {}
    chosen = mock.patch.dict(os.environ, ANTIPHON_POLLER="poll")  # The one that the old poll2 uses as well.
    with chosen, connected_pair() as (near, _), mock.patch.object(select, "poll", RecordingPoll):
        line_channel(modules, writable=lambda self: False)(near, channels)
        modules.asyncore.poll2(0.0004, channels)
    return RecordingPoll.waits


DEFECTS = [
    defect(d03_a_listener_after_one_emfile, original=(False, False), wanted=(True, True)),
    defect(d03_the_clients_that_waited, original=0, wanted=3),
    defect(d04_a_descriptor_above_1024, original="the loop ended", wanted=[b"one", b"two"]),
    defect(d11_a_refused_connection, original=(True, [], False), wanted=(False, ["INFO"], False)),
    defect(d13_a_loop_with_nothing_to_wait_for, original=([(3600,)], True), wanted=([], False)),
    defect(d16_an_event_that_nobody_handles, original=(False, 0), wanted=(True, 1)),
    defect(d17_a_timeout_below_a_millisecond, original=[0], wanted=[1]),
]


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_old_modules_have_the_defect(defect: Defect) -> None:
    assert defect.scene(the_originals()) == defect.original


@pytest.mark.parametrize("defect", DEFECTS)
def test_antiphon_is_free_of_the_defect(defect: Defect) -> None:
    assert defect.scene(ours()) == defect.wanted
