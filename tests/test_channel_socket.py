"""The side of it that knows a channel; tests/test_secured.py has it at work."""

from typing import Any

import pytest

from antiphon.channel_socket import ChannelSocket
from antiphon.secured import Secured
from antiphon.testing import FakeClock
from tls_support import Lines, a_map, shared_context, sockets, turn


class Timed(ChannelSocket):
    """Notes when its time is over."""

    __slots__ = ("over",)

    def _timed_out(self) -> None:
        self.over = True

    def interest(self, channel: Any, wanted: int) -> int:
        return wanted


def made(channel: Any, sock: Any, kind: Any = Timed) -> Any:
    return kind(channel, sock, shared_context(True), server_side=True)


def test_it_holds_no_channel() -> None:
    with sockets() as (near, _far):
        channels: dict[int, Any] = {}
        channel = Lines(near, channels)
        secure = made(channel, near)
        assert secure._owner is channel
        channels.clear()
        del channel
        assert secure._owner.closing
        secure._changed()
        secure._has_more()
        secure._deliver()
        secure._owner._ac_tls_failed(secure, OSError(5, "lost"))


def test_it_may_wait_for_its_channel() -> None:
    with sockets() as (near, _far):
        secure = made(None, near, Secured)
        assert secure._owner.closing
        secure._changed()
        channel = Lines(secure, {})
        assert secure._owner is channel
        assert channel._ac_tls is secure
        channel.close()


def test_a_limit_that_is_set_again_counts_from_then_and_goes_to_another_channel() -> None:
    clock = FakeClock()
    with a_map(now=clock) as channels, sockets() as (near, _far), sockets() as (another, _other_far):
        channel, other = Lines(near, channels), Lines(another, channels)
        secure = made(channel, near)
        secure._limit(5)
        clock.advance(4)
        secure._limit(5)
        clock.advance(4)
        turn(channels)
        assert not hasattr(secure, "over")
        secure.adopt_tls(other)
        channel.close()
        clock.advance(6)
        turn(channels)
        assert secure.over
        secure.close()


def test_without_a_limit_nothing_is_over() -> None:
    with a_map() as channels, sockets() as (near, _far):
        channel = Lines(near, channels)
        made(channel, near)._limit(None)
        assert not channels.loop.busy
        with pytest.raises(NotImplementedError):
            made(channel, near, ChannelSocket)._timed_out()
