"""One turn of the loop: wait, dispatch, what is due, what was asked from other threads.

A loop belongs to one map (descriptor -> channel).  It knows when something happens and to which channel;
what is then called on the channel is the business of the `dispatch` function that each turn is given.
"""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping
from typing import Any, Final, TypeAlias
from weakref import WeakSet

from antiphon import pollers
from antiphon.draining import Stoppable
from antiphon.failures import ESCAPING, contain
from antiphon.heap import keep_large_blocks
from antiphon.interest import Traits, interest_of, tracked_interest, traits_of
from antiphon.mirror import Mirror
from antiphon.outbox import DELIVERING
from antiphon.parking import Parking
from antiphon.pollers.base import READ, Poller
from antiphon.stats import Observable
from antiphon.wakeup import Wakeup

__all__ = ["Batch", "Dispatch", "Loop"]

#: (descriptor, ready bits)
Batch: TypeAlias = Iterable[tuple[int, int]]
Dispatch: TypeAlias = Callable[["Loop", Batch], None]

#: Made ready at import: when it is needed, no file can be opened.
_make_without_descriptor: Final = pollers.maker("poll" if "poll" in pollers.offered() else "select")

keep_large_blocks()

#: Seconds that a turn waits at most which other threads can't end.
_DEAF_FOR: Final = 1.0

_all_loops: "WeakSet[Loop]" = WeakSet()
_NOTHING: Final[list[tuple[int, int]]] = []
#: Loops in the middle of a batch.
_handing_over: "set[Loop]" = set()


