"""Connecting to a host by its name: every address that it has, by Happy Eyeballs version 2 (RFC 8305).

The addresses are tried in turns of their families, the next one after a quarter of a second or as soon as one
has failed; the first that answers is used and the others are given up.  The attempts are entries of the
channel's map of their own; the channel gets the socket of the one that has won.
"""

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from antiphon.endpoint import Endpoint, strerror
from antiphon.errors import ConnectFailed
from antiphon.failures import ESCAPING, contain
from antiphon.guard import tell_of_timeout
from antiphon.limits import limit_of
from antiphon.loop import Loop
from antiphon.maps import loop_of
from antiphon.resolving import Address, interleaved, is_name, resolve
from antiphon.timers import Timer

if TYPE_CHECKING:
    import ssl

__all__ = ["ATTEMPT_DELAY", "RESOLVED_WITHIN", "Connecting"]

#: Seconds until the next address is tried beside one that has not answered; RFC 8305, section 5.
ATTEMPT_DELAY: Final = 0.25
#: Seconds after which a name that was not found yet is taken for one that will not be.
RESOLVED_WITHIN: Final = 60.0

#: Also what is connected already: the attempt finds that out.
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, errno.EISCONN})

_LARGEST_PORT: Final = 65_535


class Connecting(Endpoint):
    """How a channel comes to be connected.

    Attributes:
        resolves_names: whether names are looked up in a thread, and all of their addresses tried. With False,
            `connect` blocks until the name is found, and tries the first address, as it used to.
    """

    resolves_names = True
    _map: Any
    #: Of the sockets that it connects with.
    _ac_kind = int(socket.SOCK_STREAM)
    _ac_timers: set[Any] | None

    def connect(
        self,
        address: Any,
        *,
        local_address: Any = None,
        tls: "ssl.SSLContext | bool | None" = None,
        server_hostname: str | None = None,
    ) -> None:
        """Connect to `address`; `handle_connect` or `handle_connect_failed` follows, now or later.

        A host may be a name: it is looked up in another thread, and each of its addresses is tried. A channel
        that has made its socket tries those of the socket's family; one that has none, all of them, and is
        given a socket then. An earlier search for a name that has not ended is given up.

        Args:
            address: (host, port), or what else the socket's family takes.
            local_address: what to bind to before, as `socket.bind` takes it; of a name's addresses, those of
                its family are tried.
            tls: speak TLS from the first byte on, with this context or, for True, the default, which verifies
                the peer. What was pushed before leaves after the handshake, too.
            server_hostname: the name that the peer's certificate must be for; the host of `address` if None.

        Raises:
            OSError: the connection failed at once.
            OverflowError: the port is none.
            TypeError, ValueError: TLS can't be spoken like that (see `start_tls`).
        """
        has_name = self.resolves_names and is_name(address)
        if has_name:
            _check_port(address[1])
        if self._ac_searched:
            self._ac_give_up_search()
        if tls is not None and tls is not False:
            name = address[0].partition("%")[0] if isinstance(address, tuple) else None
            self._ac_start_tls(tls, server_side=False, server_hostname=server_hostname or name, before=None)
        sock = self._ac_socket
        if has_name and (sock is None or _is_internet(sock)):
            Search(self, address, local_address).begin()
            return
        if sock is None:
            self.create_socket(_family_of(address))
        try:
            if local_address is not None:
                self.socket.bind(local_address)
            super().connect(_with_scope(address))
        except OSError:
            if sock is None and not self.connected and not self.closing:
                self._ac_drop_socket()
            raise

    def _ac_drop_socket(self) -> None:
        """Be without the socket that was made for an attempt that has failed at once."""
        sock = self._ac_socket
        self.del_channel()
        self.connecting = False
        self._ac_socket = self._ac_tls = None
        sock.close()

    def _ac_note_limit(self) -> None:
        super()._ac_note_limit()
        if self._ac_searched:
            for search in self._ac_searches():
                search.note_limit()

    def _ac_give_up_search(self) -> None:
        """Look for no connection by name any more, if that is being done."""
        for search in self._ac_searches():
            search.cancel()
            if self._fileno is None:
                self._ac_socket = None  # The search had it, and has closed it.

    def _ac_forget_socket(self) -> None:
        super()._ac_forget_socket()
        if self._ac_searched:
            self._ac_give_up_search()

    def _ac_searches(self) -> "list[Search]":
        return [entry for entry in self._ac_timers or () if isinstance(entry, Search)]


