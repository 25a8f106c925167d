"""Timers of a channel, and how other threads reach it."""

from collections.abc import Callable
from typing import Any

from antiphon.loop import Loop
from antiphon.maps import loop_of
from antiphon.timers import Timer

__all__ = ["Scheduling"]


class Scheduling:
    """What a channel has its loop do later."""

    _map: Any
    _ac_loop: Loop | None
    _ac_timers: set[Any] | None = None

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> Timer:
        """Call `callback(*arguments)` once, `delay` seconds from now, unless the channel closes before.

        What it raises goes to the channel's `handle_error`.
        """
        schedule = self._ac_schedule(callback).call_later
        return schedule(delay, self._ac_call, callback, *arguments, group=self._ac_timer_group())

    def call_at(self, when: float, callback: Callable[..., Any], *arguments: Any) -> Timer:
        """As `call_later`, at the time `when` of the loop's clock (`time.monotonic`)."""
        schedule = self._ac_schedule(callback).call_at
        return schedule(when, self._ac_call, callback, *arguments, group=self._ac_timer_group())

    def call_every(self, interval: float, callback: Callable[..., Any], *arguments: Any) -> Timer:
        """Call `callback(*arguments)` every `interval` seconds, until the channel closes."""
        schedule = self._ac_schedule(callback).call_every
        return schedule(interval, self._ac_call, callback, *arguments, group=self._ac_timer_group())

    def call_soon_threadsafe(self, callback: Callable[..., Any], *arguments: Any) -> None:
        """Have the loop's thread call `callback(*arguments)` soon. For other threads."""
        self._ac_schedule(callback).call_soon_threadsafe(self._ac_call, callback, *arguments)

    def _ac_schedule(self, callback: Any) -> Loop:
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r}")
        return self._ac_loop or loop_of(self._map)

    def _ac_timer_group(self) -> set[Any]:
        """What is cancelled, by its `cancel()`, when the channel closes: timers, and what else is put in."""
        if self._ac_timers is None:
            self._ac_timers = set()
        return self._ac_timers

    def _ac_cancel_timers(self) -> None:
        timers, self._ac_timers = self._ac_timers, None
        for timer in tuple(timers or ()):
            timer.cancel()

    def _ac_call(self, callback: Callable[..., Any], *arguments: Any) -> None:
        callback(*arguments)

    def _ac_do(self, callback: Callable[[], Any]) -> None:
        """Call it now if this thread may, else have the thread that is in the loop do it."""
        mine = self._ac_loop
        if mine is None:
            callback()
        else:
            mine.do(callback)
