"""The output side of `async_chat`: what is pushed and produced is sent as the system takes it."""

from collections import deque
from typing import Any, Final

from antiphon import asyncore, counting
from antiphon.asyncore import dispatcher
from antiphon.counting import note_sent
from antiphon.direct import is_plain, send_file
from antiphon.dropping import drops_output
from antiphon.endings import ERROR, OWN, because
from antiphon.errors import NOT_NOW, is_would_block
from antiphon.failures import contain
from antiphon.half_closing import EndOfOutput
from antiphon.interest import noticed
from antiphon.outbox import DELIVERING, FLUSHING, LARGEST_PIECE, SENDING, CloseMark, Outbox, ProducerFailed
from antiphon.producers.sources import is_unchanged_file
from antiphon.sizes import ADAPTIVE
from antiphon.spawning import Waiter

__all__ = ["Outgoing"]

#: System calls, and bytes, that one event may send for one channel before the others have their turn.  More
#: bytes in a row cost more each: what the peer is still to read falls out of the processor's cache.
_SENDS_PER_EVENT: Final = 16
_BYTES_PER_EVENT: Final = 262_144

#: For our own changes, of which the channel need not be told.
_append: Final = deque.append
_send: Final = dispatcher.send
_make_outbox: Final = Outbox.__new__


_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


