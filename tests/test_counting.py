"""Bytes and messages, counted while somebody wants to know."""

import contextlib
import socket
import tempfile
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, counting
from antiphon.asynchat import async_chat, simple_producer
from antiphon.counting import OBSERVED, Counts, note_sent, observed
from antiphon.datagrams import DatagramChannel
from antiphon.message_channel import MessageChannel
from antiphon.producers import FileProducer
from loop_support import Wires, raising, spin

wires = loop_support.wires
use_poll = loop_support.use_poll


class Echo(async_chat):
    """Sends each line back, upper case."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.set_terminator(b"\r\n")
        self.found = 0

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.found += 1
        self.push(self._get_data().upper() + b"\r\n")


class Messages(MessageChannel):
    """The same, for new programs."""

    found = 0

    def message_received(self, message: bytes) -> None:
        self.found += 1
        self.push(message.upper() + b"\r\n")


@pytest.fixture
def channels(wires: Wires) -> Any:
    channels = wires.map()
    channels.loop.collect_stats()
    yield channels
    channels.loop.collect_stats(False)
    assert OBSERVED == []


def numbers(channels: Any) -> tuple[int | None, int | None, int | None]:
    stats = channels.loop.stats()
    return stats.bytes_received, stats.bytes_sent, stats.messages


@pytest.mark.parametrize("kind", [Echo, Messages])
@pytest.mark.parametrize(
    "reads",
    [
        [b"one\r\n"],
        [b"\r\n"],
        [b"one\r\ntwo\r\n\r\nfour\r\n"],
        [b"line\r\n" * 300],
        [b"o", b"ne\r", b"\ntwo\r\nthr", b"ee\r\n"],
        [b"unfinished"],
    ],
)
def test_each_byte_and_each_end_of_a_message_is_counted(
    wires: Wires, channels: Any, kind: Any, reads: list[bytes]
) -> None:
    channel, far = wires.channel(kind, channels)
    for data in reads:
        far.send(data)
        spin(channels)
    data = b"".join(reads)
    ends = data.count(b"\r\n")
    assert channel.found == ends
    assert numbers(channels) == (len(data), data.rfind(b"\r\n") + 2 if ends else 0, ends)


class Sized(Echo):
    """Reads lines that say how long the next message is, and that message."""

    def found_terminator(self) -> None:
        self.found += 1
        line = self._get_data()
        self.set_terminator(int(line) if self.get_terminator() == b"\r\n" else b"\r\n")


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_messages_of_a_length_are_counted_too(wires: Wires, channels: Any, cut: int) -> None:
    channel, far = wires.channel(Sized, channels)
    data = b"3\r\nabc5\r\nabcde" * 20
    for start in range(0, len(data), cut):
        far.send(data[start : start + cut])
        spin(channels)
    assert channel.found == 80
    assert numbers(channels) == (len(data), 0, 80)


class Quitting(Echo):
    """Closes when told, also in the middle of a line."""

    def collect_incoming_data(self, data: bytes) -> None:
        super().collect_incoming_data(data)
        if data == b"now":
            self.close()

    def found_terminator(self) -> None:
        if self.incoming == [b"quit"]:
            self.found += 1
            self.close()
        else:
            super().found_terminator()


@pytest.mark.parametrize("last", [b"quit", b"now"])
def test_what_follows_the_end_of_a_channel_is_not_counted(wires: Wires, channels: Any, last: bytes) -> None:
    channel, far = wires.channel(Quitting, channels)
    far.send(b"a\r\n" * 50 + last + b"\r\n" + b"b\r\n" * 50)
    spin(channels)
    assert channel.closing
    assert channel.found == 50 + (last == b"quit")
    assert numbers(channels)[2] == channel.found


def test_a_message_is_counted_once_though_its_handler_failed(wires: Wires, channels: Any) -> None:
    class Failing(Echo):
        def collect_incoming_data(self, data: bytes) -> None:
            super().collect_incoming_data(data)
            if data == b"fail":
                raise LookupError("as asked")

        def handle_error(self) -> None:
            """Goes on."""

    channel, far = wires.channel(Failing, channels)
    for _ in range(2):
        far.send(b"a\r\n" * 5 + b"fail\r\n" + b"b\r\n" * 5)
        spin(channels)
    far.send(b"\r\n")
    spin(channels)
    assert numbers(channels)[2] == channel.found == 23


@pytest.mark.parametrize("whole", [False, True])
def test_messages_that_were_not_used_are_counted_when_they_are(
    wires: Wires, channels: Any, whole: bool
) -> None:
    class Changing(Messages):
        def message_received(self, message: bytes) -> None:
            super().message_received(message)
            self.set_terminator(b"\n" if self.found % 2 else b"\r\n")

    channel, far = wires.channel(Changing, channels)
    far.send(b"a\r\nb\nc\r\nd\n" + (b"" if whole else b"rest"))
    spin(channels)
    assert numbers(channels)[2] == channel.found == 4


def test_messages_that_a_failed_handler_left_are_counted_when_they_are_delivered(
    wires: Wires, channels: Any
) -> None:
    class Failing(Messages):
        resumes_after_errors = False

        def message_received(self, message: bytes) -> None:
            super().message_received(message)
            if message == b"fail":
                raise LookupError("as asked")

        def handle_error(self) -> None:
            """Goes on."""

    channel, far = wires.channel(Failing, channels)
    far.send(b"a\r\nfail\r\nb\r\nc\r\n")
    spin(channels)
    assert numbers(channels)[2] == channel.found == 2
    channel.feed(b"")
    assert numbers(channels)[2] == channel.found == 4


# -- sending -----------------------------------------------------------------------------------------------


def received(far: Any) -> int:
    size = 0
    with contextlib.suppress(BlockingIOError):
        while data := far.recv(1 << 20):
            size += len(data)
    return size


def pushed(channel: Any) -> None:
    channel.push(b"x" * 100_000)


def several(channel: Any) -> None:
    channel._ac_cork = 1
    for _ in range(4):
        channel.push(b"x" * 20_000)
    channel._ac_cork = 0
    channel.initiate_send()


def produced(channel: Any) -> None:
    channel.push_with_producer(simple_producer(b"x" * 50_000))


def from_a_file(channel: Any) -> None:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the producer closes it)
    file.write(b"x" * 50_000)
    file.seek(0)
    channel.push_with_producer(FileProducer(file))


@pytest.mark.parametrize("how", [pushed, several, produced, from_a_file])
def test_each_byte_that_is_sent_is_counted_however_it_leaves(wires: Wires, channels: Any, how: Any) -> None:
    channel, far = wires.channel(Echo, channels)
    how(channel)
    size = received(far)
    for _ in range(20):
        spin(channels)
        size += received(far)
    assert size >= 50_000
    assert numbers(channels) == (0, size, 0)


def test_plain_dispatchers_are_counted(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(asyncore.dispatcher_with_send, channels)
    channel.handle_read = lambda: channel.send(channel.recv(3))
    far.send(b"hello")
    spin(channels, turns=2)
    assert far.recv(10) == b"hello"
    assert numbers(channels) == (5, 5, 0)


class Telegraph(DatagramChannel):
    """Sends each datagram back."""

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.send_datagram(data, address)


def test_datagrams_are_counted(wires: Wires, channels: Any) -> None:
    channel = wires.keep(Telegraph(map=channels))
    channel.create_socket()
    channel.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(channel.socket.getsockname())
        for data in b"", b"one", b"three":
            peer.send(data)
            asyncore.loop(10, map=channels, count=1)
            assert peer.recv(100) == data
    assert numbers(channels) == (8, 8, 3)


# -- on and off --------------------------------------------------------------------------------------------


def test_only_the_loop_that_was_told_counts(wires: Wires, channels: Any) -> None:
    others = wires.map()
    for where in channels, others:
        for kind in Echo, Messages:
            channel, far = wires.channel(kind, where)
            far.send(b"x\r\ny\r\n")
            spin(where)
            assert channel.found == 2
    assert numbers(channels) == (12, 12, 4)
    assert numbers(others) == (None, None, None)
    assert others.loop.counts.received == others.loop.counts.messages == 0


def test_counting_begins_anew_when_it_is_asked_for_again(wires: Wires, channels: Any) -> None:
    _, far = wires.channel(Echo, channels)
    far.send(b"x\r\n")
    spin(channels)
    channels.loop.collect_stats()
    assert numbers(channels) == (0, 0, 0)
    assert len(OBSERVED) == 1


def test_whoever_is_told_is_told_of_the_first_and_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(counting, "_told", [told.append])
    one, other = Counts(), Counts()
    one.start(0)
    other.start(0)
    counting.tell(told.append)
    assert told == [True, True, True]
    one.stop()
    assert told[3:] == [True] * 2
    other.stop()
    other.stop()
    assert told[5:] == [False] * 2


def test_what_a_channel_without_a_loop_does_is_nobody_s(channels: Any) -> None:
    channel = asyncore.dispatcher(map=channels)
    note_sent(channel, 7)
    assert observed(channel) is None
    assert numbers(channels) == (0, 0, 0)


def test_a_loop_that_is_gone_is_not_observed_any_more() -> None:
    channels: dict[int, Any] = {}
    loop = asyncore.get_loop(channels)
    loop.collect_stats()
    assert [loop.counts] == OBSERVED
    del loop
    assert OBSERVED == []


def test_turns_are_added_up() -> None:
    counts = Counts()
    for seconds in 0.5, 2.0, 1.0:
        counts.note_turn(seconds)
    assert (counts.turns, counts.busy, counts.worst) == (3, 3.5, 2.0)


def test_a_handler_that_leaves_the_loop_is_counted_with_its_turn(wires: Wires, channels: Any) -> None:
    channel, far = wires.channel(Echo, channels)
    channel.handle_read = raising(asyncore.ExitNow())
    far.send(b"x")
    with pytest.raises(asyncore.ExitNow):
        spin(channels)
    assert channels.loop.counts.turns == 1
