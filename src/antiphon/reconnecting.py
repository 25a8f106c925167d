"""Keeping a connection: another attempt after each end, later and later as long as none succeeds."""

import logging
import random
from collections.abc import Callable
from typing import Any, Final

from antiphon import asyncore
from antiphon.loop import Loop
from antiphon.timers import Timer, seconds

__all__ = ["Backoff", "Reconnector"]

_log: Final = logging.getLogger("antiphon.reconnecting")


class Backoff:
    """Delays that grow from one failure to the next, each of them by chance a bit shorter.

    Chance keeps clients that have lost the same server at the same moment from coming back together.

    >>> backoff = Backoff(first=1, factor=2, longest=5, chance=lambda: 1.0)
    >>> [backoff.next() for _ in range(4)]
    [1.0, 2.0, 4.0, 5.0]
    >>> backoff.reset()
    >>> backoff.next()
    1.0

    Args:
        first: seconds.
        factor: how much longer each is than the one before, 1 or more.
        longest: seconds.
        chance: numbers from 0.0 up to 1.0, all as likely; a delay is between half of what it may be and all
            of it.
    """

    def __init__(
        self,
        *,
        first: float = 1.0,
        factor: float = 2.0,
        longest: float = 60.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first = seconds("first", first, above=0)
        self._longest = seconds("longest", longest, least=self._first)
        if not factor >= 1:
            raise ValueError(f"wanted a factor of 1 or more, found {factor!r}")
        self._factor, self._chance = factor, chance
        self._next = self._first

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        most = self._next
        self._next = min(most * self._factor, self._longest)
        return most * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """Begin again with the first delay: there was a success."""
        self._next = self._first


class Reconnector:
    """Has a channel connected again, whenever its connection has ended or could not be made.

        def connect() -> asyncore.dispatcher:
            feed = Feed()
            feed.connect(("feed.example", 4000))
            return feed

        reconnector = Reconnector(connect)

    Args:
        connect: makes a channel and has it connect. What it raises, OSError for example, is a failed attempt.
        backoff: the delays.
        stable_after: seconds, more than 0, for which a connection must have stood to count as a success.
        map: whose loop waits; `asyncore.socket_map` if None.

    Attributes:
        channel: the present channel, or None between two of them.
    """

    def __init__(
        self,
        connect: Callable[[], asyncore.dispatcher],
        *,
        backoff: Backoff | None = None,
        stable_after: float = 10.0,
        map: Any = None,
    ) -> None:
        self._connect = connect
        self._backoff = Backoff() if backoff is None else backoff
        self._stable_after = seconds("stable_after", stable_after, above=0)
        self._loop: Loop = asyncore.get_loop(map)
        self.channel: asyncore.dispatcher | None = None
        #: For the next attempt, or for the next look at the present channel.
        self._timer: Timer | None = None
        self._was_connected = False
        self._try()

    def stop(self) -> None:
        """Make no further attempt. The present channel stays open."""
        self._cancel_timer()
        if self.channel is not None:
            self.channel._ac_timer_group().discard(self)

    def cancel(self) -> None:
        """The channel is closed, which cancels what was put together with its timers."""
        channel, self.channel = self.channel, None
        self._try_later(f"{channel!r} has ended")

    def _try(self) -> None:
        try:
            channel = self._connect()
        except Exception as error:
            self._try_later(str(error), error)
            return
        if channel.closing:
            self._try_later(f"{channel!r} was closed at once")
            return
        self.channel, self._was_connected = channel, False
        channel._ac_timer_group().add(self)
        self._timer = self._loop.call_later(self._stable_after, self._look)

    def _look(self) -> None:
        """Take a connection that stands in two looks in a row for a success."""
        is_connected = self.channel is not None and bool(self.channel.connected)
        if is_connected and self._was_connected:
            self._backoff.reset()
        else:
            self._was_connected = is_connected
            self._timer = self._loop.call_later(self._stable_after, self._look)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _try_later(self, reason: str, error: Exception | None = None) -> None:
        self._cancel_timer()
        delay = self._backoff.next()
        _log.info("%s; connecting again in %.3g s", reason, delay)
        if error is not None and not isinstance(error, OSError):
            _log.error("%r failed", self._connect, exc_info=error)
        self._timer = self._loop.call_later(delay, self._try)
