"""What a batch of events becomes: calls of the functions that stand in the module that programs know."""

from typing import Any

import pytest

import loop_support
from antiphon import dispatching
from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE
from loop_support import Noting, Wires, Writing, raising, silent_map

wires = loop_support.wires


class Functions(dict[str, Any]):
    """Notes what is called, and forwards nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[Any] = []
        for name in "read", "write", "_exception":
            self[name] = lambda channel, name=name: self.called.append(name)
        self["readwrite"] = lambda channel, flags: self.called.append(flags)


def dispatched(wires: Wires, kind: Any, make: Any, *batches: int) -> list[Any]:
    """What is called for one channel that gets each of `batches` in a turn of its own."""
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(kind, channels)
    functions = Functions()
    for flags in batches:
        poller.deliver((channel._fileno, flags))
        channels.loop.turn(0, make(functions))
    return functions.called


@pytest.mark.parametrize(
    ("flags", "called"),
    [
        (READ, ["read"]),
        (WRITE, ["write"]),
        (READ | WRITE, ["read", "write"]),
        (READ | WRITE | URGENT, ["read", "write", "_exception"]),
        (HANGUP, ["read"]),
        (ERROR | WRITE, ["read", "write"]),
    ],
)
def test_in_the_way_of_select_each_bit_has_its_function(wires: Wires, flags: int, called: list[str]) -> None:
    assert dispatched(wires, Writing, dispatching.as_select_does, flags) == called


def test_in_the_way_of_select_a_descriptor_that_was_closed_is_the_end(wires: Wires) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    functions = Functions()
    poller.deliver((channel._fileno, INVALID))
    channels.loop.turn(0, dispatching.as_select_does(functions))
    assert functions.called == []
    assert channel.events == ["close"]


@pytest.mark.parametrize(
    ("flags", "called"), [(READ, READ), (WRITE, WRITE), (READ | HANGUP, READ), (HANGUP, HANGUP)]
)
def test_in_the_way_of_poll_all_bits_go_together_and_data_goes_before_its_end(
    wires: Wires, flags: int, called: int
) -> None:
    assert dispatched(wires, Writing, dispatching.as_poll_does, flags) == [called]


@pytest.mark.parametrize("make", [dispatching.as_select_does, dispatching.as_poll_does])
def test_a_function_that_was_replaced_is_called_from_the_next_batch_on(wires: Wires, make: Any) -> None:
    channels, _, poller = silent_map(wires)
    channel, _ = wires.channel(Noting, channels)
    functions = Functions()
    dispatch = make(functions)
    for name in "first", "second":
        functions["read"] = functions["readwrite"] = lambda *_, name=name: functions.called.append(name)
        poller.deliver((channel._fileno, READ))
        channels.loop.turn(0, dispatch)
    assert functions.called == ["first", "second"]


@pytest.mark.parametrize("make", [dispatching.as_select_does, dispatching.as_poll_does])
def test_an_event_of_what_a_handler_has_closed_is_nobodys(wires: Wires, make: Any) -> None:
    channels, _, poller = silent_map(wires)
    some = [wires.channel(Noting, channels)[0] for _ in range(3)]
    poller.deliver(*[(channel._fileno, READ) for channel in some])

    def read(*_: Any) -> None:
        functions.called.append("read")
        for channel in some:
            channel.close()

    functions = Functions()
    functions["read"] = functions["readwrite"] = read
    channels.loop.turn(0, make(functions))
    assert functions.called == ["read"]


@pytest.mark.parametrize(
    ("function", "handler"),
    [
        (dispatching.read, "handle_read_event"),
        (dispatching.write, "handle_write_event"),
        (dispatching.exception, "handle_expt_event"),
    ],
)
def test_what_a_handler_raises_goes_to_its_channel(wires: Wires, function: Any, handler: str) -> None:
    channel, _ = wires.channel(Noting, {})
    setattr(channel, handler, raising(LookupError("lost")))
    function(channel)
    assert channel.events == [repr(LookupError("lost"))]
