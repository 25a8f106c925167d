"""Connections that end one way at a time: who has sent all may still want an answer (shutdown(2))."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from antiphon.endings import PEER
from antiphon.errors import NETWORK_ERRORS

__all__ = ["EndOfOutput", "HalfClosing"]


class HalfClosing:
    """The end of the input, and the end of the output."""

    _ac_socket: Any
    _ac_hung_up: str | None
    _fileno: Any
    _ac_input_ended = False
    _ac_output_ended = False
    #: Whether the loop is to have something delivered that came before the end.
    _ac_goes_on = False
    _ac_has_gone_on: Callable[[], bool]
    _ac_state_changed: Callable[[], None]

    if TYPE_CHECKING:

        def _ac_hang_up(self, reason: str = PEER) -> None: ...

    def handle_eof(self) -> None:
        """Called once, when the peer has stopped sending. By default that is the end: `handle_close`.

        A peer that has sent all may still read. An override that does not close the channel can answer it,
        now or later, and close then: `close_when_done()`. Nothing more is read. That such a peer is gone is
        found by sending to it, or by `idle_timeout`.
        """
        self._ac_hang_up()

    def shutdown_write(self) -> None:
        """Tell the peer that nothing more will be sent, when all that waits has left; it may still send.

        After it nothing may be sent. If the peer has stopped sending too, the connection has ended:
        `handle_close`.

        Raises:
            ValueError: the channel has no socket, or one that was wrapped by hand for TLS.
        """
        self._ac_check_shutdown()
        self._ac_end_output()

    def _ac_check_shutdown(self) -> None:
        sock = self._ac_socket
        if sock is None or not hasattr(sock, "shutdown"):
            raise ValueError(f"wanted a channel with a socket to shut down, found {sock!r:.60}")
        if hasattr(sock, "unwrap"):
            raise ValueError("wanted a connection that can end in one direction, found one of TLS by hand")

    def _ac_end_input(self) -> None:
        """The peer has stopped sending."""
        if self._ac_input_ended or (self._ac_goes_on and not self._ac_has_gone_on()):
            return
        self._ac_input_ended = True
        try:
            self.handle_eof()
        finally:
            if self._fileno is not None and self._ac_input_ended:  # It has no other socket now.
                self._ac_noted_end_of_input()

    def _ac_noted_end_of_input(self) -> None:
        if self._ac_hung_up:  # When that end is noticed again, the channel is closed.
            self._ac_input_ended = False
        elif self._ac_output_ended:
            self._ac_hang_up()
        else:
            self._ac_state_changed()

    def _ac_end_output(self) -> None:
        """All that was to be sent has left."""
        if self._ac_output_ended or self._ac_socket is None:
            return
        self._ac_output_ended = True
        try:
            self._ac_socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in NETWORK_ERRORS:
                raise
            self._ac_input_ended = True  # The connection is gone.
        if self._ac_input_ended:
            self._ac_hang_up()


class EndOfOutput:
    """Stands in a channel's queue behind all that was to be sent before."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def more(self) -> bytes:
        """End the output, and the producer."""
        self._end()
        return b""
