"""Marks in the output queue, its cap, and bytes a second; with sockets that take what the test says."""

import threading
from collections import deque
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.flow import Flow, Limits
from antiphon.outbox import weight
from antiphon.producers import IterableProducer
from chat_support import Chunks
from limit_support import READ, WRITE, Chat, Messages, Stage
from loop_support import Wires, raising

wires = loop_support.wires

EACH = pytest.mark.parametrize("made", [Chat, Messages])

#: Of a system that takes nothing.
NOTHING = [0] * 1000


@pytest.fixture
def stage(wires: Wires) -> Stage:
    return Stage(wires)


def names(channel: Any) -> list[str]:
    return [what for _, what in channel.events]


# -- how much waits --------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("limits", [{}, {"high_water": 1000}])
def test_outgoing_is_what_waits(stage: Stage, made: Any, limits: Any) -> None:
    channel = stage.channel(made, takes=[2, 0, 0, 0, 4, 3, *NOTHING], **limits)
    assert channel.outgoing == 0
    channel.push(b"hello")
    assert channel.outgoing == 3
    channel.push(bytearray(b"12"))
    channel.producer_fifo.append(memoryview(b"345"))
    assert channel.outgoing == 8
    channel.handle_write_event()
    channel.handle_write_event()
    assert channel.outgoing == len(b"".join(map(bytes, channel.producer_fifo)))
    channel.producer_fifo.popleft()
    assert channel.outgoing == len(b"".join(map(bytes, channel.producer_fifo)))
    channel.discard_buffers()
    assert channel.outgoing == 0


def test_a_producer_counts_as_nothing_until_it_is_asked(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[3, *NOTHING], high_water=1000)
    channel.push_with_producer(Chunks(b"hello", b"hello"))
    assert channel.outgoing == 7
    channel.push_with_producer(IterableProducer([bytes(500)]))
    assert channel.outgoing == 7


def test_what_waits_in_a_queue_of_the_program_s_own_counts(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=NOTHING, high_water=10)
    channel.producer_fifo = deque([b"hello", "text", None])
    assert channel.outgoing == 9
    channel.push(b"more")
    assert names(channel) == ["full"]


def test_what_a_handler_has_pushed_so_far_counts(stage: Stage) -> None:
    seen = []

    class Pushing(Messages):
        def message_received(self, message: bytes) -> None:
            self.push(message)
            seen.append(self.outgoing)

    channel = stage.channel(Pushing, high_water=1000)
    for _ in range(2):
        stage.arrives(channel, b"one\ntwo\nthree\n")
        stage.turn()
    assert seen == [3, 6, 11] * 2
    assert channel.outgoing == 0


def test_a_program_may_have_an_outgoing_of_its_own(stage: Stage) -> None:
    channel = stage.channel(Chat)
    channel.outgoing = ["mine"]
    assert channel.outgoing == ["mine"]
    assert Chat.outgoing is not None


def test_outgoing_of_a_dispatcher_without_a_queue_is_nothing(stage: Stage) -> None:
    assert stage.channel(asyncore.dispatcher).outgoing == 0


@pytest.mark.parametrize(("item", "wanted"), [(b"ab", 2), (bytearray(3), 3), ("text", 4), (None, 0), ([], 0)])
def test_what_items_weigh(item: Any, wanted: int) -> None:
    assert weight(item) == wanted


def test_a_view_weighs_its_bytes() -> None:
    assert weight(memoryview(bytes(16)).cast("I")) == 16


# -- the marks -------------------------------------------------------------------------------------------


@EACH
def test_each_crossing_is_told_once(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, takes=[0] * 4 + [60, 0, 25], high_water=100, low_water=20)
    channel.push(bytes(60))
    assert names(channel) == []
    for _ in range(3):
        channel.push(bytes(20))
    assert names(channel) == ["full"], "more than 100, not 100"
    channel.handle_write_event()
    assert channel.outgoing == 60
    channel.handle_write_event()
    assert (channel.outgoing, names(channel)) == (35, ["full"])
    stage.takes(channel)
    stage.turn()
    assert channel.outgoing == 0
    assert names(channel) == ["full", "drained"]
    channel.socket.takes.append(0)
    channel.push(bytes(101))
    assert names(channel) == ["full", "drained", "full"]


