"""The clocks of a channel: never early, late by a turn at most, one timer for all. No real time passes."""

import errno
import gc
import weakref
from collections import deque
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.asynchat import async_chat
from antiphon.errors import MessageTooLong
from antiphon.failures import ExitNow
from chat_support import ScriptedSocket
from limit_support import READ, Chat, Messages, Noting, Stage
from loop_support import Wires, raising, silent_map

wires = loop_support.wires


class Sized(Chat):
    """Counts the bytes of its messages as well."""

    max_message_size = 1000


EACH = pytest.mark.parametrize("made", [Chat, Sized, Messages])


@pytest.fixture
def stage(wires: Wires) -> Stage:
    return Stage(wires)


class Plain(Noting, asyncore.dispatcher):
    """Reads what comes and never wants to write."""

    def handle_read(self) -> None:
        self.recv(100)

    def writable(self) -> bool:
        return False


# -- idle ------------------------------------------------------------------------------------------------


@EACH
def test_a_silent_connection_ends_when_its_time_is_over_and_not_before(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, idle_timeout=30)
    stage.until(29.9)
    assert not channel.closing
    stage.until(100)
    assert channel.events == [(30.0, "idle"), (30.0, "close")]
    assert channel.closing


@EACH
def test_a_byte_that_comes_postpones_the_end(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, idle_timeout=30)
    stage.arrives(channel, b"x", after=20)
    stage.arrives(channel, b"y", after=45)
    stage.until(100)
    assert channel.events[0] == (75.0, "idle")


@EACH
def test_a_byte_that_goes_postpones_the_end(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, idle_timeout=30)
    channel.call_later(20, channel.push, b"x")
    stage.until(100)
    assert channel.events[0] == (50.0, "idle")


def test_a_send_of_ones_own_that_is_no_socket_s_postpones_the_end_when_it_is_slow(stage: Stage) -> None:
    class Own(Chat):
        def send(self, data: Any) -> int:
            return 1

    channel = stage.channel(Own, idle_timeout=30)
    channel.push(b"xyz")
    stage.takes(channel, after=20)
    stage.until(100)
    assert channel.events[0] == (50.0, "idle")


def test_a_byte_of_a_plain_dispatcher_postpones_the_end(stage: Stage) -> None:
    channel = stage.channel(Plain, idle_timeout=30)
    stage.arrives(channel, b"x", after=20)
    stage.until(40)
    channel.send(b"y")
    stage.until(100)
    assert channel.events == [(70.0, "idle"), (70.0, "close")]


class Reading(Chat):
    """Receives by itself, as programs do that speak TLS by hand or want another size."""

    def handle_read(self) -> None:
        self.recv(100)


