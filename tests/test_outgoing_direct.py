"""Files and large pieces leave without a copy, where nobody would miss the calls of `send`."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon import direct
from antiphon.producers import FileProducer
from chat_support import Chat, Patient, transferred, turn

MIB = bytes(range(256)) * 4096
PIECE = b"0123456789abcdef" * 512


_sendmsg: Any = getattr(socket.socket, "sendmsg", None)
pytestmark = pytest.mark.skipif(_sendmsg is None, reason="the system has no sendmsg")


class Gathering(socket.socket):
    """Notes how many pieces each call sends.

    Attributes:
        calls: their number, call by call.
        takes: bytes that the next calls take at most; when they have run out, what the system takes.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.calls: list[int] = []
        self.takes: list[int | Exception] = []

    def send(self, data: Any, flags: int = 0, /) -> int:
        self.calls.append(1)
        return super().send(data, flags)

    def sendmsg(self, buffers: Any, *more: Any) -> int:
        self.calls.append(len(buffers))
        if self.takes:
            takes = self.takes.pop(0)
            if isinstance(takes, Exception):
                raise takes
            return super().send(b"".join(buffers)[:takes])
        return int(_sendmsg(self, buffers, *more))


@contextmanager
def gathering(monkeypatch: pytest.MonkeyPatch, made: Any = Chat) -> Iterator[tuple[Any, socket.socket]]:
    """A channel whose socket notes its calls and is plain all the same."""
    monkeypatch.setattr("antiphon.outgoing.is_plain", lambda sock: isinstance(sock, Gathering))
    here, there = socket.socketpair()
    there.setblocking(False)
    with there, closing(made(Gathering(here))) as channel:
        channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield channel, there


@contextmanager
def plain(made: Any = Chat) -> Iterator[tuple[Any, socket.socket]]:
    """A channel on a socket of the system's."""
    here, there = socket.socketpair()
    there.setblocking(False)
    with there, closing(made(here)) as channel:
        yield channel, there


def pushed(channel: Any, *pieces: Any) -> None:
    """Push them in one event."""
    for piece in pieces:
        channel.producer_fifo.append(piece)
    channel.handle_write()