def test_exactly_the_mark_is_not_full_and_exactly_the_low_one_is_drained(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[0, 0, 76, 1, 0], high_water=100)
    channel.push(bytes(100))
    assert names(channel) == []
    channel.push(b"x")
    assert names(channel) == ["full"]
    channel.handle_write_event()
    assert (channel.outgoing, names(channel)) == (25, ["full", "drained"])


@pytest.mark.parametrize(
    ("high", "low", "wanted"), [(100, None, 25), (100, 0, 0), (100, 200, 100), (0, None, 0)]
)
def test_the_low_mark_is_a_quarter_and_never_above_the_high_one(high: int, low: Any, wanted: int) -> None:
    assert Limits(high_water=high, low_water=low).low == wanted


def test_what_a_handler_of_a_mark_pushes_is_in_its_place(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[0, 0], high_water=3)
    channel.handle_output_full = lambda: channel.push(b"B")
    sock = channel.socket
    channel.push(b"AAAA")
    stage.takes(channel)
    stage.turn()
    assert sock.wire == b"AAAAB"


def test_a_handler_of_a_mark_that_fails_is_a_matter_of_its_channel(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=NOTHING, high_water=3)
    channel.handle_output_full = raising(RuntimeError("no"))
    errors: list[str] = []
    channel.handle_error = lambda: errors.append("error")
    channel.push(b"hello")
    assert errors == ["error"]


def test_a_mark_that_is_taken_away_ends_what_it_began(stage: Stage) -> None:
    channel = stage.channel(Messages, takes=NOTHING, high_water=3, backpressure=True)
    channel.push(b"hello")
    stage.turn()
    assert not stage.waits_for(channel) & READ
    channel.high_water, channel.max_outgoing = None, 1000
    assert names(channel) == ["full", "drained"]
    stage.turn()
    assert stage.waits_for(channel) & READ


def test_items_that_are_enqueued_without_a_push_are_counted(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=NOTHING, high_water=100)
    for _ in range(11):
        channel.producer_fifo.append(bytes(10))
    assert names(channel) == ["full"]
    channel.producer_fifo.clear()
    assert names(channel) == ["full", "drained"]


def test_the_handler_is_called_in_the_loop_s_thread(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=NOTHING, high_water=100)
    where: list[int] = []
    channel.handle_output_full = lambda: where.append(threading.get_ident())
    with stage.loop._lock:  # As if this thread were in a turn.
        pushing = threading.Thread(target=channel.producer_fifo.append, args=(bytes(101),))
        pushing.start()
        pushing.join()
        assert where == []
    stage.turn()
    assert where == [threading.get_ident()]


# -- backpressure ----------------------------------------------------------------------------------------


@EACH
def test_who_does_not_read_the_answers_is_not_read_from(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, takes=[0], high_water=100, backpressure=True)
    stage.turn()
    assert stage.waits_for(channel) & READ
    channel.push(bytes(101))
    stage.turn()
    assert stage.waits_for(channel) == WRITE
    stage.takes(channel)
    stage.turn()
    stage.turn()
    assert channel.outgoing == 0
    assert stage.waits_for(channel) & READ


def generous(made: Any, by_producer: bool = False) -> Any:
    """A class that answers each message with fifty bytes."""

    class Generous(made):  # type: ignore[misc]
        def answer(self) -> None:
            (self.push_with_producer if by_producer else self.push)(bytes(50))

        def message_received(self, message: bytes) -> None:
            super().message_received(message)
            self.answer()

        def found_terminator(self) -> None:
            super().found_terminator()
            self.answer()

    return Generous


