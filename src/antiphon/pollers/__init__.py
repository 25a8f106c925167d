"""Which descriptors are ready: one module for each of the kernel's ways to say so, one contract for all.

`make` chooses; `antiphon.pollers.base` has the contract and `antiphon.testing.check_poller` checks it.
"""

import os
import select as system  # `select` is a module of this package too.
import sys
from collections.abc import Callable, Collection
from typing import Final, cast

from antiphon.errors import PollerUnavailable
from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE, Poller

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "ERROR",
    "HANGUP",
    "INVALID",
    "PREFERENCE",
    "READ",
    "URGENT",
    "WRITE",
    "Poller",
    "make",
    "offered",
    "pick",
]

#: Best first.  epoll and kqueue cost per event; poll and select per descriptor.
PREFERENCE: Final = ("adaptive", "epoll", "kqueue", "poll", "select")

#: Names the poller that `make` uses where the program does not ask for one.
ENVIRONMENT_VARIABLE: Final = "ANTIPHON_POLLER"


def pick(wanted: str | None, offered: Collection[str]) -> str:
    """The name of the poller to use.

    >>> pick(None, {"poll", "select"})
    'poll'

    Args:
        wanted: a name, or None for the best one that is offered.
        offered: names of the pollers to choose from.

    Raises:
        PollerUnavailable: `wanted` is not among those offered, or none is.
    """
    names = [name for name in PREFERENCE if name in offered]
    if wanted is None and names:
        return names[0]
    if wanted is None or wanted not in names:
        asked_for = "no poller" if wanted is None else f"no poller {wanted!r}"
        raise PollerUnavailable(f"{asked_for} here; there is {', '.join(names) or 'none'}")
    return wanted


def offered() -> tuple[str, ...]:
    """The names of the pollers that this system has, best first."""
    both = hasattr(system, "epoll") and hasattr(system, "poll")
    return tuple(name for name in PREFERENCE if (both if name == "adaptive" else hasattr(system, name)))


def make(wanted: str | None = None) -> Poller:
    """A poller.

    Args:
        wanted: its name; None takes the one that the environment variable ANTIPHON_POLLER names and,
            where that is unset or empty, the best one.

    Raises:
        PollerUnavailable: this system has no such poller.
        OSError: the kernel refused (EMFILE: too many open descriptors).
    """
    return maker(pick(wanted or os.environ.get(ENVIRONMENT_VARIABLE) or None, offered()))()


def maker(name: str) -> Callable[[], Poller]:
    """What makes a poller of that name. Imports its module only: others may not concern this system."""
    # Written out for the tools that find the modules of a program by its import statements.
    if name == "adaptive":
        import antiphon.pollers.adaptive
    elif name == "epoll":
        import antiphon.pollers.epoll
    elif name == "kqueue":
        import antiphon.pollers.kqueue
    elif name == "poll":
        import antiphon.pollers.poll
    else:
        import antiphon.pollers.select  # noqa: F401 (found in sys.modules)
    module = sys.modules[f"{__name__}.{name}"]
    return cast("Callable[[], Poller]", getattr(module, f"{name.capitalize()}Poller"))
