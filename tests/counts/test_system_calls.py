"""System calls per request, in each way to use a server of commands and responses, on real sockets.

The numbers are the floor of what readiness allows: a wait, a `recv`, a `send`.  What the poller is told
(`register`, `modify`, `unregister`: epoll_ctl(2)) belongs to a connection and not to a request.
"""

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, pollers
from antiphon.outbox import LARGEST_PIECE
from antiphon.sizes import LARGEST
from counts.counters import system_calls
from counts.dialogues import LARGE, LINE, Download, Echo, Listener, Once, Upload, served
from loop_support import Wires, spin

pytestmark = pytest.mark.skipif("epoll" not in pollers.offered(), reason="counts the calls of epoll(7)")

wires = loop_support.wires
use_poll = loop_support.use_poll


@pytest.fixture(autouse=True)
def _with_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pollers.ENVIRONMENT_VARIABLE, "epoll")
    monkeypatch.setenv("ANTIPHON_SLOW_CALLBACK", "0")  # What a busy machine would have it say is not counted.


@pytest.fixture(params=["ChannelMap", "dict"])
def channels(request: pytest.FixtureRequest, wires: Wires) -> Iterator[Any]:
    channels: Any = wires.map() if request.param == "ChannelMap" else {}
    yield channels
    asyncore.close_all(channels)
    asyncore.get_loop(channels).close()


def at_rest(wires: Wires, made: Any, channels: Any, **named: Any) -> tuple[Any, socket.socket]:
    """A channel that its loop knows, and the other end of its connection."""
    near, far = wires.pair(**named)
    channel = wires.keep(made(near, channels))
    spin(channels)
    return channel, far


# -- requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [None, socket.AF_INET], ids=["socketpair", "tcp"])
def test_a_request_costs_a_wait_a_recv_and_a_send(
    wires: Wires, channels: Any, use_poll: bool, family: int | None
) -> None:
    _, client = at_rest(wires, Echo, channels, family=family)
    for _ in range(3):
        client.send(LINE)
        assert served(channels, use_poll=use_poll) == {"poll": 1, "recv": 1, "send": 1}
        assert client.recv(100) == LINE


def test_the_requests_of_many_connections_share_one_wait(wires: Wires, channels: Any) -> None:
    clients = [at_rest(wires, Echo, channels)[1] for _ in range(50)]
    for client in clients:
        client.send(LINE)
    assert served(channels) == {"poll": 1, "recv": 50, "send": 50}


@pytest.mark.parametrize(("lines", "reads"), [(64, 1), (500, 1), (512, 1), (1536, 2)])
def test_pipelined_lines_cost_one_recv_and_one_send_for_each_read(
    wires: Wires, channels: Any, lines: int, reads: int
) -> None:
    """A read is of 4096 bytes, and of twice as many after a full one."""
    channel, client = at_rest(wires, Echo, channels)
    client.send(b"8 byte\r\n" * lines)
    assert served(channels, reads) == {"poll": reads, "recv": reads, "send": reads}
    assert channel.found == lines
    assert len(client.recv(1 << 16)) == 8 * lines


def test_a_long_line_in_small_reads_costs_a_wait_and_a_recv_each(wires: Wires, channels: Any) -> None:
    _, client = at_rest(wires, Echo, channels)
    calls: Counter[str] = Counter()
    for _ in range(100):
        client.send(b"x" * 500)
        calls += served(channels)
    client.send(b"\r\n")
    calls += served(channels)
    assert calls == {"poll": 101, "recv": 101, "send": 1}


def test_connections_that_say_nothing_cost_nothing(wires: Wires) -> None:
    channels = wires.map()
    idle = [at_rest(wires, Echo, channels) for _ in range(100)]
    _, client = idle[50]
    client.send(LINE)
    assert served(channels) == {"poll": 1, "recv": 1, "send": 1}


def test_a_push_between_requests_costs_a_send(wires: Wires, channels: Any) -> None:
    channel, _ = at_rest(wires, Echo, channels)
    assert system_calls(lambda: channel.push(LINE)) == {"send": 1}


def test_a_timer_costs_no_system_call(wires: Wires, channels: Any) -> None:
    channel, client = at_rest(wires, Echo, channels)
    timers: list[Any] = []
    assert system_calls(lambda: timers.append(channel.call_later(3600, channel.close))) == {}
    for _ in range(3):
        client.send(LINE)
        assert system_calls(timers[0].reset) == {}
        assert served(channels) == {"poll": 1, "recv": 1, "send": 1}


# -- bodies ------------------------------------------------------------------------------------------------


def test_an_upload_of_a_mebibyte_costs_a_wait_and_a_recv_for_each_of_few_pieces(
    wires: Wires, channels: Any
) -> None:
    _, client = at_rest(wires, Upload, channels)
    client.send(b"%d\r\n" % LARGE)
    served(channels)
    left = memoryview(bytes(LARGE))
    calls: Counter[str] = Counter()
    while calls["recv"] == 0 or left or not calls["send"]:
        with contextlib.suppress(BlockingIOError):
            left = left[client.send(left) :]
        calls += served(channels)
    assert client.recv(100) == b"%d\r\n" % LARGE
    reads = calls["recv"]
    assert calls == {"poll": reads, "recv": reads, "send": 1}
    assert LARGE // LARGEST < reads <= 8, "64, 128, 256 KiB, and what the peer's buffer has at a time"


