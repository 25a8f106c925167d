"""A channel's end of a connection: its socket, its addresses, and how it comes to be connected."""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable, Hashable
from inspect import getattr_static
from threading import get_ident
from typing import Any, Final, Self

from antiphon.admission import Census, Place, adopt, network_of, unadopted
from antiphon.early import arrival
from antiphon.errors import is_would_block
from antiphon.interest import Watched, noticed, patient, watched
from antiphon.listener import EXHAUSTED, PEER_GONE, Backlog, checked_limit
from antiphon.outbox import DELIVERING
from antiphon.tls import Securing

__all__ = ["CLOSED", "Endpoint", "strerror"]


#: What close(2) may say of a descriptor that it has closed, or that is gone.  It must not be called again.
CLOSED: Final = frozenset({errno.ENOTCONN, errno.EBADF, errno.EINTR, errno.ECONNRESET})
#: The connection is being made.  An interrupted connect(2) goes on (POSIX).
_IN_PROGRESS: Final = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)
#: What Windows says instead.  Elsewhere, EAGAIN is the end of the attempt: the backlog of a Unix socket is
#: full, or no port is left (connect(2)).
_IN_PROGRESS_ON_WINDOWS: Final = (errno.EWOULDBLOCK, errno.EINVAL)


def strerror(number: int) -> str:
    """The system's words for an error number, also for one that it doesn't know."""
    try:
        return os.strerror(number)
    except (ValueError, OverflowError):
        return f"Unknown error {number}"


