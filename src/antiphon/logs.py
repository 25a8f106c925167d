"""Log lines that a peer can cause: each kind a few times a second at most, and how many were left out.

Whoever can have a line written can have a disk filled.
"""

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Final
from weakref import WeakSet

__all__ = ["LimitedLog", "name_of", "origin_of"]

#: Kinds that are remembered at most; the oldest is told of before its time when there are more.
LARGEST: Final = 1000

_all_logs: "WeakSet[LimitedLog]" = WeakSet()


def name_of(channel: object) -> str:
    """The repr of a channel, which has its address, also if the program has broken it."""
    try:
        return repr(channel)
    except Exception:
        return f"<__repr__(self) failed for object at {id(channel):#x}>"


def origin_of(error: BaseException | None) -> Hashable:
    """What makes two exceptions one kind: their type, and the line that raised them."""
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return type(error), place


class _Kind:
    """What was said of one kind since `began`, and what was left out."""

    __slots__ = ("began", "left_out", "level", "said", "text")

    def __init__(self, began: float, level: int, text: str) -> None:
        self.began, self.level, self.text = began, level, text
        self.said = self.left_out = 0


class LimitedLog:
    """Writes lines to a logger, a bounded number of each kind in a time.

    What was left out is counted. The next line of its kind has the number; or, if no such line comes, a line
    of its own before the next line of another kind, and at the end of the process.

    Args:
        logger: what writes them.
        burst: lines of one kind in one interval at most; 1 or more.
        interval: seconds, more than 0.
        now: a clock, in seconds.

    Raises:
        ValueError: the burst or the interval is too small.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        burst: int = 1,
        interval: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if burst < 1 or not interval > 0:
            raise ValueError(
                f"wanted a burst of 1 or more in more than 0 seconds, found {burst!r} in {interval!r} seconds"
            )
        self.logger: logging.Logger = logger
        self.burst: int = burst
        self.interval: float = interval
        self.now: Callable[[], float] = now
        #: Those of the present interval, oldest first.
        self._kinds: dict[Any, _Kind] = {}
        self._lock = threading.RLock()  # A signal handler may log in the middle of it.
        _all_logs.add(self)

    def log(
        self,
        level: int,
        kind: Any,
        message: str,
        *arguments: Any,
        exc_info: BaseException | None = None,
    ) -> bool:
        """Write `message % arguments`, unless enough was said of its kind.

        Args:
            level: as of the logging module.
            kind: hashable; lines with an equal one are of one kind. It is kept for a while: not a channel,
                but its class.
            message: a format in the way of the logging module.
            arguments: for the format. Not kept.
            exc_info: an exception whose traceback is to be written with it.

        Returns:
            Whether it was written.
        """
        if not self.logger.isEnabledFor(level):
            return False
        with self._lock:
            present = self.now()
            ended = self._ended(present)
            before = ended.pop(kind, None)
            known = self._kinds.get(kind)
            if known is None:
                text = message % arguments if arguments else message
                known = self._kinds[kind] = _Kind(present, level, text)
                if len(self._kinds) > LARGEST:
                    oldest = next(iter(self._kinds))
                    ended[oldest] = self._kinds.pop(oldest)
            is_said = known.said < self.burst
            known.said += is_said
            known.left_out += not is_said
        for other in ended.values():
            self._tell(other, present)
        if is_said:
            if before is not None and before.left_out:
                if not arguments:
                    message = message.replace("%", "%%")
                message += " (%d more like it were left out in %.1f s)"
                arguments = *arguments, before.left_out, present - before.began
            self.logger.log(level, message, *arguments, exc_info=exc_info, stacklevel=2)
        return is_said

    def flush(self) -> None:
        """Tell what was left out and not told yet, and begin anew."""
        with self._lock:
            ended, self._kinds = self._kinds, {}
        present = self.now()
        for kind in ended.values():
            self._tell(kind, present)

    def _ended(self, present: float) -> dict[Any, _Kind]:
        """Take those whose interval is over."""
        ended: dict[Any, _Kind] = {}
        for key, kind in self._kinds.items():
            if present - kind.began < self.interval:
                break
            ended[key] = kind
        for key in ended:
            del self._kinds[key]
        return ended

    def _tell(self, kind: _Kind, present: float) -> None:
        if kind.left_out:
            message = "%d more like this were left out in %.1f s: %s"
            self.logger.log(kind.level, message, kind.left_out, present - kind.began, kind.text)


@atexit.register  # Before logging's own end: what was registered last is called first.
def _flush_all() -> None:
    for log in list(_all_logs):
        log.flush()


def _start_afresh_in_child() -> None:
    """In a forked child: a thread that is not here may have had the lock; the parent tells its numbers."""
    for log in list(_all_logs):
        log._lock, log._kinds = threading.RLock(), {}


if sys.platform != "win32":  # pragma: no branch: Windows has no fork
    os.register_at_fork(after_in_child=_start_afresh_in_child)
