"""Handlers that raise: what passes through the loop, and where everything else ends."""

import sys
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.failures import ESCAPING, ExitNow, contain
from loop_support import Noting, Wires, spin

wires = loop_support.wires
each_poller = loop_support.each_poller


def test_exit_now_is_no_error_of_its_own() -> None:
    assert ExitNow.__name__ == "ExitNow"
    assert (ExitNow, KeyboardInterrupt, SystemExit) == ESCAPING
    assert asyncore.ExitNow is ExitNow


class Hopeless:
    """Everything about it fails."""

    def handle_error(self) -> None:
        raise ValueError("in handle_error")

    def close(self) -> None:
        raise ValueError("in close")


def test_an_error_is_contained_though_handle_error_and_close_fail(caplog: pytest.LogCaptureFixture) -> None:
    for channel in Hopeless(), object():
        caplog.clear()
        try:
            raise LookupError("in the handler")
        except LookupError:
            contain(channel)
        assert len(caplog.records) == 2
        assert "in the handler" in caplog.text
        assert type(channel).__name__ in caplog.text


def test_a_channel_that_cannot_even_be_closed_leaves_the_map(
    wires: Wires, caplog: pytest.LogCaptureFixture, each_poller: str
) -> None:
    class Stuck(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ValueError("in handle_read")

        def handle_error(self) -> None:
            raise ValueError("in handle_error")

        def close(self) -> None:
            raise ValueError("in close")

    channels: dict[int, Any] = {}
    healthy, heard = wires.channel(Noting, channels)
    _channel, far = wires.channel(Stuck, channels)
    far.send(b"x")
    heard.send(b"x")
    spin(channels, turns=5)
    assert healthy.received == b"x"
    assert list(channels.values()) == [healthy]
    assert len(caplog.records) <= 3


@pytest.mark.parametrize("escaping", ESCAPING)
@pytest.mark.parametrize("where", ["handle_error", "close"])
def test_what_is_raised_to_leave_the_loop_is_not_contained(where: str, escaping: type[BaseException]) -> None:
    def leave() -> None:
        raise escaping("leaving")

    channel = Hopeless()
    setattr(channel, where, leave)
    with pytest.raises(escaping, match="leaving"):
        contain(channel)


def test_the_exception_is_the_channels_to_deal_with() -> None:
    dealt: list[BaseException | None] = []

    class Dealing:
        def handle_error(self) -> None:
            dealt.append(sys.exc_info()[1])

    error = LookupError("in the handler")
    try:
        raise error
    except LookupError:
        contain(Dealing())
    assert dealt == [error]
