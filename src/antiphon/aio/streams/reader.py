"""The methods of a stream that read."""

import sys
from typing import Any, Self

from antiphon.aio.streams.errors import IncompleteRead
from antiphon.aio.streams.incoming import Incoming
from antiphon.framing.parser import AnyTerminator
from antiphon.framing.terminators import Terminator, as_terminator

__all__ = ["Batches", "Reader", "as_message_terminator"]


def as_message_terminator(terminator: AnyTerminator, limit: int = sys.maxsize) -> Terminator:
    """Check what is to end each message of a stream.

    Raises:
        TypeError: it is no terminator.
        ValueError: it is empty, or a length that is not 1 to `limit`.
    """
    checked = as_terminator(terminator)
    if isinstance(checked, int) and not 1 <= checked <= limit:
        most = "or more" if limit == sys.maxsize else f"to {limit} bytes, max_message_size,"
        raise ValueError(f"wanted a length of 1 {most} as the terminator, found {checked}")
    return checked


def _check_size(size: object, what: str) -> None:
    if not isinstance(size, int):
        raise TypeError(f"wanted a number of bytes to {what}, found {type(size).__name__}: {size!r:.60}")
    if size < 0:
        raise ValueError(f"wanted 0 bytes or more to {what}, found {size}")


class Reader:
    """The receiving half of a `ChatStream`.

    One task reads at a time: while one waits for input, another one that would is told so by a RuntimeError.
    A read that is cancelled takes nothing. What is read comes without its terminator.
    """

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._arrivals = incoming.arrivals

    # -- settings --------------------------------------------------------------------------------------

    @property
    def terminator(self) -> Terminator:
        """What ends the messages of `read_message` and of the iterations, as it was set."""
        return self._incoming.terminator

    def set_terminator(self, terminator: AnyTerminator) -> None:
        """Say what ends each message of `read_message` and of the iterations, from the next read on.

        What has arrived and was not read is looked at anew.

        Args:
            terminator: bytes-like, the terminator itself; several of them, in a tuple, of which the one that
                ends first ends the message (the longest, if several end there); an int, the length of each
                message in bytes; None if whatever has arrived is a message. Of a length above
                `max_message_size`, the message is too long, and another terminator must be set.

        Raises:
            TypeError: it is something else.
            ValueError: an empty terminator; a length that is not positive: `read_exactly` takes 0.
        """
        checked = as_message_terminator(terminator)
        current = self._incoming.terminator
        if type(checked) is not type(current) or checked != current:
            self._incoming.terminator = checked

    @property
    def last_terminator(self) -> bytes:
        """The bytes that ended the message that was read last; b"" where a length did, or nothing.

        Known until the next read. Of a batch, it is that of the last message.
        """
        return self._arrivals.last_terminator

    @property
    def discarded(self) -> int:
        """How many messages were too long and discarded."""
        return self._arrivals.discarded

    # -- reading ---------------------------------------------------------------------------------------

    async def read_until(self, terminator: bytes | tuple[bytes, ...]) -> bytes:
        """Read a message that this terminator ends, or the first of several.

        Args:
            terminator: bytes, or a tuple of them, as `set_terminator` takes them. It holds for this message.

        Raises:
            MessageTooLong: it is longer than `max_message_size`. It is skipped: what is behind it comes next.
            IncompleteRead: the peer has ended before.
            ConnectionError: the connection is lost.
            RuntimeError: another task waits for input.
            TypeError: the terminator is something else.
            ValueError: it is empty.
        """
        incoming = self._incoming
        if terminator is incoming.armed and terminator is not None:
            return await incoming.arrival()
        arrivals = self._arrivals
        if terminator is arrivals.sought:
            for message in arrivals.ready:
                return message
        return await incoming.message(self._wanted(terminator))

    async def read_message(self) -> bytes:
        """Read a message that ends as `set_terminator` has said.

        Raises:
            Exception: as `read_until` does.
        """
        incoming, arrivals = self._incoming, self._arrivals
        terminator = incoming.terminator
        if terminator is incoming.armed and terminator is not None:
            return await incoming.arrival()
        if terminator is arrivals.sought:
            for message in arrivals.ready:
                return message
        return await incoming.message(terminator)

    async def read_exactly(self, n: int) -> bytes:
        """Read `n` bytes, at once if `n` is 0.

        They are kept until all have arrived, whatever `max_message_size` is: check a number that a peer says.

        Raises:
            IncompleteRead: the peer has ended before.
            ConnectionError: the connection is lost.
            RuntimeError: another task waits for input.
            TypeError: `n` is no int.
            ValueError: `n` is negative.
        """
        if type(n) is not int or n < 0:
            _check_size(n, "read")
        return await self._incoming.exactly(n)

    async def peek(self, n: int = 1) -> bytes:
        """What has arrived and was not read, as soon as it is `n` bytes, or at the end; it stays there.

        Args:
            n: with 0, it does not wait.

        Raises:
            ConnectionError: the connection is lost, and nothing is there.
            RuntimeError: another task waits for input.
            TypeError: `n` is no int.
            ValueError: `n` is negative.
        """
        if type(n) is not int or n < 0:
            _check_size(n, "look at")
        return await self._incoming.peek(n)

    def take_buffer(self) -> bytes:
        """Take what has arrived and was not read, for another protocol. It will not be read.

        Raises:
            RuntimeError: another task waits for input.
        """
        return self._incoming.take_rest()

    def at_eof(self) -> bool:
        """Whether the peer has ended, and all that it sent was read."""
        return self._incoming.ended and self._arrivals.is_empty

    # -- iterating -------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        """The messages, until the peer ends between two of them. A loop may be left and taken up again."""
        return self

    async def __anext__(self) -> bytes:
        incoming, arrivals = self._incoming, self._arrivals
        terminator = incoming.terminator
        if terminator is arrivals.sought:
            for message in arrivals.ready:
                return message
        try:
            if terminator is incoming.armed and terminator is not None:
                return await incoming.arrival()
            return await incoming.message(terminator)
        except IncompleteRead as error:
            if error.partial:
                raise
            raise StopAsyncIteration from None

    def batches(self) -> "Batches":
        """The same, but all complete messages that have arrived in one list, of one at least.

        Who reads otherwise within the loop, or sets another terminator, says before how many of a batch were
        used: see `used`.
        """
        return Batches(self._incoming)

    def used(self, count: int) -> None:
        """Say that of the batch that was read last only so many messages were used.

        What is behind these is looked at again by the next read.

        Raises:
            ValueError: there weren't so many, or none were read in a batch since the last read.
        """
        self._arrivals.put_back(count)

    def _wanted(self, terminator: Any) -> Terminator:
        """The terminator, checked; the same object as the time before if it is equal."""
        checked = as_terminator(terminator)
        if checked is None or isinstance(checked, int):
            raise TypeError(f"wanted bytes or a tuple of bytes as the terminator, found {terminator!r:.60}")
        sought = self._arrivals.sought
        return sought if type(checked) is type(sought) and checked == sought else checked


class Batches:
    """Goes through the messages of a stream in batches."""

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def __aiter__(self) -> "Batches":
        return self

    async def __anext__(self) -> list[bytes]:
        try:
            return await self._incoming.batch(self._incoming.terminator)
        except IncompleteRead as error:
            if error.partial:
                raise
            raise StopAsyncIteration from None
