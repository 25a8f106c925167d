"""The crowds on real servers, in the test's own process, and what they notice."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench.resp import Channel
from examples.chat import Guest
from robustness.connections import Connection, Lost
from robustness.exchanges import CONTENT
from robustness.served import SERVERS

from antiphon import asyncore
from antiphon.maps import ChannelMap
from robustness import crowd, guests, visits

pytestmark = pytest.mark.load

SECONDS = 1.5


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "content").write_bytes(CONTENT)
    return tmp_path


@contextmanager
def turning(make: Callable[[], asyncore.dispatcher], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server in a thread of its own; its port."""
    monkeypatch.setattr(asyncore, "socket_map", channels := ChannelMap())
    server = make()
    stopping = threading.Event()

    def turn() -> None:
        while not stopping.is_set():
            asyncore.loop(0.05, map=channels, count=1)
        asyncore.close_all(channels)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        stopping.set()
        thread.join()


@pytest.mark.parametrize("server", SERVERS)
def test_a_crowd_gets_all_that_it_is_owed(
    server: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with turning(partial(SERVERS[server], str(directory)), monkeypatch) as port:
        tally = asyncio.run(crowd.run(server, port, 20, SECONDS))
    assert (tally.failures, tally.lost) == ([], 0)
    assert tally.exchanges > 5
    names = {name for name, _ in crowd._visits(server, guests.Witness())}
    assert {"fast", "slow", "dribbling", "half-open", "flooding", "resetting", "never reading"} <= names


def only(monkeypatch: pytest.MonkeyPatch, visit: Any) -> None:
    """Have all peers behave so."""
    monkeypatch.setattr(crowd, "visits_of", lambda server: [("fast", visit)])


def test_a_byte_that_is_wrong_is_noticed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, visits.fast)
    (directory / "content").write_bytes(CONTENT[::-1])
    with turning(partial(SERVERS["http"], str(directory)), monkeypatch) as port:
        tally = asyncio.run(crowd.run("http", port, 3, 0.5))
    assert tally.failed
    assert tally.lost


def test_an_answer_that_is_missing_is_noticed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, visits.fast)
    monkeypatch.setattr(Channel, "_take_string", lambda self, string, replies: self.close())
    with turning(partial(SERVERS["resp"], str(directory)), monkeypatch) as port:
        tally = asyncio.run(crowd.run("resp", port, 3, 0.5))
    assert tally.failed
    assert tally.lost


def test_a_line_that_one_guest_did_not_hear_is_noticed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = Guest.tell

    def forget(self: Guest, text: str) -> None:
        if "number 0" not in text or self.nickname == "witness":
            tell(self, text)

    monkeypatch.setattr(Guest, "tell", forget)
    with turning(partial(SERVERS["chat"], str(directory)), monkeypatch) as port:
        tally = asyncio.run(crowd.run("chat", port, 20, SECONDS))
    assert tally.failed
    assert tally.lost


def test_a_slow_peer_is_slow_no_longer_than_it_is_to_be() -> None:
    """A pause here would last longer than any test may."""

    async def converse() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(100))
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            connection = await Connection.open(port, piece=1, pause=1000, until=0)
            try:
                await connection.dribble(b"x" * 100, pause=1000)
                return await connection.read_to_end()
            finally:
                connection.close()

    assert asyncio.run(converse()) == b"x" * 100


def test_an_end_that_comes_too_early_is_told() -> None:
    async def read(how: Callable[[Connection], Any]) -> bytes:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            connection = await Connection.open(server.sockets[0].getsockname()[1])
            try:
                data: bytes = await how(connection)
                return data
            finally:
                connection.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"abc\n")
        writer.close()
        await writer.wait_closed()

    assert asyncio.run(read(lambda connection: connection.read(4))) == b"abc\n"
    assert asyncio.run(read(lambda connection: connection.read_until(b"c"))) == b"abc"
    assert asyncio.run(read(Connection.read_to_end)) == b"abc\n"
    for how in (lambda connection: connection.read(5)), (lambda connection: connection.read_until(b"d")):
        with pytest.raises(Lost):
            asyncio.run(read(how))