class Assigning(Chat):
    """Likewise, by an attribute of the channel."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.handle_read = lambda: self.recv(100)  # type: ignore[assignment,method-assign] # its result is nothing


class ReadingMessages(Messages):
    """Likewise."""

    def handle_read(self) -> None:
        self.recv(100)


@pytest.mark.parametrize("made", [Reading, Assigning, ReadingMessages])
def test_a_byte_that_a_class_of_chats_receives_by_itself_postpones_the_end(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, idle_timeout=30)
    stage.arrives(channel, b"x", after=20)
    stage.until(40)
    stage.arrives(channel, b"y", after=5)
    stage.until(100)
    assert channel.events == [(75.0, "idle"), (75.0, "close")]


def test_a_handler_that_takes_long_makes_no_timeout_early(stage: Stage) -> None:
    """The byte comes behind the long handler, in the same turn."""
    slow, quick = (stage.channel(Chat, idle_timeout=30) for _ in range(2))
    slow._collect_incoming_data = lambda data: stage.clock.advance(10)
    slow.socket.script.append(b"x")
    quick.socket.script.append(b"y")
    events = [(channel.socket.fileno(), READ) for channel in (slow, quick)]
    stage.poller.deliver(*events, after=25)
    stage.until(200)
    assert quick.events[0] == (65.0, "idle")


def test_a_loop_that_only_looks_notices_too(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=30)
    stage.arrives(channel, b"x")
    for _ in range(100):
        stage.turn()
        stage.clock.advance(1)
    assert channel.events[0] == (31.0, "idle"), "the byte came before the second turn, a second later"


def test_an_event_in_a_turn_that_has_not_ended_happens_now(stage: Stage) -> None:
    """The handler that received runs for longer than is allowed, and the timers run inside of it."""
    channel = stage.channel(Chat, idle_timeout=30)

    def run_for_long(data: bytes) -> None:
        stage.clock.advance(40)
        stage.turn()

    channel._collect_incoming_data = run_for_long
    stage.arrives(channel, b"x", after=20)
    stage.until(200)
    assert channel.events[0] == (90.0, "idle")


def test_a_listener_has_no_timeouts(stage: Stage) -> None:
    class Listener(Plain):
        idle_timeout = 10

    channel = Listener(map=stage.channels)
    channel.create_socket()
    channel.bind(("127.0.0.1", 0))
    channel.listen(1)
    stage.turn()
    assert channel._ac_guard is not None
    assert not stage.loop.busy
    assert len(stage.loop._timers) == 0
    channel.close()


# -- messages --------------------------------------------------------------------------------------------


@EACH
def test_a_message_that_is_never_finished_ends_the_connection(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, message_timeout=60)
    for second in range(10, 100, 10):
        stage.arrives(channel, b"x", after=second)
    stage.until(200)
    assert channel.events[0] == (70.0, "message")


def test_a_message_that_was_begun_before_there_was_a_limit_has_its_time_from_then_on(stage: Stage) -> None:
    channel, finished = stage.channel(Messages), stage.channel(Messages)
    stage.arrives(channel, b"half", after=5)
    stage.arrives(finished, b"whole\n", after=0)
    stage.until(10)
    channel.message_timeout = finished.message_timeout = 30
    stage.until(100)
    assert channel.events == [(40.0, "message"), (40.0, "close")]
    assert finished.events == []


def test_a_limit_that_a_message_brings_is_not_for_itself(stage: Stage) -> None:
    class Strict(Messages):
        """Has no patience once it was talked to."""

        def message_received(self, message: bytes) -> None:
            self.message_timeout = 30

    channel = stage.channel(Strict)
    stage.arrives(channel, b"whole\n")
    stage.until(100)
    assert channel.events == []
    stage.arrives(channel, b"half")
    stage.until(200)
    assert channel.events[0] == (130.0, "message")


@EACH
def test_each_message_has_its_own_time_from_its_first_byte(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, message_timeout=60)
    for second in range(10, 500, 50):
        stage.arrives(channel, b"end\nbegin", after=second)
    stage.until(480)
    assert channel.events == []
    stage.until(1000)
    assert channel.events[0] == (460.0 + 60, "message")


@EACH
@pytest.mark.parametrize(
    "pieces", [[b"one\n"], [b"one\n", b"two\nthree\n"], [b"on", b"e\n"], [b"o", b"n", b"e\n"]]
)
def test_between_messages_the_peer_may_be_silent(stage: Stage, made: Any, pieces: list[bytes]) -> None:
    channel = stage.channel(made, message_timeout=60)
    stage.arrives(channel, *pieces)
    stage.until(1000)
    assert channel.events == []
    assert b"".join(channel.messages) == b"".join(pieces).replace(b"\n", b"")


@EACH
@pytest.mark.parametrize("terminator", [b"\r\n", 20])
def test_half_a_terminator_and_half_a_length_are_unfinished(stage: Stage, made: Any, terminator: Any) -> None:
    channel = stage.channel(made, message_timeout=60)
    channel.set_terminator(terminator)
    stage.arrives(channel, b"one\r", after=10)
    stage.until(200)
    assert channel.events[0] == (70.0, "message")


@EACH
def test_a_terminator_that_comes_byte_by_byte_belongs_to_its_message(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, message_timeout=60)
    channel.set_terminator(b"\r\n.\r\n")
    for second, byte in enumerate(b"x\r\n.\r"):
        stage.arrives(channel, bytes([byte]), after=10 * second)
    stage.until(200)
    assert channel.events[0] == (60.0, "message")


def test_a_length_counts_down_from_its_first_byte(stage: Stage) -> None:
    channel = stage.channel(Chat, message_timeout=60)
    channel.set_terminator(100)
    stage.arrives(channel, bytes(30), after=10)
    stage.arrives(channel, bytes(30), after=20)
    stage.until(200)
    assert channel.events[0] == (70.0, "message")


def test_the_rest_of_a_read_behind_a_length_is_a_new_message(stage: Stage) -> None:
    channel = stage.channel(Chat, message_timeout=60)
    channel.set_terminator(10)
    channel.found_terminator = lambda: channel.set_terminator(10)
    stage.arrives(channel, bytes(5), after=10)
    stage.arrives(channel, bytes(10), after=50)
    stage.until(200)
    assert channel.events[0] == (110.0, "message")


class Dropping(Sized):
    """Drops what is too long."""

    overflow_policy = "discard"

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.note("overflow")
        self.incoming.clear()


@pytest.mark.parametrize("terminator", [b"\n", b"\r\n.\r\n", 5000])
def test_what_is_dropped_of_a_message_is_unfinished_too(stage: Stage, terminator: Any) -> None:
    channel = stage.channel(Dropping, message_timeout=60)
    channel.set_terminator(terminator)
    stage.arrives(channel, bytes(1500), after=10)
    for second, byte in enumerate(b"xx\r\n." if isinstance(terminator, int) else b"xx\r\r."):
        stage.arrives(channel, bytes([byte]), after=20 + 10 * second)
    stage.until(500)
    assert channel.events[:2] == [(10.0, "overflow"), (70.0, "message")]


def test_a_terminator_that_comes_byte_by_byte_ends_what_is_dropped(stage: Stage) -> None:
    channel = stage.channel(Dropping, message_timeout=60)
    channel.set_terminator(b"\r\n.\r\n")
    stage.arrives(channel, bytes(1500), *[bytes([byte]) for byte in b"\r\n."], after=10)
    stage.until(500)
    assert channel.events[:2] == [(10.0, "overflow"), (70.0, "message")]


def test_what_comes_in_parts_is_unfinished_too(stage: Stage) -> None:
    channel = stage.channel(Messages, message_timeout=60)
    channel.max_message_size, channel.overflow_policy = 1000, "pieces"
    channel.message_part_received = lambda part, last: None
    stage.arrives(channel, bytes(1500), after=10)
    for second in range(20, 100, 10):
        stage.arrives(channel, b"x", after=second)
    stage.until(500)
    assert channel.events[0] == (70.0, "message")


@EACH
def test_what_no_terminator_ends_is_never_unfinished(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, message_timeout=60)
    channel.set_terminator(None)
    stage.arrives(channel, b"x", after=10)
    stage.until(200)
    assert channel.events == []


def test_what_is_fed_counts_as_received(stage: Stage) -> None:
    channel = stage.channel(Messages, message_timeout=60)
    channel.feed(b"beg")
    stage.clock.advance(10)
    channel.feed(b"in")
    stage.until(200)
    assert channel.events[0] == (60.0, "message")


def test_what_is_fed_and_finished_is_nothing_to_wait_for(stage: Stage) -> None:
    channel = stage.channel(Messages, message_timeout=60)
    channel.feed(b"begin")
    channel.feed(b"end\n")
    stage.until(200)
    assert channel.events == []


def test_what_a_program_does_not_read_is_no_delay_of_the_peer_s(stage: Stage) -> None:
    class Choosy(Chat):
        wants = True

        def readable(self) -> bool:
            return self.wants

    channel = stage.channel(Choosy, message_timeout=60)
    stage.arrives(channel, b"x", after=10)
    stage.until(20)
    channel.wants = False
    stage.until(100)
    channel.wants = True
    stage.until(300)
    assert channel.events[0] == (130.0, "message")


# -- connecting ------------------------------------------------------------------------------------------


def dialling(stage: Stage, made: Any, **limits: Any) -> Any:
    """A channel in the middle of connecting."""
    channel = stage.channel(made)
    for name, value in limits.items():
        setattr(channel, name, value)
    channel.socket.connect_ex = lambda address: errno.EINPROGRESS
    channel.connect(("127.0.0.1", 9))
    stage.turn()
    return channel


@EACH
def test_an_attempt_to_connect_that_leads_nowhere_ends_once(stage: Stage, made: Any) -> None:
    channel = dialling(stage, made, connect_timeout=20, idle_timeout=5)
    stage.until(100)
    assert channel.events == [(20.0, "connect"), (20.0, "close")]


@EACH
def test_a_connection_that_is_made_ends_the_clock_and_starts_the_others(stage: Stage, made: Any) -> None:
    channel = dialling(stage, made, connect_timeout=20, idle_timeout=50)
    sock = channel.socket
    channel.push(b"hello")
    stage.takes(channel, after=19)
    stage.until(200)
    assert channel.events == [(19.0, "connected"), (69.0, "idle"), (69.0, "close")]
    assert sock.wire == b"hello"


def test_a_connection_that_is_made_when_the_time_is_over_is_made(stage: Stage) -> None:
    channel = dialling(stage, Chat, connect_timeout=20)
    stage.takes(channel, after=20)
    stage.until(100)
    assert channel.events == [(20.0, "connected")]


def test_after_handle_connect_has_begun_no_attempt_can_run_out(stage: Stage) -> None:
    """The handler runs the loop for longer than is allowed."""
    channel = dialling(stage, Chat, connect_timeout=20)

    def wait() -> None:
        channel.note("connected")
        channel.push(b"hello")
        stage.until(60)

    channel.handle_connect = wait
    stage.takes(channel, after=10)
    stage.until(100)
    assert channel.events == [(10.0, "connected")]


def test_who_keeps_trying_has_the_same_time_again(stage: Stage) -> None:
    channel = dialling(stage, Chat, connect_timeout=20)
    channel.stays = bool
    stage.until(50)
    assert channel.events == [(20.0, "connect"), (40.0, "connect")]


def test_what_was_pushed_before_the_connection_is_made_waits_for_nobody(stage: Stage) -> None:
    channel = dialling(stage, Chat, send_timeout=5)
    channel.push(b"hello")
    stage.until(100)
    assert channel.events == []


# -- sending ---------------------------------------------------------------------------------------------


@EACH
def test_a_peer_that_takes_nothing_is_left(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, takes=[3] + [0] * 10, send_timeout=60)
    stage.until(10)
    channel.push(b"hello")
    stage.takes(channel, after=30)
    stage.until(200)
    assert channel.events == [(70.0, "send"), (70.0, "close")]


@EACH
def test_a_peer_that_takes_a_little_is_waited_for(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, takes=[1] * 5 + [0] * 9, send_timeout=60)
    channel.push(b"hello, world")
    for second in range(50, 201, 50):
        stage.takes(channel, after=second)
    stage.until(400)
    assert channel.events[0] == (260.0, "send")


def test_what_nobody_has_to_take_runs_no_clock(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[1], send_timeout=60)
    channel.push(b"hello")
    stage.takes(channel, after=10)
    stage.until(500)
    channel.socket.takes.append(0)
    channel.push(b"later")
    stage.until(1000)
    assert channel.events[0] == (560.0, "send")


def test_output_of_a_dispatcher_with_send_is_watched_too(stage: Stage) -> None:
    class Sending(Noting, asyncore.dispatcher_with_send):
        """Sends."""

    channel = stage.channel(Sending, takes=[1, 0, 0, 0, 0], send_timeout=60)
    channel.send(b"hello")
    stage.until(200)
    assert channel.events[0] == (60.0, "send")


# -- closing ---------------------------------------------------------------------------------------------


@EACH
def test_a_channel_that_is_to_be_closed_ends_in_time_whatever_is_taken(stage: Stage, made: Any) -> None:
    channel = stage.channel(made, takes=[1] * 1000, close_timeout=100, send_timeout=60)
    channel.push(bytes(500))
    stage.until(10)
    channel.close_when_done()
    for second in range(10, 300, 10):
        stage.takes(channel, after=second)
    stage.until(300)
    assert channel.events == [(110.0, "close"), (110.0, "close")]


def test_a_mark_that_is_pushed_and_one_that_is_enqueued_start_the_clock(stage: Stage) -> None:
    pushed, enqueued, foreign = (
        stage.channel(Chat, takes=[1] + [0] * 100, close_timeout=50) for _ in range(3)
    )
    for channel in pushed, enqueued, foreign:
        channel.push(b"hello")
    pushed.push_with_producer(None)
    enqueued.producer_fifo.append(None)
    foreign.producer_fifo = deque([b"x"])
    foreign.close_when_done()
    stage.until(100)
    assert [channel.events[0] for channel in (pushed, enqueued, foreign)] == [(50.0, "close")] * 3


def test_a_mark_that_was_taken_back_runs_no_clock(stage: Stage) -> None:
    channel = stage.channel(Chat, takes=[1, 0, 0, 0, 0, 0], close_timeout=50)
    channel.push(b"hello")
    channel.close_when_done()
    channel.discard_buffers()
    stage.until(200)
    assert channel.events == []


# -- timeouts that the program deals with ------------------------------------------------------------------


@pytest.mark.parametrize("which", ["idle", "message", "send", "close"])
def test_a_channel_that_is_kept_has_the_same_time_again(stage: Stage, which: str) -> None:
    channel = stage.channel(Messages, takes=[1] + [0] * 100)
    channel.stays = bool
    setattr(channel, f"{which}_timeout", 10)
    if which in ("send", "close"):
        channel.push(b"hello")
        if which == "close":
            channel.close_when_done()
    else:
        channel.feed(b"begin")
    stage.until(35)
    assert channel.events == [(10.0, which), (20.0, which), (30.0, which)]


def test_clocks_that_run_out_together_are_told_one_by_one(stage: Stage) -> None:
    channel = stage.channel(Messages, message_timeout=10, idle_timeout=10)
    channel.stays = bool
    channel.feed(b"begin")
    stage.until(15)
    assert sorted(channel.events) == [(10.0, "idle"), (10.0, "message")]


def test_a_clock_that_the_handler_of_another_has_stopped_does_not_run_out(stage: Stage) -> None:
    channel = stage.channel(Messages, message_timeout=10, idle_timeout=10)

    def give_up() -> None:
        channel.idle_timeout = channel.message_timeout = None

    channel.stays = give_up
    channel.feed(b"begin")
    stage.until(15)
    assert len(channel.events) == 1
    assert channel._ac_guard is None


def test_a_handler_that_fails_is_a_matter_of_its_channel(stage: Stage) -> None:
    failing, other = (stage.channel(Chat, idle_timeout=10) for _ in range(2))
    errors: list[str] = []
    failing.stays = raising(RuntimeError("no"))
    failing.handle_error = lambda: errors.append("error")
    stage.until(25)
    assert errors == ["error", "error"]
    assert failing.events == [(10.0, "idle"), (20.0, "idle")]
    assert other.closing


def test_a_handler_may_leave_the_loop_and_the_clock_goes_on(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=10)
    channel.stays = raising(ExitNow())
    for when in (10.0, 20.0):
        with pytest.raises(ExitNow):
            stage.until(100)
        assert channel.events[-1] == (when, "idle")


# -- what a guard holds ----------------------------------------------------------------------------------


def test_a_closed_channel_leaves_no_timer_and_nothing_that_holds_it(stage: Stage) -> None:
    channel = stage.channel(Messages, idle_timeout=10, message_timeout=5, rate_in=10.0)
    stage.arrives(channel, b"begin")
    stage.turn()
    assert len(stage.loop._timers) == 1
    gone = weakref.ref(channel)
    channel.close()
    assert channel._ac_guard is None
    assert len(stage.loop._timers) == 0
    assert not stage.loop._guarding
    stage.poller.waits.clear()
    del channel
    assert gone() is None, "nothing holds it, also no cycle"


def test_a_guard_does_not_hold_its_channel(wires: Wires) -> None:
    channels, clock, _ = silent_map(wires)

    class Quiet(async_chat):
        idle_timeout = 10

    channel = Quiet(ScriptedSocket(), channels)
    asyncore.loop(0, map=channels, count=1)
    gone = weakref.ref(channel)
    del channels[channel._fileno], channel
    gc.collect()
    assert gone() is None
    asyncore.get_loop(channels).call_later(20, int)
    asyncore.loop(map=channels)
    assert clock() == 20


def test_the_loop_does_not_go_on_for_the_sake_of_a_limit(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=10)
    del stage.channels[channel._fileno]
    asyncore.loop(map=stage.channels)
    assert stage.clock() == 0
    assert not stage.loop.busy


def test_a_channel_that_was_taken_out_of_its_map_is_watched_no_longer(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=10)
    other = stage.channel(Chat)
    del stage.channels[channel._fileno]
    stage.until(100)
    assert channel.events == []
    assert channel._ac_guard is None
    assert other._ac_guard is None


def test_a_channel_that_moves_is_watched_where_it_is(wires: Wires) -> None:
    first, second = Stage(wires), Stage(wires)
    channel = first.channel(Chat, idle_timeout=10)
    first.until(5)
    channel.del_channel(first.channels)
    channel._fileno = channel.socket.fileno()
    channel.clock = second.clock
    channel.add_channel(second.channels)
    second.turn()
    first.loop.call_later(100, int)
    asyncore.loop(map=first.channels)
    assert channel.events == []
    second.until(100)
    assert channel.events[0] == (10.0, "idle")


def test_a_dropped_map_of_watched_channels_is_not_kept(wires: Wires) -> None:
    channels: Any = {}
    near, _ = wires.pair()

    class Quiet(async_chat):
        idle_timeout = 1000

    channel = Quiet(near, channels)
    asyncore.loop(0, map=channels, count=1)
    assert len(asyncore.get_loop(channels)._timers) == 1
    gone = weakref.ref(channel)
    del channel, channels
    gc.collect()
    assert gone() is None


def test_a_channel_reopened_is_watched_again(stage: Stage) -> None:
    channel = stage.channel(Chat, idle_timeout=10)
    stage.until(20)
    assert channel.closing
    channel.set_socket(ScriptedSocket())
    channel.connected = True
    stage.until(100)
    assert [event for event in channel.events if event[1] == "idle"] == [(10.0, "idle"), (20.0, "idle")]
