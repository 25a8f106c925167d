"""Requests to the HTTP server and the RESP server, with the answers that are owed to them."""

import itertools
import random
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from robustness.connections import Connection

__all__ = ["CONTENT", "Dialogue", "Exchange", "HTTPDialogue", "RespDialogue", "command"]

#: What the HTTP server has in `content`; anybody can make it again.
CONTENT: Final = random.Random(1).randbytes(1 << 20)

#: Bytes of a posted body, and of a part of the file.
_LARGEST_BODY: Final = 20_000
_LARGEST_PART: Final = 100_000


class Exchange(NamedTuple):
    """A request, and the payload of its answer."""

    request: bytes
    answer: bytes


class Dialogue(Protocol):
    """What one peer has to say, connection after connection.

    Attributes:
        last: a request after which the server closes, and the payload of its answer.
        unfinished: a request that is not all there.
        nonsense: what the server must refuse.
    """

    last: Exchange
    unfinished: bytes
    nonsense: bytes

    def exchanges(self) -> Iterator[Exchange]:
        """Exchanges without end; each is made when everything before it has been answered or lost."""

    async def answer(self, connection: Connection) -> bytes:
        """The payload of the next answer."""


class HTTPDialogue:
    """Parts of a file, and bodies that come back."""

    unfinished = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"
    nonsense = b"\x16\x03\x01 GET / HTTP/1.1\nHost: \xff\r\n\r\n" * 10
    last = Exchange(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend", b"200 end"
    )

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)
        self._numbers = itertools.count()
        self._name = name

    def exchanges(self) -> Iterator[Exchange]:
        """Both kinds in turn."""
        while True:
            yield self._echo()
            yield self._part()

    def _echo(self) -> Exchange:
        body = b"%b %d " % (self._name.encode(), next(self._numbers))
        body += self._random.randbytes(self._random.randrange(_LARGEST_BODY))
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        return Exchange(head + body, b"200 " + body)

    def _part(self) -> Exchange:
        start = self._random.randrange(len(CONTENT) - 1)
        part = CONTENT[start : start + 1 + self._random.randrange(_LARGEST_PART)]
        span = b"%d-%d" % (start, start + len(part) - 1)
        head = b"GET /content HTTP/1.1\r\nHost: a\r\nRange: bytes=%b\r\n\r\n" % span
        return Exchange(head, b"206 " + part)

    async def answer(self, connection: Connection) -> bytes:
        """Status and body."""
        head = await connection.read_until(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        sizes = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
        return head.split()[1] + b" " + await connection.read(sizes[0])


def command(*words: bytes) -> bytes:
    """A request of RESP."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _string(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


class RespDialogue:
    """Numbers that count up, values that are found again, and strings that come back.

    Attributes:
        keys: all that it uses.
    """

    unfinished = b"*2\r\n$4\r\nECHO\r\n$100\r\nhalf"
    nonsense = b"*1\r\n$-7\r\nPING\r\n" * 10
    last = Exchange(command(b"QUIT"), b"+OK\r\n")

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)
        self._name = name.encode()
        self.keys = b"counter " + self._name, self._name

    def exchanges(self) -> Iterator[Exchange]:
        """All kinds in turn. The first sets the counter, which another connection may have left anywhere."""
        counter, key = self.keys
        yield Exchange(command(b"SET", counter, b"0"), b"+OK\r\n")
        for number in itertools.count(1):
            text = b"%b %d " % (self._name, number)
            text += self._random.randbytes(self._random.randrange(_LARGEST_BODY))
            yield Exchange(command(b"ECHO", text), _string(text))
            yield Exchange(command(b"INCR", counter), b":%d\r\n" % number)
            value = self._random.randbytes(250)  # Always as long: the server keeps it.
            yield Exchange(command(b"SET", key, value), b"+OK\r\n")
            yield Exchange(command(b"GET", key), _string(value))

    async def answer(self, connection: Connection) -> bytes:
        """The whole reply."""
        line = await connection.read_until(b"\r\n")
        if line.startswith(b"$"):
            return line + await connection.read(int(line[1:]) + 2)
        return line
