"""TLS for any channel: on a connection that stands, on one that is being made, and back to plain again.

`ssl` is imported when TLS is first asked for.
"""

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from antiphon.endings import OWN, PEER, TIMEOUT, because
from antiphon.errors import PlaintextReceived
from antiphon.limits import Limited, computed
from antiphon.logs import LimitedLog
from antiphon.outbox import DELIVERING, Outbox
from antiphon.tls_causes import cause_of, is_end

if TYPE_CHECKING:
    import ssl

    from antiphon.secured import Secured

__all__ = ["Securing"]

#: Lines of one kind in a second at most: a peer decides how many there are.
_BURST: Final = 10
#: What was pushed until now is what leaves before TLS.
_QUEUED: Final = object()
_log: Final = LimitedLog(logging.getLogger("antiphon.tls"), burst=_BURST)


class Securing(Limited):
    """What a channel has of TLS.

    Attributes:
        handshake_timeout: seconds that a handshake may take, from when the connection stands; None for ever.
    """

    handshake_timeout: float | None = 60.0

    closing: bool
    connected: Any
    addr: Any
    coalesce_pushes: bool
    _ac_socket: Any
    _ac_cork: int
    _ac_tls: "Secured | None" = None
    #: What `start_tls` was given by a channel without a socket.
    _ac_tls_wanted: dict[str, Any] | None = None
    _ac_flush: Callable[[], None]

    # -- what the program says -----------------------------------------------------------------------

    def start_tls(
        self,
        context: "ssl.SSLContext | bool | None" = None,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        session: "ssl.SSLSession | None" = None,
        received_is_tls: bool = False,
        used: int | None = None,
    ) -> None:
        """Speak TLS from now on. `handle_tls_established` or `handle_tls_error` follows.

        What was pushed before leaves without it; what is pushed, or sent, from now on waits for the
        handshake. A channel that is not connected yet begins when it is; one that has no socket yet, when it
        has got one, too.

        Args:
            context: what it says is done. None, or True: a client's default, which verifies the peer's
                certificate and its name.
            server_side: whether this is the side of the server.
            server_hostname: a client's name of the server: for SNI, and to be checked.
            session: of an earlier connection with the same context (`tls_session`), to be resumed.
            received_is_tls: whether what was received, and not delivered, is the beginning of the
                handshake. Otherwise it is an attack or a mistake (CVE-2011-0411), and ends the connection:
                it would be taken for something that came through TLS.
            used: inside of a `messages_received` of one's own, how many of its messages were used: none may
                be behind these. Without it, none may be behind the first.

        Raises:
            TypeError: `context` is something else, or the channel's socket is.
            ValueError: the context can't do what is wanted, such as to check the name of a server that has
                none; or `used` is not 0 to the number of messages.
            RuntimeError: the channel speaks TLS already, or listens.
        """
        self._ac_start_tls(
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            session=session,
            received_is_tls=received_is_tls,
            used=used,
        )

    def stop_tls(self) -> None:
        """Go back to plain, as CCC of FTP does (RFC 4217, section 12.3); `handle_tls_stopped` follows.

        What was pushed before leaves by TLS, and is followed by its close_notify; what is pushed from now on
        waits for that of the peer.

        Raises:
            RuntimeError: there is no TLS, or what `send` was given has not left yet.
        """
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        tls = self._ac_tls
        if self.closing:
            return
        if tls is None or tls is not self._ac_socket or not tls.is_standing:
            raise RuntimeError(f"wanted a channel whose TLS stands, found {self!r}")
        before = self._ac_take_output()
        if before is None and tls.has_promised:
            raise RuntimeError("wanted all that send() was given to have left before the end of TLS")
        tls.stop(self, before)

    @computed
    def alpn(self) -> str | None:
        """The protocol that was agreed on (ALPN, RFC 7301); None if there is none."""
        tls = self._ac_tls
        return None if tls is None else tls.negotiated.selected_alpn_protocol()

    @computed
    def tls_session(self) -> "ssl.SSLSession | None":
        """A client's session, for the `session` of another connection; None until the handshake is done.

        With TLS 1.3 a server sends what is needed for that after the handshake: ask when something was
        received.
        """
        tls = self._ac_tls
        if tls is None or tls.negotiated.version() is None:  # OpenSSL fails to copy half of a session.
            return None
        return tls.negotiated.session

    # -- what the channel is told --------------------------------------------------------------------

    def handle_tls_established(self) -> None:
        """Called when the handshake is done. Meant to be overridden."""

    def handle_tls_stopped(self) -> None:
        """Called when TLS has ended as `stop_tls` asked, and the channel is plain again."""

    def handle_tls_error(self, error: OSError | PlaintextReceived) -> None:
        """Called once, when TLS has failed; by default reports it. `handle_close` follows.

        The report has no traceback, and goes to the logger `antiphon.tls`, at level INFO; at DEBUG if the
        handshake was done and the connection has merely ended without a close_notify, as many do: of one
        kind 10 lines a second at most. A class with its own `log_info` gets it there, each time.

        Args:
            error: `ssl.SSLCertVerificationError`, `ssl.SSLEOFError` for a connection that has ended without
                a close_notify, other `ssl.SSLError`s; OSError where the connection is lost; TimeoutError;
                `antiphon.errors.PlaintextReceived`.
        """
        cause = cause_of(error)
        message = f"{type(self).__name__} with {self.addr!r}: TLS: {cause}"
        if self._ac_has_own_log_info():
            self.log_info(message, "info")
        else:
            tls = self._ac_tls
            stood = tls is not None and tls.negotiated.version() is not None
            level = logging.DEBUG if stood and is_end(error) else logging.INFO
            _log.log(level, (type(self), type(error), cause), "%s", message)

    # -- underneath ----------------------------------------------------------------------------------

    def _ac_start_tls(
        self,
        context: Any = None,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        received_is_tls: bool = False,
        used: int | None = None,
        before: Any = _QUEUED,
        **how: Any,
    ) -> None:
        from antiphon.secured import Secured
        from antiphon.tls_contexts import checked_context

        checked = checked_context(context, server_side=server_side, server_hostname=server_hostname)
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        if self._ac_socket is None:
            sides = {"server_side": server_side, "server_hostname": server_hostname}
            first = self._ac_take_output() if before is _QUEUED else before
            self._ac_tls_wanted = {"context": checked, "before": first, **sides, **how}
            return
        if self.closing:  # The connection was found lost.
            return
        sock = self._ac_plain_socket()
        tls = Secured(self, sock, checked, server_side=server_side, server_hostname=server_hostname, **how)
        received = self._ac_undelivered(used)
        if received and not received_is_tls:
            self._ac_tls_failed(None, PlaintextReceived(received))
            return
        self._ac_drop_undelivered()
        tls.expect(received, self._ac_take_output() if before is _QUEUED else before)
        self._ac_tls = self._ac_socket = tls
        self._ac_state_changed()
        if self.connected:
            tls.begin(self)

    def _ac_plain_socket(self) -> Any:
        """The socket, of which it is certain that TLS can be spoken over it."""
        import ssl

        sock, tls = self._ac_socket, self._ac_tls
        if self.accepting:
            raise RuntimeError(f"wanted a connection to speak TLS over, found a listener: {self!r}")
        if isinstance(sock, ssl.SSLSocket) or (tls is sock and not tls.is_over):
            raise RuntimeError(f"wanted a channel without TLS, found {self!r}")
        if getattr(sock, "type", socket.SOCK_STREAM) != socket.SOCK_STREAM:
            raise TypeError(f"wanted a stream socket to speak TLS over, found {sock!r}")
        return tls.plain if tls is sock else sock

    def _ac_tls_established(self) -> None:
        """Tell the program; what it pushes then leaves together."""
        corks = not self._ac_cork and getattr(self, "coalesce_pushes", False)
        if corks:
            self._ac_cork = DELIVERING
        try:
            self.handle_tls_established()
        finally:
            if corks:
                self._ac_cork = 0
            self._ac_flush()

    def _ac_tls_failed(self, tls: Any, error: OSError | PlaintextReceived) -> None:
        """Tell the program, and hang up. Nothing, if its socket is another one by now."""
        if self.closing or (tls is not None and tls is not self._ac_socket):
            return
        reason = TIMEOUT if isinstance(error, TimeoutError) else PEER
        try:
            because(reason, self, self.handle_tls_error, error)
        finally:
            if not self.closing:
                self._ac_hang_up(reason)

    def _ac_finish(self) -> None:
        """Hang up, if nothing more is to be sent: under TLS when the peer knows."""
        if self._ac_tls is None or not self._ac_tls.shut_down(self):
            self._ac_hang_up(OWN)

    def _ac_take_tls_along(self) -> None:
        """Have TLS that was asked for concern a new socket, or take over that of another channel."""
        sock, tls, wanted = self._ac_socket, self._ac_tls, self._ac_tls_wanted
        if wanted is not None:
            self._ac_tls_wanted = None
            self._ac_start_tls(**wanted)
            return
        if tls is not None and tls is not sock and not tls.move_to(self, sock):
            self._ac_tls = tls = None
        adopt = getattr(sock, "adopt_tls", None)
        if adopt is not None and tls is not sock:
            adopt(self)

    def _ac_undelivered(self, used: int | None = None) -> bytes:
        """What was received and not handed over, behind the first `used` messages that were."""
        return b"" if self._ac_tls is None else self._ac_tls.left

    def _ac_drop_undelivered(self) -> None:
        """Drop that; the handshake has it."""

    def _ac_take_output(self) -> Outbox | None:
        """Take what is queued to be sent."""
        return None
