"""A kit for tests of programs on antiphon, and of antiphon itself.

Time that passes when told, sockets and pollers that do what a script says, and the conformance suites of
pollers and of channels.  docs/testing.md shows how they are used.  Imported by tests only.
"""

from antiphon.testing.channel import check_channel
from antiphon.testing.clock import FakeClock, SilentPoller
from antiphon.testing.network import FakeNetwork
from antiphon.testing.pair import SocketPair, socket_pair
from antiphon.testing.poller import check_poller
from antiphon.testing.scripted import ScriptedSocket, error

__all__ = [
    "FakeClock",
    "FakeNetwork",
    "ScriptedSocket",
    "SilentPoller",
    "SocketPair",
    "check_channel",
    "check_poller",
    "error",
    "socket_pair",
]
