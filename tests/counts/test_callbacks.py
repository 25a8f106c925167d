"""Calls per message: of the program's handlers, and of the project's own functions on the way to them."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

import loop_support
from antiphon import asyncore
from chat_support import ScriptedSocket, fed
from counts.counters import Action, calls_made, functions_entered
from counts.dialogues import LINE, Echo, Listener, Upload, crowd, said
from loop_support import Wires

wires = loop_support.wires

T = TypeVar("T")


def looking(channels: Any) -> Action:
    """One turn that does not wait."""
    return lambda: asyncore.loop(0, map=channels, count=1)


def of_a_request(
    wires: Wires,
    count: Callable[[Action], T],
    data: bytes = LINE,
    *,
    at: int = 1,
    idle: int = 0,
    limit: float | None = 0.1,
) -> T:
    """What `count` says of the turn in which `data` arrives at some connections and nothing at others.

    The poller of this turn is one without a kernel, and what it does is not counted.
    """
    channels, poller, _, chats = crowd(wires, at + idle)
    channels.loop.slow_callback = limit
    for _ in range(3):  # The first makes what is made once.
        said(chats[:at], poller, data)
        looking(channels)()
    said(chats[:at], poller, data)
    return count(looking(channels))


def amount_entered(action: Action) -> int:
    return len(functions_entered(action))


# -- of the program's handlers -----------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 2, 64, 500])
def test_a_line_that_arrives_whole_is_two_callbacks(lines: int) -> None:
    channel = fed(Echo(ScriptedSocket(), {}), b"hello\r\n" * lines)
    assert (channel.collected, channel.found) == (lines, lines)


def test_a_line_without_content_is_one_callback() -> None:
    channel = fed(Echo(ScriptedSocket(), {}), b"\r\n" * 64)
    assert (channel.collected, channel.found) == (0, 64)


@pytest.mark.parametrize("size", [1, 3, 1000, 4096])
def test_a_line_in_pieces_is_a_callback_for_each_and_one_at_its_end(size: int) -> None:
    pieces = [b"x" * size] * 10
    channel = fed(Echo(ScriptedSocket(), {}), *pieces, b"\r\n")
    assert (channel.collected, channel.found) == (10, 1)


def test_a_line_that_ends_in_the_next_read_is_two_pieces() -> None:
    channel = fed(Echo(ScriptedSocket(), {}), b"one\r\ntw", b"o\r\nthree\r\n")
    assert (channel.collected, channel.found) == (4, 3)


# -- of the project's functions ----------------------------------------------------------------------------
#
# The number that is named is what it is, and the bound one more where more code may be worth it.


def test_a_request_enters_few_functions(wires: Wires) -> None:
    """14, from the poller to the socket: 5 in the turn, 6 on the way in, 3 on the way out."""
    entered = of_a_request(wires, functions_entered)
    assert len(entered) <= 14 + 1, entered


def test_a_further_request_of_the_same_turn_enters_few_functions(wires: Wires) -> None:
    """9: those on the way in and on the way out."""
    one, many = (of_a_request(wires, amount_entered, at=at) for at in (1, 11))
    assert (many - one) / 10 <= 9 + 1


def test_a_further_line_of_a_read_enters_one_function(wires: Wires) -> None:
    """The `push` of its answer."""
    hundred, more = (of_a_request(wires, amount_entered, LINE * lines) for lines in (100, 200))
    assert more - hundred <= 100


def test_a_further_read_of_a_long_line_enters_few_functions() -> None:
    """10: 4 to receive it, 6 to find no terminator and not the beginning of one."""
    channel = fed(Echo(ScriptedSocket(), {}), b"x" * 100)
    channel.socket.script.append(b"x" * 100)
    entered = functions_entered(channel.handle_read_event)
    assert len(entered) <= 10 + 1, entered


def test_a_further_read_of_a_body_enters_few_functions() -> None:
    channel = fed(Upload(ScriptedSocket(), {}), b"1000\r\n", b"x" * 100)
    channel.socket.script.append(b"x" * 100)
    entered = functions_entered(channel.handle_read_event)
    assert len(entered) <= 7 + 1, entered


def test_nobody_is_asked_and_the_poller_is_told_nothing_however_many_are_idle(wires: Wires) -> None:
    channels, poller, counting, chats = crowd(wires, 9000)
    assert len(channels) == 9000
    for _ in range(3):
        said(chats[4500:4501], poller)
        entered = functions_entered(looking(channels))
        assert not {"readable", "writable"} & set(entered)
    assert chats[4500].found == 3
    assert counting.calls == {"wait": 3}


def test_a_request_makes_the_same_calls_beside_nine_thousand_idle_connections(wires: Wires) -> None:
    assert of_a_request(wires, calls_made, idle=9000) == of_a_request(wires, calls_made)


# -- of the interpreter ------------------------------------------------------------------------------------

#: Instructions of Python 3.12, 3.13, 3.14: for a request that is alone in its turn, for a further request of
#: the same turn, for a further line of the same read.
REQUEST = 499, 533, 577
FURTHER_REQUEST = 304, 331, 359
FURTHER_LINE = 61, 64, 69

if sys.version_info >= (3, 12):
    from counts.counters import instructions

    def few(measured: tuple[int, ...]) -> float:
        """What is measured for this version, and a tenth more."""
        return 1.1 * measured[min(sys.version_info[1] - 12, len(measured) - 1)]

    def test_a_request_takes_few_instructions(wires: Wires) -> None:
        assert of_a_request(wires, instructions) <= few(REQUEST)

    def test_a_further_request_of_the_same_turn_takes_few_instructions(wires: Wires) -> None:
        one, many = (of_a_request(wires, instructions, at=at) for at in (1, 11))
        assert (many - one) / 10 <= few(FURTHER_REQUEST)

    def test_to_look_how_long_handlers_take_is_few_instructions(wires: Wires) -> None:
        """A look at the clock before the first event, 24 with what is prepared, and one after each, 12."""
        seen: list[tuple[float, float]] = []
        for limit in 0.1, None:
            one, many = (of_a_request(wires, instructions, at=at, limit=limit) for at in (1, 11))
            seen.append((one, (many - one) / 10))
        (watched, watched_further), (free, free_further) = seen
        assert watched - free <= 36
        assert watched_further - free_further <= 13

    def test_a_further_line_of_a_read_takes_few_instructions(wires: Wires) -> None:
        hundred, more = (of_a_request(wires, instructions, LINE * lines) for lines in (100, 200))
        assert (more - hundred) / 100 <= few(FURTHER_LINE)


# -- per connection ----------------------------------------------------------------------------------------


def test_a_connection_of_a_listener_without_limits_enters_no_function_of_the_limits(wires: Wires) -> None:
    channels = wires.map()
    listener = wires.listener(Listener, channels)

    def come_and_go() -> None:
        client = wires.client(listener.socket.getsockname())
        asyncore.loop(10, map=channels, count=1)
        client.close()
        asyncore.loop(10, map=channels, count=1)

    come_and_go()
    entered = functions_entered(come_and_go)
    accepting = entered[entered.index("handle_accept") : entered.index("add_channel")]
    assert [name for name in accepting if name not in {"__new__", "_ac_prepare", "__get__", "__set__"}] == [
        "handle_accept",
        "_ac_queue",
        "take",
        "begins",
        "accept",
        "accept",
        "__init__",
        "__init__",
        "set_socket",
        "socket",
        "_ac_start_afresh",
        "_ac_set_no_delay",
        "give_no_delay",
    ]
    assert "_ac_leave_listener" not in entered
