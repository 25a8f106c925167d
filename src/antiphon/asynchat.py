"""The asynchat module that Python 3.12 removed: channels that collect input up to a terminator.

`async_chat` gathers what arrives, tells where a message ends, and sends what was pushed and what producers
yield.  Everything else is `asyncore.dispatcher`'s.
"""

from collections import deque
from typing import Any

from antiphon import asyncore
from antiphon.bounded import Bounded
from antiphon.framing import prefix_at_end
from antiphon.outbox import DELIVERING, fifo
from antiphon.sizes import FIRST

__all__ = ["async_chat", "asyncore", "deque", "fifo", "find_prefix_at_end", "simple_producer"]


class async_chat(Bounded):  # noqa: N801 (the name that programs subclass)
    """A channel for protocols whose elements end in a terminator or have a known length.

    Abstract: subclasses define `collect_incoming_data` and `found_terminator`.

    Args:
        sock: a connected socket, or None.
        map: where the channel lives; `asyncore.socket_map` if None.

    Attributes:
        ac_in_buffer_size: bytes that one `recv` asks for at most. Left alone, that is 4096 to begin with,
            twice as much after each full read up to 262,144, and less again when little arrives; of a length
            of which 16,384 or more are missing, as much as is missing, up to 65,536 at first.
        ac_out_buffer_size: bytes that one `send` is offered at most. Left alone, all that waits is offered,
            and small chunks of a producer are put together: 4096 bytes first, twice as many after each send
            that was taken whole.
        resumes_after_errors: whether what has arrived behind a message whose callback raised is delivered
            soon after, if the channel is still open then. Otherwise it waits for more to arrive.
        coalesce_pushes: whether what is pushed while input is delivered leaves in one send after that,
            rather than in one send a push.
        keeps_unsent: whether what was still to be sent stays in `producer_fifo` after `close()`, for the next
            connection of the same channel.
        use_encoding: whether `str` may be used for terminators, producers and received data.
        encoding: the encoding of those.
    """

    terminator: Any
    incoming: list[bytes]
    keeps_unsent = False
    tcp_no_delay: bool | None = True

    def _ac_prepare(self) -> None:
        self._ac_data = self._ac_outbox = None
        self._ac_held = 0
        self._ac_read_size = FIRST
        self._ac_deaf = self._ac_writes = self._ac_owes = self._ac_left = False
        if not hasattr(type(self), "terminator"):
            self.terminator = None

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self.incoming = []
        asyncore.dispatcher.__init__(self, sock, map)

    def handle_close(self) -> None:
        """Called once, when the connection has ended or `close_when_done` is through. By default closes."""
        self.close()

    def handle_drain(self) -> None:
        """Called when the loop is being drained. By default, `close_when_done()`; a listener is closed."""
        if self.accepting:
            self.close()
        else:
            self.close_when_done()

    def discard_buffers(self) -> None:
        """Drop all that was received and not delivered, and all that was to be sent."""
        self.ac_in_buffer = b""
        self.incoming.clear()
        if self._ac_foreign_fifo is not None:
            self._ac_take_over()
        self._ac_own_outbox().discard()
        self._ac_deaf = self.closing or self._ac_reading_paused > 0
        self._ac_note_output()

    def _ac_close(self) -> None:
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        if self._ac_draining is not None:
            self._ac_tell_drained()
        self._ac_stop_delivering()
        try:
            asyncore.dispatcher._ac_close(self)
        finally:
            if self._ac_outbox is None and self._ac_foreign_fifo is None:
                pass  # Most have sent everything.
            elif self.keeps_unsent:
                self._ac_unsent = any(item is not None for item in self.producer_fifo)
            else:
                self._ac_discard_output()


class simple_producer:  # noqa: N801 (the name that programs use)
    """A producer that yields `data` in pieces of `buffer_size` bytes.

    Attributes:
        buffer_size: bytes a call.
    """

    def __init__(self, data: Any, buffer_size: int = 512) -> None:
        self._source, self._position = data, 0
        self.buffer_size = buffer_size

    @property
    def data(self) -> Any:
        """What is left."""
        return self._source[self._position :]

    def more(self) -> Any:
        """The next piece; an empty one when there is none."""
        start = self._position
        piece = self._source[start : start + self.buffer_size]
        self._position = start + len(piece)
        if not piece:
            self._source, self._position = piece, 0
        return piece


def find_prefix_at_end(haystack: Any, needle: Any) -> int:
    r"""How much of the end of `haystack` may be the beginning of `needle`; both bytes, or both str.

    >>> find_prefix_at_end("qwerty\r", "\r\n")
    1
    """
    return prefix_at_end(haystack, needle)


for _public in (async_chat, fifo, simple_producer):
    _public.__module__ = "asynchat"
