"""`producer_fifo` in the hands of programs: a deque that is changed behind its back, or replaced."""

from collections import UserList, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from antiphon import asyncore, queueing
from antiphon.asynchat import fifo
from antiphon.maps import ChannelMap
from antiphon.pollers.base import READ
from chat_support import (
    Chat,
    Chunks,
    ClosingChunks,
    Patient,
    ScriptedSocket,
    connected,
    once,
    received,
    transferred,
    turn,
)

#: More than a socket takes at once.
BIG = bytes(range(256)) * 16384

maps = pytest.mark.parametrize("make_map", [ChannelMap, dict], ids=["a map that tells", "a plain map"])
queues = pytest.mark.parametrize("make_queue", [deque, fifo, UserList], ids=lambda make: make.__name__)


@contextmanager
def waiting(make_map: Callable[[], Any] = ChannelMap, **named: Any) -> Iterator[tuple[Chat, Any]]:
    """A channel for which the loop waits already, with nothing to send, and its peer."""
    with connected(Chat, map=make_map(), **named) as (channel, peer):
        turn(channel._map, 2)
        yield channel, peer


def sent(channel: Chat, peer: Any, turns: int = 3) -> bytes:
    """What arrives when nothing happens but turns of the loop."""
    turn(channel._map, turns)
    return received(peer)


# -- what a program may do to it


def append(queue: Any) -> None:
    queue.append(b"one")


def appendleft(queue: Any) -> None:
    queue.appendleft(b"one")


def extend(queue: Any) -> None:
    queue.extend([b"o", b"ne"])


def extendleft(queue: Any) -> None:
    queue.extendleft([b"ne", b"o"])


def insert(queue: Any) -> None:
    queue.insert(0, b"one")


def add_in_place(queue: Any) -> None:
    queue += [b"o", b"ne"]


def a_producer(queue: Any) -> None:
    queue.append(Chunks(b"o", b"ne"))


def a_bytearray(queue: Any) -> None:
    queue.append(bytearray(b"one"))


def a_memoryview(queue: Any) -> None:
    queue.append(memoryview(b"one"))


def nothing_and_something(queue: Any) -> None:
    queue.extend([b"", bytearray(), memoryview(b""), Chunks(), b"one", b""])


@maps
@pytest.mark.parametrize("use_poll", [False, True], ids=["poll", "poll2"])
@pytest.mark.parametrize(
    "change",
    [
        append,
        appendleft,
        extend,
        extendleft,
        insert,
        add_in_place,
        a_producer,
        a_bytearray,
        a_memoryview,
        nothing_and_something,
    ],
)
def test_what_is_put_into_the_queue_is_sent_by_the_loop(
    change: Callable[[Any], None], use_poll: bool, make_map: Callable[[], Any]
) -> None:
    with waiting(make_map) as (channel, peer):
        change(channel.producer_fifo)
        assert received(peer) == b""  # Not without the loop.
        asyncore.loop(10, use_poll, channel._map, 1)
        assert received(peer) == b"one"


@maps
def test_what_another_channel_s_handler_appends_is_sent_by_the_loop(make_map: Callable[[], Any]) -> None:
    with waiting(make_map) as (channel, peer), connected(Chat, map=channel._map) as (other, speaker):
        other.on_found = channel.producer_fifo.append
        turn(channel._map)
        speaker.sendall(b"one\ntwo\n")
        assert sent(channel, peer) == b"onetwo"


@maps
def test_what_is_appended_in_the_channel_s_own_handler_leaves(make_map: Callable[[], Any]) -> None:
    with waiting(make_map) as (channel, peer):
        channel.on_found = channel.producer_fifo.append
        peer.sendall(b"one\ntwo\n")
        assert sent(channel, peer) == b"onetwo"


def test_what_is_appended_comes_in_its_order_between_pushes() -> None:
    with waiting() as (channel, peer):
        channel.connected = False
        channel.push(b"one ")
        channel.producer_fifo.append(Chunks(b"two "))
        channel.push(b"three ")
        channel.producer_fifo.appendleft(b"zero ")
        channel.producer_fifo[1] = b"ONE "
        channel.connected = True
        assert sent(channel, peer) == b"zero ONE two three "


def test_none_in_the_queue_closes_the_channel() -> None:
    with waiting() as (channel, peer):
        channel.producer_fifo.extend([b"bye", None])
        assert sent(channel, peer) == b"bye"
        assert (channel.closes, channel._map) == (1, {})


def test_none_at_the_front_of_the_queue_closes_the_channel_before_the_rest() -> None:
    with waiting() as (channel, peer):
        channel.connected = False
        channel.push(b"never")
        channel.producer_fifo.appendleft(None)
        channel.connected = True
        assert sent(channel, peer) == b""
        assert channel.closes == 1


def test_items_wider_than_a_byte_are_sent_whole() -> None:
    channel = Patient(ScriptedSocket(takes=[3, 2]))
    channel.producer_fifo.append(memoryview(b"abcdefgh").cast("I"))
    for _ in range(4):
        channel.handle_write()
    assert channel.sock.wire == b"abcdefgh"