@EACH
@pytest.mark.parametrize("coalesces", [False, True])
def test_what_was_read_and_not_delivered_comes_when_the_output_is_drained(
    stage: Stage, made: Any, coalesces: bool
) -> None:
    marks: dict[str, Any] = {"high_water": 80, "low_water": 50, "backpressure": True}
    takes = [0] * (2 if coalesces else 3)
    channel = stage.channel(generous(made), takes=takes, coalesce_pushes=coalesces, **marks)
    stage.arrives(channel, b"1\n2\n3\n4\n")
    stage.turn()
    assert channel.messages == [b"1", b"2"]
    assert channel.reading_paused
    stage.takes(channel)
    stage.turn()
    stage.turn()
    assert channel.messages == [b"1", b"2", b"3", b"4"]
    assert not channel.reading_paused
    assert channel.outgoing == 0


@pytest.mark.parametrize("drained", [True, False])
def test_a_pause_of_the_program_s_own_is_another_matter(stage: Stage, drained: bool) -> None:
    channel = stage.channel(Messages, takes=[0], high_water=100, backpressure=True)
    channel.push(bytes(101))
    channel.pause_reading()
    if drained:
        channel.initiate_send()
    else:
        channel.resume_reading()
    assert channel.reading_paused
    stage.turn()
    assert not stage.waits_for(channel) & READ
    channel.resume_reading()
    channel.initiate_send()
    assert not channel.reading_paused


def test_who_is_watched_no_longer_is_read_from(stage: Stage) -> None:
    channel = stage.channel(Messages, takes=NOTHING, high_water=3, backpressure=True)
    channel.push(bytes(10))
    assert channel.reading_paused
    channel.high_water = None
    assert not channel.reading_paused
    assert names(channel) == ["full", "drained"]
    channel.high_water = 3
    assert channel.reading_paused
    channel.backpressure, channel.high_water = False, None
    assert channel._ac_guard is None


def test_a_channel_that_leaves_its_map_while_it_is_held_is_read_from_again(stage: Stage) -> None:
    channel = stage.channel(Messages, takes=NOTHING, high_water=3, backpressure=True, idle_timeout=10)
    channel.push(bytes(10))
    stage.loop.call_later(100, int)
    del stage.channels[channel._fileno]
    stage.until(20)
    asyncore.loop(100, map=stage.channels)
    assert channel._ac_guard is None
    assert not channel.reading_paused


def test_without_backpressure_the_program_decides(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=NOTHING, high_water=100)
    channel.push(bytes(101))
    stage.turn()
    assert stage.waits_for(channel) & READ


def test_a_channel_that_is_asked_what_it_wants_does_not_get_it(stage: Stage) -> None:
    class Asked(Chat):
        def readable(self) -> bool:
            return True

    channel = stage.channel(Asked, takes=NOTHING, high_water=100, backpressure=True)
    channel.push(bytes(101))
    stage.turn()
    assert stage.waits_for(channel) == WRITE


def test_the_time_of_a_message_stands_still_while_nothing_is_read(stage: Stage) -> None:
    channel = stage.channel(
        Messages, takes=[0, 50, 51], high_water=100, low_water=0, backpressure=True, message_timeout=60
    )
    stage.arrives(channel, b"begin", after=10)
    stage.until(30)
    channel.push(bytes(101))
    stage.takes(channel, after=500)
    stage.takes(channel, after=570)
    stage.until(2000)
    assert channel.events[:3] == [(30.0, "full"), (600.0, "drained"), (640.0, "message")]


# -- the cap ---------------------------------------------------------------------------------------------


@EACH
def test_above_the_cap_the_channel_is_closed_once_and_the_push_returns(
    stage: Stage, made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "antiphon.limits")
    channel = stage.channel(made, takes=NOTHING, max_outgoing=100)
    channel.push(bytes(100))
    assert not channel.closing
    channel.push(b"x")
    assert channel.closing
    assert channel.outgoing == 0
    assert names(channel) == ["close"]
    [record] = caplog.records
    assert record.getMessage().endswith(
        "max_outgoing: wanted 100 bytes at most that wait to be sent, found 101; closing it"
    )
    assert record.name == "antiphon.limits"