class Endpoint(Securing):
    """The states of a channel's socket, and what leads from one to the next.

    Attributes:
        socket: the socket, or whatever is used as one. May be replaced at any time.
        addr: the address of the peer, or the one that was bound.
        connected: whether the connection stands.
        connecting: whether it is being made.
        accepting: whether the channel listens.
        closing: whether it was closed.
        tcp_no_delay: whether TCP sends what it is given at once (TCP_NODELAY), rather than after what it has
            sent before was acknowledged; None to leave that as it is. It is read when the channel gets its
            socket.
        max_connections: of a listener, how many of the connections that it accepted may be open at a time.
            When there are as many, the next ones wait in the system's queue. None for any number.
        max_connections_per_peer: how many of them may come from one peer: an IPv4 address, or the first 64
            bits of an IPv6 address. More are accepted and closed. None for any number; peers without such an
            address (Unix sockets) have no limit.
    """

    tcp_no_delay: bool | None = None
    max_connections: int | None = None
    max_connections_per_peer: int | None = None

    closing: bool = False
    addr: Any = None
    family_and_type: tuple[int, int]
    connected: bool = watched(False)
    connecting: bool = watched(False)
    accepting: bool = watched(False)
    reading_paused: bool

    _fileno: Any
    _ac_socket: Any
    _ac_loop: Any
    _ac_cork: int
    _ac_connected: bool
    _ac_connecting = False
    _ac_accepting = False
    _ac_established: bool
    _ac_deaf: bool
    _ac_backlog: Backlog | None = None
    _ac_census: Census | None = None
    #: The searches for a name to connect to that go on.
    _ac_searches: Callable[[], list[Any]]
    _ac_place: Place | None = None
    del_channel: Callable[..., None]
    _ac_paused = False
    #: The thread that has made the socket, until it connects or listens.
    _ac_maker = 0
    _ac_reading_paused: int
    _ac_input_ended = False
    _ac_output_ended = False
    #: Whether its own direction has ended, and it waits for the peer's end.
    _ac_lingers = False
    #: Whether it was closed with something still to send.
    _ac_unsent = False
    #: Whether it was closed, whatever a program says in `closing`; whether what was pushed since was dropped.
    _ac_gone = _ac_push_dropped = False
    #: Whether it has looked a name up to connect to.
    _ac_searched = False
    _ac_telling = False
    _ac_untracked = False
    _ac_connect_failed = False

    #: What `super().__new__` finds: it looks through a dozen classes, for each channel.
    _ac_make: Any = object.__new__
    #: Whether the class has a `connected` of its own.
    _ac_hides_connected = False

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        cls._ac_make = super().__new__
        cls._ac_hides_connected = not isinstance(getattr_static(cls, "connected"), Watched)

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        """Make the state that every channel has, for classes that never call our `__init__`, or late.

        What is used for each event is no class attribute: CPython finds an instance attribute that hides one
        several times slower. It keeps 29 attributes in the object itself, and puts all of them into a
        dictionary of a kilobyte and a half when there are more: those of the program's own count as well.
        """
        make = cls._ac_make
        channel = make(cls) if make is object.__new__ else make(cls, *arguments, **named)
        channel._fileno = channel._ac_socket = channel._ac_loop = channel._ac_guard = None
        channel._ac_connected = channel._ac_established = False
        channel._ac_gone = channel._ac_input_ended = False
        channel._ac_hung_up = None
        channel._ac_cork = 0
        channel._ac_prepare()
        return channel

    def _ac_prepare(self) -> None:
        """Make the state that a kind of channel has besides."""

    def __repr__(self) -> str:
        words = [f"{type(self).__module__}.{type(self).__qualname__}"]
        if self.accepting and self.addr:
            words.append("listening")
        elif self.connected:
            words.append("connected")
        if self.addr is not None:
            try:
                words.append("{}:{:d}".format(*self.addr) if len(self.addr) == 2 else repr(self.addr))
            except (TypeError, ValueError):
                words.append(repr(self.addr))
        return f"<{' '.join(words)} at {id(self):#x}>"

    def _ac_state_changed(self) -> None:
        plain = self._ac_tls is None or self._ac_tls.is_open
        self._ac_established = (
            self._ac_connected and plain and not (self._ac_accepting or self._ac_reading_paused)
        )
        if self._ac_loop is not None:
            self._ac_loop.changed(self._fileno)
        if self._ac_guard is not None:
            self._ac_established = self._ac_established and self._ac_guard.is_quick
            self._ac_do(self._ac_look_at_limits)

    def _ac_flush(self) -> None:
        """Send what was pushed while input is being delivered, before something else takes effect."""

    def _ac_stop_delivering(self) -> None:
        """Hand over nothing more of what is received."""

    def _ac_start_afresh(self) -> None:
        """Forget what became of the sockets before this one, if there were any."""
        if self._ac_hung_up is not None:
            self._ac_forget_socket()
        self._ac_hung_up = ""
        self._ac_deaf = self._ac_reading_paused > 0
        if unadopted:
            adopt(self, self._ac_socket)
        if self._ac_tls is not None or type(self._ac_socket) is not socket.socket or self._ac_tls_wanted:
            self._ac_take_tls_along()
        if (wanted := self.tcp_no_delay) is not None:
            accepted, _, has_it, backlog = arrival.latest
            if accepted is not self._ac_socket:
                has_it, backlog = False, None
            if wanted is not has_it:
                self._ac_set_no_delay(bool(wanted), backlog)

    def _ac_set_no_delay(self, wanted: bool, backlog: Backlog | None) -> None:
        with contextlib.suppress(OSError, AttributeError):  # No TCP, or no socket but what is used as one.
            self._ac_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, wanted)
            if wanted and backlog is not None:
                backlog.give_no_delay()

    def _ac_ask_for_peer(self, sock: Any, map: Any) -> None:
        try:
            self.addr = sock.getpeername()
        except OSError as error:
            # ENOTCONN: not yet connected, or no longer. EINVAL: likewise, on macOS.
            if error.errno not in (errno.ENOTCONN, errno.EINVAL):
                self.del_channel(map)
                raise
            self.connected = False

    def _ac_forget_socket(self) -> None:
        if self.closing and self._ac_reading_paused:
            self._ac_reading_paused, self.reading_paused = 0, False
        self._ac_input_ended = False
        if self._ac_output_ended:
            self._ac_output_ended = False
        if self._ac_ending is not None:
            self._ac_ending = None
        if self.closing or self._ac_backlog is not None or self._ac_gone:
            self.closing = self._ac_paused = self._ac_accept_failed = False
            self._ac_gone = self._ac_push_dropped = False
            self._ac_lingers = self._ac_unsent = False
            self._ac_leave_listener()

    def set_socket(self, sock: Any) -> None:
        """Use `sock` from now on."""
        raise NotImplementedError

    def create_socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM) -> None:
        """Make a non-blocking socket and use it."""
        self.family_and_type = family, type
        sock = self._ac_make_socket(family, type)
        sock.setblocking(False)
        self._ac_maker = get_ident() if type == socket.SOCK_STREAM else 0
        self.set_socket(sock)

    def _ac_make_socket(self, family: int, type: int) -> Any:
        raise NotImplementedError

    def set_reuse_addr(self) -> None:
        """Allow to listen on an address whose last connections are still being wound up, if possible."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def listen(self, num: int) -> None:
        """Accept connections; the system keeps about `num` of them waiting.

        Raises:
            ValueError: `max_connections` or `max_connections_per_peer` is neither None nor an int above 0.
        """
        checked_limit("max_connections", self.max_connections)
        checked_limit("max_connections_per_peer", self.max_connections_per_peer)
        self._ac_queue()  # It opens what it needs, while there are descriptors.
        try:
            self.socket.listen(num)
        finally:  # Not before: another thread's loop would accept.
            self.accepting = True

    def bind(self, addr: Any) -> None:
        """Take the local address `addr`."""
        self.addr = addr
        self.socket.bind(addr)

    def connect(self, address: Any) -> None:
        """Connect to `address`; `handle_connect` follows, now or later.

        Raises:
            OSError: the connection failed at once. No `handle_connect` will follow.
        """
        self.connected = False
        code = self.socket.connect_ex(address)
        # `connecting` not before: another thread's loop would take an unused socket for a connected one.
        if code in _IN_PROGRESS or (sys.platform == "win32" and code in _IN_PROGRESS_ON_WINDOWS):
            self.addr = address
            self.connecting = True
        elif code in (0, errno.EISCONN):
            self.addr = address
            self.connecting = True
            self.handle_connect_event()
        else:
            self.connecting = False
            raise OSError(code, errno.errorcode.get(code, strerror(code)))

    def accept(self) -> tuple[Any, Any] | None:
        """Take a waiting connection: (socket, address), or None if there is none that can be taken.

        When descriptors or memory have run out, the listener rests and tries again.

        Raises:
            OSError: the socket can't accept; the next `handle_error` closes the channel.
        """
        queue, listening = self._ac_backlog or self._ac_queue(), self._ac_socket
        try:
            if self.max_connections is None and self.max_connections_per_peer is None:
                return queue.accept(listening)
            return queue.accept_within_limits(listening)
        except OSError as error:
            if error.errno in PEER_GONE:
                return None
            if error.errno in EXHAUSTED:
                queue.pause(error)
                return None
            self._ac_accept_failed = True
            raise

    def _ac_queue(self) -> Backlog:
        backlog = self._ac_backlog
        if backlog is None:
            self._ac_backlog = backlog = Backlog(self)
        return backlog

    def _ac_leave_listener(self) -> None:
        """Be a listener no more, and no connection that a listener counts."""
        backlog, self._ac_backlog = self._ac_backlog, None
        if backlog is not None:
            backlog.closed()
        place, self._ac_place = self._ac_place, None
        if place is not None:
            place.leave()

    def _ac_counts_for(self, address: Any) -> Hashable | None:
        """The peer that `max_connections_per_peer` counts a connection from `address` for."""
        return network_of(address)

    # -- events --------------------------------------------------------------------------------------

    @patient
    def handle_read_event(self) -> None:
        """Called by the loop when the socket can be read from; calls the handler for what that means."""
        if self._ac_established:
            self.handle_read()
        elif self._ac_reading_paused and (self._ac_tls is None or self._ac_tls.is_open):
            return  # Paused since the event was reported.
        elif self._ac_accepting or self.accepting:
            self.handle_accept()
        elif (self.connected or not self.connecting or self._ac_connect()) and (
            self._ac_tls is None or self._ac_tls.read_event(self)
        ):
            if self._ac_guard is not None:
                self._ac_guard.heard = self._ac_guard.loop.moment
            self.handle_read()

    @noticed
    def handle_write_event(self) -> None:
        """Called by the loop when the socket can be written to; calls the handler for what that means."""
        if self.accepting:
            return
        if (self.connected or not self.connecting or self._ac_connect()) and (
            self._ac_tls is None or self._ac_tls.write_event(self)
        ):
            self.handle_write()

    def _ac_connect(self) -> bool:
        """Make the connection; whether the channel is still open after that."""
        fd = self._fileno
        self._ac_connect_failed = False
        self.handle_connect_event()
        return self._fileno is fd and not self.closing and not self._ac_connect_failed

    def handle_connect_event(self) -> None:
        """Called when an attempt to connect has come to its end.

        Raises:
            OSError: it failed.
        """
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._ac_fail_to_connect(OSError(code, strerror(code)))
            return
        if self._ac_telling:  # It runs the loop, and is not called again for that.
            return
        self._ac_telling = True
        if self._ac_guard is not None:
            self._ac_guard.made_connection()
        try:
            self.handle_connect()
        except BaseException as error:
            if not is_would_block(error):  # A handshake is called again until it is through.
                self._ac_made()
            raise
        else:
            self._ac_made()
        finally:
            self._ac_telling = False

    def _ac_made(self) -> None:
        if not self.closing:
            self.connected = True
            self.connecting = False
            if self._ac_tls is not None:
                self._ac_tls.begin(self)

    def handle_connect_failed(self, error: OSError) -> None:
        """Called when a connection could not be made. By default raises the error, for `handle_error`.

        The channel is closed after that, unless it was given another socket, as `create_socket` does, or
        connects to a name.

        Args:
            error: why; a `ConnectFailed`, with the error of each address, where a name was looked up.
        """
        try:
            raise error
        finally:
            del error  # Its traceback has this frame: the channel would live until the cyclic collector runs.

    def _ac_fail_to_connect(self, error: OSError) -> None:
        self._ac_connect_failed = True
        sock = self._ac_socket
        try:
            self.handle_connect_failed(error)
        finally:
            del error
        if self._ac_socket is sock and not self.closing and not self._ac_searches():
            self.close()

    @noticed
    def handle_expt_event(self) -> None:
        """Called by the loop when out-of-band data has arrived or an error is pending."""
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._ac_hang_up()
        else:
            self.handle_expt()

    def handle_accept(self) -> None:
        """Called when connections wait; by default accepts a batch and calls `handle_accepted` for each."""
        self._ac_queue().take(self.handle_accepted)

    def handle_drain(self) -> None:
        """Called when the loop is being drained: the channel is to end, when it has sent what it owes.

        By default a listener is closed, and any other channel as soon as it has nothing to write.
        """
        if self.accepting:
            self.close()
        elif self._ac_loop is not None and self._ac_loop.draining is not None:
            self._ac_loop.draining.close_at_rest(self)

    # The last of the class, since it hides the module of that name from the definitions that follow it.
    @property
    def socket(self) -> Any:
        """The socket, or whatever is used as one.

        Assign another at any time; None for none. Either way, what was pushed before leaves first.
        """
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        return self._ac_socket

    @socket.setter
    def socket(self, sock: Any) -> None:
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        self._ac_socket = sock

    @socket.deleter
    def socket(self) -> None:
        self.socket = None
