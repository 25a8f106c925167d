"""What the host of a loop is told; tests/aio has the hosts."""

import pytest

from antiphon import asyncore, pollers
from loop_support import Noting, Wires, spin, wires

__all__ = ["wires"]


class Refusing:
    def check_turn(self) -> None:
        raise RuntimeError("not yours")


def test_a_parked_loop_says_when_it_has_to_do_something(wires: Wires) -> None:
    channels = wires.map()
    channel, far = wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    poller, patience = loop.park()
    assert (poller.wait(0), patience) == ([], None)
    far.send(b"x")
    assert poller.wait(10) == [(channel.socket.fileno(), 1)]
    loop.call_later(0, channel.close)
    assert loop.park()[1] == 0
    spin(channels)
    assert not loop.asks


def test_a_loop_with_a_host_has_no_turns_of_others(wires: Wires) -> None:
    channels = wires.map()
    wires.channel(Noting, channels)
    loop = asyncore.get_loop(channels)
    loop.use(pollers.make, Refusing())
    with pytest.raises(RuntimeError, match="not yours"):
        spin(channels)
    loop.use(pollers.make, None)
    spin(channels)
