"""What a request over TLS costs of system calls and records, and what an idle connection keeps."""

import gc
import sys
from typing import Any

import pytest

from antiphon import asyncore
from counts.counters import system_calls
from tls_support import (
    APPLICATION_DATA,
    Lines,
    Peer,
    a_map,
    records,
    secured,
    sockets,
    start,
    turn,
    turn_until,
)

LINE = b"hello\n"


def echoing(channel: Any) -> Any:
    channel.on_line = lambda line: channel.push(line + b"\n")
    return channel


def test_a_request_costs_a_wait_a_recv_and_a_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_POLLER", "poll")
    with secured() as (channel, peer):
        echoing(channel)
        turn(channel._map, 3)
        for _ in range(3):
            peer.send(LINE)
            assert system_calls(lambda: turn(channel._map)) == {"poll": 1, "recv": 1, "send": 1}
            peer.step()
        assert peer.received == LINE * 3


def test_pipelined_requests_cost_a_recv_and_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_POLLER", "poll")
    with secured() as (channel, peer):
        echoing(channel)
        peer.step()
        peer.wire = b""
        peer.send(LINE * 500)
        assert system_calls(lambda: turn(channel._map)) == {"poll": 1, "recv": 1, "send": 1}
        peer.step()
        assert records(peer.wire) == [(APPLICATION_DATA, len(LINE) * 500 + 17)]


def test_an_idle_connection_is_not_looked_at() -> None:
    with secured() as (channel, _peer):
        turn(channel._map, 3)
        loop = channel._map.loop
        assert not loop.busy
        before = loop.turns
        asyncore.loop(0.05, map=channel._map, count=2)
        assert loop.turns == before + 2


def test_what_python_keeps_of_an_idle_connection_is_less_than_600_bytes() -> None:
    """Besides what OpenSSL does, of which docs/tls.md has a measurement."""
    with secured() as (channel, _):
        secure = channel.socket
        own = [secure, secure._object, secure._incoming, secure._outgoing, secure._channel]
        gc.collect()
        assert sum(map(sys.getsizeof, own)) < 600
        assert secure._timer is None
        assert secure._before is None


def test_the_handshake_of_many_costs_each_few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_POLLER", "poll")
    with a_map() as channels, sockets() as (near, far):
        channel = Lines(near, channels)
        start(channel)
        peer = Peer.client(far)

        def shake() -> None:
            turn_until(channels, lambda: peer.done and channel.events, peer.step)

        calls = system_calls(shake)
        ours_and_the_peers = calls["recv"]
        assert ours_and_the_peers <= 12
        assert calls["poll"] <= 6