class Search:
    """Looks a name up for a channel, and tries its addresses."""

    #: For the next address; before that, for the name.
    _timer: Timer
    #: For `connect_timeout`.
    _limit: Timer | None = None

    def __init__(self, channel: Any, address: Any, local_address: Any) -> None:
        self._channel, self._address, self._local = channel, address, local_address
        self._loop: Loop = channel._ac_loop or loop_of(channel._map)
        self._began = self._loop.now()
        own = channel._ac_socket
        #: The channel's own socket, as long as it is unused; an earlier search may have closed it.
        self._first: Any = None if own is None or own.fileno() < 0 else own
        self._kind = getattr(self._first, "type", channel._ac_kind)
        self._addresses: list[Address] = []
        self._attempts: set[Attempt] = set()
        self._errors: list[tuple[Any, OSError]] = []
        self._ended = False

    def begin(self) -> None:
        """Have the name looked up."""
        channel = self._channel
        channel.addr = self._address
        channel._ac_searched = True
        channel._ac_hung_up = channel._ac_hung_up or ""  # What is its socket next may not be the first.
        channel._ac_paused = True  # Its own socket tells nothing as long as it is unused.
        channel.connected = False
        channel.connecting = True
        channel._ac_state_changed()
        self._timer = self._loop.call_later(RESOLVED_WITHIN, self._unresolved)
        self.limit_time()
        channel._ac_timer_group().add(self)  # Whatever is in it is cancelled when the channel is closed.
        family = socket.AF_UNSPEC if self._first is None else self._first.family
        if self._local is not None and self._first is None:
            family = _family_of(self._local)
        host, port, *_ = self._address
        tell = self._loop.call_soon_threadsafe
        resolve(host, port, family, self._kind, lambda found: tell(self._resolved, found))

    def limit_time(self) -> None:
        """Look after `connect_timeout`: the channel is in no map while none of the sockets is its own.

        Again when it has changed.
        """
        if self._limit is not None:
            self._limit.cancel()
        allowed = limit_of(self._channel, "connect_timeout")
        if allowed is not None and not self._ended:
            self._limit = self._loop.call_at(self._began + allowed, self._run_out)

    def _run_out(self) -> None:
        try:
            tell_of_timeout(self._channel, "connect")
        finally:
            self._began = self._loop.now()
            self.limit_time()

    def note_limit(self) -> None:
        """Have another `connect_timeout` hold, in the loop's thread."""
        self._loop.do(self.limit_time)

    def cancel(self) -> None:
        """Give everything up: the channel is closed, or connected."""
        self._ended = True
        if self._limit is not None:
            self._limit.cancel()
        self._channel._ac_timer_group().discard(self)
        self._channel._ac_paused = False
        self._timer.cancel()
        for attempt in self._attempts:
            attempt.give_up()
        self._attempts.clear()

    def _unresolved(self) -> None:
        self._resolved(OSError(errno.ETIMEDOUT, f"not found within {RESOLVED_WITHIN:g} s"))

    def _resolved(self, found: list[Address] | OSError) -> None:
        if self._ended or self._addresses:
            return
        self._timer.cancel()
        if isinstance(found, OSError):
            self._errors.append((self._address, found))
        else:
            self._addresses = interleaved(found)
        self._try_next()

    def _try_next(self) -> None:
        """Try the next address that fails not at once; without any, wait for the others or give up."""
        while self._addresses:
            address = self._addresses.pop(0)
            try:
                self._try(address)
            except OSError as error:
                self._errors.append((address[1], error))
            else:
                if self._addresses and not self._ended:
                    self._timer = self._loop.call_later(ATTEMPT_DELAY, self._try_next)
                return
        if not self._attempts:
            self._fail()

    def _try(self, address: Address) -> None:
        family, target = address
        sock = self._take_socket(family)
        try:
            if self._local is not None:
                sock.bind(self._local)
            code = sock.connect_ex(target)
            if code and code not in _UNDER_WAY:
                raise OSError(code, strerror(code))
        except OSError:
            sock.close()
            raise
        if code:
            self._attempts.add(Attempt(sock, target, self._channel, self._attempted))
        else:
            self._succeed(sock, target)

    def _take_socket(self, family: int) -> Any:
        """A socket for an attempt: the channel's own at first, with the options that it was given."""
        if self._first is not None:
            sock, self._first = self._first, None
            self._channel.del_channel()
        else:
            sock = self._channel._ac_make_socket(family, self._kind)
            sock.setblocking(False)
        return sock

    def _attempted(self, attempt: "Attempt", error: OSError | None) -> None:
        """An attempt has come to its end."""
        self._attempts.discard(attempt)
        if error is None:
            self._succeed(attempt.leave(), attempt.addr)
            return
        attempt.give_up()
        self._errors.append((attempt.addr, error))
        if self._addresses or not self._attempts:
            self._timer.cancel()
            self._try_next()

    def _succeed(self, sock: Any, address: Any) -> None:
        channel = self._channel
        self.cancel()
        own = channel._ac_socket
        if own is not None and own is not sock:
            channel.del_channel()
            own.close()
        try:
            channel.set_socket(sock)
            channel.addr = address
            channel.connecting = True
            channel.handle_connect_event()
        except ESCAPING:
            raise
        except Exception:
            contain(channel)

    def _fail(self) -> None:
        self.cancel()
        channel = self._channel
        try:
            channel._ac_fail_to_connect(ConnectFailed(self._address, self._errors))
        except ESCAPING:
            raise
        except Exception:
            contain(channel)


