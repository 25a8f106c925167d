"""poll(2): nearly every POSIX system.  A wait costs what is watched, with no limit on descriptors."""

import select
import sys
from typing import TYPE_CHECKING, NoReturn

from antiphon.pollers.base import EVERYTHING, check_interest, milliseconds

__all__ = ["PollPoller"]

assert not TYPE_CHECKING or sys.platform != "win32"


class _Closed:
    """Is there instead of the poll object of a poller that is closed."""

    def register(self, fd: int, interest: int) -> NoReturn:
        raise ValueError("the poll poller is closed")

    def unregister(self, fd: int) -> None:
        """Nothing is registered."""

    def poll(self, timeout: int | None) -> NoReturn:
        raise ValueError("the poll poller is closed")


class PollPoller:
    """A poller on a poll object.

    The kernel is asked at each wait and not before: a descriptor that is not open is watched without
    complaint and then reported as `INVALID`, until it is forgotten.
    """

    name = "poll"

    def __init__(self) -> None:
        """Watch nothing yet."""
        #: Descriptor -> interest.
        self.watched: dict[int, int] = {}
        #: How often it was told of an interest that it did not know.
        self.changes: int = 0
        self._poll: select.poll | _Closed = select.poll()

    def watch(self, fd: int, interest: int) -> None:
        """Report `fd` from now on when it is ready for one of `interest`; see `Poller.watch`."""
        if self.watched.get(fd) == interest:
            return
        if not 0 < interest <= EVERYTHING:
            check_interest(interest)
        self._poll.register(fd, interest)
        self.watched[fd] = interest
        self.changes += 1

    def interest(self, fd: int) -> int:
        """What `fd` is watched for; 0 when it is not."""
        return self.watched.get(fd, 0)

    def forget(self, fd: int) -> None:
        """Report `fd` no more; never fails."""
        if self.watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """(fd, ready) of the descriptors that are ready within `timeout` seconds; see `Poller.wait`."""
        return self._poll.poll(None if timeout is None else milliseconds(timeout))

    def close(self) -> None:
        """Forget every descriptor; there is no kernel object to close."""
        self.watched.clear()
        self._poll = _Closed()
