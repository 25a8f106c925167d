"""kqueue(2): macOS and the BSDs.  A wait costs what is ready, not what is watched.

Reading and writing are two filters in the kernel, registered, reported and dropped apart; here they are
two bits of one descriptor.  Out-of-band data has no filter in Python's select module: `URGENT` may be
asked for, and is never reported.

No BSD and no macOS has run this module: it is tested on `antiphon.testing.kqueue`, a kernel object that
behaves as kqueue(2) is documented.
"""

import errno
import select
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol, cast

from antiphon.pollers.base import ERROR, HANGUP, INVALID, LONGEST_WAIT, READ, WRITE, check_interest

__all__ = ["Kernel", "Kevent", "KqueuePoller", "PlainKevent"]

# The system's own numbers, which differ (NetBSD's filters are 0 and 1); elsewhere those of FreeBSD and macOS.
FILTER_READ: Final[int] = getattr(select, "KQ_FILTER_READ", -1)
FILTER_WRITE: Final[int] = getattr(select, "KQ_FILTER_WRITE", -2)
ADD: Final[int] = getattr(select, "KQ_EV_ADD", 0x0001)
DELETE: Final[int] = getattr(select, "KQ_EV_DELETE", 0x0002)
ERROR_FLAG: Final[int] = getattr(select, "KQ_EV_ERROR", 0x4000)
EOF_FLAG: Final[int] = getattr(select, "KQ_EV_EOF", 0x8000)

#: Events that one wait returns at most; the others come with the next one.
BATCH: Final = 1024


class Kevent(Protocol):
    """What is read of a kevent, the kernel's or another."""

    @property
    def ident(self) -> int:
        """The descriptor."""

    @property
    def filter(self) -> int:
        """`FILTER_READ` or `FILTER_WRITE`."""

    @property
    def flags(self) -> int:
        """`ADD` or `DELETE` on the way in, `EOF_FLAG` and `ERROR_FLAG` on the way out."""

    @property
    def fflags(self) -> int:
        """Beside `EOF_FLAG`, the socket's pending error."""

    @property
    def data(self) -> int:
        """Bytes that wait, or room for output; beside `ERROR_FLAG`, an errno."""


class Kernel(Protocol):
    """What is used of `select.kqueue`."""

    def control(
        self, changelist: Iterable[Kevent] | None, max_events: int, timeout: float | None = None, /
    ) -> list[Any]:
        """Apply the changes, then wait for events; kevent(2)."""

    def fileno(self) -> int:
        """The queue's own descriptor."""

    def close(self) -> None:
        """Close the queue."""


class PlainKevent(NamedTuple):
    """A kevent where the select module has none."""

    ident: int
    filter: int = FILTER_READ
    flags: int = ADD
    fflags: int = 0
    data: int = 0


_make_kevent: Final = getattr(select, "kevent", PlainKevent)


class KqueuePoller:
    """A poller on a kqueue."""

    name = "kqueue"

    def __init__(self, kernel: Kernel | None = None) -> None:
        """Watch with `kernel`, or with a queue of its own; either is closed with the poller."""
        self._kernel: Kernel | None = cast("Any", select).kqueue() if kernel is None else kernel
        self._interest: dict[int, int] = {}

    def watch(self, fd: int, interest: int) -> None:
        """Report `fd` from now on when it is ready for one of `interest`; see `Poller.watch`."""
        before = self._interest.get(fd)
        if before == interest:
            return
        check_interest(interest)
        kernel = self._opened()
        try:
            # All wanted filters, not only the missing ones: to add one again does nothing, and after the
            # number was closed and opened again the kernel has none of them.
            kernel.control([_make_kevent(fd, filter_, ADD) for filter_ in _filters(interest)], 0, 0)
        except (OSError, ValueError):
            self.forget(fd)
            raise
        self._interest[fd] = interest
        if before is not None:
            self._delete(kernel, fd, before & ~interest)

    def interest(self, fd: int) -> int:
        """What `fd` is watched for; 0 when it is not."""
        return self._interest.get(fd, 0)

    def forget(self, fd: int) -> None:
        """Report `fd` no more; never fails."""
        before = self._interest.pop(fd, None)
        if before is not None and self._kernel is not None:
            self._delete(self._kernel, fd, before)

    def _delete(self, kernel: Kernel, fd: int, interest: int) -> None:
        # One call each: the first change that fails ends the list, and a filter may be gone already.
        for filter_ in _filters(interest):
            with suppress(OSError):
                kernel.control([_make_kevent(fd, filter_, DELETE)], 0, 0)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """(fd, ready) of the descriptors that are ready within `timeout` seconds; see `Poller.wait`."""
        # The interpreter rounds up to whole nanoseconds, kevent's unit.
        seconds = None if timeout is None else max(0.0, min(timeout, LONGEST_WAIT))
        ready: dict[int, int] = {}
        for event in self._opened().control(None, BATCH, seconds):
            ready[event.ident] = ready.get(event.ident, 0) | _ready_bits(event)
        return list(ready.items())

    def fileno(self) -> int:
        """The queue's own descriptor.

        Raises:
            ValueError: the poller is closed.
        """
        return self._opened().fileno()

    def _opened(self) -> Kernel:
        if self._kernel is None:
            raise ValueError("the kqueue poller is closed")
        return self._kernel

    def close(self) -> None:
        """Close the queue.  A forked child does not inherit it: kqueue(2)."""
        kernel, self._kernel = self._kernel, None
        self._interest.clear()
        if kernel is not None:
            with suppress(OSError):
                kernel.close()


def _filters(interest: int) -> list[int]:
    wanted = ((READ, FILTER_READ), (WRITE, FILTER_WRITE))
    return [filter_ for bit, filter_ in wanted if interest & bit]


def _ready_bits(event: Kevent) -> int:
    if event.flags & ERROR_FLAG:
        return INVALID if event.data == errno.EBADF else ERROR
    ready = READ if event.filter == FILTER_READ else WRITE
    if event.flags & EOF_FLAG:
        ready |= HANGUP | ERROR if event.fflags else HANGUP
    return ready