class Attempt(Endpoint):
    """A connection that is being made to one address."""

    def __init__(
        self,
        sock: Any,
        address: Any,
        channel: Any,
        attempted: Callable[["Attempt", OSError | None], None],
    ) -> None:
        self._attempted = attempted
        self._channel = channel
        self._channels = channels = channel._map
        self._ac_socket = sock
        self._fileno = sock.fileno()
        self.addr = address
        self._ac_connecting = True
        channels[self._fileno] = self
        self._ac_loop = loop_of(channels)
        if not self._ac_loop.is_told:
            self._ac_loop.removed(self._fileno)
            self._ac_loop.added(self._fileno)

    def readable(self) -> bool:
        """Never: a connection that is there can be written to."""
        return False

    def writable(self) -> bool:
        """Until the attempt has ended."""
        return True

    def _ac_state_changed(self) -> None:
        """Wait on: it waits for the same as long as it lasts."""

    def handle_write_event(self) -> None:
        """Tell whether the connection is there."""
        code = self._ac_socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._attempted(self, OSError(code, strerror(code)) if code else None)

    handle_read_event = handle_write_event  # Trouble may be told as something to read.

    def handle_close(self) -> None:
        """Tell it: trouble may be told as the end, too."""
        self.handle_write_event()

    def leave(self) -> Any:
        """Leave the map with the socket, which stays open."""
        fd, self._fileno = self._fileno, None
        self._channels.pop(fd, None)
        if not self._ac_loop.is_told:
            self._ac_loop.removed(fd)
        return self._ac_socket

    def give_up(self) -> None:
        """Leave the map and close the socket."""
        self.closing = True
        with contextlib.suppress(OSError):
            self.leave().close()

    def close(self) -> None:
        """Close the channel: who closes all that is in a map means that one."""
        self._channel.close()


def _check_port(port: Any) -> None:
    """Refuse what getaddrinfo(3) of some systems would take modulo 65,536."""
    if isinstance(port, int) and not 0 <= port <= _LARGEST_PORT:
        raise OverflowError(f"wanted a port of 0 to {_LARGEST_PORT}, found {port}")


def _is_internet(sock: Any) -> bool:
    return getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6)


def _with_scope(address: Any) -> Any:
    """The address with the number of its scope ("fe80::1%eth0"), which connect(2) does not take as text."""
    if isinstance(address, tuple) and len(address) == 2 and "%" in str(address[0]):
        found = socket.getaddrinfo(*address, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        return found[0][4]
    return address


def _family_of(address: Any) -> int:
    """The family that a numeric address belongs to."""
    if isinstance(address, tuple):
        return socket.AF_INET6 if ":" in str(address[0]) else socket.AF_INET
    return int(getattr(socket, "AF_UNIX", socket.AF_INET))
