"""The protocol of a stream's transport: what it says, and whom that wakes."""

import asyncio
from asyncio import current_task
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from antiphon.aio.streams.arrivals import Arrivals
from antiphon.aio.streams.body import Body
from antiphon.aio.streams.outgoing import Outgoing
from antiphon.aio.streams.waiter import IDLE, WAITING, Waiter, raise_it
from antiphon.errors import MessageTooLong
from antiphon.framing.terminators import Terminator

__all__ = ["Limits", "StreamProtocol"]

#: Bytes of a buffer to receive into.
_BUFFER_SIZE: Final = 65_536

#: Buffers that nobody receives into. Transports of selectors, of uvloop and of TLS ask for one and fill it in
#: one go, so that all streams together need only one. Another transport may keep its own as long as it likes.
_POOL: Final[list[memoryview]] = []
_POOLED: Final = 8


class Limits(NamedTuple):
    """What a stream does not exceed.

    Attributes:
        message_size: bytes of a message, without its terminator.
        discards: whether a longer one is passed over in silence.
        read_ahead: bytes that nobody has asked for at which reading pauses.
    """

    message_size: int
    discards: bool
    read_ahead: int


class StreamProtocol(asyncio.BufferedProtocol):
    """A stream's connection.

    Attributes:
        arrivals: what was received and not read.
        outgoing: the sending half.
        transport: theirs.
        server_side: whether a server has accepted it.
        terminator: what ends a message where a reader doesn't say.
        limits: what is not exceeded.
        armed: the terminator for which a reader has only to wait: nothing is there, and nothing the matter.
        ended: whether nothing more will arrive.
        failure: why the connection was lost; None if it was not, or by itself.
        closed: done when the connection is closed; None if nobody has asked for it.
    """

    __slots__ = (
        "_body", "_connected", "_error", "_finishing", "_former_body", "_lent", "_limit", "_message",
        "_missing", "_over_tls", "_paused", "_waiter", "armed", "arrivals", "closed", "ended", "failure",
        "limits", "loop", "outgoing", "server_side", "terminator", "transport",
    )  # fmt: skip

    armed: bytes | None
    arrivals: Arrivals
    ended: bool
    limits: Limits
    loop: asyncio.AbstractEventLoop
    outgoing: Outgoing
    server_side: bool
    terminator: Terminator

    def __init__(
        self, limits: Limits, terminator: Terminator, connected: Callable[[Any], None] | None = None
    ) -> None:
        self.loop = loop = asyncio.get_running_loop()
        self.limits = limits
        self.terminator = terminator
        self.arrivals = Arrivals(limits.message_size, limits.discards)
        self.outgoing = Outgoing(loop)
        self.transport: asyncio.Transport
        self.armed = None
        self.ended = False
        self.server_side = connected is not None
        self.failure: Exception | None = None
        self.closed: asyncio.Future[None] | None = None
        self._connected = connected
        self._waiter = Waiter(loop)
        self._missing = 0  # Bytes that the reader waits for; 0 if it waits for a message.
        self._message: bytes | None = None  # The message that a reader is being woken for.
        self._limit = limits.message_size
        self._error: MessageTooLong | None = None  # For the next reader.
        self._lent: memoryview | None = None
        self._body: Body | None = None  # Of the bytes that the reader waits for, if these are many.
        self._former_body: Body | None = (
            None  # Whose reader was cancelled while the transport was to fill it.
        )
        self._paused = self._finishing = self._over_tls = False

    # -- what the transport says -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.use_transport(transport)
        if self._connected is not None:
            connected, self._connected = self._connected, None
            connected(self)

    def use_transport(self, transport: Any) -> None:
        """Speak through this transport from now on."""
        if self._paused:  # Under TLS, by what came right behind the handshake.
            self._paused = False
            self.transport.resume_reading()
        self.transport = self.outgoing.transport = transport
        self._over_tls = transport.get_extra_info("sslcontext") is not None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to put what arrives."""
        lent = self._lent
        if lent is None:
            if self._body is not None:
                return self._body.lend()
            try:
                lent = _POOL.pop()
            except IndexError:
                lent = memoryview(bytearray(_BUFFER_SIZE))
            self._lent = lent
        return lent

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has arrived; the reader goes on if that is what it waits for."""
        lent = self._lent
        if lent is None:
            self._body_updated(nbytes)
            return
        self._lent = None
        data = lent[:nbytes].tobytes()
        _POOL.append(lent)
        waiter, armed = self._waiter, self.armed
        if armed is None or waiter.state != WAITING:
            self._arrived(data)
            return
        end = data.find(armed)
        if 0 <= end <= self._limit and end + len(armed) == nbytes:  # One message, as most are.
            self._message = data[:end]
            self._wake(waiter)
        else:
            self.armed = None
            self._arrived(data)

    def _arrived(self, data: bytes) -> None:
        """Take data of any kind."""
        if self._body is not None:
            self._end_body(self._body)
        if self._waiter.state != WAITING:
            self._keep(data)
        elif self._missing:
            self.arrivals.add(data)
            self._missing = max(0, self._missing - len(data))
            if not self._missing:
                self._wake(self._waiter)
        else:
            try:
                if not self.arrivals.split(data):
                    return
            except MessageTooLong as error:
                self._error = error
            self._wake(self._waiter)

    def _body_updated(self, nbytes: int) -> None:
        body = self._body or self._former_body
        assert body is not None, "wanted get_buffer() to be called before buffer_updated()"
        assert body.lent is not None, "wanted get_buffer() to be called before buffer_updated()"
        if body is not self._body or self._waiter.state != WAITING:  # The reader was cancelled.
            data = body.lent[:nbytes].tobytes()
            self._former_body = body.lent = None
            self._arrived(data)
            return
        body.fill(nbytes)
        if not body.missing:
            self._missing = 0
            self._wake(self._waiter)

    def _end_body(self, body: Body) -> None:
        """Put what there is of it to the rest."""
        self._body = None
        self.arrivals.add(body.take())
        if body.lent is not None:
            self._former_body = body

    def eof_received(self) -> bool:
        """The peer sends no more. It may still receive, but not over TLS."""
        self._end()
        return not self._over_tls

    def pause_writing(self) -> None:
        """The transport has enough to send."""
        self.outgoing.pause()

    def resume_writing(self) -> None:
        """The transport takes more to send."""
        self.outgoing.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more goes either way."""
        if self.outgoing.lost:
            return
        self.failure = exc
        self._lent = None
        del _POOL[_POOLED:]
        self.outgoing.lose(exc)
        if self.closed is not None and not self.closed.done():
            self.closed.set_result(None)
        self._end()

    def finish(self) -> None:
        """Begin no further message. What has begun is completed, and bytes that are waited for may come."""
        self._finishing = True
        if self._waiter.state != WAITING:
            self.armed = None
        elif not self._missing and not self.arrivals.gathered().size:
            self._end()

    def _end(self) -> None:
        self.ended, self.armed = True, None
        if self._waiter.state == WAITING:
            self._wake(self._waiter)

    def _wake(self, waiter: Waiter) -> None:
        """Have the reader go on; what it writes leaves when it waits again."""
        if current_task(self.loop) is not None:  # Another one can't run within it.
            self._wake_later(waiter)
            return
        outgoing = self.outgoing
        outgoing.corked = outgoing.open
        waiter.state = IDLE
        try:
            waiter.context.run(waiter.callback, waiter)
        except (KeyboardInterrupt, SystemExit) as error:  # Not every loop lets a protocol end it by these.
            self.loop.call_soon(raise_it, error)
        outgoing.corked = False
        if outgoing.pieces:
            outgoing.flush()

    def _wake_later(self, waiter: Waiter) -> None:
        message, armed = self._message, self.armed
        if message is not None and armed is not None:  # The reader may be cancelled before it has it.
            self._message = self.armed = None
            self.arrivals.split(message + armed)
        waiter.wake_later()

    def _keep(self, data: bytes) -> None:
        arrivals = self.arrivals
        arrivals.keep(data)
        self.armed = None
        if not self._paused and arrivals.size >= self.limits.read_ahead:
            self._paused = True
            self.transport.pause_reading()
