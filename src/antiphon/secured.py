"""The TLS of one channel: what it is in the middle of, and whose its events are meanwhile.

The channel's socket is a `Secured`, and so is its `_ac_tls`.  Where the two differ, the program has put
another socket there, and TLS has no say.
"""

import errno
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

from antiphon.channel_socket import ChannelSocket
from antiphon.endings import OWN
from antiphon.errors import WouldBlock
from antiphon.limits import limit_of
from antiphon.outbox import CloseMark, Outbox, ProducerFailed
from antiphon.pollers.base import READ, WRITE
from antiphon.secure_socket import LARGEST_RECORD, LATER

__all__ = ["CLOSE_TIMEOUT", "Secured"]

_log: Final = logging.getLogger("antiphon.tls")

#: What TLS is in the middle of, in the order of a connection's life: waiting for the connection; sending
#: what was pushed before TLS; the handshake; nothing; sending what was pushed before the end of TLS; waiting
#: for the peer's end of TLS, to go on without it, or to close; nothing any more: plain, or failed.
CONNECTING, DRAINING, SHAKING, OPEN, FINISHING, STOPPING, CLOSING, OVER, FAILED = range(9)

#: Phases in which the program has the channel's events.
_HANDED_ON: Final = frozenset({OPEN, OVER, FAILED})
#: Seconds that the end of TLS may take, where the channel says None.
CLOSE_TIMEOUT: Final = 10.0
#: Pieces of what was pushed before TLS, or its end, that one event sends; bytes of one.
_PIECES_PER_EVENT: Final = 16
_PIECE: Final = 4096
_LARGE: Final = 65_536


