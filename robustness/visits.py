"""How the peers of the HTTP server and the RESP server behave: the good, and the bad.

A visit is one connection, from the beginning to the end.  What goes wrong in that of a well-behaved peer is
a failure; what a badly behaved one gets is no one's business, as long as the others get theirs.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeAlias

from robustness.connections import Connection, meanwhile
from robustness.exchanges import Dialogue, Exchange
from robustness.tally import Tally

__all__ = ["GOOD", "Visit", "Visitor", "visits_of"]

#: Bytes that a peer sends which is to send little.
_LITTLE: Final = 400
#: Bytes that the system may keep for a peer that does not read them.
_SMALL_BUFFER: Final = 4096


@dataclass
class Visitor:
    """One peer.

    Attributes:
        name: no other has it.
        port: of the server.
        dialogue: what it has to say.
        tally: where it notes what it got.
        until: when to come to an end, by the event loop's clock.
        random: its whims.
    """

    name: str
    port: int
    dialogue: Dialogue
    tally: Tally
    until: float
    random: random.Random

    def has_time(self) -> bool:
        """Whether it is not time to come to an end."""
        return asyncio.get_running_loop().time() < self.until

    async def rest(self, seconds: float) -> None:
        """Wait for so long, more or less; not beyond the end."""
        left = self.until - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(left, seconds * self.random.uniform(0.5, 1.5))))

    async def ask(self, connection: Connection, exchanges: list[Exchange], pause: float = 0.0) -> None:
        """Send all requests, byte by byte if there is a pause, and check all answers."""
        self.tally.owed += sum(len(exchange.answer) for exchange in exchanges)
        data = b"".join(exchange.request for exchange in exchanges)
        await (connection.dribble(data, pause) if pause else connection.send(data))
        await self.hear(connection, exchanges)

    async def hear(self, connection: Connection, exchanges: list[Exchange]) -> None:
        """Check all answers."""
        for exchange in exchanges:
            self.tally.check(exchange.answer, await self.dialogue.answer(connection))

    async def leave(self, connection: Connection) -> None:
        """Have the server close, and check that nothing comes that was not owed."""
        await self.ask(connection, [self.dialogue.last])
        self.tally.check(b"", await connection.read_to_end())


Visit: TypeAlias = Callable[[Visitor], Awaitable[None]]


# -- the good ----------------------------------------------------------------------------------------------


async def fast(visitor: Visitor) -> None:
    """Ask several things at once, again and again."""
    with closing(await Connection.open(visitor.port)) as connection:
        exchanges = visitor.dialogue.exchanges()
        for _ in range(20):
            await visitor.ask(connection, list(itertools.islice(exchanges, visitor.random.randint(1, 4))))
            await visitor.rest(10)
            if not visitor.has_time():
                break
        await visitor.leave(connection)


async def slow(visitor: Visitor) -> None:
    """Read little at a time."""
    with closing(
        await Connection.open(visitor.port, piece=8000, pause=0.2, buffer=_SMALL_BUFFER, until=visitor.until)
    ) as connection:
        exchanges = visitor.dialogue.exchanges()
        for _ in range(5):
            await visitor.ask(connection, list(itertools.islice(exchanges, 2)))
            await visitor.rest(2)
            if not visitor.has_time():
                break
        await visitor.leave(connection)


async def dribbling(visitor: Visitor) -> None:
    """Send one byte at a time."""
    with closing(await Connection.open(visitor.port, until=visitor.until)) as connection:
        exchanges = (one for one in visitor.dialogue.exchanges() if len(one.request) < _LITTLE)
        for _ in range(10):
            await visitor.ask(connection, [next(exchanges)], pause=0.1)
            if not visitor.has_time():
                break
        await visitor.leave(connection)


async def half_closing(visitor: Visitor) -> None:
    """Finish sending before anything has been read."""
    with closing(await Connection.open(visitor.port)) as connection:
        exchanges = list(itertools.islice(visitor.dialogue.exchanges(), 4))
        visitor.tally.owed += sum(len(exchange.answer) for exchange in exchanges)
        await connection.send(b"".join(exchange.request for exchange in exchanges))
        connection.finish_sending()
        await visitor.rest(1)
        await visitor.hear(connection, exchanges)
        visitor.tally.check(b"", await connection.read_to_end())
    await visitor.rest(5)


# -- the bad -----------------------------------------------------------------------------------------------


async def half_open(visitor: Visitor) -> None:
    """Ask half a question and be silent."""
    with closing(await Connection.open(visitor.port)) as connection:
        await connection.send(visitor.dialogue.unfinished)
        await visitor.rest(20)


async def flooding(visitor: Visitor) -> None:
    """Send all that goes out, and read it only to throw it away; at last, nonsense."""
    with closing(await Connection.open(visitor.port)) as connection:
        async with meanwhile(connection.read_to_end()):
            for exchange in itertools.islice(visitor.dialogue.exchanges(), 100):
                await connection.send(exchange.request)
            await connection.send(visitor.dialogue.nonsense)
            await visitor.rest(5)
    await visitor.rest(30)


async def resetting(visitor: Visitor) -> None:
    """Break off in the middle of the answers."""
    with closing(await Connection.open(visitor.port, piece=1000)) as connection:
        for exchange in itertools.islice(visitor.dialogue.exchanges(), 6):
            await connection.send(exchange.request)
        await connection.receive()
        connection.reset()
    await visitor.rest(10)


async def never_reading(visitor: Visitor) -> None:
    """Ask until nothing goes out any more, and read nothing."""
    connection = await Connection.open(visitor.port, buffer=_SMALL_BUFFER)
    try:
        for exchange in visitor.dialogue.exchanges():
            async with asyncio.timeout(2):
                await connection.send(exchange.request)
            if not visitor.has_time():
                break
    except TimeoutError:
        await visitor.rest(15)
    finally:
        connection.close()


#: Whose failures count.
GOOD: Final = frozenset({"fast", "slow", "dribbling", "half-closing"})

_HTTP: Final[list[tuple[str, Visit]]] = [
    *[("fast", fast)] * 6,
    *[("slow", slow)] * 3,
    *[("dribbling", dribbling)] * 3,
    ("half-closing", half_closing),
    *[("half-open", half_open)] * 2,
    ("flooding", flooding),
    *[("resetting", resetting)] * 2,
    *[("never reading", never_reading)] * 2,
]
#: Redis' server, too, forgets a client that has finished sending.
_RESP: Final = [("fast", fast) if name == "half-closing" else (name, visit) for name, visit in _HTTP]


def visits_of(server: str) -> list[tuple[str, Visit]]:
    """A score of visits with their names, in the proportions in which they come."""
    return {"http": _HTTP, "resp": _RESP}[server]