class Outgoing(dispatcher):
    """Queues output and sends it."""

    ac_out_buffer_size: int = ADAPTIVE
    use_encoding: Any
    encoding: str

    #: The queue; or the single push that has been in it, by itself: most channels never need more.
    _ac_outbox: Outbox | bytes | None
    _ac_foreign_fifo: Any = None
    _ac_writes: bool
    _ac_draining: set[Waiter] | None = None
    _ac_deaf: bool

    # -- the queue -----------------------------------------------------------------------------------

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

    # -- sending -------------------------------------------------------------------------------------

    @noticed
    def writable(self) -> bool:
        """Whether something waits to be sent, or the connection to be made."""
        return (
            bool(self._ac_outbox)
            or not (self._ac_established or self.connected)
            or bool(self._ac_foreign_fifo)
        )

    def handle_write(self) -> None:
        """Send more of what waits."""
        self.initiate_send()

    def initiate_send(self) -> None:
        """Send as much of the queue as the system takes now, within the bounds of one event."""
        outbox = self._ac_outbox
        if (
            not outbox
            or self._ac_cork
            or self._ac_writes
            or not self._ac_established
            or self.ac_out_buffer_size is not ADAPTIVE
        ):
            self._ac_send_queue()
            return
        # Nothing has waited. Most often there is one push.
        if isinstance(outbox, bytes):
            pushed: bytes | None = outbox
            self._ac_outbox = None
        else:
            pushed = outbox.take_pushed()
        if pushed is None:
            self._ac_send_queue()
            return
        sent, sock = 0, self._ac_socket
        self._ac_cork = SENDING
        try:
            sent = self.send(pushed) or 0
        except OSError as error:
            self._ac_send_failed(error)
        finally:
            self._ac_cork = 0
            if sent != len(pushed):
                self._ac_put_back(pushed, sent, sock)
                self._ac_note_output()
        if self._ac_outbox and sent == len(pushed):  # An overridden send() has pushed.
            self._ac_send_queue()

    def _ac_send_queue(self) -> None:
        """Send as `initiate_send`, the way that takes everything into account."""
        cork = self._ac_cork
        if cork == SENDING:  # A producer may push.
            return
        if self._ac_foreign_fifo is not None:
            self._ac_take_over()
        if self._ac_outbox:
            outbox = self._ac_own_outbox()
            self._ac_cork = SENDING
            try:
                if self._ac_established or self.connected:
                    self._ac_send_pieces(outbox)
            except BaseException:  # A producer leaves the loop.
                self._ac_note_output()
                raise
            finally:
                self._ac_cork = cork
                if self._ac_foreign_fifo is not None:
                    self._ac_give_back()
        if self._ac_outbox or self._ac_writes:
            self._ac_note_output()

    def _ac_send_pieces(self, outbox: Outbox) -> None:
        """Send piece by piece."""
        size = self.ac_out_buffer_size
        limit = most = None if size is ADAPTIVE else int(size)
        budget = _BYTES_PER_EVENT
        guard = self._ac_guard
        has_rate = guard is not None and guard.bucket_out is not None
        direct = limit is None and not has_rate and self._ac_may_send_directly()
        for _ in range(_SENDS_PER_EVENT):
            if direct and (sent := self._ac_send_directly(outbox, budget)) is not None:
                budget -= sent
                if not sent or budget <= 0:
                    return
                continue
            if guard is not None and has_rate and not (limit := guard.sendable(self, most)):
                return
            try:
                piece = outbox.next_piece(size, limit)
            except ProducerFailed as failure:
                self._ac_producer_failed(failure.__cause__)
                return
            if isinstance(piece, CloseMark):
                self._ac_reach_mark()
                return
            if piece is None or not self._ac_send_piece(piece) or not self.connected:
                return
            size = min(2 * size, LARGEST_PIECE)
            budget -= len(piece)
            if budget <= 0:
                return

    def _ac_reach_mark(self) -> None:
        """All has left that was before the mark: close, or wait for the peer to."""
        draining = None if self._ac_loop is None else self._ac_loop.draining
        if draining is None:
            self._ac_finish()
        elif not draining.linger(self):
            self._ac_finish()
            if self._ac_loop is not None and not self._ac_hung_up:  # The peer is to end TLS.
                self._ac_lingers = True
                draining.wait_longer(self)
        else:
            self._ac_lingers = self._ac_output_ended = True
            self._ac_reading_paused = 0  # What comes is dropped, and its end seen.
            self.reading_paused: bool = False
            self._ac_state_changed()
            self._ac_ending = self._ac_ending or OWN

    def _ac_send_piece(self, piece: Any) -> bool:
        """Send one piece; whether all of it was taken."""
        sent, sock = 0, self._ac_socket
        try:
            sent = self.send(piece) or 0
        except OSError as error:
            self._ac_send_failed(error)
        finally:
            if sent != len(piece):
                self._ac_put_back(piece, sent, sock)
        self._ac_note_progress(sent)
        return sent == len(piece)

    def _ac_may_send_directly(self) -> bool:
        """Whether nobody would miss the calls of `send` that take one piece each."""
        return is_plain(self._ac_socket) and getattr(self.send, "__func__", None) is _send

    def _ac_send_directly(self, outbox: Outbox, budget: int) -> int | None:
        """Have the system collect what it sends, from a file or from several pieces.

        Returns:
            Bytes; 0 if the system took less than it was offered; None if there is no such thing in front.
        """
        first = outbox[0] if outbox else None
        try:
            if is_unchanged_file(first):
                sent = send_file(self._ac_socket, first, budget)
                if _observed and sent:
                    note_sent(self, sent)
                self._ac_note_progress(sent)
                return sent or None
            pieces = outbox.take_large()
            return self._ac_send_several(outbox, pieces) if pieces else None
        except NOT_NOW:
            pass
        except OSError as error:
            if error.errno in asyncore._DISCONNECTED:
                self._ac_lost(error)
            elif is_unchanged_file(first):
                outbox.finish(first)
                self._ac_producer_failed(error)
            else:
                contain(self)
        return 0

    def _ac_send_several(self, outbox: Outbox, pieces: list[Any]) -> int:
        sent = 0
        try:
            sent = self._ac_socket.sendmsg(pieces)
        finally:
            outbox.put_back_several(pieces, sent)
        if _observed:
            note_sent(self, sent)
        self._ac_note_progress(sent)
        return sent if sent == sum(map(len, pieces)) else 0

    def _ac_note_progress(self, sent: int | None) -> None:
        """Have the limits know that the peer takes what it is sent."""
        if self._ac_guard is not None and sent:
            self._ac_guard.has_sent(self, sent)

    def _ac_put_back(self, piece: Any, sent: int, sock: Any) -> None:
        """Keep what was not sent of a piece, unless the connection that it was for is gone."""
        if not self.closing and self._ac_socket is sock:
            self._ac_own_outbox().put_back(piece, sent)

    def _ac_send_failed(self, error: OSError) -> None:
        """Deal with what a subclass's `send` raised; what it didn't send waits."""
        if not isinstance(error, NOT_NOW) and not is_would_block(error):
            contain(self)

    def _ac_producer_failed(self, error: BaseException | None) -> None:
        """Report what a producer raised, and close: the peer would mistake what follows."""
        try:
            raise error if error is not None else AssertionError
        except Exception:
            contain(self)
        if not self.closing:
            because(ERROR, self, self.close)

    def _ac_flush(self) -> None:
        """Send what was pushed, through whatever `initiate_send` the program has."""
        if self._ac_loop is None and self._ac_gone:
            if not drops_output(self):
                self.initiate_send()  # By any number of threads at a time.
            return
        if self._ac_outbox or self._ac_foreign_fifo:
            cork, self._ac_cork = self._ac_cork, self._ac_cork and FLUSHING
            try:
                self.initiate_send()
            finally:
                self._ac_cork = cork
            if self._ac_outbox or self._ac_writes:
                self._ac_note_output()

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
