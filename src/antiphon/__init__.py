"""Command/response socket channels: the successor of asyncore and asynchat.

The modules are `antiphon.asyncore` and `antiphon.asynchat`.  From Python 3.12 on, installing antiphon also
makes them importable as `asyncore` and `asynchat`; `install()` does so on any Python, for one process.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antiphon.datagrams import DatagramChannel
    from antiphon.draining import Drained
    from antiphon.listening import create_server
    from antiphon.message_channel import MessageChannel

__all__ = ["DatagramChannel", "MessageChannel", "__version__", "create_server", "drain", "install", "stop"]

__version__ = "0.1.0"


def install() -> None:
    """Make `import asyncore` and `import asynchat` give antiphon's modules in this process.

    For Python 3.11, whose own modules come first on the path, and for environments where another
    distribution provides the names.  What `sys.modules` holds under the two names is replaced.  A module that
    has imported one of them already keeps what it has: call this first.  A second call changes nothing.
    """
    from antiphon import asynchat, asyncore

    sys.modules["asyncore"] = asyncore
    sys.modules["asynchat"] = asynchat


def stop(map: Any = None) -> None:
    """Have `asyncore.loop()` return after its present turn; in any thread, and in a signal handler.

    Args:
        map: whose loop; `asyncore.socket_map` if None.
    """
    from antiphon import asyncore

    asyncore.get_loop(map).stop()


def drain(deadline: float, map: Any = None, *, use_poll: bool = False) -> "Drained":
    """End all channels when they have sent what they have to send; at the deadline, those that have not.

    Args:
        deadline: seconds that it takes at most, 0 or more.
        map: whose channels; `asyncore.socket_map` if None.
        use_poll: as of `asyncore.loop`.

    Returns:
        How many channels ended in which way: (listeners, flushed, lost, aborted).
    """
    from antiphon import asyncore

    return asyncore.get_loop(map).drain(deadline, use_poll=use_poll)


def __getattr__(name: str) -> Any:
    """The others are imported when they are asked for: tools that only want the version need no sockets."""
    if name == "MessageChannel":
        from antiphon.message_channel import MessageChannel

        return MessageChannel
    if name == "DatagramChannel":
        from antiphon.datagrams import DatagramChannel

        return DatagramChannel
    if name == "create_server":
        from antiphon.listening import create_server

        return create_server
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
