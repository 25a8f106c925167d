"""select(2): every system, Windows included.  A wait costs what is watched, and descriptors are limited.

On Windows select takes sockets only, and at least one: with nothing watched a wait fails there with
OSError.  A loop always watches the socket that wakes it.
"""

import errno
import select
import sys
from collections.abc import Callable, Iterable
from typing import Final

from antiphon.pollers.base import ERROR, INVALID, LONGEST_WAIT, READ, URGENT, WRITE, check_interest

__all__ = ["FD_SETSIZE", "WINDOWS_LIMIT", "SelectPoller"]

#: The first descriptor number that an fd_set has no bit for (select(2), glibc, macOS and the BSDs).
FD_SETSIZE: Final = 1024
#: How many sockets, of any numbers, the interpreter's fd_set holds on Windows.
WINDOWS_LIMIT: Final = 512

#: What a descriptor that is not open, or no socket, makes of a select: EBADF, or WSAENOTSOCK on Windows.
NOT_SELECTABLE: Final = frozenset({errno.EBADF, errno.ENOTSOCK, 10038})

Select = Callable[
    [Iterable[int], Iterable[int], Iterable[int], float | None], tuple[list[int], list[int], list[int]]
]


class SelectPoller:
    """A poller on select.

    It has no word for a hang-up or an error: the descriptor becomes readable or writable, and the next
    call on it says what happened.  One that is not open is reported as `INVALID`, once, and forgotten;
    the others go on.
    """

    name = "select"

    def __init__(self, kernel: Select | None = None, *, windows: bool = sys.platform == "win32") -> None:
        """Watch nothing yet.

        Args:
            kernel: takes (readers, writers, exceptional, timeout in seconds); None for `select.select`.
            windows: whether `kernel` behaves as Windows does, where a failed connection attempt
                is exceptional and not writable.
        """
        self._select: Select | None = kernel or select.select
        self._windows = windows
        self._interest: dict[int, int] = {}
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self._exceptional: set[int] = set()

    def watch(self, fd: int, interest: int) -> None:
        """Report `fd` from now on when it is ready for one of `interest`; see `Poller.watch`.

        Raises:
            ValueError: the poller is closed, or `fd` is beyond what select can take.
        """
        if self._interest.get(fd) == interest:
            return
        check_interest(interest)
        self._opened()
        self._check_limit(fd)
        self._interest[fd] = interest
        exceptional = URGENT | WRITE if self._windows else URGENT
        _place(fd, self._readers, wanted=interest & READ)
        _place(fd, self._writers, wanted=interest & WRITE)
        _place(fd, self._exceptional, wanted=interest & exceptional)

    def _check_limit(self, fd: int) -> None:
        if fd < 0:
            raise ValueError(f"a descriptor must not be negative, and this one is {fd}")
        if self._windows:
            if fd not in self._interest and len(self._interest) >= WINDOWS_LIMIT:
                raise ValueError(
                    f"select cannot watch descriptor {fd}: on Windows it takes at most {WINDOWS_LIMIT} "
                    f"sockets, and as many are watched"
                )
        elif fd >= FD_SETSIZE:
            raise ValueError(
                f"select cannot watch descriptor {fd}: it takes numbers below {FD_SETSIZE} only; "
                "use the epoll, kqueue or poll poller (ANTIPHON_POLLER)"
            )

    def interest(self, fd: int) -> int:
        """What `fd` is watched for; 0 when it is not."""
        return self._interest.get(fd, 0)

    def forget(self, fd: int) -> None:
        """Report `fd` no more; never fails."""
        if self._interest.pop(fd, None) is not None:
            self._readers.discard(fd)
            self._writers.discard(fd)
            self._exceptional.discard(fd)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """(fd, ready) of the descriptors that are ready within `timeout` seconds; see `Poller.wait`."""
        kernel = self._opened()
        # The interpreter rounds up to whole microseconds, select's unit.
        seconds = None if timeout is None else max(0.0, min(timeout, LONGEST_WAIT))
        try:
            answer = kernel(self._readers, self._writers, self._exceptional, seconds)
        except OSError as exc:
            if exc.errno not in NOT_SELECTABLE:
                raise
            return [(fd, INVALID) for fd in self._drop_invalid(kernel)]
        return self._merge(*answer)  # Another thread may have told us to forget some of these meanwhile.

    def _drop_invalid(self, kernel: Select) -> list[int]:
        invalid = [fd for fd in self._interest if not _is_selectable(kernel, fd)]
        for fd in invalid:
            self.forget(fd)
        return invalid

    def _merge(self, readable: list[int], writable: list[int], odd: list[int]) -> list[tuple[int, int]]:
        ready = dict.fromkeys(readable, READ)
        for fd in writable:
            ready[fd] = ready.get(fd, 0) | WRITE
        for fd in odd:
            ready[fd] = ready.get(fd, 0) | (URGENT if self._interest.get(fd, 0) & URGENT else ERROR)
        return list(ready.items())

    def _opened(self) -> Select:
        if self._select is None:
            raise ValueError("the select poller is closed")
        return self._select

    def close(self) -> None:
        """Forget every descriptor; there is no kernel object to close."""
        for fd in list(self._interest):
            self.forget(fd)
        self._select = None


def _place(fd: int, watched: set[int], *, wanted: int) -> None:
    if wanted:
        watched.add(fd)
    else:
        watched.discard(fd)


def _is_selectable(kernel: Select, fd: int) -> bool:
    try:
        kernel([fd], [], [], 0)
    except OSError:
        return False
    return True
