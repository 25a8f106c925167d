"""What the log says of refused connections."""

import pytest

from antiphon.loop import Loop
from antiphon.refusals import INTERVAL, Refusals
from antiphon.testing import FakeClock, SilentPoller


def test_the_first_is_told_at_once_and_the_others_together_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    loop = Loop({}, now=clock, make_poller=lambda: SilentPoller(clock))
    refusals = Refusals(loop)
    refusals.tell()
    assert caplog.messages == []
    refusals.note("too late", "one")
    assert [text.partition(" refused ")[2] for text in caplog.messages] == [
        "1 connection: 1 too late; the last from 'one'"
    ]
    for reason, address in [("too late", "two"), ("too early", "three"), ("too late", "four")]:
        refusals.note(reason, address)
    assert len(caplog.messages) == 1
    clock.advance(INTERVAL)
    loop.turn(0, lambda *_: None)
    assert caplog.messages[1].endswith(
        " refused 3 connections: 2 too late, 1 too early; the last from 'four'"
    )
    for _ in range(3):
        clock.advance(INTERVAL)
        loop.turn(0, lambda *_: None)
    assert (len(caplog.messages), refusals.total) == (2, 4)
    assert not loop.busy, "no timer is left"
    refusals.note("too late", "five")
    assert len(caplog.messages) == 3
    loop.close()