class Loop(Stoppable, Observable, Parking):
    """Waits for the channels of one map.

    Args:
        channels: the map, descriptor -> channel.
        tells: whether the map reports each change by `added()` and `removed()`, as `ChannelMap` does;
            any other is read again in every turn.
        make_poller: called when the first turn begins, and in a forked child.
        now: the clock of the timers, in seconds.
    """

    moment: list[float]
    #: Has a channel handle that it can be read from, in the way of the turn that goes on.
    read_one: Callable[[Any], None]

    def __init__(
        self,
        channels: MutableMapping[Any, Any],
        *,
        tells: bool = False,
        make_poller: Callable[[], Poller] = pollers.make,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(now)
        self.map = channels
        self._make_poller = make_poller
        self._poller: Poller | None = None
        self._wakeup: Wakeup | None = None
        #: Whether the map itself reports what joins and leaves.
        self.is_told = tells
        self._mirror = None if tells else Mirror()
        self._dirty: set[int] = set(channels) if tells else set()
        self._polled: set[int] = set()
        #: What left or came while a batch is being dealt with: its further events of those are stale.
        self.stale: set[int] | None = None
        self._batch = _NOTHING
        #: The channel that handles an event besides those of the batch.
        self.served: Any = None
        #: How often it has waited.
        self.turns: int = 0
        self._makes_do = False
        #: Whether there are channels whose limits, if they have any, are not watched yet.
        self._have_joined = True
        self._asked: tuple[int, int] | None = None
        _all_loops.add(self)

    def __repr__(self) -> str:
        kind = self._poller.name if self._poller else "idle"
        counts = f"channels={len(self.map)} timers={len(self._timers)}"
        return f"<antiphon.loop.Loop {kind} {counts} at {id(self):#x}>"

    # -- what the map and its channels report --------------------------------------------------------

    def added(self, fd: int) -> None:
        """The map has a channel for `fd`, which it didn't have before (else `removed` comes first)."""
        if self.stale is not None:
            self.stale.add(fd)
        self._dirty.add(fd)
        self._have_joined = True
        if self._waiting:
            self.wake()

    def removed(self, fd: int) -> None:
        """The map has no channel for `fd` any more."""
        self._dirty.discard(fd)
        if self._polled:
            self._polled.discard(fd)
        if self.stale is not None:
            self.stale.add(fd)
        if self._mirror is not None:
            self._mirror.forget(fd)
        if self._poller is not None:
            self._poller.forget(fd)
        if self._waiting:  # A signal handler: it may have been the last.
            self.wake()

    def left(self, fd: int, channel: Any) -> None:
        """`channel` has given up `fd`, which may mean another one by now."""
        if self.map.get(fd, channel) is channel:
            self.removed(fd)

    def changed(self, fd: int | None) -> None:
        """The channel of `fd` may wait for something else than before.  Any thread may say so."""
        if fd is not None:
            if self._asked is not None and self._asked == (fd, threading.get_ident()):
                return  # A predicate that changes its own channel has the change in its answer.
            self._dirty.add(fd)
            if self._waiting:
                self.wake()

    def waits_for(self, fd: int) -> int:
        """The bits that the poller was told to wait for on `fd`."""
        return self._poller.interest(fd) if self._poller is not None else 0

    def has(self, fd: int, channel: Any) -> bool:
        """Whether `fd` still is what it was for `channel` when the batch began that is being dealt with."""
        return self.map.get(fd) is channel and not (self.stale and fd in self.stale)

    # -- other threads -------------------------------------------------------------------------------

    def wake(self) -> None:
        """End the present wait, if there is one.  Safe in any thread and in a signal handler."""
        if self._wakeup is not None:
            self._wakeup.wake()

    # -- the turn ------------------------------------------------------------------------------------

    def turn(self, timeout: float | None, dispatch: Dispatch) -> None:
        """Wait once, and deal with all that is ready and due.

        While another thread is in a turn of this loop, waits for its end instead.

        Args:
            timeout: seconds at most until something happens; None waits for ever, 0.0 only looks.
            dispatch: called with the loop and what is ready.
        """
        lock = self._lock
        if not lock.acquire(False) and not self._acquire(timeout):
            return
        try:
            if (self._more_to_do or _handing_over or not self.map) and not self._begin():
                return
            if self._mirror is not None:
                self._read_map_again(self._mirror)
            if self._polled:
                self._ask_polled()
            self.turns += 1
            self._waiting = True
            try:
                if self._dirty or self._more_to_do:
                    timeout = self._prepare(timeout)
                ready = (self._poller or self._open()).wait(timeout)
            finally:
                self._waiting = False
            if self.counts.since is not None:
                self._act_and_count(ready, dispatch)
                return
            if ready:
                self._hand_over(ready, dispatch)
            if self._more_to_do:
                self._finish()
        finally:
            lock.release()

    def _act_and_count(self, ready: list[tuple[int, int]], dispatch: Dispatch) -> None:
        """Do what follows the wait, and count how long it takes; a turn in a handler is the outer's."""
        counts = self.stale is None and (bool(ready) or self._pinned)
        began = self.now()
        try:
            if ready:
                self._hand_over(ready, dispatch)
            if self._more_to_do:
                self._finish()
        finally:
            if counts:
                self.counts.note_turn(self.now() - began)

    def _begin(self) -> bool:
        """Do what comes before the wait; whether there is anything to wait for."""
        if self.host is not None:
            self.host.check_turn()
        if _handing_over:
            self._flush_handlers()
        if self._calls:
            self._run_calls()
        if not self.map and not self.busy:  # The last channel was closed before this turn could begin.
            self._unpin()
            return False
        if self._poller is None:
            self._open()
        return True

    def _prepare(self, timeout: float | None) -> float | None:
        """Tell the poller what has changed; how long to wait."""
        have_joined, self._have_joined = self._have_joined, False
        dirty, channels = self._dirty, self.map
        kind: Any = None
        changed = tuple(dirty)
        try:
            for fd in changed:
                channel = channels.get(fd)
                if type(channel) is not kind:
                    kind = type(channel)
                    traits, limits = traits_of(kind), None
                    if have_joined and hasattr(kind, "_ac_find_limits"):
                        limits = kind._ac_find_limits()
                if have_joined and (limits is not None or getattr(channel, "_ac_limited", False)):
                    self.guard(channel, limits)
                    if channels.get(fd) is not channel:  # What came instead is for the next turn.
                        continue
                dirty.discard(fd)
                if channel is not None:
                    self._watch(fd, channel, traits)
        except BaseException:  # A handler leaves the loop, or a signal handler raises between two steps.
            dirty.update(changed)
            self._have_joined |= have_joined
            raise
        return self._patience(timeout) if dirty or self._more_to_do else timeout

    def guard(self, channel: Any, limits: tuple[Any, ...] | None) -> None:
        """Have the limits of a channel watched; whatever is wrong with them ends in that channel."""
        try:
            channel._ac_guard_in(self, limits)
        except ESCAPING:
            raise
        except Exception:
            contain(channel)

    def _finish(self) -> None:
        """Do what comes after the wait, and note what the next turn has to do besides waiting."""
        if self._pinned:
            self._run_due()
        if self._makes_do:
            self._release()
        self._more_to_do = False  # First: another thread may be making more at this moment.
        if self._pinned or self._polled or self._poller is None or self.host is not None:
            self._more_to_do = True

    def _hand_over(self, ready: list[tuple[int, int]], dispatch: Dispatch) -> None:
        if self.stale is not None:
            self._hand_over_inside(ready, dispatch, self.stale)
            return
        self._batch, self.stale = ready, set()
        _handing_over.add(self)
        try:
            dispatch(self, self._unchanged(ready) if self._mirror is not None and len(ready) > 1 else ready)
        finally:
            self._batch, self.stale = _NOTHING, None  # The channels are the map's again.
            _handing_over.discard(self)

    def _hand_over_inside(self, ready: list[tuple[int, int]], dispatch: Dispatch, around: set[int]) -> None:
        """The same where a handler runs the loop, in the middle of its own batch."""
        outer, self._batch, self.stale = self._batch, ready, set()
        try:
            dispatch(self, self._unchanged(ready) if self._mirror is not None and len(ready) > 1 else ready)
        finally:
            around |= self.stale
            self._batch, self.stale = outer, around

    def _unchanged(self, ready: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Leave out what a handler has put another channel in the place of: such a map doesn't tell."""
        find = self.map.get
        for (fd, flags), channel in zip(ready, [find(fd) for fd, _ in ready], strict=True):
            if find(fd) is channel:
                yield fd, flags

    def _flush_handlers(self) -> None:
        """Send what the handlers that this turn was begun in have pushed: they wait for the answer."""
        for loop in tuple(_handing_over):
            if loop.in_turn():
                for channel in (*(loop.map.get(fd) for fd, _ in loop._batch), loop.served):
                    if getattr(channel, "_ac_cork", 0) == DELIVERING:
                        channel._ac_flush()

    def stray(self, fd: int) -> None:
        """An event for a descriptor that is no channel's: a wakeup, or one that the map lost silently."""
        if self._wakeup is not None and fd == self._wakeup.fileno():
            self._wakeup.drain()
        else:
            self.removed(fd)

    def _open(self) -> Poller:
        try:
            self._wakeup = Wakeup()
            self._poller = poller = self._make_poller()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            return self._make_do()
        try:
            if self.stop_pending:  # By a signal, when there was nothing to be woken yet.
                self._wakeup.wake()
            self._claim(self._wakeup.fileno())
            poller.watch(self._wakeup.fileno(), READ)
        except BaseException:  # Without a wakeup, no other thread could end a wait.
            self._release()
            raise
        return poller

    def _claim(self, fd: int) -> None:
        """End the channel that the map has for the loop's own `fd`: somebody closed its descriptor."""
        channel = self.map.get(fd)
        if channel is not None:
            try:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            except OSError:
                contain(channel)

    def _make_do(self) -> Poller:
        """No descriptor is left: for one turn, use a poller that takes none, and do without wakeups."""
        self._release()
        self._poller = poller = _make_without_descriptor()
        self._makes_do = True
        return poller

    def _release(self) -> None:
        if self._poller is not None:
            self._poller.close()
        if self._wakeup is not None:
            self._wakeup.close()
        self._poller = self._wakeup = None
        self._makes_do = False
        self._more_to_do = True
        self._start_over()

    def _patience(self, timeout: float | None) -> float | None:
        if self._calls or self._dirty:
            return 0.0
        if self._makes_do:
            timeout = _DEAF_FOR if timeout is None else min(timeout, _DEAF_FOR)
        due_in = None
        if self._timers.active:
            now = self.now()
            self.moment.append(now)
            self.moment = []
            due_in = self._timers.seconds_until_next(now)
        if due_in is None:
            return timeout
        return due_in if timeout is None else min(timeout, due_in)

    def _read_map_again(self, mirror: Mirror) -> None:
        for fd in mirror.differences(self.map):
            (self._poller or self._open()).forget(fd)
            if fd in self.map:
                self._dirty.add(fd)
                self._have_joined = True
            else:
                self._dirty.discard(fd)
                self._polled.discard(fd)

    def _ask_polled(self) -> None:
        for fd in tuple(self._polled):
            channel = self.map.get(fd)
            if channel is None:
                self._polled.discard(fd)
            elif fd not in self._dirty:
                self._watch(fd, channel, traits_of(type(channel)))

    def _watch(self, fd: int, channel: Any, traits: Traits) -> None:
        """Tell the poller what the channel wants; whatever is wrong with it ends in that channel."""
        try:
            if traits.tracked and not channel._ac_untracked:
                channel._ac_loop = self  # It may have come into the map by other ways than add_channel.
                if self._polled:
                    self._polled.discard(fd)
                interest = tracked_interest(channel, traits)
            else:
                interest = self._ask(fd, channel, traits)
                if self.map.get(fd) is not channel:
                    return
            poller = self._poller or self._open()
            if interest:
                poller.watch(fd, interest)
            else:
                poller.forget(fd)
        except ESCAPING:
            raise
        except Exception:
            contain(channel)
            if self.map.get(fd) is channel:
                (self._poller or self._open()).forget(fd)

    def _ask(self, fd: int, channel: Any, traits: Traits) -> int:
        if getattr(channel, "_ac_loop", self) is not self:
            channel._ac_loop = self
        self._polled.add(fd)
        self._more_to_do = True
        self._asked = fd, threading.get_ident()
        try:
            return interest_of(channel, traits)
        finally:
            self._asked = None

    # -- end and fork --------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the poller and what wakes it; a further turn opens them again."""
        self._timers.clear()
        self._calls.clear()
        self._unpin()
        self._release()

    def _start_over(self) -> None:
        self._polled.clear()
        if self._mirror is None:
            self._dirty.update(self.map)
        else:
            self._mirror = Mirror()

    def _leave_parent(self) -> None:
        """In a forked child: an epoll instance is shared with the parent until one has its own (fork(2))."""
        self._make_lock()
        self._waiting = False
        self._release()

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_ending():  # What closing needs may be gone; the system closes the descriptors.
            return
        self.counts.stop()
        if self._poller is not None:
            self._poller.close()
        if self._wakeup is not None:
            self._wakeup.close()


def _leave_parents() -> None:
    loops: Collection[Loop] = list(_all_loops)
    for loop in loops:
        loop._leave_parent()


if sys.platform != "win32":  # pragma: no branch: Windows has no fork
    os.register_at_fork(after_in_child=_leave_parents)