def test_the_cap_holds_also_before_there_is_a_connection_and_before_the_first_turn(stage: Stage) -> None:
    class Capped(Messages):
        max_outgoing: int | None = 100

    class Greeting(Capped):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.socket.takes = [0]
            self.push(bytes(101))

    greeting = stage.channel(Greeting)
    assert greeting.closing
    dialling = stage.channel(Capped)
    dialling.connected, dialling.connecting = False, True
    dialling.push(bytes(101))
    assert dialling.closing


def test_a_channel_that_wants_to_live_on_is_closed_all_the_same(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=NOTHING, max_outgoing=100)
    channel.handle_close = lambda: channel.note("kept")
    channel.push(bytes(101))
    assert names(channel) == ["kept"]
    assert channel.closing


@EACH
@pytest.mark.parametrize("by_producer", [False, True])
def test_one_read_can_cause_no_more_than_the_cap(stage: Stage, made: Any, by_producer: bool) -> None:
    channel = stage.channel(generous(made, by_producer), takes=[10], max_outgoing=100)
    stage.arrives(channel, b"1\n2\n3\n4\n5\n")
    stage.turn()
    assert channel.messages == [b"1", b"2", b"3"]
    assert channel.closing


def test_a_cap_that_is_above_what_a_read_causes_costs_no_second_send(stage: Stage) -> None:
    channel = stage.channel(generous(Messages), high_water=400, max_outgoing=1000)
    for _ in range(10):
        stage.arrives(channel, b"1\n2\n3\n4\n5\n")
        stage.turn()
    assert list(map(len, channel.socket.sent)) == [250] * 10


def test_what_another_thread_pushes_in_the_middle_of_a_read_is_weighed_at_its_end(stage: Stage) -> None:
    class Helped(Messages):
        def message_received(self, message: bytes) -> None:
            super().message_received(message)
            thread = threading.Thread(target=self.push, args=[bytes(101)])
            thread.start()
            thread.join()

    channel = stage.channel(Helped, takes=[0], max_outgoing=100)
    stage.arrives(channel, b"1\n2\n")
    stage.turn()
    assert channel.messages == [b"1", b"2"]
    assert channel.closing


# -- the rates -------------------------------------------------------------------------------------------


@EACH
def test_no_more_is_asked_for_than_may_come_and_then_nothing(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, rate_in=100)
    sock = channel.socket
    stage.arrives(channel, b"x" * 80)
    stage.turn()
    assert sock.sizes == [100]
    stage.arrives(channel, b"x" * 80)
    stage.turn()
    assert sock.sizes == [100, 20]
    stage.turn()
    assert stage.waits_for(channel) == 0
    channel.handle_read_event()
    assert sock.sizes == [100, 20], "also if it is told to"
    stage.until(0.05)
    stage.turn()
    assert stage.waits_for(channel) & READ
    stage.poller.deliver((sock.fileno(), READ))
    stage.turn()
    assert sock.sizes == [100, 20, 5]


@EACH
def test_input_comes_at_its_rate(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, rate_in=1000)
    sock = channel.socket
    sock.script += [b"x" * 10_000]
    stage.poller.ready[sock.fileno()] = READ
    turns = 0
    while sock.script:
        asyncore.loop(10, map=stage.channels, count=1)
        turns += 1
    assert 8.9 < stage.clock() < 9.1
    assert turns < 500, "it waits for the time to pass"


@EACH
@pytest.mark.parametrize("size", [None, 40])
def test_output_goes_at_its_rate(stage: Stage, made: Any, size: Any) -> None:
    channel = stage.channel(made, rate_out=100, send_timeout=3.0)
    sock = channel.socket
    if size is not None:
        channel.ac_out_buffer_size = size
    channel.push(bytes(500))
    channel.push_with_producer(Chunks(bytes(300), bytes(200)))
    stage.poller.ready[sock.fileno()] = WRITE
    turns = 0
    while len(sock.wire) < 1000:
        assert len(sock.wire) <= 100 + 100 * stage.clock() + 1
        asyncore.loop(10, map=stage.channels, count=1)
        turns += 1
    assert 8.9 < stage.clock() < 9.1
    assert turns < 1000
    assert max(map(len, sock.sent)) <= (size or 100)
    assert names(channel) == [], "the peer has taken all that it was offered"