# -- what a program may see of it


def test_the_queue_is_a_deque_of_what_waits() -> None:
    channel = Chat(ScriptedSocket(takes=[0] * 9))
    producer = Chunks(b"two")
    assert (len(channel.producer_fifo), bool(channel.producer_fifo)) == (0, False)
    channel.push(b"one")
    channel.push_with_producer(producer)
    channel.close_when_done()
    assert isinstance(channel.producer_fifo, deque)
    assert len(channel.producer_fifo) == 3
    assert channel.producer_fifo[0] == b"one"
    assert list(channel.producer_fifo)[1:] == [producer, None]


def test_the_queue_is_the_same_object_all_the_time() -> None:
    channel = Chat(ScriptedSocket())
    queue = channel.producer_fifo
    channel.push(b"one")
    channel.push_with_producer(Chunks(b"two"))
    channel.discard_buffers()
    assert channel.producer_fifo is queue


def test_queues_of_channels_are_their_own() -> None:
    one, other = Chat(ScriptedSocket()), Chat(ScriptedSocket())
    one.producer_fifo.append(b"x")
    assert not other.producer_fifo


# -- taken away


def clear(queue: Any) -> None:
    queue.clear()


def delete_first(queue: Any) -> None:
    while queue:
        del queue[0]


def popleft(queue: Any) -> None:
    while queue:
        queue.popleft()


def pop(queue: Any) -> None:
    while queue:
        queue.pop()


def remove(queue: Any) -> None:
    while queue:
        queue.remove(queue[0])


@maps
@pytest.mark.parametrize("take_away", [clear, delete_first, popleft, pop, remove])
def test_what_is_taken_out_of_the_queue_is_not_sent_and_what_follows_is(
    take_away: Callable[[Any], None], make_map: Callable[[], Any]
) -> None:
    with waiting(make_map) as (channel, peer):
        channel.push(BIG)
        take_away(channel.producer_fifo)
        began = sent(channel, peer)
        assert len(began) < len(BIG)
        channel.push(BIG)
        assert transferred(channel, peer, len(BIG)) == BIG
        turn(channel._map)
        assert not channel.writable()


@pytest.mark.parametrize("take_away", [clear, delete_first])
def test_a_close_mark_that_was_taken_out_of_the_queue_closes_nothing(
    take_away: Callable[[Any], None],
) -> None:
    with waiting() as (channel, peer):
        channel.close_when_done()
        take_away(channel.producer_fifo)
        peer.sendall(b"one\n")
        turn(channel._map, 2)
        assert channel.closes == 0
        assert channel.messages == [b"one"]


def test_an_empty_queue_keeps_no_loop_busy() -> None:
    with waiting() as (channel, peer):
        channel.push(BIG)
        channel.producer_fifo.clear()
        turn(channel._map, 2)
        assert not channel.writable()
        received(peer)
        turns = []
        channel.handle_write = lambda: turns.append(1)  # type: ignore[method-assign]
        turn(channel._map, 5)
        assert turns == []


# -- replaced


@maps
@queues
def test_a_replaced_queue_is_used_from_then_on(
    make_queue: Callable[[], Any], make_map: Callable[[], Any]
) -> None:
    with waiting(make_map) as (channel, peer):
        channel.producer_fifo = queue = make_queue()
        queue.append(b"appended ")
        assert sent(channel, peer) == b"appended "
        channel.push(b"pushed ")
        channel.push_with_producer(Chunks(b"produced "))
        queue.append(Chunks(b"appended again"))
        assert sent(channel, peer) == b"pushed produced appended again"
        assert channel.producer_fifo is queue
        assert len(queue) == 0


@maps
@queues
def test_a_replaced_queue_may_be_full_already(
    make_queue: Callable[[Any], Any], make_map: Callable[[], Any]
) -> None:
    with waiting(make_map) as (channel, peer):
        channel.producer_fifo = make_queue([b"one", Chunks(b"two"), None])
        assert sent(channel, peer) == b"onetwo"
        assert (channel.closes, channel._map) == (1, {})


@queues
def test_a_replaced_queue_sends_in_parts_as_well(make_queue: Callable[[], Any]) -> None:
    with waiting() as (channel, peer):
        channel.producer_fifo = make_queue()
        channel.push(BIG)
        channel.push(b"end")
        assert transferred(channel, peer, len(BIG) + 3) == BIG + b"end"


def test_what_another_thread_pushes_while_the_queue_is_made_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = Chat(ScriptedSocket())
    channel.connected = False
    make = queueing._make_outbox

    def interrupted(kind: Any) -> Any:
        if channel._ac_outbox is None:
            channel.push(b"meanwhile ")
        return make(kind)

    monkeypatch.setattr(queueing, "_make_outbox", interrupted)
    channel.producer_fifo.append(b"appended")
    assert list(channel.producer_fifo) == [b"meanwhile ", b"appended"]


def test_an_empty_push_puts_nothing_into_a_replaced_queue() -> None:
    channel = Chat(ScriptedSocket(takes=[0] * 9))
    queue: deque[Any] = deque()
    channel.producer_fifo = queue
    channel.push(b"")
    assert not queue


