"""The methods of a stream that write."""

from collections.abc import Iterable

from antiphon.aio.streams.outgoing import MANY, SMALL, Data, Outgoing

__all__ = ["Writer"]


class Writer:
    """The sending half of a `ChatStream`.

    What is written within one turn of the loop leaves in one piece at the end of it: when the reader has been
    served, or in the next turn. From 64 KiB on it leaves at once.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def write(self, data: Data) -> None:
        """Send `data`. It may be changed afterwards.

        After `close()`, or when the connection is lost, nothing happens; `drain` tells.

        Raises:
            TypeError: it is not bytes-like.
            RuntimeError: it comes after `write_eof()`.
        """
        outgoing = self._outgoing
        pieces = outgoing.pieces
        if outgoing.corked and type(data) is bytes and len(data) < SMALL and len(pieces) < MANY:
            pieces.append(data)
        else:
            outgoing.write(data)

    def writelines(self, data: Iterable[Data]) -> None:
        """Send all of these, one behind the other, as `write` does. They get no line ends."""
        for piece in data:
            self.write(piece)

    async def drain(self) -> None:
        """Wait until the connection takes more, if it has enough to send.

        Await it now and then when you send much: what is written is kept until the peer takes it.

        Raises:
            ConnectionError: the connection is lost.
        """
        if self._outgoing.blocked:
            await self._outgoing.drain()

    def can_write_eof(self) -> bool:
        """Whether `write_eof()` works: not over TLS."""
        return self._outgoing.transport.can_write_eof()

    def write_eof(self) -> None:
        """Say that nothing more will be sent, behind what was written. The peer may still send.

        After `close()`, or when the connection is lost, nothing happens.

        Raises:
            NotImplementedError: it can't be said over TLS; `can_write_eof` tells. The stream goes on.
        """
        self._outgoing.end()
