"""Command/response socket channels: the successor of asyncore and asynchat.

The modules are `antiphon.asyncore` and `antiphon.asynchat`.  From Python 3.12 on, installing antiphon also
makes them importable as `asyncore` and `asynchat`; `install()` does so on any Python, for one process.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antiphon.datagrams import DatagramChannel
    from antiphon.listening import create_server
    from antiphon.message_channel import MessageChannel

__all__ = ["DatagramChannel", "MessageChannel", "__version__", "create_server", "install"]

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
