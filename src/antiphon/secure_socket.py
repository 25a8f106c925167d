"""TLS with the face of a socket: encrypts what is sent and decrypts what is received, and never waits.

Over any socket that does not block, or what stands in for one.  OpenSSL is given bytes, not the descriptor:
what was received before TLS began can be part of the handshake, what follows the end of TLS is not lost, and
a packet is one recv(2), not one for each header and one for each body.

Knows no channel and no loop; `secured.py` does.
"""

import errno
import os
import socket
import ssl
from contextlib import suppress
from typing import Any, Final, NoReturn

from antiphon.errors import WouldBlock
from antiphon.outbox import LARGEST_PIECE

__all__ = ["LARGEST_RECORD", "LATER", "SecureSocket"]

#: Bytes: the largest record is of 16,384 bytes of data (RFC 8446, section 5.1) and up to 2,053 besides (RFC
#: 5246, section 6.2.3).  A smaller recv(2) than that would cut most of a large transfer's in two.
LARGEST_RECORD: Final = 18_437
_LARGEST_DATA: Final = 16_384
#: What the records of one large read need besides the data.
_OVERHEAD: Final = 4096
#: Bytes encrypted at once: four records.  The buffers of a connection stay as large as they once were.
_LARGEST_WRITE: Final = 65_536
#: Bytes of answers that a peer may have OpenSSL queue (to KeyUpdate, say) without reading them.
_MOST_ANSWERS: Final = 16_384

#: What is raised where there is nothing to wait for.
LATER: Final = (errno.EAGAIN, os.strerror(errno.EAGAIN))
_TRUNCATED: Final = "the connection ended without close_notify: what was received may be incomplete"


