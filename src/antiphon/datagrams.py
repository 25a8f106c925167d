"""Channels of datagrams: UDP, and Unix sockets of type SOCK_DGRAM.

Nothing here is a stream: a datagram of no bytes is one and not the end, the loss of a peer is an error of one
datagram and not of the channel, and what does not fit is dropped or cut, and told.
"""

import errno
import logging
import os
import socket
import sys
from collections import deque
from typing import Any, Final

from antiphon import counting
from antiphon.asyncore import dispatcher
from antiphon.counting import note_messages, note_received, note_sent
from antiphon.endings import ERROR, because
from antiphon.interest import noticed
from antiphon.logs import LimitedLog, name_of

__all__ = ["DatagramChannel"]

_limited: Final = LimitedLog(logging.getLogger("antiphon.datagrams"), burst=10)

#: Datagrams that one event receives or sends at most, so that the other channels have their turn.
_PER_EVENT: Final = 64

#: The system has no room for one more datagram at the moment; send(2).
_FULL: Final = frozenset({errno.ENOBUFS, errno.ENOMEM})

_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


class DatagramChannel(dispatcher):
    """A channel over a datagram socket.

    Abstract: subclasses define `datagram_received`.

        clock = Clock(map=channels)
        clock.create_socket(socket.AF_INET, socket.SOCK_DGRAM)
        clock.bind(("127.0.0.1", 37))

    Args:
        sock: a datagram socket, or None.
        map: where the channel lives; `asyncore.socket_map` if None.

    Attributes:
        max_datagram_size: bytes that are received of one datagram at most; a longer one goes to
            `datagram_truncated`. The default takes any of UDP.
        max_queued: bytes that may wait to be sent, when the system takes no more at the moment.
    """

    max_datagram_size = 65_536
    max_queued = 262_144

    _ac_kind = int(socket.SOCK_DGRAM)
    #: (datagram, address) of those that wait.
    _ac_queue_out: deque[tuple[bytes, Any]]
    _ac_queued = 0

    def _ac_prepare(self) -> None:
        self._ac_queue_out = deque()

    # -- what the program says -----------------------------------------------------------------------

    def create_socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_DGRAM) -> None:
        """Make a non-blocking datagram socket and use it."""
        super().create_socket(family, type)

    def send_datagram(self, data: Any, address: Any = None) -> bool:
        """Send a datagram, now or, when the system takes none, after those that wait.

        Args:
            data: bytes-like; may be empty.
            address: whom to, as `socket.sendto` takes it; None for the one that the channel is connected to.

        Returns:
            False if it was dropped because `max_queued` bytes wait; True does not mean that it arrives.

        Raises:
            TypeError: `data` is something else.
            OSError: it can't be sent: too long (EMSGSIZE), no address and not connected (EDESTADDRREQ), ….
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"wanted bytes-like data, found {type(data).__name__}: {data!r:.60}")
        if not self._ac_queue_out and self._ac_send_one(data, address):
            return True
        datagram = bytes(data)
        if self._ac_queued + len(datagram) > self.max_queued:
            return False
        self._ac_queue_out.append((datagram, address))
        self._ac_queued += len(datagram)
        self._ac_state_changed()
        return True

    @property
    def outgoing(self) -> int:
        """The bytes that wait to be sent."""
        return self._ac_queued

    def handle_connect(self) -> None:
        """Called when `connect` has set the address that datagrams are sent to, and taken from."""

    # -- what the peers say --------------------------------------------------------------------------

    def datagram_received(self, data: bytes, address: Any) -> None:
        """Called with each datagram. Must be overridden.

        Args:
            data: may be empty.
            address: whom it came from; None or "" for a Unix socket without a name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no datagram_received(data, address)")

    def datagram_truncated(self, data: bytes, address: Any) -> None:
        """Called with the beginning of a datagram longer than `max_datagram_size`; by default drops it.

        The rest of it is lost (recv(2), MSG_TRUNC).
        """
        kind = type(self), "truncated"
        message = "%s dropped a datagram of more than %d bytes from %s"
        _limited.log(logging.INFO, kind, message, name_of(self), self.max_datagram_size, address)

    def datagram_failed(self, error: OSError, address: Any) -> None:
        """Called when a datagram could not be sent or delivered; by default notes it. The channel goes on.

        Args:
            error: for example ECONNREFUSED: nobody listens where an earlier one was sent.
            address: whom it was for; None where the system does not tell.
        """
        kind = type(self), error.errno
        message = "%s: a datagram for %s failed: %s"
        _limited.log(logging.DEBUG, kind, message, name_of(self), address, error)

    # -- events --------------------------------------------------------------------------------------

    @noticed
    def readable(self) -> bool:
        """Whether to wait for datagrams. An override is asked in every turn."""
        return not self._ac_reading_paused

    @noticed
    def writable(self) -> bool:
        """Whether datagrams wait to be sent. An override is asked in every turn."""
        return bool(self._ac_queue_out)

    def handle_read(self) -> None:
        """Receive what has arrived, up to 64 datagrams."""
        sock = self._ac_socket
        for _ in range(_PER_EVENT):
            try:
                data, is_truncated, address = _receive(sock, self.max_datagram_size)
            except BlockingIOError:
                return
            except OSError as error:
                self.datagram_failed(error, None)
            else:
                if _observed:
                    note_received(self, len(data))
                    note_messages(self, 1)
                if is_truncated:
                    self.datagram_truncated(data, address)
                else:
                    self.datagram_received(data, address)
            if self._ac_socket is not sock or self.closing or self._ac_reading_paused:
                return

    def handle_write(self) -> None:
        """Send what waits, up to 64 datagrams."""
        sock, queue = self._ac_socket, self._ac_queue_out
        for _ in range(min(_PER_EVENT, len(queue))):
            datagram, address = queue[0]
            try:
                if not self._ac_send_one(datagram, address):
                    return
                self._ac_take_off()
            except OSError as error:
                self._ac_take_off()
                self.datagram_failed(error, address)
                if self._ac_socket is not sock or self.closing:
                    return
        self._ac_state_changed()

    def _ac_take_off(self) -> None:
        datagram, _ = self._ac_queue_out.popleft()
        self._ac_queued -= len(datagram)

    def _ac_send_one(self, data: Any, address: Any) -> bool:
        """Send one datagram; False if the system takes none at the moment."""
        try:
            sent = self.socket.send(data) if address is None else self.socket.sendto(data, address)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        if _observed:
            note_sent(self, sent)
        if self._ac_guard is not None:
            self._ac_guard.sent = self._ac_guard.loop.moment
        return True

    def handle_error(self) -> None:
        """Called while an exception of another handler is being handled; by default reports it.

        One datagram does not end the service of all others; with `survives_errors` set to False it does.
        """
        self._ac_report(sys.exc_info()[1])
        if not self.survives_errors:
            because(ERROR, self, self.close)

    def _ac_hang_up(self, *reason: Any) -> None:
        """An error is pending, as poll(2) tells without saying which: it is one datagram's."""
        try:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError:  # Somebody else has closed the socket.
            super()._ac_hang_up(*reason)
            return
        if number:
            self.datagram_failed(OSError(number, os.strerror(number)), None)

    def _ac_close(self) -> None:
        dispatcher._ac_close(self)
        self._ac_queue_out.clear()
        self._ac_queued = 0


def _receive(sock: Any, size: int) -> tuple[bytes, bool, Any]:
    """(datagram, whether it was cut, address)."""
    if hasattr(sock, "recvmsg"):
        data, _, flags, address = sock.recvmsg(size)
        return data, bool(flags & socket.MSG_TRUNC), address
    try:
        data, address = sock.recvfrom(size)
    except OSError as error:
        if error.errno == errno.EMSGSIZE:  # Windows tells it like this, and nothing else of the datagram.
            return b"", True, None
        raise
    return data, False, address