def test_output_that_may_not_go_yet_costs_no_system_call(stage: Stage) -> None:
    channel = stage.channel(Chat, rate_out=10)
    sock = channel.socket
    for _ in range(50):
        channel.push(b"x")
    assert len(sock.sent) == 10
    stage.turn()
    assert stage.waits_for(channel) == READ


def test_a_rate_that_lets_nothing_through_is_no_fault_of_the_peer_s(stage: Stage) -> None:
    channel = stage.channel(Chat, rate_out=0.01, send_timeout=10)
    channel.push(b"ab")
    stage.poller.ready[channel.socket.fileno()] = WRITE
    stage.until(300)
    assert names(channel) == []
    assert channel.outgoing == 0


def test_a_peer_that_takes_nothing_is_found_out_behind_a_rate(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[1, *NOTHING], rate_out=1, send_timeout=10)
    channel.push(b"ab")
    for _ in range(20):
        asyncore.loop(1, map=stage.channels, count=1)
    assert channel.events[0] == (11.0, "send")


def test_two_reasons_not_to_read_do_not_end_each_other(stage: Stage) -> None:
    channel = stage.channel(Messages, takes=[0], high_water=100, backpressure=True, rate_in=10)
    stage.arrives(channel, bytes(10))
    stage.turn()
    channel.push(bytes(101))
    stage.turn()
    assert stage.waits_for(channel) == WRITE
    stage.takes(channel)
    stage.turn()
    assert channel.outgoing == 0
    stage.turn()
    assert stage.waits_for(channel) == 0
    stage.until(0.2)
    stage.turn()
    assert stage.waits_for(channel) == READ


def test_a_send_of_ones_own_keeps_the_rate(stage: Stage) -> None:
    class Own(Chat):
        def send(self, data: Any) -> int:
            return int(self.socket.send(data))

    channel = stage.channel(Own, rate_out=100)
    channel.push(bytes(500))
    assert channel.outgoing == 400


def test_rates_change_and_go(stage: Stage) -> None:
    channel = stage.channel(Chat, rate_in=10, rate_out=10)
    buckets = channel._ac_guard.bucket_in, channel._ac_guard.bucket_out
    channel.push(bytes(50))
    stage.arrives(channel, bytes(50))
    stage.turn()
    stage.turn()
    assert stage.waits_for(channel) == 0
    channel.idle_timeout = 1000
    assert (channel._ac_guard.bucket_in, channel._ac_guard.bucket_out) == buckets
    channel.rate_in = channel.rate_out = None
    assert (channel._ac_guard.bucket_in, channel._ac_guard.bucket_out) == (None, None)
    stage.turn()
    assert stage.waits_for(channel) == READ | WRITE
    channel.idle_timeout = None
    assert channel._ac_guard is None


def test_large_pieces_and_files_keep_the_rate_too(wires: Wires) -> None:
    channels = wires.map()
    channel, peer = wires.channel(Chat, channels)
    channel.rate_out = 100_000
    for _ in range(4):
        channel.producer_fifo.append(bytes(50_000))
    asyncore.loop(0, map=channels, count=5)
    assert channel.outgoing >= 90_000
    assert len(peer.recv(1 << 20)) <= 110_000


def test_the_end_behind_a_rate_comes_when_all_has_left(stage: Stage) -> None:
    channel = stage.channel(Chat, rate_out=100)
    sock = channel.socket
    channel.push(bytes(250))
    channel.close_when_done()
    stage.poller.ready[sock.fileno()] = WRITE
    asyncore.loop(1, map=stage.channels)
    assert len(sock.wire) == 250
    assert 1.45 < stage.clock() < 1.6
    assert names(channel) == ["close"]


def test_a_flow_by_itself_has_no_clock() -> None:
    flow = Flow(None, Limits())
    with pytest.raises(NotImplementedError):
        flow._look_at(None, 0.0, 0.0)
    assert flow._reads_again(None, 0.0) is flow._sends_again(None, 0.0) is None  # type: ignore[func-returns-value]
