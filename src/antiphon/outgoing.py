"""The output side of `async_chat`: what is pushed and produced is sent as the system takes it."""

from typing import Any, Final

from antiphon import asyncore, counting
from antiphon.counting import note_sent
from antiphon.direct import is_plain, send_file
from antiphon.dropping import drops_output
from antiphon.endings import ERROR, OWN, because
from antiphon.errors import NOT_NOW, is_would_block
from antiphon.failures import contain
from antiphon.interest import noticed
from antiphon.outbox import FLUSHING, LARGEST_PIECE, SENDING, CloseMark, Outbox, ProducerFailed
from antiphon.producers.sources import is_unchanged_file
from antiphon.queueing import Queueing
from antiphon.sizes import ADAPTIVE

__all__ = ["Outgoing"]

#: System calls, and bytes, that one event may send for one channel before the others have their turn.  More
#: bytes in a row cost more each: what the peer is still to read falls out of the processor's cache.
_SENDS_PER_EVENT: Final = 16
_BYTES_PER_EVENT: Final = 262_144

_send: Final = asyncore.dispatcher.send


_observed = False


def _observe(is_observed: bool) -> None:
    global _observed  # noqa: PLW0603 (the quickest to look at)
    _observed = is_observed


counting.tell(_observe)


class Outgoing(Queueing):
    """Sends what waits in the queue."""

    ac_out_buffer_size: int = ADAPTIVE

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
            if direct and outbox and (len(outbox) > 1 or is_unchanged_file(outbox[0])):
                sent = self._ac_send_directly(outbox, budget)
                if sent is not None:
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
            if piece is None or not self._ac_send_piece(piece):
                return
            if not (self._ac_established or self.connected):  # An overridden send() has closed it.
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
        if self._ac_guard is not None:
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
        first = outbox[0]
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
