"""The asyncore module that Python 3.12 removed, name for name, on an engine that tracks instead of polling.

Channels are subclasses of `dispatcher`; they live in a map, `socket_map` unless told otherwise, and `loop()`
calls their handlers until the map is empty.
"""

import errno
import itertools
import math
import os
import select
import socket
import sys
import time
import warnings
from collections.abc import Callable
from errno import *  # noqa: F403 (programs reach the error numbers through this module)
from typing import Any, Final

from antiphon import counting, dispatching
from antiphon.connecting import Connecting
from antiphon.counting import note_received, note_sent
from antiphon.descriptor import file_wrapper
from antiphon.dropping import drops
from antiphon.early import arrival
from antiphon.endings import OWN
from antiphon.endpoint import CLOSED, strerror
from antiphon.errors import NOT_NOW, WouldBlock
from antiphon.events import failed, handle_each, lost
from antiphon.failures import ESCAPING, ExitNow
from antiphon.half_closing import HalfClosing
from antiphon.interest import noticed, patient
from antiphon.loop import Loop
from antiphon.maps import ChannelMap, loop_of
from antiphon.outbox import DELIVERING, Outbox
from antiphon.pausing import Pausing
from antiphon.pollers.base import READ
from antiphon.reporting import compact_traceback
from antiphon.scheduling import Scheduling
from antiphon.spawning import Spawning

__all__ = [
    "ExitNow",
    "close_all",
    "compact_traceback",
    "dispatcher",
    "dispatcher_with_send",
    "file_dispatcher",
    "file_wrapper",
    "get_loop",
    "loop",
    "poll",
    "poll2",
    "poll3",
    "read",
    "readwrite",
    "socket_map",
    "write",
]
# What `from asyncore import *` has always brought along from other modules.
# fmt: off
__all__ += ["os", "select", "socket", "sys", "time", "warnings"]
__all__ += ["EAGAIN", "EALREADY", "EBADF", "ECONNABORTED", "ECONNRESET", "EINPROGRESS"]  # noqa: F405
__all__ += ["EINVAL", "EISCONN", "ENOTCONN", "EPIPE", "ESHUTDOWN", "EWOULDBLOCK", "errorcode"]  # noqa: F405
# fmt: on

#: What ends a connection.  Programs read this set, and replace it.
_DISCONNECTED: frozenset[int] = frozenset(
    {errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.EPIPE, errno.EBADF}
)
_reraised_exceptions: Final = ESCAPING
_strerror = strerror

#: The map of every channel that was given no other.  Programs read it, change it, and replace it.
socket_map: Any = ChannelMap()

#: To join and to leave a `ChannelMap` as it does itself, for every connection, without a call of it.
_set: Final = dict.__setitem__
_delete: Final = dict.__delitem__


_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


# -- one event of one channel ------------------------------------------------------------------------------


read: Callable[[Any], None] = dispatching.read
write: Callable[[Any], None] = dispatching.write
_exception = dispatching.exception


def readwrite(obj: Any, flags: int) -> None:
    """Have `obj` handle all of `flags`, the bits of poll(2), as long as it keeps its descriptor.

    An OSError of a lost connection, whoever raised it, ends in `handle_close`, any other exception in
    `handle_error`.
    """
    try:
        if flags == READ:
            obj.handle_read_event()
        else:
            handle_each(obj, flags)
    except _reraised_exceptions:
        raise
    except OSError as error:
        if error.errno in _DISCONNECTED:
            lost(obj)
        else:
            failed(obj, error)
    except Exception as error:
        failed(obj, error)


# -- one turn, and many ------------------------------------------------------------------------------------


#: Programs replace `read`, `write`, `readwrite` and `_exception` in this module.
_dispatch: Final = dispatching.as_select_does(globals())
_dispatch_flags: Final = dispatching.as_poll_does(globals())


