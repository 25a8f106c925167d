"""Ends the loop's wait from another thread or from a signal handler.

Carries no message.  The rule that makes it safe to coalesce: who wants something first puts it where the
loop looks, then calls `wake`; the loop first calls `drain`, then looks.
"""

import os
import socket
import threading
from contextlib import suppress
from typing import Any, Final, Protocol

__all__ = ["Wakeup"]

#: eventfd is typed for Linux only; FreeBSD may have it too.
_os: Final[Any] = os


class _Line(Protocol):
    """A descriptor that can be made readable from anywhere, and unreadable again."""

    def fileno(self) -> int: ...
    def ring(self) -> None: ...
    def hush(self) -> None: ...
    def close(self) -> None: ...


class _Eventfd:
    """eventfd(2): one descriptor, and a counter in the kernel that never fills."""

    def __init__(self) -> None:
        self._fd: int = _os.eventfd(0, _os.EFD_CLOEXEC | _os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._fd

    def ring(self) -> None:
        _os.eventfd_write(self._fd, 1)

    def hush(self) -> None:
        _os.eventfd_read(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class _Socketpair:
    """Two sockets, for systems without eventfd and for select on Windows, which takes nothing else."""

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)

    def fileno(self) -> int:
        return self._inner.fileno()

    def ring(self) -> None:
        self._outer.send(b"\0")

    def hush(self) -> None:
        while self._inner.recv(4096):
            pass

    def close(self) -> None:
        self._outer.close()
        self._inner.close()


class Wakeup:
    """Something for the poller to watch, which `wake` makes readable and `drain` unreadable.

    Belongs to the process that made it: a forked child closes it and makes its own, for with a copy it
    would wake its parent.
    """

    def __init__(self, *, use_eventfd: bool | None = None) -> None:
        """Open the descriptors, none of them inheritable.

        Args:
            use_eventfd: True takes eventfd(2), False a socketpair, None the better one of those there are.

        Raises:
            ValueError: eventfd is asked for where there is none.
            OSError: the kernel refused (EMFILE: too many open descriptors).
        """
        if use_eventfd and not hasattr(os, "eventfd"):
            raise ValueError(
                "eventfd is asked for, and this system has none; use_eventfd=None takes what there is"
            )
        if use_eventfd is None:
            use_eventfd = hasattr(os, "eventfd")
        self._line: _Line = _Eventfd() if use_eventfd else _Socketpair()
        self._is_rung = False
        self._is_closed = False
        # For close() not to give the number away while another thread is about to write to it.
        # Re-entrant, because a signal handler may interrupt its own thread's wake().
        self._lock = threading.RLock()
        self._process = os.getpid()

    def fileno(self) -> int:
        """The descriptor to watch for READ; -1 after `close`."""
        return -1 if self._is_closed else self._line.fileno()

    def wake(self) -> None:
        """Make the descriptor readable.

        From any thread and from signal handlers.  Never blocks and never fails, also when closed; does
        nothing where an earlier call was not drained yet.
        """
        if self._is_rung:
            return
        with self._lock:
            if not self._is_closed:
                self._is_rung = True
                with suppress(OSError):  # Full, which is as good: it is readable then.
                    self._line.ring()

    def drain(self) -> None:
        """Make the descriptor unreadable until the next `wake`.  Called by the thread that waits."""
        if self._is_closed:
            return
        with suppress(OSError):  # Nothing there, or no more.
            self._line.hush()
        # Last: were it first, a wake() in between would be read away and every later one be left out.
        self._is_rung = False

    def close(self) -> None:
        """Close the descriptors.  May be called twice, and in a forked child."""
        if os.getpid() != self._process:
            self._lock = threading.RLock()  # Another thread of the parent may have held it for ever.
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._line.close()
