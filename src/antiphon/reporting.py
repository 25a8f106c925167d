"""What a channel tells the person who runs it: log lines, and errors that nobody else dealt with."""

import logging
import sys
import traceback
from types import TracebackType
from typing import Any, Final, TypeAlias

from antiphon.endings import ERROR, PEER
from antiphon.errors import is_network_error
from antiphon.interest import noticed, unhandled
from antiphon.logs import LimitedLog, name_of, origin_of

__all__ = ["Reporting", "compact_traceback"]

_log: Final = logging.getLogger("antiphon.channels")

#: Lines of one kind in a second at most.
_BURST: Final = 10
_limited = LimitedLog(_log, burst=_BURST)

CompactTraceback: TypeAlias = tuple[tuple[str, str, str], type[BaseException], BaseException, str]

#: (class, event) pairs that were warned of: once is enough for what is a slip of the program.
_warned: set[tuple[type, str]] = set()


def compact_traceback() -> CompactTraceback:
    """The exception that is being handled, as ((file, function, line), type, value, frames).

    The triple is the innermost frame, its line as text; `frames` has a `[file|function|line]` for each.

    Raises:
        AssertionError: no exception is being handled.
    """
    kind, error, trace = sys.exc_info()
    if kind is None or error is None or trace is None:
        raise AssertionError("wanted an exception that is being handled, found none")
    frames = list(_frames(trace))
    return frames[-1], kind, error, " ".join("[{}|{}|{}]".format(*frame) for frame in frames)


def _frames(trace: TracebackType) -> list[tuple[str, str, str]]:
    walked = traceback.walk_tb(trace)
    return [(frame.f_code.co_filename, frame.f_code.co_name, str(line)) for frame, line in walked]


class Reporting:
    """The log methods of a channel, and its defaults for events that the program doesn't handle.

    Attributes:
        ignore_log_types: types of message that `log_info` does not print.
        survives_errors: whether a listener goes on when accepting one connection failed in the program's own
            code; set to False to have it closed, as it used to be.
    """

    ignore_log_types: Any = frozenset({"warning"})
    survives_errors = True
    accepting: Any
    _fileno: Any
    #: Why `handle_close` was called, if it was; and why else the channel is ending. One of `endings.REASONS`.
    #: Why it has ended; "" while it has not; None before it has had a socket.
    _ac_hung_up: str | None
    _ac_ending: str | None = None
    _ac_accept_failed = False

    def log(self, message: object) -> None:
        """Write `message` to standard error, behind `log: `. Meant to be overridden."""
        sys.stderr.write(f"log: {message}\n")

    def log_info(self, message: object, type: str = "info") -> None:
        """Print `type: message` unless the type is in `ignore_log_types`. Meant to be overridden."""
        if type not in self.ignore_log_types:
            print(f"{type}: {message}")

    def handle_error(self) -> None:
        """Called while an exception of another handler is being handled; by default reports it and closes.

        What the network does is reported at level INFO, anything else at ERROR with its traceback, to the
        logger `antiphon.channels`: of one kind 10 lines a second at most, and how many were left out. A class
        with its own `log_info` gets the message there instead, each time.
        A listener stays open (see `survives_errors`) unless accepting itself is broken.
        """
        error = sys.exc_info()[1]
        self._ac_report(error)
        if self.accepting and self.survives_errors and not self._ac_accept_failed:
            return
        self._ac_hang_up(PEER if is_network_error(error) else ERROR)

    def _ac_report(self, error: BaseException | None) -> None:
        if self._ac_has_own_log_info():
            _, kind, error, frames = compact_traceback()
            self.log_info(
                f"uncaptured python exception, closing channel {name_of(self)} ({kind}:{error} {frames})",
                "error",
            )
        elif is_network_error(error):
            self._ac_log_loss(logging.INFO, error)
        else:
            of = type(self), origin_of(error)
            _limited.log(logging.ERROR, of, "uncaught exception in %s", name_of(self), exc_info=error)

    def _ac_log_loss(self, level: int, error: BaseException | None) -> None:
        """Note what the network or the peer did."""
        if _log.isEnabledFor(level):
            of = type(self), getattr(error, "errno", None)
            _limited.log(level, of, "%s: %s", name_of(self), error)

    def _ac_has_own_log_info(self) -> bool:
        return getattr(self.log_info, "__func__", None) is not _default_log_info

    def _ac_unhandled(self, event: str) -> None:
        """Tell of an event that the program has no handler for."""
        message = f"unhandled {event} event"
        if "warning" not in self.ignore_log_types or self._ac_has_own_log_info():
            self.log_info(message, "warning")
        elif (type(self), event) not in _warned:
            _warned.add((type(self), event))
            _log.info("%s: %s; said once for its class", name_of(self), message)

    @unhandled
    def handle_read(self) -> None:
        """Called when the channel can be read from. Meant to be overridden."""
        self._ac_unhandled("read")

    @noticed
    @unhandled
    def handle_write(self) -> None:
        """Called when the channel can be written to. Meant to be overridden."""
        self._ac_unhandled("write")

    @noticed
    @unhandled
    def handle_expt(self) -> None:
        """Called when out-of-band data has arrived. Meant to be overridden."""
        self._ac_unhandled("incoming priority")

    @unhandled
    def handle_connect(self) -> None:
        """Called when an outgoing connection is made. Meant to be overridden."""
        self._ac_unhandled("connect")

    @unhandled
    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Called with each accepted connection, a socket and its peer's address. Meant to be overridden."""
        sock.close()
        self._ac_unhandled("accepted")

    @unhandled
    def handle_close(self) -> None:
        """Called once, when the connection has ended. By default closes the channel."""
        self._ac_unhandled("close")
        self.close()

    def close(self) -> None:
        """Leave the map and close the socket."""
        raise NotImplementedError

    def _ac_hang_up(self, reason: str = PEER) -> None:
        """Call `handle_close`, once for a connection; a channel that has chosen to live on is closed then."""
        if self._ac_hung_up:
            self.close()
            return
        self._ac_hung_up = reason
        try:
            self.handle_close()
        finally:
            if self._fileno is not None:
                self._ac_state_changed()

    def _ac_lost(self, error: OSError) -> None:
        """Hang up because the system says that the connection is lost."""
        self._ac_log_loss(logging.DEBUG, error)
        self._ac_hang_up()

    def _ac_state_changed(self) -> None:
        raise NotImplementedError


_default_log_info = Reporting.log_info
