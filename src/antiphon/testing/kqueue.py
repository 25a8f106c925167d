"""A kqueue where there is none: the documented behaviour of kevent(2), over real descriptors.

For `antiphon.pollers.kqueue.KqueuePoller(SimulatedKqueue())` on Linux.  poll(2) says what is ready; from
that the events are made which FreeBSD's kqueue(2) and macOS's manual describe:

- reading and writing are registered, reported and deleted apart;
- to add a filter again modifies it; to delete one that is not there is ENOENT; a descriptor that is
  not open is EBADF;
- a change that fails is reported among the events, with EV_ERROR and the errno as its data, where there is
  room for one; where there is none the call fails, and later changes are not made;
- EV_EOF comes with the read filter as soon as the other side has stopped sending, with `data` bytes still
  to be read, and with the write filter when nobody can receive any more;
- a closed descriptor loses its filters without a word, also when its number is in use again.

Where the real thing may differ: `data` of a listening socket is 1; `fflags` is 0, since to ask for a
socket's pending error would take it away.  `deliver` brings any event that a test wants.
"""

import errno
import fcntl
import os
import select
import sys
import termios
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from antiphon.pollers.kqueue import (
    ADD,
    DELETE,
    EOF_FLAG,
    ERROR_FLAG,
    FILTER_READ,
    FILTER_WRITE,
    Kevent,
    PlainKevent,
)
from antiphon.reserve import identity

__all__ = ["SimulatedKqueue"]

assert not TYPE_CHECKING or sys.platform != "win32"

#: What poll(2) is asked for each filter.  POLLRDHUP: the peer has stopped sending.
_QUESTIONS: Final = {
    FILTER_READ: select.POLLIN | getattr(select, "POLLRDHUP", 0),
    FILTER_WRITE: select.POLLOUT,
}
#: The answers by which each filter fires.
_READY: Final = {
    FILTER_READ: _QUESTIONS[FILTER_READ] | select.POLLHUP | select.POLLERR,
    FILTER_WRITE: select.POLLOUT | select.POLLHUP | select.POLLERR,
}
#: The answers that are an end, for each filter.
_END: Final = {
    FILTER_READ: getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR,
    FILTER_WRITE: select.POLLHUP | select.POLLERR,
}


class SimulatedKqueue:
    """A stand-in for `select.kqueue`.

    Attributes:
        changes: every change that was asked for so far, as (descriptor, filter, flags).
    """

    def __init__(self) -> None:
        """Open a queue.  It has a descriptor of its own, as a real one has."""
        self._fd = os.open(os.devnull, os.O_RDONLY)
        # What was opened under the number is remembered too, to notice that the number means another file.
        self._filters: dict[tuple[int, int], tuple[int, int]] = {}
        self._script: deque[Kevent] = deque()
        self.changes: list[tuple[int, int, int]] = []

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def fileno(self) -> int:
        """The queue's own descriptor.

        Raises:
            ValueError: the queue is closed.
        """
        if self.closed:
            raise ValueError("I/O operation on closed kqueue object")
        return self._fd

    def close(self) -> None:
        """Close the queue.  May be called twice."""
        if not self.closed:
            os.close(self._fd)
            self._fd = -1

    def deliver(self, *events: Kevent) -> None:
        """Have the next `control` that waits return `events` first, before what is really ready."""
        self._script.extend(events)

    def control(
        self, changelist: Iterable[Kevent] | None, max_events: int, timeout: float | None = None, /
    ) -> list[Kevent]:
        """Make the changes, then return up to `max_events` events.

        Args:
            changelist: filters to add and to delete; None for none.
            max_events: 0 does not wait.
            timeout: seconds to wait for the first event; None waits for ever.

        Raises:
            OSError: a change failed, and there was no room for an event that says so.
            ValueError: the queue is closed, `timeout` or `max_events` is negative, or a change is of a
                kind that is not simulated.
        """
        self.fileno()
        if max_events < 0:
            raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be positive or None")
        failures: list[Kevent] = []
        for change in changelist or ():
            try:
                self._apply(change)
            except OSError as exc:
                if len(failures) >= max_events:
                    raise
                failures.append(_failure(change, exc.errno or 0))
        if failures or max_events == 0:
            return failures
        return self._scripted(max_events) or self._collect(max_events, timeout)

    def _apply(self, change: Kevent) -> None:
        self.changes.append((change.ident, change.filter, change.flags))
        if change.filter not in _QUESTIONS or change.flags not in {ADD, DELETE}:
            raise ValueError(
                f"only adding and deleting of the read and write filters is simulated: {change!r}"
            )
        place = change.ident, change.filter
        found = identity(change.ident)
        if found is None:
            self._filters.pop(place, None)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if change.flags == ADD:
            self._filters[place] = found
        elif self._filters.pop(place, None) != found:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _scripted(self, max_events: int) -> list[Kevent]:
        return [self._script.popleft() for _ in range(min(max_events, len(self._script)))]

    def _collect(self, max_events: int, timeout: float | None) -> list[Kevent]:
        """What poll(2) finds ready, as events, one a filter."""
        for place, found in list(self._filters.items()):
            if identity(place[0]) != found:
                del self._filters[place]
        question: dict[int, int] = {}
        for fd, filter_ in self._filters:
            question[fd] = question.get(fd, 0) | _QUESTIONS[filter_]
        poll = select.poll()
        for fd, mask in question.items():
            poll.register(fd, mask)
        answers = poll.poll(None if timeout is None else timeout * 1000)
        events = [
            _event(fd, filter_, ready)
            for fd, ready in answers
            for filter_ in _QUESTIONS
            if (fd, filter_) in self._filters and ready & _READY[filter_]
        ]
        return events[:max_events]


def _event(fd: int, filter_: int, ready: int) -> Kevent:
    flags = EOF_FLAG if ready & _END[filter_] else 0
    return PlainKevent(fd, filter_, flags, 0, _waiting(fd) if filter_ == FILTER_READ else 1)


def _failure(change: Kevent, number: int) -> Kevent:
    return PlainKevent(change.ident, change.filter, change.flags | ERROR_FLAG, 0, number)


def _waiting(fd: int) -> int:
    """Bytes that can be read now; 1 where that cannot be asked."""
    try:
        answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    except OSError:  # A listening socket.
        return 1
    return int.from_bytes(answer, sys.byteorder)
