"""The contract of a poller: which descriptors are watched for what, and waiting for them.

A poller knows descriptors and bits.  It knows no channels, calls nobody back and decides nothing:
what an event means is the loop's business.

The rules for whoever keeps one:

- Forget a descriptor *before* closing it.  The kernel drops a closed one by itself, but the poller's own
  notes are not told: the same interest in the same number again would be taken for known.
- Read before believing `HANGUP`: there may be bytes that arrived before it.  kqueue(2) reports it as soon
  as the peer has stopped sending, though it may still be listening; poll(2) when both ways are gone.
- `ERROR`, `HANGUP` and `INVALID` come unasked.  select(2) cannot tell the first two: there the descriptor
  is readable or writable, and the next call on it says what is wrong.
- Forget a descriptor that is `INVALID`; poll(2) would report it for ever.
- A poller belongs to one thread, and to the process that made it.  After a fork the child closes it and
  makes its own, without forgetting anything first: an epoll instance is shared with the parent.
"""

import math
from typing import Final, Protocol

__all__ = [
    "ERROR",
    "EVERYTHING",
    "HANGUP",
    "INVALID",
    "LONGEST_WAIT",
    "READ",
    "URGENT",
    "WRITE",
    "Poller",
    "check_interest",
    "milliseconds",
]

# The numbers of poll(2) and epoll_ctl(2), which agree, so that those two need no translation.

#: There are bytes, a connection to accept, or the end of the input.  POLLIN.
READ: Final = 1
#: There is out-of-band data.  POLLPRI.
URGENT: Final = 2
#: There is room for more output, or a connection attempt has ended.  POLLOUT.
WRITE: Final = 4
#: All that can be asked for.
EVERYTHING: Final = READ | URGENT | WRITE
#: Something failed; for a socket, `SO_ERROR` says what.  POLLERR.
ERROR: Final = 8
#: The other side is gone.  POLLHUP.
HANGUP: Final = 16
#: The descriptor is not open.  POLLNVAL.
INVALID: Final = 32

#: Seconds that one wait lasts at most.  The kernel takes an int of milliseconds, 24.8 days; this is 23.1.
LONGEST_WAIT: Final = 2_000_000.0


class Poller(Protocol):
    """What the loop asks of the kernel.  `antiphon.testing.check_poller` tests one against these words."""

    #: The name that `antiphon.pollers.make` and ANTIPHON_POLLER know it by.
    name: str

    def watch(self, fd: int, interest: int) -> None:
        """Report `fd` from now on when it is ready for one of `interest`.

        An earlier interest is replaced.  Asking for what is asked for already costs no system call.

        Args:
            fd: an open descriptor.
            interest: `READ`, `URGENT` and `WRITE`, at least one of them.

        Raises:
            ValueError: the poller is closed, there is no such interest, or it cannot watch such a number.
            OSError: the kernel refused (EBADF: not open).  `fd` is not watched then, whatever was before.
                A poller that asks the kernel later reports `INVALID` instead.
        """

    def interest(self, fd: int) -> int:
        """What `fd` is watched for: the bits of the last `watch`; 0 when it is not watched."""

    def forget(self, fd: int) -> None:
        """Report `fd` no more.  Never fails, also when `fd` is closed already or was never watched."""

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait until a watched descriptor is ready.

        Level-triggered: what is not dealt with is reported again.  A signal whose handler does not
        raise does not end the wait (PEP 475).

        Args:
            timeout: seconds at most; 0.0 only looks, and so does less; None waits for ever.
                Rounded up to the kernel's unit, and cut to `LONGEST_WAIT`.

        Returns:
            (fd, ready) pairs, `ready` made of the bits of this module.  Empty when time ran out, and
            seldom before: whoever waits for a moment asks the clock.

        Raises:
            ValueError: the poller is closed.
        """

    def close(self) -> None:
        """Give the kernel object back.  May be called twice, and in a forked child."""


def check_interest(interest: int) -> None:
    """Raise ValueError unless `interest` is made of `READ`, `URGENT` and `WRITE`, and not empty."""
    if not 0 < interest <= EVERYTHING:
        raise ValueError(
            f"interest must be READ (1), URGENT (2), WRITE (4) or a sum of them, not {interest!r}; "
            "a descriptor that nothing is wanted of is forgotten"
        )


def milliseconds(timeout: float) -> int:
    """`timeout` seconds in whole milliseconds, the unit of poll(2) and epoll_wait(2).

    Rounded up, since to wait less than asked is to ask again: the last millisecond would be spent
    spinning.  Never negative, which would mean for ever.

    >>> milliseconds(0.0004), milliseconds(0.0105), milliseconds(-1.0)
    (1, 11, 0)
    """
    return math.ceil(max(0, min(timeout, LONGEST_WAIT)) * 1000)
