"""A connection that comes back, by a clock that moves when told."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import asyncore
from antiphon.reconnecting import Backoff, Reconnector
from antiphon.testing import FakeNetwork


def longest_delays(**how: Any) -> Backoff:
    return Backoff(chance=lambda: 1.0, **how)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 20))
def test_a_delay_is_between_half_and_all_of_what_it_may_be(chance: float, failures: int) -> None:
    backoff = Backoff(first=1, factor=2, longest=60, chance=lambda: chance)
    for _ in range(failures):
        backoff.next()
    most = min(2.0**failures, 60)
    assert most / 2 <= backoff.next() <= most


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"factor": 0.5}, "a factor of 1 or more, found 0.5"),
        ({"factor": float("nan")}, "a factor of 1 or more, found nan"),
        ({"first": 0}, "first must be more than 0 seconds"),
        ({"first": 10, "longest": 5}, "longest must be 10 seconds or more"),
    ],
)
def test_delays_that_make_no_sense_are_refused(how: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backoff(**how)  # type: ignore[arg-type]


class Client(asyncore.dispatcher):
    """Only reads."""

    def handle_read(self) -> None:
        self.recv(100)


@pytest.fixture
def network() -> Iterator[FakeNetwork]:
    with FakeNetwork() as network:
        yield network


class Connecting:
    """Makes channels, or fails with what it is told to."""

    def __init__(self, network: FakeNetwork, *ends: Any) -> None:
        self.network, self.ends = network, list(ends)
        self.times: list[float] = []

    def __call__(self) -> asyncore.dispatcher:
        self.times.append(self.network.clock())
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, Exception):
            raise end
        channel = self.network.channel(Client)
        if end == "closed":
            channel.close()
        if end == "connecting":
            channel.connected = False
            channel.connecting = True
        return channel


def test_each_failure_is_followed_by_a_longer_delay(network: FakeNetwork) -> None:
    connect = Connecting(network, OSError("no route"), OSError("no route"), "closed")
    reconnector = Reconnector(connect, backoff=longest_delays())
    network.run(20)
    assert connect.times == [0, 1, 3, 7]
    assert reconnector.channel in network.map.values()


def test_a_connection_that_stood_begins_with_the_first_delay_again(network: FakeNetwork) -> None:
    connect = Connecting(network, OSError("no route"), OSError("no route"))
    reconnector = Reconnector(connect, backoff=longest_delays(), stable_after=10)
    network.run(30)
    assert connect.times == [0, 1, 3]
    assert reconnector.channel is not None
    reconnector.channel.close()
    assert reconnector.channel is None
    network.run(5)
    assert connect.times == [0, 1, 3, 31]


def test_a_connection_that_did_not_stand_is_one_more_failure(network: FakeNetwork) -> None:
    connect = Connecting(network, OSError("no route"))
    reconnector = Reconnector(connect, backoff=longest_delays(), stable_after=10)
    network.run(5)
    assert reconnector.channel is not None
    reconnector.channel.close()
    network.run(5)
    assert connect.times == [0, 1, 7]


def test_an_attempt_that_takes_long_is_no_success(network: FakeNetwork) -> None:
    connect = Connecting(network, OSError("no route"), "connecting")
    reconnector = Reconnector(connect, backoff=longest_delays(), stable_after=1)
    network.clock.advance(1)
    network.turn(0)
    channel = reconnector.channel
    assert channel is not None
    channel._ac_paused = True  # Nothing becomes of the attempt.
    network.run(20)
    channel.close()
    network.run(5)
    assert connect.times == [0, 1, 23]


def test_stopping_leaves_the_channel_and_makes_no_more(network: FakeNetwork) -> None:
    connect = Connecting(network)
    reconnector = Reconnector(connect, map=network.map)
    channel = reconnector.channel
    assert channel is not None
    reconnector.stop()
    assert not channel.closing
    channel.close()
    network.run(100)
    assert connect.times == [0]
    assert not network.loop.busy


def test_stopping_between_two_attempts_makes_no_more(network: FakeNetwork) -> None:
    connect = Connecting(network, OSError("no route"))
    Reconnector(connect).stop()
    network.run(100)
    assert connect.times == [0]


def test_a_defect_of_the_program_is_logged_with_its_traceback_and_tried_again(
    network: FakeNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    connect = Connecting(network, ArithmeticError("wrong"))
    with caplog.at_level("INFO", "antiphon"):
        Reconnector(connect)
        network.run(2)
    assert len(connect.times) == 2
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]


def test_an_end_is_told_at_level_info(network: FakeNetwork, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "antiphon"):
        Reconnector(Connecting(network, OSError("no route")), backoff=longest_delays())
    assert caplog.messages == ["no route; connecting again in 1 s"]