class SecureSocket:
    """A TLS connection over `sock`.

    Args:
        sock: what carries the records.
        context: of the side that this is.
        how: as `SSLContext.wrap_bio` takes it.
    """

    __slots__ = (
        "__weakref__",
        "_error",
        "_incoming",
        "_kept",
        "_more",
        "_object",
        "_outgoing",
        "_promised",
        "_reads",
        "_sock",
        "_unsent",
        "_wants_read",
        "_writes",
    )

    def __init__(self, sock: Any, context: ssl.SSLContext, **how: Any) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object: ssl.SSLObject = context.wrap_bio(self._incoming, self._outgoing, **how)
        #: Whether data can come, and whether it can be sent: after the handshake, before the end.
        self._reads = self._writes = False
        #: Whether `recv` has, or may have, something to give before anything else is received.
        self._more = False
        #: What the system has not taken yet.
        self._unsent: bytes | memoryview = b""
        #: What is encrypted in there, and `send` has not said of that it was sent.
        self._promised = b""
        #: Whether OpenSSL can write only after it has read (a renegotiation of TLS 1.2).
        self._wants_read = False
        #: What was decrypted and not received.
        self._kept: bytes | memoryview = b""
        #: What came behind the data that was returned last.
        self._error: OSError | None = None

    # -- what a channel calls ------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes of data; b"" when the peer has ended TLS by its close_notify.

        Raises:
            WouldBlock: nothing is there; or the connection has failed, which was told.
        """
        if self._more or not self._reads:
            return self._recv_otherwise(size)
        try:
            data = self._sock.recv(LARGEST_RECORD if size <= LARGEST_RECORD else size + _OVERHEAD)
        except BlockingIOError:
            raise
        except OSError as error:
            self._fail(error)
        if not data:
            self._fail(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, _TRUNCATED))
        self._incoming.write(data)
        return self._decrypt(size)

    def send(self, data: Any) -> int:
        """Send of `data` what the system takes; how many bytes of it that were.

        What was encrypted and not taken leaves before anything else. Offer the same bytes again: they count
        as sent when the system has taken all that they were encrypted to.

        Raises:
            BlockingIOError: none.
        """
        if self._unsent or self._promised or not self._writes:
            kept = self._send_kept(data)
            if kept is not None:
                return kept
        if type(data) is bytes and len(data) <= _LARGEST_WRITE:
            return self._send_piece(data)
        view, sent = memoryview(data).cast("B"), 0
        while sent < len(view):
            try:
                sent += self._send_piece(view[sent : sent + _LARGEST_WRITE])
            except BlockingIOError:
                if not sent:
                    raise
                break
            if self._promised or sent >= LARGEST_PIECE:
                break
        return sent

    def shutdown(self, how: int) -> None:
        """As that of a socket. With TLS, the end of the output is a close_notify (RFC 8446, section 6.1).

        Raises:
            OSError: the connection is lost, or was not there.
        """
        if how != socket.SHUT_RD and self._writes:
            self._say_goodbye()
        if not self._unsent:
            self._sock.shutdown(how)

    def close(self) -> None:
        """Close the socket below, after a close_notify if the system takes one now."""
        if self._reads:
            self._say_goodbye()
        self._reads = self._more = False
        self._sock.close()

    # -- receiving -----------------------------------------------------------------------------------

    def _recv_otherwise(self, size: int) -> bytes:
        """As `recv`, where there is something left from before, or TLS does not stand."""
        if not self._more:
            raise WouldBlock(*LATER)
        if self._kept:
            return self._recv_kept(size)
        self._more = False
        if self._error is not None:
            self._fail(self._error)
        return self._decrypt(size)

    def _recv_kept(self, size: int) -> bytes:
        data, self._kept = bytes(self._kept[:size]), memoryview(self._kept)[size:]
        self._more = bool(self._kept or self._incoming.pending or self._object.pending())
        if self._more:
            self._has_more()
        return data

    def _decrypt(self, size: int) -> bytes:
        try:
            data = self._object.read(size if size < _LARGEST_DATA else _LARGEST_DATA)
        except ssl.SSLWantReadError:
            self._answer()
            raise WouldBlock(*LATER) from None
        except ssl.SSLZeroReturnError:
            return self._ended()
        except ssl.SSLError as error:
            self._try_to_flush()  # The alert.
            self._fail(error)
        if not data:
            return self._ended()
        if self._incoming.pending or self._object.pending():
            data = self._decrypt_more(data, size)
        if self._outgoing.pending or self._wants_read:
            self._answer()
        return data

    def _decrypt_more(self, data: bytes, size: int) -> bytes:
        """Add to `data` what else is there, up to `size` bytes."""
        read, pieces, left = self._object.read, [data], size - len(data)
        self._more = True
        try:
            while left:
                piece = read(left if left < _LARGEST_DATA else _LARGEST_DATA)
                if not piece:
                    break
                pieces.append(piece)
                left -= len(piece)
            else:
                if self._incoming.pending < LARGEST_RECORD and not self._object.pending():
                    # Most often the beginning of a record, which OpenSSL keeps: there is nothing to be had.
                    self._kept = read(_LARGEST_DATA)
        except ssl.SSLWantReadError:
            self._more = False
        except ssl.SSLZeroReturnError:
            pass  # It says so again.
        except ssl.SSLError as error:
            self._error = error
        if self._more:
            self._has_more()
        return b"".join(pieces) if len(pieces) > 1 else data

    def _answer(self) -> None:
        """Send what OpenSSL has to say to what it has read; writing that waited for it is tried again."""
        before = bool(self._unsent), self._wants_read
        self._wants_read = False
        try:
            self._flush()
        except OSError:
            self._unsent = b""  # The next recv() finds out.
        if (bool(self._unsent), False) != before:
            self._changed()

    @property
    def _is_choked(self) -> bool:
        """Whether the peer makes OpenSSL answer, and doesn't read the answers."""
        return len(self._unsent) - len(self._promised) > _MOST_ANSWERS

    # -- sending -------------------------------------------------------------------------------------

    def _send_kept(self, data: Any) -> int | None:
        """Send what is kept; how much of `data` that was, None if it is still to be sent."""
        if not self._writes or not self._flush_or_fail():
            raise BlockingIOError(*LATER)
        promised, self._promised = self._promised, b""
        offered = bytes(memoryview(data).cast("B")[: len(promised)])
        if promised.startswith(offered):
            self._promised = promised[len(offered) :]  # A program may offer less than the last time.
            return len(offered) if promised else None
        return None  # The program has changed its mind; what is on its way has left.

    def _send_piece(self, data: bytes | memoryview) -> int:
        """Encrypt and send; how much of it was sent."""
        if not data:
            return 0
        written = self._encrypt(data)
        if self._flush_or_fail():
            return written
        self._promised = bytes(data[:written])  # It may be the program's buffer.
        raise BlockingIOError(*LATER)

    def _encrypt(self, data: bytes | memoryview) -> int:
        """Have OpenSSL encrypt `data`; how much of it that was."""
        try:
            return self._object.write(data)
        except ssl.SSLWantReadError:
            self._wants_read = True
            self._changed()
            self._flush_or_fail()
            raise BlockingIOError(*LATER) from None
        except ssl.SSLError as error:
            self._fail(error)

    def _flush_or_fail(self) -> bool:
        try:
            return self._flush()
        except OSError as error:
            self._fail(self._alert_or(error))

    def _flush(self) -> bool:
        """Send what is encrypted; whether the system has taken all of it.

        Raises:
            OSError: the connection is lost.
        """
        data: bytes | memoryview = self._unsent
        if self._outgoing.pending:
            made = self._outgoing.read()
            data = b"".join((data, made)) if data else made
        if not data:
            return True
        self._unsent = data
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return False
        if sent == len(data):
            self._unsent = b""
            return True
        self._unsent = memoryview(data)[sent:]
        self._progressed()
        return False

    def _alert_or(self, error: OSError) -> OSError:
        """The alert by which the peer says why it has hung up, if it has arrived; else `error`."""
        try:
            self._incoming.write(self._sock.recv(LARGEST_RECORD))
            while self._object.read(LARGEST_RECORD):
                pass
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as alert:
            return alert
        except OSError:
            pass
        return error

    # -- beginning and end ---------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        """Go on with the handshake as far as what was received goes; whether it is done.

        Raises:
            ssl.SSLError: it has failed. The peer was told.
            OSError: the connection is lost.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            self._try_to_flush()
            raise
        self._flush()
        self._reads = self._writes = True
        self._more = self._incoming.pending > 0
        return True

    def _say_goodbye(self) -> None:
        """Send close_notify, as far as the system takes it. Nothing can be sent after it."""
        self._writes = False
        with suppress(ssl.SSLError):  # The peer's has not arrived, or there was no connection any more.
            self._object.unwrap()
        self._try_to_flush()

    def _try_to_flush(self) -> None:
        try:
            self._flush()
        except OSError:
            self._unsent = b""

    # -- what a subclass makes of it -----------------------------------------------------------------

    def _has_more(self) -> None:
        """Called when `recv` leaves something that can be had without waiting."""

    def _progressed(self) -> None:
        """Called when the system has taken some of what is encrypted, and not all."""

    def _changed(self) -> None:
        """Called when another event is to be waited for."""

    def _ended(self) -> bytes:
        """Called when the peer's close_notify has come; what `recv` returns."""
        self._more = True  # It says so again.
        return b""

    def _fail(self, error: OSError) -> NoReturn:
        """Called when the connection has failed."""
        raise error

    # -- what else a socket is asked -----------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor; -1 when closed."""
        descriptor: int = self._sock.fileno()
        return descriptor

    def __getattr__(self, name: str) -> Any:
        if name in _OF_THE_SOCKET:
            return getattr(self._sock, name)
        if name in _OF_TLS:
            return getattr(self._object, name)
        raise AttributeError(f"a {type(self).__name__} has no {name!r}")

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._object.version() or 'without a version yet'} over {self._sock!r}>"
        )


#: What concerns the connection below, but none of its bytes.
_OF_THE_SOCKET: Final = frozenset(
    "bind connect connect_ex family getblocking getpeername getsockname getsockopt gettimeout ioctl"  # noqa: SIM905
    " proto setblocking setsockopt settimeout type".split()
)
#: What SSLObject knows.
_OF_TLS: Final = frozenset(
    "cipher compression context get_channel_binding get_unverified_chain get_verified_chain"  # noqa: SIM905
    " getpeercert group selected_alpn_protocol server_hostname server_side session session_reused"
    " shared_ciphers sigalg version".split()
)
