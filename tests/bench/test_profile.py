"""Counting what a server executes: with our modules, in this process."""

import sys
from typing import Any

import pytest
from bench.profile import Counts, profile

from antiphon import asynchat, asyncore
from antiphon.maps import ChannelMap

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of Python 3.12")


class Echo(asynchat.async_chat):
    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.received: list[bytes] = []
        self.set_terminator(b"\r\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self.received.append(data)

    def found_terminator(self) -> None:
        self.push(b"".join(self.received) + b"\r\n")
        self.received.clear()


def called() -> None:
    """Something that is called."""


def test_only_what_is_wanted_is_counted() -> None:
    counts = Counts()
    with counts.counting():
        called()
    assert not counts.calls
    counts.wanted = True
    with counts.counting():
        called()
        called()
    called()
    assert counts.calls[called.__code__] == 2
    assert 2 * counts.bytecodes[called.__code__] >= 4
    named = {name: calls for name, _, calls in counts.of_each(2)["functions"]}
    assert named["called"] == 1


def test_each_operation_executes_what_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncore, "socket_map", ChannelMap())
    found = {one["operation"]: one for one in profile(asyncore, Echo)}
    assert list(found) == ["connection", "ping-pong", "pipelined line"]
    for one in found.values():
        calls = {name: calls for name, _, calls in one["functions"]}
        assert calls.get("Echo.found_terminator", 1) == 1
    assert "Echo.found_terminator" in str(found["pipelined line"])
    assert found["connection"]["calls"] > found["ping-pong"]["calls"] > found["pipelined line"]["calls"] > 2