class Secured(ChannelSocket):
    """A `ChannelSocket` that knows what TLS is in the middle of."""

    __slots__ = ("_before", "_closes", "_phase")

    def __init__(self, channel: Any, sock: Any, context: ssl.SSLContext, **how: Any) -> None:
        super().__init__(channel, sock, context, **how)
        self._phase = CONNECTING
        self._before: Outbox | None = None
        #: Whether the channel is to be closed as soon as TLS stands.
        self._closes = False

    # -- what the channel asks -----------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the program has the events of the channel."""
        return self._phase in _HANDED_ON

    @property
    def is_standing(self) -> bool:
        """Whether the handshake is done, and no end of TLS was asked for or came."""
        return self._phase == OPEN

    @property
    def is_over(self) -> bool:
        """Whether TLS has come to its end, as `stop` asked."""
        return self._phase == OVER

    @property
    def has_promised(self) -> bool:
        """Whether data is on its way that `send` will call sent when it is offered again."""
        return bool(self._promised)

    @property
    def plain(self) -> Any:
        """The socket below."""
        return self._sock

    @property
    def left(self) -> bytes:
        """What has come behind the end of TLS and was not received yet."""
        return bytes(self._kept) if self._phase == OVER else b""

    @property
    def negotiated(self) -> ssl.SSLObject:
        """What knows what was agreed on."""
        return self._object

    def interest(self, channel: Any, wanted: int) -> int:
        """The bits to wait for in place of `wanted`, which is what the channel says."""
        if channel._ac_socket is not self:
            return wanted
        if self._phase == CONNECTING:
            return wanted | WRITE if channel.connected else wanted  # To begin, if nobody has said so.
        if self._phase in (DRAINING, SHAKING, CLOSING):
            wanted = 0 if self._phase == DRAINING else READ
        elif self._more and wanted & READ:
            self._has_more()
        if self._wants_read:
            wanted = READ
        elif self._phase in (FINISHING, STOPPING):
            wanted &= READ
        if self._is_choked:
            wanted &= ~READ
        return wanted | WRITE if self._unsent or self._before is not None else wanted

    def read_event(self, channel: Any) -> bool:
        """Deal with the socket being readable; whether the program is to have that event."""
        phase = self._phase
        if channel._ac_socket is not self or phase in _HANDED_ON or phase in (FINISHING, STOPPING):
            return True
        self._go_on_reading(channel)
        return False

    def write_event(self, channel: Any) -> bool:
        """Deal with the socket being writable; whether the program is to have that event."""
        if channel._ac_socket is not self or self._phase in (OVER, FAILED):
            return True
        if self._phase == OPEN:
            return not self._unsent or self._write_answers(channel)
        if self._phase == CONNECTING:
            self.begin(channel)
        else:
            self._go_on(channel)
        return False

    def _go_on_reading(self, channel: Any) -> None:
        if self._phase == CONNECTING:
            self.begin(channel)
        elif self._phase == SHAKING:
            self._go_on(channel, receive=True)
        elif self._phase == CLOSING and self._has_peer_ended():
            channel._ac_hang_up(OWN)

    def _write_answers(self, channel: Any) -> bool:
        """Send what is kept; whether the program has something to send, too."""
        with suppress(WouldBlock):
            if self._flush_or_fail():
                channel._ac_state_changed()
                return bool(self._promised) or bool(channel.writable())
        return False

    # -- the beginning -------------------------------------------------------------------------------

    def expect(self, received: bytes, before: Outbox | None) -> None:
        """Begin with what was received already; send what was pushed before, without TLS."""
        self._incoming.write(received)
        self._before = before

    def begin(self, channel: Any) -> None:
        """Begin with the handshake, as soon as what was pushed before it has left. Again does nothing."""
        if self._phase == CONNECTING and channel._ac_socket is self:
            self._phase = DRAINING
            self._limit(channel.handshake_timeout)
            self._go_on(channel)

    def begin_for(self, made: Any) -> bool:
        """Begin for the channel that has this, `made` or another; whether one has it, or has closed it."""
        if getattr(made, "_ac_socket", None) is self and made._ac_tls is None:
            self.adopt_tls(made)  # It was put there behind the channel's back.
            made._ac_state_changed()
        channel = self._owner
        if channel.closing:  # It is nobody, or has refused.
            return self.fileno() < 0
        if channel.connected:
            self.begin(channel)
        return True

    def _go_on(self, channel: Any, *, receive: bool = False) -> None:
        """Do what can be done now for the phase that this is in."""
        established = False
        try:
            if receive:
                self._receive()
            established = self._advance()
        except BlockingIOError:
            pass
        except ProducerFailed as failure:
            channel._ac_producer_failed(failure.__cause__)
        except OSError as error:
            with suppress(WouldBlock):
                self._fail(error)
        channel._ac_state_changed()
        if established:
            self._established(channel)

    def _advance(self) -> bool:
        """Go on; whether the handshake is done by this."""
        if self._phase == DRAINING and self._drain(self._sock.send):
            self._phase = SHAKING
        if self._phase == SHAKING:
            return self._shake_hands()
        if self._phase == FINISHING:
            self._finish()
        elif self._phase != DRAINING:
            self._flush()
        return False

    def _receive(self) -> None:
        data = self._sock.recv(LARGEST_RECORD)
        if not data:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer closed the connection in the handshake")
        self._incoming.write(data)

    def _drain(self, send: Callable[[Any], int]) -> bool:
        """Send what was pushed before; whether all of it has left."""
        before = self._before
        for _ in range(_PIECES_PER_EVENT):
            piece = None if before is None else before.next_piece(_PIECE, _LARGE)
            if piece is None or isinstance(piece, CloseMark):
                self._closes = self._closes or piece is not None
                self._before = None
                return True
            assert before is not None
            sent = 0
            try:
                sent = send(piece)
            finally:
                before.put_back(piece, sent)
            if sent < len(piece):
                break
        return False

    def _established(self, channel: Any) -> None:
        self._phase = OPEN
        self._rest()
        channel._ac_state_changed()
        channel._ac_tls_established()
        if self._closes and not channel.closing and not self.shut_down(channel):
            channel._ac_hang_up(OWN)

    # -- the end -------------------------------------------------------------------------------------

    def shut_down(self, channel: Any) -> bool:
        """Tell the peer that nothing follows; whether its answer, or the handshake, is waited for.

        If so, the channel hangs up then, or when it has taken too long.
        """
        if channel._ac_socket is not self or self._phase > OPEN:
            return False
        if self._phase < OPEN:
            self._closes = True
            return True
        self._phase = CLOSING
        _, ended = self._read_rest()
        self._say_goodbye()
        if ended:
            return False
        self._limit(min(CLOSE_TIMEOUT, _seconds_to_close(channel)))  # All that was to be sent was taken.
        channel._ac_state_changed()
        return True

    def _has_peer_ended(self) -> bool:
        """Whether the peer's end has come, of TLS or of the connection; what comes before it is dropped."""
        try:
            data = self._sock.recv(LARGEST_RECORD)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if not data:
            return True
        self._incoming.write(data)
        return self._read_rest()[1]

    def stop(self, channel: Any, before: Outbox | None) -> None:
        """Go back to plain, when `before` has left and the peer has ended TLS, too."""
        self._phase, self._before, self._writes = FINISHING, before, False
        self._limit(_seconds_to_close(channel))
        self._go_on(channel)

    def _finish(self) -> None:
        """Send what was pushed before the end of TLS, and that end."""
        self._writes = True
        try:
            if not self._drain(self.send):
                return
        finally:
            self._writes = False
        self._phase = STOPPING
        self._kept, ended = self._read_rest()
        self._say_goodbye()
        self._more = bool(self._kept)
        if ended:
            self._stopped()

    def _read_rest(self) -> tuple[bytes, bool]:
        """What can be decrypted of what was received, and whether TLS has ended there."""
        pieces: list[bytes] = []
        try:
            while piece := self._object.read(LARGEST_RECORD):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces), False
        except ssl.SSLError:
            pass  # Its close_notify, or nothing that can be gone on with.
        return b"".join(pieces), True

    def _ended(self) -> bytes:
        if self._phase != STOPPING:
            return super()._ended()
        self._stopped()
        raise WouldBlock(*LATER)

    def _stopped(self) -> None:
        """Go on without TLS; what was received behind its end comes first."""
        self._phase = OVER
        self._rest()
        self._reads = False
        self._kept = bytes(self._kept) + self._incoming.read()
        self._more = bool(self._kept)
        self._let_go()
        self._changed()
        self._owner.handle_tls_stopped()

    def _let_go(self) -> None:
        """Give the channel its socket back, when nothing is left of TLS."""
        channel = self._owner
        if not self._kept and not self._unsent and channel._ac_socket is self:
            channel._ac_tls, channel._ac_socket = None, self._sock

    def close(self) -> None:
        """Close the socket below, after a close_notify if the system takes one now."""
        self._rest()
        super().close()

    # -- in place of what a SecureSocket does --------------------------------------------------------

    def _recv_otherwise(self, size: int) -> bytes:
        if self._phase == OVER:
            data: bytes = self._recv_kept(size) if self._kept else self._sock.recv(size)
            self._let_go()
            return data
        if not self._reads:  # The channel's handle_read_event() is the program's own.
            self._go_on_reading(self._owner)
            raise WouldBlock(*LATER)
        return super()._recv_otherwise(size)

    def _send_kept(self, data: Any) -> int | None:
        if self._phase == FAILED:
            raise BrokenPipeError(errno.EPIPE, "TLS has failed; nothing can be sent")
        if self._phase != OVER:
            return super()._send_kept(data)
        if not self._flush_or_fail():
            raise BlockingIOError(*LATER)
        self._let_go()
        sent: int = self._sock.send(data)
        return sent

    def _fail(self, error: OSError) -> NoReturn:
        self._phase = FAILED
        self._reads = self._writes = self._more = False
        self._unsent = self._promised = b""
        self._before = None
        self._rest()
        self._owner._ac_tls_failed(self, error)
        raise WouldBlock(*LATER)

    def _timed_out(self) -> None:
        if self._phase == CLOSING:
            _log.debug("%r has not ended TLS within %g s", self._owner, self._seconds)
            self._owner._ac_hang_up(OWN)
            return
        wanted = "the handshake to be done" if self._phase < OPEN else "the peer to end TLS"
        said = f"wanted {wanted} within {self._seconds:g} s, found it pending"
        with suppress(WouldBlock):
            self._fail(TimeoutError(errno.ETIMEDOUT, said))

    # -- another socket ------------------------------------------------------------------------------

    def move_to(self, channel: Any, sock: Any) -> bool:
        """Be what `channel` wanted for its socket before, also for `sock`; whether that is so.

        A channel may get its socket, or another one to connect with, after it has said that it wants TLS.
        """
        if self._phase != CONNECTING:
            return False
        self._sock = sock
        channel._ac_socket = self
        return True


def _seconds_to_close(channel: Any) -> float:
    seconds: float | None = limit_of(channel, "close_timeout")
    return CLOSE_TIMEOUT if seconds is None else seconds
