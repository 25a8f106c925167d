"""Many descriptors, high descriptors, and that none is left behind."""

import gc
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.maps import ChannelMap
from loop_support import CountingPoller, Noting, Wires, spin

assert not TYPE_CHECKING or sys.platform != "win32"

resource = pytest.importorskip("resource", reason="limits on descriptors are set with POSIX's getrlimit()")
if TYPE_CHECKING:
    import resource

wires = loop_support.wires
each_poller = loop_support.each_poller

OPEN = Path("/proc/self/fd")
needs_proc = pytest.mark.skipif(not OPEN.exists(), reason="no list of the open descriptors on this system")


@contextmanager
def room_for(descriptors: int) -> Iterator[None]:
    """The process may have at least that many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        pytest.skip(f"no more than {hard} descriptors allowed here, {descriptors} needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, descriptors), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def moved(sock: socket.socket, number: int) -> socket.socket:
    """The same connection under the descriptor `number`."""
    os.dup2(sock.fileno(), number, inheritable=False)
    return socket.socket(fileno=number)


@pytest.mark.parametrize("number", [1023, 1024, 2000])
def test_a_high_descriptor_is_served_or_ends_alone(wires: Wires, each_poller: str, number: int) -> None:
    with room_for(2100):
        channels: dict[int, Any] = {}
        low, far = wires.channel(Noting, channels)
        near, yonder = wires.pair()
        high = wires.keep(Noting(moved(near, number), channels))
        far.send(b"low")
        yonder.send(b"high")
        spin(channels, turns=3)
        assert low.received == b"low"
        if each_poller == "select" and number >= 1024:
            assert high.closing
            assert "select cannot watch descriptor" in high.events[0]
            assert "epoll" in high.events[0]
        else:
            assert high.received == b"high"
        high.close()


@needs_proc
@pytest.mark.parametrize("make", [ChannelMap, dict])
def test_a_map_that_is_dropped_leaves_no_descriptor_open(wires: Wires, each_poller: str, make: type) -> None:
    def live() -> None:
        channels = make()
        near, far = socket.socketpair()
        with far:
            channel = Noting(near, channels)
            channel.call_later(0, channel.received.hex)
            spin(channels, turns=3)
            far.send(b"x")
            spin(channels)
            channel.close()
            spin(channels)

    live()
    gc.collect()
    before = set(os.listdir(OPEN))
    for _ in range(20):
        live()
    if make is ChannelMap:  # It and its loop hold each other.
        gc.collect()
    assert set(os.listdir(OPEN)) <= before  # What other tests left may go meanwhile.


@needs_proc
def test_a_plain_map_that_is_stepped_for_ever_opens_nothing_more(wires: Wires, each_poller: str) -> None:
    channels: dict[int, Any] = {}
    wires.channel(Noting, channels)
    spin(channels)
    before = set(os.listdir(OPEN))
    spin(channels, turns=50)
    for _ in range(50):
        asyncore.loop(0, True, channels, 1)
    assert set(os.listdir(OPEN)) <= before  # What other tests left may go meanwhile.


def test_a_plain_map_keeps_its_poller_from_step_to_step(wires: Wires) -> None:
    channels: dict[int, Any] = {}
    wires.channel(Noting, channels)
    spin(channels)
    poller = asyncore.get_loop(channels)._poller
    for _ in range(10):
        gc.collect()
        asyncore.loop(0, map=channels, count=1)
        assert asyncore.get_loop(channels)._poller is poller


def test_channels_that_closed_leave_no_registration(wires: Wires) -> None:
    poller = CountingPoller()
    channels = wires.map(make_poller=lambda: poller)
    pairs = [wires.channel(Noting, channels) for _ in range(50)]
    spin(channels)
    numbers = [channel._fileno for channel, _ in pairs]
    assert all(poller.interest(number) for number in numbers)
    for channel, _ in pairs[:25]:
        channel.close()
    for _, far in pairs[25:]:
        far.close()
    spin(channels, turns=4)
    assert not channels
    assert not any(poller.interest(number) for number in numbers)


def test_a_channel_is_told_to_the_kernel_once_in_its_life(wires: Wires) -> None:
    poller = CountingPoller()
    channels = wires.map(make_poller=lambda: poller)
    wires.channel(Noting, channels)
    spin(channels)
    before = poller.calls["watch"]
    channel, far = wires.channel(Noting, channels)
    for _ in range(5):
        far.send(b"x")
        spin(channels)
    assert poller.calls["watch"] == before + 1
    far.close()
    asyncore.loop(0, map=channels, count=2)
    assert channel.closing