def test_a_short_body_costs_no_more_than_a_line(wires: Wires, channels: Any) -> None:
    _, client = at_rest(wires, Upload, channels)
    for _ in range(3):
        client.send(b"5\r\nhello")
        calls = served(channels)
        client.recv(100)
    assert calls == {"poll": 1, "recv": 1, "send": 1}


#: Sends in an event for small chunks: of 4096 bytes first, then of twice as many, until 256 KiB are through.
DOUBLINGS = 7


@pytest.mark.parametrize(
    ("chunk", "sends_per_event"), [(512, DOUBLINGS), (4096, DOUBLINGS), (65_536, 4), (LARGE, 1)]
)
def test_a_download_tells_the_poller_twice_however_often_it_has_to_wait(
    wires: Wires, channels: Any, chunk: int, sends_per_event: int
) -> None:
    _, client = at_rest(wires, Download, channels)
    client.send(b"%d\r\n" % chunk)
    calls: Counter[str] = Counter()
    received = 0
    while received < LARGE:
        calls += served(channels)
        with contextlib.suppress(BlockingIOError):
            while data := client.recv(LARGEST_PIECE):
                received += len(data)
    events = calls["poll"]
    calls += served(channels, timeout=0)
    assert calls.pop("send") <= sends_per_event * events
    assert calls == {"poll": events + 1, "recv": 1, "modify": 2}


# -- connections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("no_delay", [True, False])
def test_a_connection_costs_what_its_socket_needs_and_no_question(
    wires: Wires, channels: Any, no_delay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In particular no getpeername(2): accept(2) has told the address."""
    monkeypatch.setattr(Echo, "tcp_no_delay", no_delay)
    listener = wires.listener(Listener, channels)
    spin(channels)
    calls: Counter[str] = Counter()
    for _ in range(10):
        client = wires.client(listener.socket.getsockname())
        calls += served(channels)
        client.send(LINE)
        calls += served(channels)
        assert client.recv(100) == LINE
        client.close()
        calls += served(channels)
    assert {channel.addr[0] for channel in listener.accepted} == {"127.0.0.1"}
    assert 10 <= calls.pop("accept") <= 15, "after a connection, two are looked for once"
    expected = dict.fromkeys(["setblocking", "register", "send", "unregister", "close"], 10)
    if no_delay:
        expected["setsockopt"] = 10 + 1  # One of the listener, whose queue is never seen empty here.
    assert calls == expected | {"poll": 30, "recv": 20}


def test_connections_that_have_sent_something_before_they_are_accepted_need_no_turn_more(
    wires: Wires, channels: Any
) -> None:
    listener = wires.listener(Listener, channels)
    spin(channels)
    clients = [wires.client(listener.socket.getsockname()) for _ in range(31)]
    for client in clients:
        client.send(LINE)
    calls = served(channels, 5)
    assert [client.recv(100) for client in clients] == [LINE] * 31, "that of batches of 1, 2, 4, 8 and 16"
    assert (calls["recv"], calls["send"], calls["poll"]) == (31, 31, 5)


def test_connections_that_come_together_cost_an_accept_each(wires: Wires, channels: Any) -> None:
    listener = wires.listener(Listener, channels)
    clients = [wires.client(listener.socket.getsockname()) for _ in range(60)]
    spin(channels)
    calls = served(channels, 5)
    assert len(listener.accepted) == len(clients)
    assert calls["accept"] == 59 + 1, "those of batches of 2, 4, 8, 16 and 32, and one to find no more"
    assert calls["poll"] == 5


@pytest.mark.parametrize("limit", [None, 1000])
def test_limits_on_connections_cost_no_system_call(wires: Wires, channels: Any, limit: int | None) -> None:
    listener = wires.listener(Listener, channels)
    listener.max_connections = listener.max_connections_per_peer = limit
    for _ in range(2):  # The first makes what is made once.
        client = wires.client(listener.socket.getsockname())
        calls = served(channels)
        client.close()
        calls += served(channels)
    expected = dict.fromkeys(["setblocking", "setsockopt", "register", "recv", "unregister", "close"], 1)
    assert calls == expected | {"poll": 2, "accept": 1}


def test_an_answer_that_ends_the_connection_is_sent_and_closed_in_one_turn(
    wires: Wires, channels: Any
) -> None:
    at_rest(wires, Echo, channels)  # A plain map's loop ends with its last channel.
    _, client = at_rest(wires, Once, channels)
    client.send(LINE)
    assert served(channels) == {"poll": 1, "recv": 1, "send": 1, "unregister": 1, "close": 1}
    assert (client.recv(100), client.recv(100)) == (LINE, b"")


def test_to_close_a_channel_costs_two_system_calls(wires: Wires, channels: Any) -> None:
    at_rest(wires, Echo, channels)
    channel, _ = at_rest(wires, Echo, channels)
    assert system_calls(channel.close) == {"unregister": 1, "close": 1}