def poll(timeout: float | None = 0.0, map: Any = None) -> None:
    """Wait once for the channels of a map, and have them handle what is ready.

    Args:
        timeout: seconds at most; 0.0 only looks, None waits for ever.
        map: descriptor -> channel; `socket_map` if None. With nothing in it, returns at once.
    """
    channels = socket_map if map is None else map
    (channels.loop if type(channels) is ChannelMap else loop_of(channels)).turn(timeout, _dispatch)


def poll2(timeout: float | None = 0.0, map: Any = None) -> None:
    """As `poll`, but calls `readwrite` with the bits of poll(2), as `loop(use_poll=True)` does."""
    channels = socket_map if map is None else map
    (channels.loop if type(channels) is ChannelMap else loop_of(channels)).turn(timeout, _dispatch_flags)


poll3 = poll2


def get_loop(map: Any = None) -> Loop:
    """The loop of a map (`socket_map` if None): its timers, and how other threads reach it."""
    return loop_of(socket_map if map is None else map)


def loop(
    timeout: float | None = 30.0,
    use_poll: bool = False,
    map: Any = None,
    count: float | None = None,
) -> None:
    """Have the channels of a map handle what happens to them until none is left, or the loop is stopped.

    Args:
        timeout: seconds that one turn waits at most. Nothing depends on it: timers and other threads wake
            the loop.
        use_poll: call `poll2` for each turn instead of `poll`. The same poller serves both.
        map: descriptor -> channel; `socket_map` if None.
        count: turns at most; None for as many as it takes. A fraction counts as a whole turn.
    """
    channels = socket_map if map is None else map
    mine = channels.loop if type(channels) is ChannelMap else loop_of(channels)
    turn = poll2 if use_poll and hasattr(select, "poll") else poll
    stopped = mine.stopped
    if mine.stop_pending:
        return mine.heed_stop()
    if isinstance(count, float):  # What programs divide to get it has not been an int since Python 3.
        count = math.ceil(count)
    for _ in itertools.repeat(None) if count is None else itertools.repeat(None, count):
        if not channels and not mine.busy:
            return None
        turn(timeout, channels)
        if mine.stopped is not stopped:
            return mine.heed_stop()
    return None


Loop.run = staticmethod(loop)


def close_all(map: Any = None, ignore_all: bool = False) -> None:
    """Close every channel of a map (`socket_map` if None) and empty it.

    Args:
        map: descriptor -> channel.
        ignore_all: whether a channel that fails to close is passed over; ExitNow, KeyboardInterrupt and
            SystemExit are raised all the same.
    """
    channels = socket_map if map is None else map
    for channel in list(channels.values()):
        try:
            channel.close()
        except _reraised_exceptions:
            raise
        except Exception as error:
            if not ignore_all and getattr(error, "errno", None) != errno.EBADF:
                raise
    channels.clear()


# -- channels ----------------------------------------------------------------------------------------------


