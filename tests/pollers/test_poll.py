import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

assert not TYPE_CHECKING or sys.platform != "win32"

from antiphon.pollers.base import INVALID, READ  # noqa: E402
from antiphon.pollers.poll import PollPoller  # noqa: E402


def test_a_closed_descriptor_is_invalid_until_it_is_forgotten() -> None:
    poller = PollPoller()
    here, there = socket.socketpair()
    with closing(there):
        number = here.fileno()
        poller.watch(number, READ)
        here.close()
        assert poller.wait(None) == [(number, INVALID)]
        assert poller.wait(None) == [(number, INVALID)]
        poller.forget(number)
        assert poller.wait(0) == []


def test_a_refused_number_leaves_no_note() -> None:
    poller = PollPoller()
    with pytest.raises(ValueError, match="negative"):
        poller.watch(-1, READ)
    assert poller.interest(-1) == 0
    assert poller.wait(0) == []
