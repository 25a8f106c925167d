"""Defects of the old modules in what they read: D1, D2, D5, D6, D10 and D15."""

from typing import Any

import pytest

from faults.originals import Modules, ours, the_originals
from faults.scenes import Defect, connected_pair, defect, line_channel, listening

pytestmark = pytest.mark.usefixtures("engine")


def d01_lines_after_close(modules: Modules) -> object:
    """Three lines arrive at once; the channel closes at the first."""

    def found_terminator(self: Any) -> None:
        self.lines.append(self.line)
        self.line = b""
        self.close()

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening():
        channel = line_channel(modules, found_terminator=found_terminator)(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"QUIT\nDELE 1\nDELE 2\n")
        modules.asyncore.loop(0, map=channels, count=1)
        return channel.lines


def d02_events_after_close(modules: Modules) -> object:
    """The peer sent a byte and hung up; the channel closes when it reads."""

    class Closing(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            self.events: list[str] = []

        def handle_read(self) -> None:
            self.events.append("read")
            self.close()

        def handle_write(self) -> None:
            self.events.append("write")

        def handle_close(self) -> None:
            self.events.append("close")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening():
        channel = Closing(near, channels)
        far.sendall(b"x")
        far.close()
        modules.asyncore.loop(0, use_poll=True, map=channels, count=1)
        return channel.events


def d05_data_before_a_terminator_is_set(modules: Modules) -> object:
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening():
        channel = line_channel(modules)(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(0, map=channels, count=1)
        return channel.line, channel in channels.values()


def d06_text_from_recv_with_use_encoding(modules: Modules) -> object:
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening():
        channel = line_channel(modules, use_encoding=1)(near, channels)
        channel.set_terminator("\n")
        channel.recv = lambda size: "abc\n"
        far.sendall(b"x")
        modules.asyncore.loop(0, map=channels, count=1)
        return channel.lines, channel in channels.values()


def d10_reading_until_nothing_is_left(modules: Modules) -> object:
    """A plain dispatcher calls recv() once more than there is data for."""

    class Greedy(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            self.recv(10)
            self.recv(10)

        def writable(self) -> bool:
            return False

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening() as heard:
        channel = Greedy(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(0, map=channels, count=1)
        return channel in channels.values(), "uncaptured python exception" in heard.stdout.getvalue()


def d15_terminators_that_collect_for_ever(modules: Modules) -> object:
    """Kept as it was: programs rely on it."""
    collected = {}
    for terminator in (0, None, b""):
        channels: dict[int, Any] = {}
        with connected_pair() as (near, far):
            channel = line_channel(modules)(near, channels)
            channel.set_terminator(terminator)
            far.sendall(b"one\ntwo")
            modules.asyncore.loop(0, map=channels, count=1)
            collected[terminator] = channel.line, channel.lines
    return collected


def d15_a_count_that_was_met_becomes_zero(modules: Modules) -> object:
    """Kept as it was: what follows the counted bytes is collected until a terminator is set."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = line_channel(modules)(near, channels)
        channel.set_terminator(3)
        far.sendall(b"onetwothree")
        modules.asyncore.loop(0, map=channels, count=1)
        return channel.lines, channel.line, channel.get_terminator()


ALL_COLLECTED: object = {terminator: (b"one\ntwo", []) for terminator in (0, None, b"")}
ONE_COUNTED = ([b"one"], b"twothree", 0)
DEFECTS = [
    defect(d01_lines_after_close, original=[b"QUIT", b"DELE 1", b"DELE 2"], wanted=[b"QUIT"]),
    defect(d02_events_after_close, original=["read", "write", "close"], wanted=["read"]),
    defect(d05_data_before_a_terminator_is_set, original=(b"", False), wanted=(b"x", True)),
    defect(d06_text_from_recv_with_use_encoding, original=([], False), wanted=([b"abc"], True)),
    defect(d10_reading_until_nothing_is_left, original=(False, True), wanted=(True, False)),
    defect(d15_terminators_that_collect_for_ever, original=ALL_COLLECTED, wanted=ALL_COLLECTED),
    defect(d15_a_count_that_was_met_becomes_zero, original=ONE_COUNTED, wanted=ONE_COUNTED),
]


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_old_modules_have_the_defect(defect: Defect) -> None:
    assert defect.scene(the_originals()) == defect.original


@pytest.mark.parametrize("defect", DEFECTS)
def test_antiphon_is_free_of_the_defect(defect: Defect) -> None:
    assert defect.scene(ours()) == defect.wanted
