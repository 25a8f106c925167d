"""A socket whose network is a list: bytes, moments in which nothing has arrived, and errors.

What it answers is said beforehand, call by call; what it was asked is noted.  The kernel is asked nothing,
unless a real socket is put underneath.
"""

import errno
import itertools
import os
import socket
from typing import Any, Final

from antiphon.pollers.base import READ, WRITE

__all__ = ["ScriptedSocket", "error"]

#: The calls that a script can answer.
SCRIPTED: Final = (
    "accept",
    "bind",
    "close",
    "connect_ex",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv",
    "recv_into",
    "send",
    "sendmsg",
    "setsockopt",
    "shutdown",
)

#: Those for which None means "not now"; for the others, that they succeed.
_MAY_BLOCK: Final = frozenset({"accept", "recv", "recv_into", "send", "sendmsg"})

#: What connect(2) says of a connection that is being made.
_IN_PROGRESS: Final = (errno.EINPROGRESS, errno.EALREADY)

#: Beyond any number that a system gives out.
_descriptors: Final = itertools.count(1_000_000)

#: Nothing is scripted.
_NOTHING: Final = object()


def error(number: int) -> OSError:
    """The exception that a socket raises for an error number: of its own class, with the system's words.

    >>> type(error(errno.ECONNRESET)).__name__
    'ConnectionResetError'
    """
    return OSError(number, os.strerror(number))


