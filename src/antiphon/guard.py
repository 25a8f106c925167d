"""What watches the limits of one channel: clocks that run out, besides what `flow` looks after.

An event costs next to nothing here, however many limits there are: a channel notes the `moment` of its loop,
an object that is told the time when the turn is over.  One timer stands for all clocks.  It is set for the
first that can run out, and when it goes off it is found out whether that one has, and when to look again.
"""

from collections.abc import Callable
from math import inf
from typing import Any
from weakref import ref

from antiphon.endings import TIMEOUT
from antiphon.flow import FAST_OUT, FULL, NO_READING, Flow, Limits, call
from antiphon.pollers.base import READ
from antiphon.timers import Timer

__all__ = ["Guard", "tell_of_timeout"]


class Guard(Flow):
    """Watches one channel in the turns of one loop. Doesn't hold the channel.

    Attributes:
        heard: the moment of the last byte that was received; the channel may write it.
        sent: the moment of the last byte that was sent; likewise.
        size: bytes of the last read.
        is_quick: whether the channel's reading and sending needs no more care than without a guard.
    """

    __slots__ = (
        "_began",
        "_closing",
        "_connecting",
        "_partial",
        "_reads",
        "_stalled",
        "_timer",
        "heard",
        "is_quick",
        "sent",
        "size",
    )

    def __init__(self, loop: Any, limits: Limits) -> None:
        super().__init__(loop, limits)
        self.heard: list[float] = loop.moment
        self.sent: list[float] = loop.moment
        self.is_quick: bool = False
        #: Since when, if at all: an attempt to connect goes on, a message is unfinished, output waits that
        #: nobody takes, the channel is to be closed. An attempt that has come to its end never runs out.
        self._connecting: float | None = None
        self._began: float | None = None
        self._stalled: float | None = None
        self._closing: float | None = None
        self.size: int = 0
        #: How often something was received, and what that was when a message was left unfinished.
        self._reads = 0
        self._partial = -1
        self._timer: Timer | None = None

    def begin(self, channel: Any) -> None:
        """Watch the channel from now on."""
        limits = self.limits
        if limits.message_timeout is not None and channel._ac_keeps_message():
            self.left_unfinished(channel, is_new=True)
        self.is_quick = limits.rate_out is None and channel._ac_tells_input()
        if not self.is_quick or limits.rate_in is not None or channel.connecting or _waits(channel):
            self.configure(channel, limits)
        elif limits.idle_timeout is not None and not channel.accepting:
            now = self.loop.now()
            self._look_at(channel, now + limits.idle_timeout, now)

    def configure(self, channel: Any, limits: Limits) -> None:
        """Watch `limits` from now on."""
        self.limits = limits
        self._measure_again()
        self._set_rates(channel, self.loop.now())
        self.is_quick = self.bucket_out is None and channel._ac_tells_input()
        channel._ac_state_changed()
        if channel._ac_guard is self:  # It may have too much to send already.
            self._set_timer(channel)

    def end(self, channel: Any) -> None:
        """Watch no longer."""
        if not channel.closing:
            self._release(channel, FULL, self.loop.now())
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # -- what the channel tells ----------------------------------------------------------------------

    def changed(self, channel: Any) -> None:
        """The state of the channel is another one, or what it has to send."""
        now = self.loop.now()
        if channel.connecting and not channel.connected:
            if self._connecting is None:
                # While a name is looked up and its addresses are tried, `connecting` looks after the time.
                self._connecting = inf if channel._ac_paused else now
                if not channel._ac_paused:
                    self._look_in(channel, self.limits.connect_timeout, now)
        else:
            if self._connecting is not None:
                self._connecting = None
                self.heard = self.loop.moment
                self._look_in(channel, self.limits.idle_timeout, now)
            self._look_at_output(channel, now)
        if self.limits.high_water is not None or self.limits.max_outgoing is not None or self._full:
            self._weigh(channel)

    def _look_at_output(self, channel: Any, now: float) -> None:
        if not _waits(channel):
            self._stalled = self._closing = None
            return
        if self._stalled is None:
            self._stalled = now
            self._look_in(channel, self.limits.send_timeout, now)
        if self._closing is None and self.limits.close_timeout is not None and _is_to_be_closed(channel):
            self._closing = now
            self._look_in(channel, self.limits.close_timeout, now)

    def made_connection(self) -> None:
        """The attempt to connect has succeeded, and the program is about to be told."""
        self._connecting = inf

    def left_unfinished(self, channel: Any, is_new: bool) -> None:
        """What was received ends in the middle of a message.

        Args:
            channel: the channel.
            is_new: whether another message has ended in the same read.
        """
        if is_new or self._partial < self._reads - 1 or self._began is None:
            self._began = now = self.loop.now()
            self._look_in(channel, self.limits.message_timeout, now)
        self._partial = self._reads

    @property
    def unfinished(self) -> bool:
        """Whether the last read was left unfinished."""
        return self._partial == self._reads

    def received(self, channel: Any, size: int) -> None:
        """`size` bytes were received, at least one, and are about to be delivered."""
        self.heard = self.loop.moment
        self.size = size
        self._reads += 1
        if self.bucket_in is not None:
            self._take_in(channel, size)

    def has_sent(self, channel: Any, size: int) -> None:
        """`size` bytes were sent, at least one."""
        self.sent = self.loop.moment
        if self.bucket_out is not None:
            self._take_out(channel, size)

    # -- the clocks ----------------------------------------------------------------------------------

    def _look_in(self, channel: Any, seconds: float | None, now: float) -> None:
        if seconds is not None:
            self._look_at(channel, now + seconds, now)

    def _look_at(self, channel: Any, when: float, now: float) -> None:
        """Have the timer go off at `when` at the latest."""
        timer = self._timer
        if timer is None:
            self._timer = self.loop.guard_at(when, _go_off, ref(channel))
        elif not timer.active or when < timer.when:
            timer.reset(max(0.0, when - now))

    def _clocks(self, channel: Any, now: float) -> list[tuple[float, str]]:
        """When each clock that runs will have run out, and its name; "" where a rate lets more pass."""
        if channel.accepting:
            return []
        limits, sent = self.limits, self._time(self.sent, now)
        clocks = [(when, "") for when in self._held_until()]
        running: list[tuple[str, float | None, float | None]] = []
        if self._connecting is not None:
            running.append(("connect", limits.connect_timeout, self._connecting))
        else:
            running.append(("close", limits.close_timeout, self._closing))
            if self._stalled is not None and not self._held & FAST_OUT:
                running.append(("send", limits.send_timeout, max(self._stalled, sent)))
            if not self._held & NO_READING and channel._ac_owes_message():
                running.append(("message", limits.message_timeout, self._began))
            running.append(("idle", limits.idle_timeout, max(self._time(self.heard, now), sent)))
        for which, seconds, since in running:
            if seconds is not None and since is not None and since < inf:
                clocks.append((since + seconds, which))
        return clocks

    def _time(self, moment: list[float], now: float) -> float:
        """A time that is not before the moment, and not after the turn that it is in."""
        if not moment:
            moment.append(now)
            self.loop.moment = []
        return moment[0]

    def _set_timer(self, channel: Any) -> None:
        now = self.loop.now()
        clocks = self._clocks(channel, now)
        if clocks:
            self._look_at(channel, min(clocks)[0], now)

    def gone_off(self, channel: Any) -> None:
        """Call the program for what has run out, and set the timer again."""
        if channel._ac_loop is not self.loop or self.loop.map.get(channel._fileno) is not channel:
            channel._ac_unguard()
            return
        try:
            self.changed(channel)
            self._run_out(channel, self.loop.now())
        finally:
            if channel._ac_guard is self:
                self._set_timer(channel)

    def _run_out(self, channel: Any, now: float) -> None:
        self._go_on(channel, now)
        told: set[str] = set()
        while channel._ac_guard is self:
            clocks = self._clocks(channel, now)
            due = [(when, which) for when, which in clocks if when <= now and which not in told]
            if not due:
                return
            which = min(due)[1]
            told.add(which)
            try:
                # What the program itself does not read is no delay of the peer's.
                if which != "message" or self.loop.waits_for(channel._fileno) & READ:
                    tell_of_timeout(channel, which)
            finally:
                self._start_again(which)

    def _start_again(self, which: str) -> None:
        now = self.loop.now()
        if which == "idle":
            self.heard = [now]
        elif which == "message":
            self._began = now
        elif which == "send":
            self._stalled = now
        elif which == "close":
            self._closing = now
        else:
            self._connecting = now

    def _reads_again(self, channel: Any, now: float) -> None:
        if self._began is not None:
            self._began += now - self._held_at
            if self.limits.message_timeout is not None:
                self._look_at(channel, self._began + self.limits.message_timeout, now)

    def _sends_again(self, channel: Any, now: float) -> None:
        if self._stalled is not None:
            self._stalled = now
            self._look_in(channel, self.limits.send_timeout, now)


def tell_of_timeout(channel: Any, which: str) -> None:
    """Call `handle_timeout`, from wherever we are."""
    call(channel, TIMEOUT, channel.handle_timeout, which)


def _waits(channel: Any) -> bool:
    return bool(getattr(channel, "_ac_outbox", None) or getattr(channel, "_ac_foreign_fifo", None))


def _is_to_be_closed(channel: Any) -> bool:
    queues = getattr(channel, "_ac_outbox", None), getattr(channel, "_ac_foreign_fifo", None)
    return any(queue and type(queue) is not bytes and None in (queue[0], queue[-1]) for queue in queues)


def _go_off(reference: Callable[[], Any]) -> None:
    """What the timer of a guard calls. It holds neither the guard nor the channel."""
    channel = reference()
    if channel is not None and channel._ac_guard is not None:
        channel._ac_guard.gone_off(channel)
