"""The queue of what an `async_chat` is to send: who may put what into it, and who waits until it is empty."""

from collections import deque
from typing import Any, Final

from antiphon.asyncore import dispatcher
from antiphon.dropping import drops_output
from antiphon.half_closing import EndOfOutput
from antiphon.outbox import DELIVERING, Outbox, weight
from antiphon.spawning import Waiter

__all__ = ["Queueing"]

#: For our own changes, of which the channel need not be told.
_append: Final = deque.append
_make_outbox: Final = Outbox.__new__


class Queueing(dispatcher):
    """Takes what is to be sent."""

    use_encoding: Any
    encoding: str

    #: The queue; or the single push that has been in it, by itself: most channels never need more.
    _ac_outbox: Outbox | bytes | None
    _ac_foreign_fifo: Any = None
    _ac_writes: bool
    _ac_draining: set[Waiter] | None = None
    _ac_deaf: bool

    @property
    def producer_fifo(self) -> Any:
        """The queue of what is to be sent: bytes, producers, and None where the channel is to be closed.

        A deque. Any other queue that is put here takes its place, and is emptied into ours whenever something
        is sent.
        """
        return self._ac_own_outbox() if self._ac_foreign_fifo is None else self._ac_foreign_fifo

    @producer_fifo.setter
    def producer_fifo(self, queue: Any) -> None:
        if self._ac_cork == DELIVERING:
            self._ac_flush()
        present = self._ac_outbox
        if queue is present:
            self._ac_foreign_fifo = None
        else:
            if isinstance(present, Outbox):
                present.changed = None
            self._ac_outbox, self._ac_foreign_fifo = None, queue
        self._ac_untracked = True  # It can't tell of what is appended to it.
        self._ac_state_changed()

    @producer_fifo.deleter
    def producer_fifo(self) -> None:
        self._ac_discard_output()
        self._ac_state_changed()

    def _ac_own_outbox(self) -> Outbox:
        # Another thread may be pushing. From the comparison to the assignment, none comes between.
        while True:
            present = self._ac_outbox
            if isinstance(present, Outbox):
                return present
            made = _make_outbox(Outbox)  # What __init__ sets is set here.
            made.weighed = made.total = 0
            made.changed = self._ac_queue_changed
            made.encoding = self.encoding if self.use_encoding else None
            if present is not None:
                _append(made, present)
                if self._ac_guard is not None:
                    self._ac_guard.room -= len(present)
            if self._ac_outbox is present:
                self._ac_outbox = made
                return made

    def _ac_queue_changed(self) -> None:
        """Notice what was appended to the queue, or removed, by its own methods."""
        if self._ac_gone and drops_output(self):
            return
        outbox = self._ac_own_outbox()
        if not outbox:
            self._ac_deaf = self.closing or self._ac_reading_paused > 0
        elif outbox[-1] is None or outbox[0] is None:
            self._ac_stop_delivering()
        self._ac_writes = bool(outbox)
        self._ac_state_changed()

    def _ac_hears_again(self, data: bytes) -> bool:
        """Whether a deaf channel is to deliver `data`.

        That is so if the mark at which to close was taken off the queue again, by a way that doesn't tell.
        """
        if self._ac_lingers and self._ac_loop is not None and self._ac_loop.draining is not None:
            self._ac_loop.draining.wait_longer(self)
        own = self._ac_outbox if isinstance(self._ac_outbox, Outbox) else ()
        waiting = (*own, *(self._ac_foreign_fifo or ()))
        if self.closing or self._ac_lingers or any(item is None for item in waiting):
            return False
        self._ac_deaf = False
        return True

    def _ac_take_over(self) -> None:
        """Move what waits in a queue that is not ours, in its order, to ours."""
        foreign, outbox = self._ac_foreign_fifo, self._ac_own_outbox()
        while len(foreign):
            item = foreign[0]
            del foreign[0]
            outbox.append(item)

    def _ac_give_back(self) -> None:
        """Move what the system didn't take back to a queue that is not ours."""
        outbox, foreign = self._ac_own_outbox(), self._ac_foreign_fifo
        self._ac_outbox = None
        if outbox:
            waiting = [*outbox, *foreign]
            while len(foreign):
                del foreign[0]
            outbox.changed = None
            outbox.clear()
            foreign.extend(waiting)

    # -- what the program says ----------------------------------------------------------------------

    def push(self, data: Any) -> None:
        """Send `data`, now or as soon as all that was pushed before it has left.

        Args:
            data: bytes-like; may be changed as soon as the call returns.

        Raises:
            TypeError: it is something else.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(
                    f"wanted bytes, bytearray or memoryview, found {type(data).__name__}: {data!r:.60}"
                )
            data = bytes(data)
        if not data:
            return
        outbox = self._ac_outbox
        if outbox is None and self._ac_foreign_fifo is None:
            self._ac_outbox = data
        else:
            try:
                _append(outbox, data)  # type: ignore[arg-type] # no queue is told by the TypeError
            except TypeError:
                self._ac_enqueue(data)
            if (guard := self._ac_guard) is not None:
                guard.room = room = guard.room - len(data)
                if room < 0 and self._ac_cork:
                    self._ac_relieve()
        if not self._ac_cork:
            self._ac_do(self._ac_flush)

    def push_with_producer(self, producer: Any) -> None:
        """Send what `producer.more()` returns, call by call, until that is b"".

        Args:
            producer: an object with `more()`, bytes-like data (`str` if `use_encoding` is set), or None,
                which closes the channel when all before it has left.

        Raises:
            TypeError: it is something else.
        """
        if isinstance(producer, (bytes, bytearray, memoryview)):
            producer = bytes(producer)
        elif producer is None:
            self._ac_stop_delivering()
        elif not self._ac_can_be_sent(producer):
            found = f"{type(producer).__name__}: {producer!r:.60}"
            raise TypeError(f"wanted an object with a method more(), found {found}")
        self._ac_enqueue(producer)
        if not self._ac_cork:
            self._ac_do(self._ac_flush)
        elif self._ac_guard is not None:
            self._ac_guard.room -= weight(producer)
            if self._ac_guard.room < 0:
                self._ac_relieve()

    def _ac_relieve(self) -> None:
        """Have too much not wait until all that was received is delivered."""
        guard, loop = self._ac_guard, self._ac_loop
        if guard is not None and guard.crosses_a_mark(self) and loop is not None and loop.in_turn():
            self._ac_flush()
            self._ac_look_at_limits()

    def _ac_can_be_sent(self, item: Any) -> bool:
        kinds = (bytes, str) if self.use_encoding else bytes
        return isinstance(item, kinds) or callable(getattr(item, "more", None))

    def _ac_enqueue(self, item: Any) -> None:
        if self.use_encoding:
            self._ac_own_outbox().encoding = self.encoding
        if self._ac_foreign_fifo is None:
            _append(self._ac_own_outbox(), item)
        else:
            self._ac_foreign_fifo.append(item)

    def close_when_done(self) -> None:
        """Close the channel when all that was pushed has left.

        Nothing that it receives is delivered any more.
        """
        self.producer_fifo.append(None)
        self._ac_stop_delivering()
        if self._ac_foreign_fifo is not None and self._ac_guard is not None:  # Such a queue doesn't tell.
            self._ac_do(self._ac_look_at_limits)

    def shutdown_write(self) -> None:
        """As `dispatcher.shutdown_write`, when all that was pushed before has left."""
        self._ac_check_shutdown()
        self.push_with_producer(EndOfOutput(self._ac_end_output))

    # -- who waits until it is empty ----------------------------------------------------------------

    async def drained(self) -> None:
        """Wait, in asyncio code, until all that was pushed has left. At once if nothing waits.

        Raises:
            ConnectionError: the channel was closed before.
        """
        import asyncio  # Takes as long as all the rest of antiphon, and few need it.

        waiter = Waiter(asyncio.get_running_loop())
        self._ac_do(lambda: self._ac_expect_drained(waiter))  # While a part is sent, the queue is without it.
        await waiter.future
        if waiter.in_vain:
            raise ConnectionError(f"{self!r} was closed before all was sent")

    def _ac_expect_drained(self, waiter: Waiter) -> None:
        self._ac_draining = (self._ac_draining or set()) | {waiter}
        if self._ac_unsent or self._ac_push_dropped or not (self._ac_outbox or self._ac_foreign_fifo):
            self._ac_tell_drained()
        else:
            self._ac_note_output()

    def _ac_tell_drained(self) -> None:
        waiting, self._ac_draining = self._ac_draining, None
        left = self._ac_unsent or self._ac_push_dropped or self._ac_outbox or self._ac_foreign_fifo
        for waiter in waiting or ():
            waiter.in_vain = bool(left)
            waiter.cancel()

    # -- what has become of it ----------------------------------------------------------------------

    def _ac_note_output(self) -> None:
        """Have the loop wait for the moment when more can be sent, if there is more."""
        self._ac_writes = bool(self._ac_outbox)
        self._ac_state_changed()
        if self._ac_draining is not None and not self._ac_writes:
            self._ac_tell_drained()

    def _ac_take_output(self) -> Outbox | None:
        if self._ac_foreign_fifo is not None:
            self._ac_take_over()
        if not self._ac_outbox:
            return None
        outbox, self._ac_outbox = self._ac_own_outbox(), None
        outbox.changed = None
        self._ac_note_output()
        return outbox

    def _ac_discard_output(self) -> None:
        if self._ac_foreign_fifo is not None:
            self._ac_take_over()
        outbox, self._ac_outbox = self._ac_outbox, None
        self._ac_writes = False
        if outbox:
            self._ac_unsent = isinstance(outbox, bytes) or any(item is not None for item in outbox)
        if isinstance(outbox, Outbox):
            outbox.changed = None
            outbox.discard()