class dispatcher(Scheduling, Spawning, HalfClosing, Pausing, Connecting):  # noqa: N801 (the name that programs subclass)
    """A channel: a non-blocking socket whose events call the methods of a subclass.

    Args:
        sock: a connected socket, or None; made non-blocking.
        map: where the channel lives; `socket_map` if None.
    """

    addr: Any
    connected: bool
    debug = False
    _map: Any
    _ac_loop: Loop | None

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        self._map = socket_map if map is None else map
        self._fileno = None
        if sock is None:
            self.socket = None
            return
        sock.setblocking(False)
        self.set_socket(sock, map)
        self._ac_connected = self._ac_established = True  # The loop asks what it waits for after this.
        if self._ac_tls is not None:  # The socket has come with it.
            self._ac_state_changed()
        if self._ac_hides_connected:
            self._ac_established = False
            self.connected = True
        accepted, address, _, _ = arrival.latest
        if accepted is sock:
            self.addr, arrival.channel = address, self
        else:
            self._ac_ask_for_peer(sock, map)

    # -- the map -------------------------------------------------------------------------------------

    def add_channel(self, map: Any = None) -> None:
        """Join `map`, or the channel's own."""
        channels = self._map if map is None else map
        if type(channels) is ChannelMap:
            fd, self._ac_loop = self._fileno, channels.loop
            if fd in channels:
                channels.loop.removed(fd)
            _set(channels, fd, self)
            channels.loop.added(fd)
            return
        channels[self._fileno] = self
        self._ac_loop = joined = loop_of(channels)
        if not joined.is_told:
            joined.removed(self._fileno)
            joined.added(self._fileno)

    def del_channel(self, map: Any = None) -> None:
        """Leave `map`, or the channel's own. The socket stays open."""
        fd = self._fileno
        channels = self._map if map is None else map
        if type(channels) is ChannelMap:
            if channels.get(fd) is self:
                _delete(channels, fd)
                channels.loop.removed(fd)
        else:
            if channels.get(fd) is self:
                del channels[fd]
            if self._ac_loop is not None and fd is not None and not self._ac_loop.is_told:
                self._ac_loop.left(fd, self)
        self._fileno = self._ac_loop = None

    def set_socket(self, sock: Any, map: Any = None) -> None:
        """Use `sock`, any object with `fileno()`, from now on, and join the map with it."""
        self.socket = sock
        self._fileno = sock.fileno()
        self._ac_start_afresh()
        self.add_channel(map)

    def _ac_make_socket(self, family: int, type: int) -> Any:
        return socket.socket(family, type)  # Programs and tests put a `socket` of their own into this module.

    # -- what the channel waits for ------------------------------------------------------------------

    @noticed
    def readable(self) -> bool:
        """Whether to wait until the channel can be read from. An override is asked in every turn."""
        return not self._ac_reading_paused

    @noticed
    def writable(self) -> bool:
        """Whether to wait until the channel can be written to. An override is asked in every turn."""
        return True

    def send(self, data: Any) -> int:
        """Send what the system takes of `data`; the number of bytes that it took.

        Returns 0 when it takes none now, and after `handle_close` when the connection is lost.
        """
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        try:
            sent: int = (self.socket if self._ac_socket is None else self._ac_socket).send(data)
        except NOT_NOW:
            return 0
        except OSError as error:
            if error.errno in _DISCONNECTED:
                self._ac_lost(error)
                return 0
            raise
        if _observed:
            note_sent(self, sent)
        if self._ac_guard is not None and sent:
            self._ac_guard.sent = self._ac_guard.loop.moment
        return sent

    @patient
    def recv(self, buffer_size: int) -> bytes:
        """Receive up to `buffer_size` bytes; b"" after `handle_close` when the connection has ended.

        Raises:
            BlockingIOError: nothing has arrived. A handler may let it escape.
        """
        try:
            data: bytes = (self.socket if self._ac_socket is None else self._ac_socket).recv(buffer_size)
        except NOT_NOW as error:
            if self._ac_loop is not None:
                self._ac_loop.counts.vain += 1
            raise WouldBlock(*error.args) from None
        except OSError as error:
            if error.errno in _DISCONNECTED:
                self._ac_lost(error)
                return b""
            raise
        if not data:
            self._ac_end_input()
            return b""
        if _observed:
            note_received(self, len(data))
        return data

    def close(self) -> None:
        """Leave the map and close the socket; again is fine.

        While another thread is in a turn of the channel's loop, that thread does it, at once after what it
        is doing.
        """
        mine = self._ac_loop
        if mine is None or mine.in_turn():
            self._ac_close()
        else:
            mine.do(self._ac_close)

    def _ac_close(self) -> None:
        self.closing = self._ac_gone = True
        if self._ac_hung_up is None:
            self._ac_hung_up = ""
        fd, mine = self._fileno, self._ac_loop
        self.del_channel()
        if mine is not None:
            mine.counts.closed[self._ac_ending or self._ac_hung_up or OWN] += 1
            if self._ac_loop is not None and fd is not None:  # del_channel is overridden.
                mine.left(fd, self)
                self._ac_loop = None
        if self._ac_established:  # It has left the map: there is nobody to tell.
            self._ac_connected = self._ac_established = False
        else:
            self.connected = self.connecting = self.accepting = False
        if self._ac_timers is not None:
            self._ac_cancel_timers()
        if self._ac_guard is not None:
            self._ac_unguard()
        if self._ac_backlog is not None or self._ac_place is not None:
            self._ac_leave_listener()
        if self._ac_socket is not None:
            try:
                self._ac_socket.close()
            except OSError as error:
                if error.errno not in CLOSED:
                    raise


