"""A descriptor that the process keeps for the moment at which it can have no other."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import ReferenceType, ref

__all__ = ["Reserve", "identity", "reserve"]

#: On Windows sockets are no file descriptors, and have no small limit.
_HAS_LIMIT: Final = sys.platform != "win32"


class Reserve:
    """At most one descriptor, open as long as somebody has a use for it."""

    def __init__(self) -> None:
        self._users: set[ReferenceType[Any]] = set()
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self._lock = threading.RLock()  # A listener may be closed by a garbage collection.

    def keep_for(self, user: Any) -> None:
        """Have a descriptor in reserve, if one is to be had, until `give_up(user)`."""
        with self._lock:
            self._users.add(ref(user, self._without))
            self._fill()

    def give_up(self, user: Any) -> None:
        """Release the descriptor when this was the last of its users; those that are garbage are none."""
        self._without(ref(user))

    def _without(self, user: "ReferenceType[Any]") -> None:
        with self._lock:
            self._users.discard(user)
            if not self._users:
                self._release()

    @contextmanager
    def spent(self) -> Iterator[bool]:
        """Meanwhile, the descriptor is free for something else; whether there was one."""
        with self._lock:
            try:
                yield self._release()
            finally:
                self._fill()

    def _fill(self) -> None:
        if self._fd is None and _HAS_LIMIT:
            try:
                # A socket, since nothing else can have its device and inode; no socket object, since those
                # warn when the process ends.
                self._fd = socket.socket().detach()
            except OSError:
                return
            self._identity = identity(self._fd)

    def _release(self) -> bool:
        fd, self._fd = self._fd, None
        # A daemon may have closed all that it doesn't know, and the number may mean a file of its own now.
        if fd is None or identity(fd) != self._identity:
            return False
        os.close(fd)
        return True


def identity(fd: int) -> tuple[int, int] | None:
    """What the number of a descriptor stands for now; None for nothing."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


#: One is enough for a process.
reserve: Final = Reserve()
