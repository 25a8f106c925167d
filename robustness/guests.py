"""How the peers of the chat room behave.

Everything that is said in the room is said to everybody in the same order.  One guest, the witness, is there
all the time and writes it down; what any other well-behaved guest has heard must be a part of that, from the
line that tells of its coming to its last word, without a gap.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Final, TypeAlias

from robustness.connections import Connection, Lost, meanwhile
from robustness.visits import Visitor

__all__ = ["STAYS", "Stay", "Witness"]

_WELCOME: Final = b"Welcome. What is your nickname?\r\n"
_JOINED: Final = b" has joined. /who tells who is here, /quit leaves.\r\n"
_GOODBYE: Final = b"Goodbye.\r\n"

#: Seconds that the witness may be behind anybody.
_PATIENCE: Final = 60.0

_numbers = itertools.count()


class Witness:
    """The guest that is always there.

    Attributes:
        lines: what was said.
        comings: in which line each guest came.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.comings: dict[bytes, int] = {}
        self._more = asyncio.Condition()

    async def attend(self, port: int) -> None:
        """Write everything down, until cancelled."""
        connection = await Connection.open(port)
        try:
            await _enter(connection, b"witness")
            while True:
                line = await connection.read_until(b"\r\n")
                if line.endswith(_JOINED):
                    self.comings[line.removesuffix(_JOINED)] = len(self.lines)
                self.lines.append(line)
                async with self._more:
                    self._more.notify_all()
        finally:
            connection.close()

    async def heard(self, nickname: bytes, count: int) -> bytes:
        """The `count` lines from the one that told of this guest's coming on."""
        async with asyncio.timeout(_PATIENCE), self._more:
            await self._more.wait_for(lambda: self._has(nickname, count))
        start = self.comings[nickname]
        return b"".join(self.lines[start : start + count])

    def _has(self, nickname: bytes, count: int) -> bool:
        start = self.comings.get(nickname)
        return start is not None and len(self.lines) >= start + count


Stay: TypeAlias = Callable[[Visitor, Witness], Awaitable[None]]


async def _enter(connection: Connection, nickname: bytes, pause: float = 0.0) -> None:
    welcome = await connection.read_until(b"\r\n")
    if welcome != _WELCOME:
        raise ValueError(f"wanted {_WELCOME!r}, found {welcome!r}")
    await (connection.dribble(nickname + b"\r\n", pause) if pause else connection.send(nickname + b"\r\n"))


def _nickname() -> bytes:
    return b"guest%d" % next(_numbers)


# -- the good ----------------------------------------------------------------------------------------------


async def _stay(visitor: Visitor, witness: Witness, connection: Connection, pause: float = 0.0) -> None:
    """Come, say something now and then, go; and check what was heard."""
    nickname = _nickname()
    last = nickname + b": that is all\r\n"
    lines: list[bytes] = []
    try:
        await _enter(connection, nickname, pause)
        async with meanwhile(_talk(visitor, connection, pause)):
            while not lines or lines[-1] != last:
                lines.append(await connection.read_until(b"\r\n"))
        await connection.send(b"/quit\r\n")
        rest = await connection.read_to_end()
        if not rest.endswith(_GOODBYE):
            raise Lost(f"wanted {_GOODBYE!r} at the end, found {rest[-80:]!r}")
        lines += rest.removesuffix(_GOODBYE).splitlines(keepends=True)
    finally:
        connection.close()
        if witness.comings.get(nickname) is not None or lines:
            heard = await witness.heard(nickname, max(1, len(lines)))
            visitor.tally.owed += len(heard)
            visitor.tally.check(heard, b"".join(lines))


async def _talk(visitor: Visitor, connection: Connection, pause: float) -> None:
    """Say something now and then, and the last word when it is time."""
    for number in range(1 + visitor.random.randrange(4)):
        await visitor.rest(25)
        line = b"number %d of %b\r\n" % (number, visitor.name.encode())
        await (connection.dribble(line, pause) if pause else connection.send(line))
        if not visitor.has_time():
            break
    await connection.send(b"that is all\r\n")


async def fast(visitor: Visitor, witness: Witness) -> None:
    """Read whatever comes."""
    await _stay(visitor, witness, await Connection.open(visitor.port))


async def slow(visitor: Visitor, witness: Witness) -> None:
    """Read little at a time."""
    connection = await Connection.open(visitor.port, piece=2000, pause=0.2, buffer=4096, until=visitor.until)
    await _stay(visitor, witness, connection)


async def dribbling(visitor: Visitor, witness: Witness) -> None:
    """Send one byte at a time."""
    connection = await Connection.open(visitor.port, until=visitor.until)
    await _stay(visitor, witness, connection, pause=0.05)


# -- the bad -----------------------------------------------------------------------------------------------


async def half_open(visitor: Visitor, witness: Witness) -> None:
    """Say half a name and be silent."""
    with closing(await Connection.open(visitor.port)) as connection:
        await connection.send(b"gues")
        await visitor.rest(20)


async def flooding(visitor: Visitor, witness: Witness) -> None:
    """Send lines without end, names that are none, and at last one that is too long."""
    with closing(await Connection.open(visitor.port)) as connection:
        async with meanwhile(connection.read_to_end()):
            for _ in range(50):
                await connection.send(b"no name!\r\n" * 100)
            await connection.send(b"too long " * 1000)
            await visitor.rest(5)
    await visitor.rest(5)


async def resetting(visitor: Visitor, witness: Witness) -> None:
    """Break off, half of the times as a guest."""
    with closing(await Connection.open(visitor.port)) as connection:
        if visitor.random.random() < 0.5:
            await _enter(connection, _nickname())
        await connection.receive()
        connection.reset()
    await visitor.rest(15)


async def never_reading(visitor: Visitor, witness: Witness) -> None:
    """Ask again and again who is there, and don't listen."""
    connection = await Connection.open(visitor.port, buffer=4096)
    try:
        await connection.send(_nickname() + b"\r\n")
        for _ in range(20):
            async with asyncio.timeout(2):
                await connection.send(b"/who\r\n" * 20)
        await visitor.rest(20)
    except TimeoutError:
        await visitor.rest(15)
    finally:
        connection.close()


#: A score of stays with their names, in the proportions in which they come.
STAYS: Final[list[tuple[str, Stay]]] = [
    *[("fast", fast)] * 6,
    *[("slow", slow)] * 3,
    *[("dribbling", dribbling)] * 3,
    *[("half-open", half_open)] * 3,
    ("flooding", flooding),
    *[("resetting", resetting)] * 2,
    *[("never reading", never_reading)] * 2,
]