def test_what_a_producer_appends_to_a_replaced_queue_comes_behind_what_waits() -> None:
    channel = Chat(ScriptedSocket(takes=[0]))
    queue: deque[Any] = deque()
    channel.producer_fifo = queue

    class Appending(Chunks):
        def more(self) -> Any:
            if self.calls == 0:
                queue.append(b"appended")
            return super().more()

    queue.append(Appending(b"produced "))
    channel.handle_write()
    assert channel.sock.wire == b""
    channel.handle_write()
    assert channel.sock.wire == b"produced appended"


def test_while_something_waits_a_replaced_queue_is_not_empty() -> None:
    channel = Chat(ScriptedSocket(takes=[0] * 9))
    channel.producer_fifo = deque()
    channel.push(b"one")
    assert len(channel.producer_fifo) == 1
    assert channel.writable()


def test_what_a_producer_pushes_comes_behind_what_it_gave_in_a_replaced_queue() -> None:
    channel = Chat(ScriptedSocket(takes=[0]))

    class Pushing(Chunks):
        def more(self) -> Any:
            if self.calls == 0:
                channel.push(b"pushed")
            return super().more()

    queue: deque[Any] = deque()
    channel.producer_fifo = queue
    channel.push_with_producer(Pushing(b"produced "))
    assert list(queue) == [b"produced ", b"pushed"]
    channel.handle_write()
    assert channel.sock.wire == b"produced pushed"


def test_sending_from_a_queue_that_was_emptied_ends_the_wait() -> None:
    with waiting() as (channel, peer):
        channel.push(BIG)
        turn(channel._map)
        popleft(channel.producer_fifo)
        channel.initiate_send()
        turn(channel._map)
        assert asyncore.get_loop(channel._map).waits_for(channel._fileno) == READ
        received(peer)


def test_what_waited_in_the_queue_that_was_replaced_is_not_sent() -> None:
    with waiting() as (channel, peer):
        channel.connected = False
        channel.push(b"old")
        channel.producer_fifo = deque([b"new"])
        channel.connected = True
        assert sent(channel, peer) == b"new"


def test_what_was_pushed_before_the_queue_is_replaced_in_a_callback_leaves_before_that() -> None:
    with waiting() as (channel, peer):

        def replace() -> None:
            channel.push(b"one ")
            channel.producer_fifo = deque([b"two "])
            channel.push(b"three")

        channel.on_found = once(replace)
        peer.sendall(b"go\n")
        assert sent(channel, peer) == b"one two three"


def test_a_queue_that_is_put_back_is_used_again() -> None:
    channel = Chat(ScriptedSocket(takes=[0]))
    channel.push(b"one ")
    queue = channel.producer_fifo
    channel.producer_fifo = queue
    channel.push(b"two ")
    assert channel.sock.wire == b"one two "


def test_close_when_done_closes_after_a_replaced_queue_is_empty() -> None:
    with waiting() as (channel, peer):
        channel.producer_fifo = deque([b"one"])
        channel.close_when_done()
        assert sent(channel, peer) == b"one"
        assert channel.closes == 1


def test_a_replaced_queue_is_emptied_by_discard_buffers() -> None:
    channel = Patient(ScriptedSocket())
    channel.producer_fifo = queue = deque([b"one", None])
    channel.discard_buffers()
    assert not queue
    channel.handle_write()
    assert (channel.sock.offered, channel.closes) == ([], 0)


def test_the_producers_in_a_replaced_queue_are_closed_with_the_channel() -> None:
    producer = ClosingChunks(b"one")
    channel = Patient(ScriptedSocket())
    channel.connected = False
    channel.producer_fifo = deque([producer])
    channel.close()
    assert producer.closings == 1


def test_a_class_may_skip_our_init_and_bring_its_own_queue() -> None:
    class Ancient(Chat):
        def __init__(self, sock: Any, channels: Any) -> None:
            self.ac_in_buffer = b""
            self.ac_out_buffer = b""
            self.producer_fifo = fifo()
            asyncore.dispatcher.__init__(self, sock, channels)
            self.messages, self.pieces = [], []
            self.on_data = lambda piece: None
            self.on_found = self.push
            self.set_terminator(b"\n")

    with connected(Ancient, {}) as (channel, peer):
        peer.sendall(b"one\ntwo\n")
        assert sent(channel, peer) == b"onetwo"


def test_a_loop_that_has_waited_learns_of_a_queue_that_was_filled_by_a_timer() -> None:
    with waiting() as (channel, peer):
        channel.call_later(0, channel.producer_fifo.append, b"tick")
        turn(channel._map, 3)
        assert received(peer) == b"tick"


def test_a_callback_may_empty_the_queue_before_it_is_sent() -> None:
    with waiting() as (channel, peer):

        def change_mind() -> None:
            channel.push(b"yes")
            channel.producer_fifo.clear()
            channel.push(b"no")

        channel.on_found = once(change_mind)
        peer.sendall(b"?\n")
        assert sent(channel, peer) == b"no"
