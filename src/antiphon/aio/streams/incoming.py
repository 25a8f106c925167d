"""What the readers of a stream ask of its connection, and how they wait for it.

The generators are awaited. They yield the waiter that the protocol wakes.
"""

import types
from collections.abc import Generator

from antiphon.aio.streams.body import LARGE, LARGEST, Body
from antiphon.aio.streams.errors import IncompleteRead
from antiphon.aio.streams.protocol import StreamProtocol
from antiphon.aio.streams.waiter import CANCELLED, IDLE, WAITING, Waiter
from antiphon.framing.terminators import Terminator

__all__ = ["Incoming"]


class Incoming(StreamProtocol):
    """A stream's connection, with the questions of its readers. One of them waits at a time."""

    __slots__ = ()

    @types.coroutine
    def arrival(self) -> Generator[Waiter, None, bytes]:
        """The next message, which ends by what is armed."""
        waiter, terminator = self._waiter, self.armed
        if waiter.state == IDLE:
            waiter.state = WAITING
            waiter._asyncio_future_blocking = True
            yield waiter
            handed = self._message
            if handed is not None:
                self._message = None
                return handed
            if self.arrivals.sought is terminator:
                for message in self.arrivals.ready:
                    return message
        return (yield from self.message(terminator))

    @types.coroutine
    def message(self, terminator: Terminator) -> Generator[Waiter, None, bytes]:
        """The next message."""
        self._check()
        arrivals = self.arrivals
        arrivals.frame(terminator)
        while True:
            for message in arrivals.ready:
                return message
            if self.ended or (self._finishing and not arrivals.gathered().size):
                raise self._incomplete(terminator if isinstance(terminator, int) else None)
            waiter = self._prepare(0)
            if arrivals.clean and type(terminator) is bytes and not self._finishing:
                self.armed = terminator
            yield waiter
            handed = self._message
            if handed is not None:
                self._message = None
                return handed
            self._check()
            if arrivals.sought is not terminator:  # Somebody else has read meanwhile.
                arrivals.frame(terminator)

    @types.coroutine
    def batch(self, terminator: Terminator) -> Generator[Waiter, None, list[bytes]]:
        """All messages that are ready, as soon as one is."""
        arrivals = self.arrivals
        if arrivals.sought is terminator:
            for first in arrivals.ready:
                return arrivals.hand_over(first)
        return arrivals.hand_over((yield from self.message(terminator)))

    @types.coroutine
    def exactly(self, count: int) -> Generator[Waiter, None, bytes]:
        """The next `count` bytes."""
        yield from self._until_there(count)
        if self.arrivals.missing(count):
            raise self._incomplete(count)
        return self.arrivals.cut(count)

    @types.coroutine
    def peek(self, count: int) -> Generator[Waiter, None, bytes]:
        """All that is there, as soon as it is `count` bytes, or the end has come."""
        yield from self._until_there(count)
        rest = self.arrivals.gathered().rest()
        if not rest and count and self.failure is not None:
            raise self.failure
        return rest

    def take_rest(self) -> bytes:
        """Take all that was not read."""
        self._check()
        return self.arrivals.take_rest()

    def _check(self) -> None:
        """See that there is no other reader, and no error that one before has not seen."""
        if self._waiter.state == WAITING:
            raise RuntimeError("wanted one reader of a stream, found another task that waits for input")
        if self._body is not None:
            self._end_body(self._body)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _until_there(self, count: int) -> Generator[Waiter, None, None]:
        self._check()
        arrivals = self.arrivals
        while (missing := arrivals.missing(count)) and not self.ended:
            waiter = self._prepare(missing)
            if missing >= LARGE and arrivals.gathered().skip():
                beginning = arrivals.take_rest() if count <= LARGEST else b""
                self._body = Body(min(count, LARGEST) if beginning else min(missing, LARGEST), beginning)
            yield waiter
            self._check()

    def _prepare(self, missing: int) -> Waiter:
        """Begin to wait for so many bytes, or for a message; with what."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        waiter = self._waiter
        if waiter.state == CANCELLED:
            waiter = self._waiter = Waiter(self.loop)
        self._missing, self.armed = missing, None
        waiter.state = WAITING
        waiter._asyncio_future_blocking = True
        return waiter

    def _incomplete(self, expected: int | None) -> Exception:
        return self.failure or IncompleteRead(self.arrivals.take_rest(), expected)
