"""What can go wrong in antiphon's own name, and which of the system's errors are no errors at all."""

import errno
import sys
from collections.abc import Sequence
from typing import Any, Final

__all__ = [
    "BEGINNING",
    "ESCAPING",
    "NETWORK_ERRORS",
    "NOT_NOW",
    "AntiphonError",
    "ConnectFailed",
    "ExitNow",
    "MessageIncomplete",
    "MessageTooLong",
    "PlaintextReceived",
    "PollerUnavailable",
    "ProxyHeaderError",
    "WouldBlock",
    "is_network_error",
    "is_would_block",
]

#: What a peer or the network does to a connection.  None of it is a defect of the program.
NETWORK_ERRORS: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESHUTDOWN,
        errno.ETIMEDOUT,
    }
)

#: What a call on a socket raises that has done nothing, and is to be made again.  EINTR comes from what is no
#: `socket.socket`: for those, the interpreter makes the call again (PEP 475).
NOT_NOW: Final = (BlockingIOError, InterruptedError)

#: Bytes of a message that its error shows at most.
BEGINNING: Final = 40


class ExitNow(Exception):  # noqa: N818 (the name that programs raise and catch)
    """Raise it in a handler to leave the loop: it passes through instead of going to `handle_error`."""


#: What a handler may raise to leave the loop.
ESCAPING: Final[tuple[type[BaseException], ...]] = (ExitNow, KeyboardInterrupt, SystemExit)


class AntiphonError(Exception):
    """The base of the exceptions that only antiphon raises."""


class PollerUnavailable(AntiphonError, ValueError):  # noqa: N818 (as BlockingIOError has none either)
    """The poller that was asked for does not exist on this system."""


class MessageTooLong(AntiphonError, ValueError):  # noqa: N818 (as PollerUnavailable)
    """A peer's message is longer than the channel allows.

    Attributes:
        limit: bytes that were allowed, without the terminator.
        size: bytes that it has at least: those that had arrived of it when that was noticed, or its length.
        beginning: its first bytes, 40 at most; none, where its length was known before it came.
        messages: those before it, of the same `MessageParser.feed`; empty where they were delivered.
    """

    def __init__(self, limit: int, size: int, beginning: bytes) -> None:
        super().__init__(limit, size, beginning)
        self.limit: int = limit
        self.size: int = size
        self.beginning: bytes = beginning
        self.messages: list[bytes] = []

    def __str__(self) -> str:
        wanted = f"wanted a message of at most {self.limit} bytes"
        if not self.beginning:
            return f"{wanted}, found one of {self.size}"
        return f"{wanted}, found one of at least {self.size} that begins with {self.beginning!r}"


class ProxyHeaderError(AntiphonError, ValueError):
    """A connection does not begin with a valid header of the PROXY protocol."""


class ConnectFailed(AntiphonError, OSError):  # noqa: N818 (as BlockingIOError has none either)
    """No connection could be made to a host that was given by its name.

    Attributes:
        address: (host, port) as it was asked for.
        errors: (address, error) of each attempt, in the order in which they ended; of the name itself, if
            that was not found.
        errno: that of the last one.
    """

    def __init__(self, address: Any, errors: Sequence[tuple[Any, OSError]]) -> None:
        reasons = "; ".join(f"{_where(tried)}: {error.strerror or error}" for tried, error in errors)
        super().__init__(errors[-1][1].errno, f"cannot connect to {_where(address)}: {reasons}")
        self.address: Any = address
        self.errors: list[tuple[Any, OSError]] = list(errors)

    def __str__(self) -> str:
        return str(self.strerror)


def _where(address: Any) -> str:
    return f"{address[0]} port {address[1]}" if isinstance(address, tuple) else str(address)


class PlaintextReceived(AntiphonError):  # noqa: N818 (as PollerUnavailable)
    """Something was received before the handshake of TLS that would be taken for having come through it.

    Attributes:
        size: bytes.
        beginning: the first of them, 40 at most.
    """

    def __init__(self, received: bytes) -> None:
        super().__init__(received)
        self.size: int = len(received)
        self.beginning: bytes = received[:40]

    def __str__(self) -> str:
        return (
            f"wanted nothing from the peer before the handshake of TLS, found {self.size} bytes "
            f"that begin with {self.beginning!r}"
        )


class MessageIncomplete(AntiphonError, EOFError):  # noqa: N818 (as PollerUnavailable)
    """The peer has ended in the middle of a message.

    Attributes:
        partial: the bytes that there are of it; b"" if it was skipped, or has not begun.
        expected: bytes that it should have had; None if a terminator was to end it.
    """

    def __init__(self, partial: bytes, expected: int | None) -> None:
        super().__init__(partial, expected)
        self.partial: bytes = partial
        self.expected: int | None = expected

    def __str__(self) -> str:
        wanted = "a terminator" if self.expected is None else f"{self.expected} bytes"
        return f"wanted {wanted}, found the end after {len(self.partial)} bytes: {self.partial!r:.60}"


class WouldBlock(BlockingIOError):  # noqa: N818 (as BlockingIOError has none either)
    """A channel's own socket had no bytes to give: no event, and no error.

    A handler may let it escape; the loop then goes on as if nothing had happened.
    """


def is_would_block(error: BaseException) -> bool:
    """Whether `error` only says "not now" of a channel's own socket, TLS sockets included."""
    if isinstance(error, WouldBlock):
        return True
    ssl = sys.modules.get("ssl")  # Imported by whoever raised one of its errors; needed by nobody else.
    return ssl is not None and isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError))


def is_network_error(error: BaseException | None) -> bool:
    """Whether `error` is the network's or the peer's doing: an event to note, not a defect to trace."""
    return isinstance(error, OSError) and (error.errno in NETWORK_ERRORS or isinstance(error, ConnectFailed))
