"""What the system sends by itself: when it may, how much of a file, and what is left to others."""

import contextlib
import errno
import io
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import direct
from antiphon.direct import is_plain, send_file
from antiphon.producers import FileProducer

CONTENT = bytes(range(256)) * 64


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    with here, there:
        yield here, there


@pytest.fixture
def file(tmp_path: Path) -> Iterator[io.BufferedReader]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


def refusing(number: int) -> Any:
    def sendfile(*arguments: Any) -> int:
        raise OSError(number, os.strerror(number))

    return sendfile


def test_a_socket_of_the_systems_is_plain(pair: tuple[socket.socket, socket.socket]) -> None:
    assert is_plain(pair[0])


def test_what_is_more_than_a_socket_or_no_socket_is_not_plain() -> None:
    class Wrapping(socket.socket):
        pass

    with Wrapping() as wrapping:
        assert not is_plain(wrapping)
    assert not is_plain(object())
    assert not is_plain(None)


def test_a_file_is_sent_from_where_it_stands(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader
) -> None:
    file.read(10)
    producer = FileProducer(file)
    assert send_file(pair[0], producer, 100) == 100
    assert pair[1].recv(1000) == CONTENT[10:110]
    assert file.tell() == 110
    assert producer.more() == CONTENT[110:]


def test_a_range_is_sent_wherever_the_file_stands(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader
) -> None:
    producer = FileProducer(file, offset=1000, count=300)
    file.seek(5)
    assert send_file(pair[0], producer, 200) == 200
    assert (file.tell(), producer.offset, producer.remaining) == (5, 1200, 100)
    assert send_file(pair[0], producer, 200) == 100
    assert pair[1].recv(1000) == CONTENT[1000:1300]
    assert send_file(pair[0], producer, 200) == 0
    assert producer.more() == b""


def test_at_the_end_of_the_file_nothing_is_sent(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader
) -> None:
    producer = FileProducer(file, offset=len(CONTENT))
    assert send_file(pair[0], producer, 200) == 0


def test_a_socket_that_takes_nothing_is_an_error_and_nothing_is_lost(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader
) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            pair[0].send(bytes(65536))
    producer = FileProducer(file, offset=0)
    with pytest.raises(BlockingIOError):
        send_file(pair[0], producer, 200)
    assert (producer.offset, file.tell()) == (0, 0)


@pytest.mark.parametrize("number", sorted(direct._REFUSED), ids=lambda number: errno.errorcode[number])
def test_a_file_that_the_system_refuses_is_left_to_others(
    pair: tuple[socket.socket, socket.socket],
    file: io.BufferedReader,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    monkeypatch.setattr(direct, "_sendfile", refusing(number))
    producer = FileProducer(file)
    assert send_file(pair[0], producer, 200) is None
    assert producer.more() == CONTENT


def test_a_file_that_cannot_be_read_is_an_error(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_sendfile", refusing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        send_file(pair[0], FileProducer(file), 200)


def test_without_sendfile_it_is_left_to_others(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_sendfile", None)
    assert send_file(pair[0], FileProducer(file), 200) is None


def test_what_is_no_regular_file_is_left_to_others(pair: tuple[socket.socket, socket.socket]) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert send_file(pair[0], FileProducer(pipe), 200) is None
    assert send_file(pair[0], FileProducer(io.BytesIO(CONTENT)), 200) is None


def test_a_file_that_was_closed_is_left_to_others(
    pair: tuple[socket.socket, socket.socket], file: io.BufferedReader
) -> None:
    producer = FileProducer(file)
    file.close()
    assert send_file(pair[0], producer, 200) is None
