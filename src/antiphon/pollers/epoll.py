"""epoll(7): Linux.  A wait costs what is ready, not what is watched."""

import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from antiphon.pollers.base import EVERYTHING, LONGEST_WAIT, check_interest

__all__ = ["EpollPoller"]

assert not TYPE_CHECKING or sys.platform == "linux"

#: Events that one wait returns at most; the others come with the next one.
BATCH: Final = 1024


class EpollPoller:
    """A poller on an epoll instance.

    The kernel's table follows open files, not numbers (epoll(7), questions 1 and 6).  A descriptor that is
    closed while a copy of it is open, in a forked child perhaps, stays in the table: it is reported for
    ever, cannot be removed any more, and its number may have come to mean something else.  So a
    descriptor that turns out to have been closed before it was forgotten is a suspect; when one is reported
    and should not be, the table is made anew.

    Regular files, directories and the like are refused by epoll_ctl(2) with EPERM.  For poll(2) they are
    always ready; so they are watched by a poll object beside it, and a wait with one of them does not sleep.
    """

    name = "epoll"

    def __init__(self) -> None:
        """Open an epoll instance; OSError if the kernel refuses (EMFILE)."""
        self._epoll = select.epoll()
        #: Descriptor -> interest: what is in the kernel's table, and what the kernel refuses to put there.
        self.watched: dict[int, int] = {}
        self.refused: dict[int, int] = {}
        self._poll = select.poll()
        self._suspects: set[int] = set()
        #: How often the kernel was told of another interest.
        self.changes: int = 0
        #: How often the epoll instance was replaced by another.
        self.generation: int = 0

    def watch(self, fd: int, interest: int) -> None:
        """Report `fd` from now on when it is ready for one of `interest`; see `Poller.watch`."""
        known = self.watched.get(fd)
        if known == interest or (self.refused and self.refused.get(fd) == interest):
            return
        if not 0 < interest <= EVERYTHING:
            check_interest(interest)
        try:
            if known is None:
                self._epoll.register(fd, interest)
            else:
                self._epoll.modify(fd, interest)
        except (OSError, ValueError) as error:
            self._watch_anyway(fd, interest, error)
        else:
            self.watched[fd] = interest
            self.changes += 1
            if self.refused:
                self._forget_refused(fd)

    def _watch_anyway(self, fd: int, interest: int, error: OSError | ValueError) -> None:
        """Watch what the kernel's table has and our notes don't, or the other way round."""
        self.watched.pop(fd, None)
        try:
            if isinstance(error, FileExistsError):  # Forgotten as something else, and put back (dup2).
                self._epoll.modify(fd, interest)
            elif isinstance(error, FileNotFoundError):  # Closed, and the number is in use again.
                self._suspects.add(fd)
                self._epoll.register(fd, interest)
            else:
                raise error
        except PermissionError:
            self._poll.register(fd, interest)
            self.refused[fd] = interest
        except (OSError, ValueError):
            self._forget_refused(fd)
            raise
        else:
            self.watched[fd] = interest
            self._forget_refused(fd)

    def interest(self, fd: int) -> int:
        """What `fd` is watched for; 0 when it is not."""
        return self.watched.get(fd) or self.refused.get(fd, 0)

    def forget(self, fd: int) -> None:
        """Report `fd` no more; never fails."""
        if self.watched.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # Closed already (EBADF), or closed and the number in use again (ENOENT).
                self._suspects.add(fd)
        elif self.refused:
            self._forget_refused(fd)

    def _forget_refused(self, fd: int) -> None:
        if self.refused.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """(fd, ready) of the descriptors that are ready within `timeout` seconds; see `Poller.wait`."""
        if self.refused or self._suspects or (timeout is not None and not 0.0 <= timeout < LONGEST_WAIT):
            return self._wait_and_see(timeout)
        # The interpreter rounds up to whole milliseconds, the unit of epoll_wait(2).
        return self._epoll.poll(timeout, BATCH)

    def _wait_and_see(self, timeout: float | None) -> list[tuple[int, int]]:
        """The same for odd timeouts, and with descriptors that epoll refuses or may report wrongly."""
        refused = self._poll.poll(0) if self.refused else []
        limit = None if timeout is None else max(0.0, min(timeout, LONGEST_WAIT))
        ready = self._epoll.poll(0.0 if refused else limit, BATCH)
        if self._suspects and not self._suspects.isdisjoint(fd for fd, _ in ready):
            ready = self._without_ghosts(ready)
        return refused + ready

    def _without_ghosts(self, ready: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of `ready` that are true; if one is not, make the kernel's table anew."""
        true = [
            (fd, bits)
            for fd, bits in ready
            if fd not in self._suspects or _is_ready(fd, self.watched.get(fd, 0))
        ]
        if len(true) < len(ready):
            self._epoll.close()
            self._epoll = select.epoll()
            self.generation += 1
            self._suspects.clear()
            for fd, interest in self.watched.items():
                with suppress(OSError):  # Closed, and to be forgotten yet.
                    self._epoll.register(fd, interest)
        return true

    @property
    def never_sleeps(self) -> bool:
        """Whether something is always ready, of which the descriptor of the epoll instance tells nothing."""
        return bool(self.refused)

    def fileno(self) -> int:
        """The epoll instance's own descriptor, readable while something is ready.

        Raises:
            ValueError: the poller is closed.
        """
        return self._epoll.fileno()

    def close(self) -> None:
        """Close the epoll instance.  In a forked child this leaves the parent's as it is."""
        self._epoll.close()
        self.watched.clear()
        self.refused.clear()
        self._suspects.clear()


def _is_ready(fd: int, interest: int) -> bool:
    """Whether `fd`, as open under this number now, is ready for what is wanted of it."""
    if not interest:
        return False
    poll = select.poll()
    poll.register(fd, interest)
    return bool(poll.poll(0))