class dispatcher_with_send(dispatcher):  # noqa: N801 (the name that programs subclass)
    """A dispatcher whose `send` keeps what the system doesn't take yet, and sends it when it does."""

    _ac_outbox: Outbox | None = None
    #: Whether nothing is to be sent after what is in the outbox.
    _ac_is_last = False

    @property
    def out_buffer(self) -> bytes:
        """What is still to be sent."""
        return b"".join(self._ac_outbox or ())

    @out_buffer.setter
    def out_buffer(self, data: Any) -> None:
        self._ac_outbox = Outbox([bytes(data)] if data else ())
        self._ac_state_changed()

    @out_buffer.deleter
    def out_buffer(self) -> None:
        self.out_buffer = b""

    def _ac_take_output(self) -> Outbox | None:
        outbox, self._ac_outbox = self._ac_outbox, None
        return outbox

    def initiate_send(self) -> None:
        """Send as much of `out_buffer` as the system takes now."""
        outbox = self._ac_outbox
        if not outbox or self.connecting:
            return
        while (piece := outbox.next_piece(1, None)) is not None:
            sent = 0
            try:
                sent = dispatcher.send(self, piece)
            finally:
                outbox.put_back(piece, sent)  # type: ignore[arg-type] # holds bytes only
            if outbox:
                break
        if not outbox and self._ac_is_last:
            self._ac_end_output()
        self._ac_state_changed()

    def shutdown_write(self) -> None:
        """As `dispatcher.shutdown_write`, when all of `out_buffer` has left."""
        self._ac_check_shutdown()
        self._ac_is_last = True
        if not self._ac_outbox:
            self._ac_end_output()

    def handle_write(self) -> None:
        """Send more of `out_buffer`."""
        self.initiate_send()

    @noticed
    def writable(self) -> bool:
        """Whether something waits to be sent, or the connection to be made."""
        return not self.connected or bool(self._ac_outbox)

    def send(self, data: Any) -> None:  # type: ignore[override] # nothing is left over to tell of
        """Send `data`, all of it, now or later."""
        if self.debug:
            self.log_info(f"sending {data!r}")
        if self._ac_outbox is None:
            self._ac_outbox = Outbox()
        self._ac_outbox.append(bytes(data))
        if self._ac_gone and drops(self, self._ac_outbox):
            self._ac_outbox.discard()
            return
        self.initiate_send()
        self._ac_state_changed()


if sys.platform != "win32":  # pragma: no branch: the tests of this branch need Windows
    import fcntl  # noqa: F401 (its absence is what programs test for)

    class file_dispatcher(dispatcher):  # noqa: N801 (the name that programs subclass)
        """A channel over a file descriptor: a pipe, a terminal.

        Args:
            fd: a descriptor or an object with `fileno()`; duplicated, and made non-blocking. The original
                stays the caller's.
            map: where the channel lives; `socket_map` if None.
        """

        def __init__(self, fd: Any, map: Any = None) -> None:
            dispatcher.__init__(self, None, map)
            self.connected = True
            descriptor: int = fd if isinstance(fd, int) else fd.fileno()
            self.set_file(descriptor)
            os.set_blocking(descriptor, False)

        def set_file(self, fd: int) -> None:
            """Use a duplicate of `fd` from now on, and join the map with it."""
            self.socket = file_wrapper(fd)
            self._fileno = self.socket.fileno()
            self._ac_start_afresh()
            self.add_channel()


for _public in (ExitNow, dispatcher, dispatcher_with_send, file_wrapper):
    _public.__module__ = "asyncore"
if sys.platform != "win32":  # pragma: no branch: the tests of this branch need Windows
    file_dispatcher.__module__ = "asyncore"