class ScriptedSocket:
    r"""A stand-in for a connected, connecting or listening socket that does not block.

    >>> sock = ScriptedSocket(b"PI", None, b"NG\r\n", b"", send=[3, None, error(errno.EPIPE)])
    >>> sock.recv(100), sock.send(b"PONG\r\n")
    (b'PI', 3)

    Args:
        received: what `recv` and `recv_into` answer. Bytes arrive together, and are read in as many calls as
            it takes. None: nothing has arrived (EAGAIN). b"": the peer has stopped sending, which is final.
            An exception is raised. When all of it was read, nothing arrives any more.
        over: a real socket underneath, whose descriptor the system's pollers can watch. Calls that nothing is
            scripted for are passed on to it, and it is closed with this one. None for a socket that has no
            existence but here; its `fileno()` is a number that no system gives out.
        answers: what other calls answer, a list each, in the order of the calls. An exception is raised. Of a
            function, which is called without arguments, the same holds for what it returns. Else,

            - `send`, `sendmsg`: an int, how many bytes are taken at most; None for "not now" (EAGAIN).
              Without anything scripted, all are taken. `sendmsg` goes on with the list of `send`, and
              `recv_into` with what was received, unless they have one of their own.
            - `accept`: a socket, or a pair of a socket and an address; None for EAGAIN, which is also what
              is answered when nothing is scripted.
            - `connect_ex`: an error number, or 0. Without anything scripted EINPROGRESS.
            - `getsockopt`: an int. Without anything scripted what `setsockopt` set, or 0.
            - `getpeername`, `getsockname`: an address.
            - `setsockopt`, `bind`, `listen`, `shutdown`, `close`: None, they succeed. After `close` the
              socket is closed also if that failed, as close(2) recommends to take it.

    Attributes:
        calls: what was called, as (name, arguments...), `close` included.
        sends: the bytes that each call of `send` and `sendmsg` took.
        closed: whether `close` was called.
        peer: what `getpeername` answers.

    Raises:
        TypeError: there is no such call.
        ValueError: an OSError without a number, which the system never raises; `error` makes one with.
    """

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(
        self, *received: bytes | BaseException | None, over: socket.socket | None = None, **answers: Any
    ) -> None:
        self._over = over
        self._fd = next(_descriptors) if over is None else over.fileno()
        self._scripts: dict[str, list[Any]] = {}
        self._options: dict[tuple[int, int], Any] = {}
        self._connecting = False
        #: What has changed so far by calls: whoever turns a loop sees by it whether that leads anywhere.
        self.progress: int = 0
        self.calls: list[tuple[Any, ...]] = []
        self.sends: list[bytes] = []
        self.closed: bool = False
        self.peer: Any = ("192.0.2.1", 50_000)  # TEST-NET-1, RFC 5737.
        self.script(*received, **answers)

    def script(self, *received: bytes | BaseException | None, **answers: Any) -> None:
        """Have more happen after all that was scripted, with the arguments of the constructor."""
        for call, steps in {"recv": received, **answers}.items():
            if call not in SCRIPTED:
                raise TypeError(f"wanted a call of {', '.join(SCRIPTED)}, found {call!r}")
            self._scripts.setdefault(call, []).extend(map(_checked, steps))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"fd={self._fd}"
        return f"<ScriptedSocket {state} {len(self.calls)} calls>"

    # -- what a test asks ----------------------------------------------------------------------------

    @property
    def sent(self) -> bytes:
        """All that the peer gets."""
        return b"".join(self.sends)

    @property
    def unread(self) -> list[Any]:
        """What was to be received and was not asked for."""
        return self._scripts["recv"].copy()

    @property
    def ready(self) -> int:
        """READ and WRITE, for what a poller would report: what is scripted and not answered yet."""
        if self.closed:
            return 0
        if self._connecting:
            return WRITE
        coming = self._scripts["recv"] or self._scripts.get("recv_into") or self._scripts.get("accept")
        return READ | WRITE if coming else WRITE

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of that name."""
        return [call[1:] for call in self.calls if call[0] == name]

    # -- what a channel asks -------------------------------------------------------------------------

    def _answer(self, name: str, *arguments: Any, script: str | None = None) -> Any:
        """What is scripted for a call, or _NOTHING; noted, and raised if it is an exception."""
        self.calls.append((name, *arguments))
        if self.closed:
            raise error(errno.EBADF)
        steps = self._scripts.get(script or name)
        if not steps:
            return _NOTHING
        if steps[0] == b"":  # Nothing comes after the end.
            return b""
        self.progress += 1
        step = steps.pop(0)
        if callable(step):
            step = step()
        if isinstance(step, BaseException):
            try:
                raise step
            finally:
                del step  # Else the exception holds this frame, and this frame the exception.
        if step is None and name in _MAY_BLOCK:
            raise error(errno.EAGAIN)
        return step

    def _own_script(self, name: str, otherwise: str) -> str:
        return name if self._scripts.get(name) else otherwise

    def fileno(self) -> int:
        """The descriptor; -1 after `close`."""
        return -1 if self.closed else self._fd

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive what the script says, up to `size` bytes."""
        return self._receive("recv", size, flags, "recv")

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """The same, into a buffer; how many bytes."""
        view = memoryview(buffer).cast("B")
        script = self._own_script("recv_into", "recv")
        data = self._receive("recv_into", size or len(view), flags, script)
        view[: len(data)] = data
        return len(data)

    def _receive(self, name: str, size: int, flags: int, script: str) -> bytes:
        data = self._answer(name, size, script=script)
        if data is _NOTHING:
            if self._over is None:
                raise error(errno.EAGAIN)
            return self._over.recv(size, flags)
        if len(data) > size:
            self._scripts[script].insert(0, data[size:])
        return bytes(data[:size])

    def send(self, data: Any, flags: int = 0) -> int:
        """Take what the script says of `data`, or all of it."""
        return self._take("send", bytes(data), flags, "send")

    def sendmsg(self, buffers: Any, *others: Any) -> int:
        """The same for several pieces at once."""
        return self._take("sendmsg", b"".join(buffers), 0, self._own_script("sendmsg", "send"))

    def _take(self, name: str, data: bytes, flags: int, script: str) -> int:
        limit = self._answer(name, data, script=script)
        if limit is _NOTHING:
            limit = len(data) if self._over is None else self._over.send(data, flags)
        taken = data[:limit]
        self.sends.append(taken)
        self.progress += len(taken)
        return len(taken)

    def accept(self) -> tuple[Any, Any]:
        """The next connection of the script: a socket and the address of its peer."""
        taken = self._answer("accept")
        if taken is _NOTHING:
            if self._over is None:
                raise error(errno.EAGAIN)
            return self._over.accept()
        return taken if isinstance(taken, tuple) else (taken, taken.getpeername())

    def connect_ex(self, address: Any) -> int:
        """The error number of the script, 0 for none."""
        self.peer = address
        try:
            code = self._answer("connect_ex", address)
        except OSError as failure:
            code = failure.errno
        if code is _NOTHING:
            code = errno.EINPROGRESS if self._over is None else self._over.connect_ex(address)
        self._connecting = code in _IN_PROGRESS
        return int(code)

    def getsockopt(self, level: int, option: int, *size: int) -> Any:
        """What the script says, or `setsockopt` said; to ask for SO_ERROR ends an attempt to connect."""
        if option == socket.SO_ERROR and self._connecting:
            self._connecting = False
            self.progress += 1
        default = self._options.get((level, option), 0)
        return self._plainly("getsockopt", level, option, *size, default=default)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Note an option."""
        self._plainly("setsockopt", level, option, value)
        self._options[level, option] = value

    def getpeername(self) -> Any:
        """The address of the other side."""
        return self._plainly("getpeername", default=self.peer)

    def getsockname(self) -> Any:
        """The address of this side."""
        return self._plainly("getsockname", default=("192.0.2.2", 80))

    def bind(self, address: Any) -> None:
        """Note an address."""
        self._plainly("bind", address)

    def listen(self, *backlog: int) -> None:
        """Note that connections are expected."""
        self._plainly("listen", *backlog)

    def shutdown(self, how: int) -> None:
        """Stop sending, or receiving; shutdown(2)."""
        self._plainly("shutdown", how)

    def _plainly(self, name: str, *arguments: Any, default: Any = None) -> Any:
        """What the script says, the socket underneath, or the default."""
        answer = self._answer(name, *arguments)
        if answer is _NOTHING and self._over is not None:
            return getattr(self._over, name)(*arguments)
        return default if answer is _NOTHING or answer is None else answer

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it never blocks."""

    def settimeout(self, timeout: float | None) -> None:
        """Do nothing: it never blocks."""

    def gettimeout(self) -> float:
        """It does not block."""
        return 0.0

    def close(self) -> None:
        """Close it, with the socket underneath.  Again is fine."""
        if self.closed:
            self.calls.append(("close",))
            return
        self.progress += 1
        try:
            self._answer("close")
        finally:
            self.closed = True
            if self._over is not None:
                self._over.close()


def _checked(step: Any) -> Any:
    known = not isinstance(step, type) and (not isinstance(step, OSError) or step.errno is not None)
    if not known:
        raise ValueError(
            f"wanted an error with its number, as error(errno.ECONNRESET) makes one, found {step!r}"
        )
    return step
