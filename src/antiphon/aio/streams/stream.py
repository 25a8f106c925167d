"""ChatStream: a connection that a coroutine reads messages from and writes to."""

import asyncio
import ssl
import warnings
from types import TracebackType
from typing import Any, Self

from antiphon.aio.streams.incoming import Incoming
from antiphon.aio.streams.reader import Reader
from antiphon.aio.streams.writer import Writer
from antiphon.errors import PlaintextReceived, is_network_error

__all__ = ["ChatStream"]


class ChatStream(Reader, Writer):
    """A connection, as `open_connection` makes it and the handler of `start_server` gets it.

    As an asynchronous context manager it closes itself, and waits until it is closed; at once, without
    sending the rest, if the task is cancelled.
    """

    def __init__(self, incoming: Incoming) -> None:
        Reader.__init__(self, incoming)
        Writer.__init__(self, incoming.outgoing)

    @property
    def transport(self) -> asyncio.Transport:
        """What asyncio calls so: the connection itself."""
        return self._incoming.transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows: "peername", "socket", "ssl_object" and more."""
        try:
            return self._incoming.transport.get_extra_info(name, default)
        except AttributeError:  # uvloop's, when the socket is closed.
            return default

    # -- closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close, once all that was written is sent. What has arrived can still be read."""
        self._outgoing.shut()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._incoming.transport.is_closing()

    async def wait_closed(self) -> None:
        """Wait until it is closed.

        Raises:
            OSError: the connection was lost by this, before it was closed.
        """
        incoming = self._incoming
        if not incoming.outgoing.lost:
            if incoming.closed is None:
                incoming.closed = incoming.loop.create_future()
            await asyncio.shield(incoming.closed)
        if incoming.failure is not None:
            raise incoming.failure

    def abort(self) -> None:
        """Close at once: what was not sent is lost."""
        self._outgoing.drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self.abort()
        self.close()
        try:
            await self.wait_closed()
        except OSError as failure:
            if not is_network_error(failure):
                raise

    def __del__(self) -> None:
        incoming = self._incoming
        if incoming.outgoing.lost or incoming.transport.is_closing():
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self)
        if not incoming.loop.is_closed():
            self.abort()

    def __repr__(self) -> str:
        incoming = self._incoming
        state = "lost" if incoming.outgoing.lost else "closing" if self.is_closing() else "open"
        return f"<{type(self).__name__} {state} peer={self.get_extra_info('peername')!r}>"

    # -- TLS -------------------------------------------------------------------------------------------

    async def start_tls(
        self,
        sslcontext: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """Speak TLS from now on, behind what was written.

        The server's side is that of `start_server`. What a peer has sent in the clear, behind the command
        that asks for TLS, must not count as sent under it (RFC 3207, section 6); this closes the connection.

        Args:
            sslcontext: of the right side.
            server_hostname: what the server's certificate is checked for; None where there is nothing to
                check, or on the server's side.
            ssl_handshake_timeout: seconds that the handshake may take; 60 if None.
            ssl_shutdown_timeout: seconds that the end may take; 30 if None.

        Raises:
            PlaintextReceived: the peer has sent something in the clear. The connection is closed.
            ConnectionAbortedError: the handshake took too long.
            ssl.SSLError: the handshake failed. The connection is closed.
            RuntimeError: another task waits for input.
        """
        incoming = self._incoming
        if not incoming.server_side and sslcontext.check_hostname and not server_hostname:
            raise ValueError("wanted server_hostname, for which the context checks certificates; found none")
        if self.is_closing():
            raise ConnectionResetError("wanted an open connection to start TLS on, found it closed")
        incoming.transport.pause_reading()
        self._outgoing.flush()
        self._refuse_plain_text()
        try:
            transport = await incoming.loop.start_tls(
                incoming.transport,
                incoming,
                sslcontext,
                server_side=incoming.server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
            if transport is None:
                raise ConnectionResetError("wanted a TLS handshake, found the connection lost")
        except BaseException as error:
            self.abort()
            incoming.connection_lost(error if isinstance(error, Exception) else None)
            raise
        incoming.use_transport(transport)

    def _refuse_plain_text(self) -> None:
        found = self._arrivals.take_rest()
        if found:
            self.abort()
            raise PlaintextReceived(found)