@pytest.fixture
def sendfile_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each call of sendfile(2) sent."""
    calls: list[int] = []
    sendfile: Any = direct._sendfile

    def counting(*arguments: Any) -> int:
        calls.append(sendfile(*arguments))
        return calls[-1]

    monkeypatch.setattr(direct, "_sendfile", counting)
    return calls


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(MIB)
    return made


# -- several pieces ----------------------------------------------------------------------------------------


def test_many_large_pieces_leave_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with gathering(monkeypatch) as (channel, peer):
        pushed(channel, *[PIECE] * 16)
        assert channel.socket.calls == [16]
        assert transferred(channel, peer, 16 * len(PIECE)) == 16 * PIECE


def test_what_was_pushed_in_one_event_leaves_so_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with gathering(monkeypatch) as (channel, peer):
        channel.on_found = lambda message: [channel.push(PIECE) for _ in range(16)]
        peer.send(b"go\n")
        turn(channel._map)
        assert channel.socket.calls == [16]


@pytest.mark.parametrize("pieces", [[PIECE], [PIECE] * 4, [b"small"] * 64, [b"small", *[PIECE] * 3]])
def test_few_or_small_pieces_are_put_together(monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]) -> None:
    with gathering(monkeypatch) as (channel, peer):
        pushed(channel, *pieces)
        assert channel.socket.calls == [1]
        whole = b"".join(pieces)
        assert transferred(channel, peer, len(whole)) == whole


@pytest.mark.parametrize("takes", [0, 1, len(PIECE), len(PIECE) + 1, 15 * len(PIECE), 16 * len(PIECE) - 1])
def test_of_several_pieces_nothing_is_lost_and_nothing_sent_twice(
    monkeypatch: pytest.MonkeyPatch, takes: int
) -> None:
    with gathering(monkeypatch) as (channel, peer):
        channel.socket.takes.append(takes)
        pushed(channel, *[PIECE] * 16)
        assert channel.writable()
        assert transferred(channel, peer, 16 * len(PIECE)) == 16 * PIECE


def test_several_pieces_that_the_system_does_not_take_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with gathering(monkeypatch) as (channel, peer):
        channel.socket.takes.append(BlockingIOError(errno.EAGAIN, "not now"))
        pushed(channel, *[PIECE] * 16, b"end")
        assert channel.closes == 0
        assert transferred(channel, peer, 16 * len(PIECE) + 3) == 16 * PIECE + b"end"


def test_a_connection_that_is_lost_while_several_pieces_are_sent_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with gathering(monkeypatch) as (channel, _):
        channel.socket.takes.append(BrokenPipeError(errno.EPIPE, "gone"))
        pushed(channel, *[PIECE] * 16)
        assert (channel.closes, channel._map) == (1, {})


def test_any_other_error_goes_to_handle_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with gathering(monkeypatch, Patient) as (channel, peer):
        channel.socket.takes.append(OSError(errno.ENOBUFS, "no memory"))
        pushed(channel, *[PIECE] * 16)
        assert [error.errno for error in channel.errors] == [errno.ENOBUFS]
        assert transferred(channel, peer, 16 * len(PIECE)) == 16 * PIECE


@pytest.mark.parametrize("where", ["class", "instance"])
def test_a_send_of_ones_own_sees_all_bytes(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    seen: list[bytes] = []

    class Seeing(Chat):
        def send(self, data: Any) -> int:
            seen.append(bytes(data))
            return super().send(data)

    with gathering(monkeypatch, Seeing if where == "class" else Chat) as (channel, peer):
        if where == "instance":
            send = channel.send

            def seeing(data: Any) -> Any:
                seen.append(bytes(data))
                return send(data)

            channel.send = seeing
        pushed(channel, *[PIECE] * 16)
        assert transferred(channel, peer, 16 * len(PIECE)) == 16 * PIECE
        assert b"".join(seen) == 16 * PIECE


def test_a_size_that_was_set_bounds_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with gathering(monkeypatch) as (channel, peer):
        channel.ac_out_buffer_size = len(PIECE)
        pushed(channel, *[PIECE] * 16)
        assert channel.socket.calls == [1] * 16
        assert transferred(channel, peer, 16 * len(PIECE)) == 16 * PIECE


# -- files -------------------------------------------------------------------------------------------------


def test_a_file_leaves_by_sendfile(path: Path, sendfile_calls: list[int]) -> None:
    with plain() as (channel, peer):
        file = path.open("rb")
        channel.push(b"head ")
        channel.push_with_producer(FileProducer(file, count=len(MIB)))
        channel.push(b" tail")
        assert transferred(channel, peer, len(MIB) + 10) == b"head " + MIB + b" tail"
        assert sum(sendfile_calls) == len(MIB)
        assert file.closed


def test_a_file_without_a_length_is_sent_to_its_end(path: Path, sendfile_calls: list[int]) -> None:
    with plain() as (channel, peer):
        channel.push_with_producer(FileProducer(path.open("rb")))
        channel.close_when_done()
        assert transferred(channel, peer, len(MIB)) == MIB
        turn(channel._map, 2)
        assert channel.closes == 1
        assert sum(sendfile_calls) == len(MIB)


def test_a_file_that_is_shorter_than_was_promised_ends_the_connection(
    path: Path, sendfile_calls: list[int]
) -> None:
    with plain(Patient) as (channel, peer):
        channel.push_with_producer(FileProducer(path.open("rb"), offset=0, count=len(MIB) + 1))
        assert transferred(channel, peer, len(MIB)) == MIB
        turn(channel._map, 2)
        assert [type(error) for error in channel.errors] == [EOFError]
        assert channel._map == {}
        assert sum(sendfile_calls) == len(MIB)


def test_a_file_that_cannot_be_read_ends_the_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(direct, "_sendfile", failing)
    with plain(Patient) as (channel, _):
        file = path.open("rb")
        channel.push_with_producer(FileProducer(file))
        assert [error.errno for error in channel.errors] == [errno.EIO]
        assert file.closed
        assert channel._map == {}


def test_a_file_producer_of_ones_own_is_asked_for_its_chunks(path: Path, sendfile_calls: list[int]) -> None:
    class Upper(FileProducer):
        def more(self) -> bytes:
            return super().more().upper()

    path.write_bytes(b"abc" * 1000)
    with plain() as (channel, peer):
        channel.push_with_producer(Upper(path.open("rb")))
        assert transferred(channel, peer, 3000) == b"ABC" * 1000
        assert sendfile_calls == []


def test_a_file_producer_whose_more_was_replaced_is_asked_for_its_chunks(
    path: Path, sendfile_calls: list[int]
) -> None:
    producer = FileProducer(path.open("rb"), count=3)
    producer.more = iter([b"one", b"two", b""]).__next__  # type: ignore[method-assign]
    with plain() as (channel, peer):
        channel.push_with_producer(producer)
        assert transferred(channel, peer, 6) == b"onetwo"
        assert sendfile_calls == []


def test_a_file_producer_that_was_closed_sends_nothing_more(path: Path, sendfile_calls: list[int]) -> None:
    with path.open("rb") as file, plain() as (channel, peer):
        producer = FileProducer(file, close_file=False)
        producer.close()
        channel.push_with_producer(producer)
        channel.push(b"end")
        assert transferred(channel, peer, len(MIB)) == b"end"
        assert sendfile_calls == []


def test_a_file_goes_through_a_send_of_ones_own(path: Path, sendfile_calls: list[int]) -> None:
    class Seeing(Chat):
        seen = 0

        def send(self, data: Any) -> int:
            sent = super().send(data)
            self.seen += sent
            return sent

    with plain(Seeing) as (channel, peer):
        channel.push_with_producer(FileProducer(path.open("rb")))
        assert transferred(channel, peer, len(MIB)) == MIB
        assert channel.seen == len(MIB)
        assert sendfile_calls == []
