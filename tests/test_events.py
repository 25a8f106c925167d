"""The events of one channel, without a loop."""

import errno
from typing import Any

import pytest

import loop_support
from antiphon import events
from antiphon.errors import WouldBlock
from antiphon.failures import ESCAPING
from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE
from loop_support import Noting, Wires

wires = loop_support.wires


class Handling:
    """Handles every event, and does `then` after one of them; no dispatcher."""

    def __init__(self, after: str = "", then: Any = None) -> None:
        self.events: list[str] = []
        self._fileno: int | None = 7
        self._ac_socket: object = object()
        self._after, self._then = after, then

    def _handle(self, name: str) -> None:
        self.events.append(name)
        if name == self._after:
            self._then(self)

    def handle_read_event(self) -> None:
        self._handle("read")

    def handle_write_event(self) -> None:
        self._handle("write")

    def handle_expt_event(self) -> None:
        self._handle("expt")

    def handle_close(self) -> None:
        self._handle("close")

    def handle_error(self) -> None:
        self._handle("error")


@pytest.mark.parametrize(
    ("flags", "handled"),
    [
        (READ, ["read"]),
        (WRITE, ["write"]),
        (URGENT, ["expt"]),
        (ERROR, ["close"]),
        (HANGUP, ["close"]),
        (INVALID, ["close"]),
        (READ | WRITE | URGENT | ERROR | HANGUP | INVALID, ["read", "write", "expt", "close"]),
        (0, []),
    ],
)
def test_each_bit_is_handled_once_and_in_order(flags: int, handled: list[str]) -> None:
    channel = Handling()
    events.handle_each(channel, flags)
    assert channel.events == handled


@pytest.mark.parametrize("after", ["read", "write", "expt"])
@pytest.mark.parametrize(
    "change", [("_fileno", None), ("_fileno", 8), ("_ac_socket", None), ("_ac_socket", object())]
)
def test_a_channel_that_is_closed_or_opened_anew_gets_no_further_event(after: str, change: Any) -> None:
    channel = Handling(after, lambda channel: setattr(channel, *change))
    events.handle_each(channel, READ | WRITE | URGENT | HANGUP)
    assert channel.events[-1] == after


def test_an_object_that_has_neither_descriptor_nor_socket_gets_all_of_them() -> None:
    channel = Handling()
    del channel._fileno, channel._ac_socket
    events.handle_each(channel, READ | WRITE)
    assert channel.events == ["read", "write"]


def test_the_end_is_told_a_channel_of_ours_once(wires: Wires) -> None:
    channel, _ = wires.channel(Noting, {})
    channel.handle_close = lambda: channel.events.append("close")
    events.ended(channel)
    events.lost(channel)
    assert channel.events == ["close"]


def test_an_object_that_is_no_dispatcher_is_told_each_time() -> None:
    channel = Handling()
    events.ended(channel)
    events.lost(channel)
    assert channel.events == ["close", "close"]


def raise_(error: BaseException) -> None:
    raise error


def test_what_the_close_handler_raises_goes_to_the_error_handler() -> None:
    channel = Handling("close", lambda _: raise_(LookupError()))
    events.lost(channel)
    assert channel.events == ["close", "error"]


@pytest.mark.parametrize("escaping", ESCAPING)
def test_what_is_raised_to_leave_the_loop_passes(escaping: type[BaseException]) -> None:
    channel = Handling("close", lambda _: raise_(escaping()))
    with pytest.raises(escaping):
        events.lost(channel)
    assert channel.events == ["close"]


def test_not_now_is_no_failure() -> None:
    channel = Handling()
    events.failed(channel, WouldBlock(errno.EAGAIN, "not now"))
    assert channel.events == []
    events.failed(channel, BlockingIOError(errno.EAGAIN, "of the program's own file"))
    assert channel.events == ["error"]
