"""poll(2) while that is cheaper, and epoll(7) while that is: Linux.

Each descriptor that epoll watches costs a system call when it comes, one when it goes and one for each change
of what is wanted of it.  poll(2) learns all of that in the wait, and looks at every descriptor in each.  So a
few peers who come and go are cheaper by poll, a few who stay or many of any kind by epoll.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

from antiphon.pollers.epoll import EpollPoller  # noqa: E402 (there is none where the line above fails)
from antiphon.pollers.poll import PollPoller  # noqa: E402

__all__ = ["FEW", "PATIENCE", "AdaptivePoller"]

#: Descriptors that poll(2) watches at most.
FEW: Final = 64
#: How many descriptors poll(2) looks at in the time of one epoll_ctl(2): 0.06 and 0.9 µs were measured.
CHANGE: Final = 16
#: What one may have cost more than the other would have, in descriptors looked at, before that takes over: as
#: much as it costs to have epoll watch as many as there may be.
PATIENCE: Final = FEW * CHANGE


class AdaptivePoller:
    """A poller that begins with poll(2), and goes over to epoll and back when that would have been cheaper.

    With poll it takes no descriptor itself.  When epoll does not take all that is watched, because something
    is closed or no descriptor is left for epoll, poll goes on watching.

    Attributes:
        watch: see `Poller.watch`; this and the others are those of the poller that is in use, so that it
            makes no difference to a wait that there are two.
        interest: see `Poller.interest`.
        forget: see `Poller.forget`.
        wait: see `Poller.wait`.
        close: see `Poller.close`.
    """

    name = "adaptive"

    watch: Callable[[int, int], None]
    interest: Callable[[int], int]
    forget: Callable[[int], None]
    wait: Callable[[float | None], list[tuple[int, int]]]
    close: Callable[[], None]

    #: The last one that there was.
    _epoll: EpollPoller

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._poll = PollPoller()
        #: What the one in use has cost more than the other would have.
        self._loss = 0
        #: Whether that is counted while epoll is in use.
        self._counts = False
        self._use(self._poll)
        self.wait = self._wait_by_poll

    def _use(self, poller: PollPoller | EpollPoller) -> None:
        self.watch, self.interest, self.forget = poller.watch, poller.interest, poller.forget
        self.wait, self.close = poller.wait, poller.close
        self._loss, self._counts = 0, False

    def _wait_by_poll(self, timeout: float | None) -> list[tuple[int, int]]:
        poll = self._poll
        count, changes = len(poll.watched), poll.changes
        if changes:
            poll.changes = 0
            self._loss = max(self._loss - CHANGE * changes, 0)
        self._loss += count
        if self._loss > PATIENCE or (changes and count > FEW):
            self._loss = 0
            if self._go_over():
                return self.wait(timeout)
        return poll.wait(timeout)

    def _go_over(self) -> bool:
        """Have epoll watch everything, if it can; whether it does."""
        try:
            epoll = EpollPoller()
        except OSError:  # EMFILE, ENFILE, ENOMEM
            return False
        watched = tuple(self._poll.watched.items())  # Other threads may forget some meanwhile.
        try:
            for fd, interest in watched:
                epoll.watch(fd, interest)
        except (OSError, ValueError):  # Closed, or no descriptor at all: poll reports it as INVALID.
            epoll.close()
            return False
        self._use(epoll)
        self._epoll, self.watch = epoll, self._watch_by_epoll
        for fd, _ in watched:
            if fd not in self._poll.watched:
                epoll.forget(fd)
        self._poll.close()
        return True

    def _watch_by_epoll(self, fd: int, interest: int) -> None:
        epoll = self._epoll
        epoll.watch(fd, interest)
        if not self._counts and len(epoll.watched) <= FEW // 2:  # Fewer than bring epoll: not to and fro.
            self._counts, epoll.changes = True, 1
            self.wait = self._wait_by_epoll

    def _wait_by_epoll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait, and count what poll would have cost less, until that turns out to be nothing."""
        epoll = self._epoll
        count = len(epoll.watched)
        self._loss += CHANGE * epoll.changes - count
        epoll.changes = 0
        if count > FEW // 2 or self._loss < -PATIENCE:
            self._loss, self._counts = 0, False
            self.wait = epoll.wait
        elif self._loss > PATIENCE:
            self._go_back(epoll)
            return self.wait(timeout)
        return epoll.wait(timeout)

    def _go_back(self, epoll: EpollPoller) -> None:
        self._poll = poll = PollPoller()
        watched = (*epoll.watched.items(), *epoll.refused.items())  # As in _go_over.
        for fd, interest in watched:
            poll.watch(fd, interest)
        poll.changes = 0
        self._use(poll)
        self.wait = self._wait_by_poll
        for fd, _ in watched:
            if not epoll.interest(fd):
                poll.forget(fd)
        epoll.close()
