"""A channel against plain Python: whatever happens in whatever order, both come to the same.

The model has no queue, no buffer and no loop.  It says which bytes the peer must get, in which messages what
arrives must be cut, which errors are told, and when the channel is closed.
"""

import contextlib
import errno
import itertools
import os
import sys
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.pollers.base import READ, WRITE
from antiphon.producers import Producer
from antiphon.testing import FakeClock, SilentPoller
from effort import effort

_descriptors = itertools.count(1_000_000)  # Beyond any that the system gives out.

#: Few different bytes, so that terminators occur, begin without ending, and overlap.
some = st.lists(st.sampled_from([b"a", b"b", b"\r\n", b"\r", b"ab"]), max_size=25).map(b"".join)
delimiter = st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n"]), min_size=1, max_size=3).map(b"".join)
terminator = st.one_of(delimiter, delimiter, st.integers(1, 9))
output = st.one_of(
    st.binary(max_size=12), st.integers(1, 3).map(lambda times: bytes(range(256)) * 32 * times)
)

#: What ends a connection, and what is an error of the channel that goes on after it.
ENDING = [errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN]
PASSING = [errno.EIO, errno.ENOBUFS, errno.EMSGSIZE]


class Wire:
    """A socket that takes what there is room for.

    Attributes:
        arrived: what waits to be read; None at its end stands for the end of the connection.
        room: bytes that the system takes.
        at_most: bytes that it takes in one call.
        faults: what the next calls of `recv` and `send` raise.
        sent: all that it took.
    """

    def __init__(self) -> None:
        self.descriptor = next(_descriptors)
        self.arrived: list[bytes | None] = []
        self.room = 0
        self.at_most = 1 << 30
        self.faults: dict[str, int] = {}
        self.sent = bytearray()
        self.closed = False

    def recv(self, size: int) -> bytes:
        self._fail("recv")
        if not self.arrived:
            raise BlockingIOError
        first = self.arrived.pop(0)
        if first is None:
            return b""
        if len(first) > size:
            self.arrived.insert(0, first[size:])
        return first[:size]

    def send(self, data: Any) -> int:
        self._fail("send")
        taken = min(len(data), self.room, self.at_most)
        if not taken:
            raise BlockingIOError
        self.room -= taken
        self.sent += data[:taken]
        return taken

    def _fail(self, call: str) -> None:
        assert not self.closed
        if call in self.faults:
            number = self.faults.pop(call)
            raise OSError(number, os.strerror(number))

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def fileno(self) -> int:
        return self.descriptor

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def close(self) -> None:
        self.closed = True


class Chunks(Producer):
    """Chunks, and perhaps an exception among them; asked again after one that leaves the loop, it goes on."""

    def __init__(self, *script: bytes | type[BaseException]) -> None:
        self.script = list(script)
        self.closings = 0

    def more(self) -> bytes:
        step = self.script.pop(0) if self.script else b""
        if isinstance(step, bytes):
            return step
        raise step("as asked")

    def close(self) -> None:
        self.closings += 1


class Program:
    """What both kinds of channels have in common: answers each message, and stumbles when told to."""

    following: list[Any]
    stumbles: list[type[BaseException] | None]
    current: Any

    def begin(self, current: Any) -> None:
        self.messages: list[bytes] = []
        self.errors: list[str] = []
        self.closes = 0
        self.following, self.stumbles = [], []
        self.current = current
        self.set_terminator(current)  # type: ignore[attr-defined]

    def answer(self, message: bytes) -> None:
        assert not self.closing  # type: ignore[attr-defined]
        self.messages.append(message)
        if self.following:
            self.current = self.following.pop(0)
        self.set_terminator(self.current)  # type: ignore[attr-defined]
        self.push(b"<" + message + b">")  # type: ignore[attr-defined]
        stumble = self.stumbles.pop(0) if self.stumbles else None
        if stumble is not None:
            raise stumble("as asked")

    def handle_error(self) -> None:
        error = sys.exc_info()[0]
        assert error is not None
        self.errors.append(error.__name__)

    def handle_close(self) -> None:
        self.closes += 1
        self.close()  # type: ignore[attr-defined]


class Chat(Program, async_chat):
    resumes_after_errors = True
    clumsy = 0

    def collect_incoming_data(self, data: bytes) -> None:
        assert data
        assert not self.closing
        self._collect_incoming_data(data)
        if self.clumsy:
            self.clumsy -= 1
            raise ArithmeticError("as asked")

    def found_terminator(self) -> None:
        self.answer(self._get_data())

    @property
    def unfinished(self) -> bytes:
        return b"".join(self.incoming) + self.ac_in_buffer


class Messages(Program, MessageChannel):
    def message_received(self, message: bytes) -> None:
        self.answer(message)

    @property
    def unfinished(self) -> bytes:
        return self.ac_in_buffer


class Reader:
    """Where messages end.

    Args:
        current: the terminator.
        looks_again: whether another terminator counts from the beginning of an unfinished message.
    """

    def __init__(self, current: Any, looks_again: bool) -> None:
        self.looks_again = looks_again
        self.following: list[Any] = []
        #: Of the unfinished message: what belongs to it for certain, and what may be a terminator.
        self.kept = self.rest = b""
        self.set(current)

    def set(self, current: Any) -> None:
        self.current = self.missing = current
        if self.looks_again:
            self.kept, self.rest = b"", self.kept + self.rest

    def read(self, data: bytes) -> list[bytes]:
        self.rest += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
            self.kept = b""
            self.set(self.following.pop(0) if self.following else self.current)
        return messages

    def _next(self) -> bytes | None:
        if isinstance(self.current, int):
            return self._next_of_length()
        end = self.rest.find(self.current)
        if end >= 0:
            message = self.kept + self.rest[:end]
            self.rest = self.rest[end + len(self.current) :]
            return message
        begun = max(size for size in range(len(self.current)) if self.rest.endswith(self.current[:size]))
        self._keep(len(self.rest) - begun)
        return None

    def _next_of_length(self) -> bytes | None:
        size = min(self.missing, len(self.rest))
        self._keep(size)
        self.missing -= size
        return None if self.missing else self.kept

    def _keep(self, size: int) -> None:
        self.kept += self.rest[:size]
        self.rest = self.rest[size:]


class ChannelAgainstModel(RuleBasedStateMachine):
    """What a program, a peer and a system do to one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.poller = SilentPoller(self.clock)
        self.channels = ChannelMap()
        self.channels.loop = self.loop = Loop(
            self.channels, tells=True, make_poller=lambda: self.poller, now=self.clock
        )
        self.producers: list[Chunks] = []

    kinds = st.sampled_from([Chat, Messages])

    @initialize(kind=kinds, first=terminator, coalesces=st.booleans())
    def connect(self, kind: Any, first: Any, coalesces: bool) -> None:
        self.wire = Wire()
        self.promised = b""
        #: What comes when all that was promised has left: "close", or "failure".
        self.mark: str | None = None
        self.messages: list[bytes] = []
        self.errors: list[str] = []
        self.stumbles: list[type[BaseException] | None] = []
        self.closes = 0
        self.is_open = True
        self.is_deaf = False
        self.channel: Any = kind(self.wire, self.channels)
        self.channel.coalesce_pushes = coalesces
        self.channel.begin(first)
        self.reader = Reader(first, looks_again=kind is Messages)
        self.settle()

    @precondition(lambda self: not self.is_open)
    @rule(kind=kinds, first=terminator, coalesces=st.booleans())
    def connect_again(self, kind: Any, first: Any, coalesces: bool) -> None:
        self.connect(kind, first, coalesces)

    def teardown(self) -> None:
        if self.is_open and hasattr(self, "channel"):
            self.wire.faults.clear()
            self.wire.room, self.wire.at_most = 1 << 30, 1 << 30
            self.settle()
            self.everything_agrees()
            assert self.wire.sent == self.promised
            self.channel.close()
        assert [producer.closings for producer in self.producers] == [1] * len(self.producers)
        self.loop.close()

    # -- running the loop ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Have the loop go round until nothing changes any more."""
        for _ in range(10_000):
            self.turn()  # The poller learns what is waited for.
            before = self.state()
            watched = self.poller.watched.get(self.wire.descriptor, 0)
            ready = watched & (
                (READ if self.wire.arrived or "recv" in self.wire.faults else 0)
                | (WRITE if self.wire.room or "send" in self.wire.faults else 0)
            )
            if ready and not self.wire.closed:
                self.poller.deliver((self.wire.descriptor, ready))
            self.turn()
            if self.state() == before and not ready and not self.loop.busy:
                self.note_end()
                return
        raise AssertionError("it never comes to rest")

    def turn(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            asyncore.loop(0, map=self.channels, count=1)

    def producers_wait(self) -> bool:
        """Whether one is to be asked, though it may have nothing more to give."""
        return any(not producer.closings for producer in self.producers)

    def state(self) -> tuple[object, ...]:
        return (
            len(self.wire.arrived),
            len(self.wire.sent),
            len(self.wire.faults),
            len(self.channel.errors),
            self.wire.closed,
            sum(len(producer.script) + producer.closings for producer in self.producers),
        )

    def note_end(self) -> None:
        """The model's: what follows when all that was promised has left, and the loop may write."""
        all_left = self.mark is not None and self.wire.sent == self.promised
        if self.is_open and all_left and (self.wire.room or self.wire.closed):
            if self.mark == "failure":
                self.errors.append("ValueError")
            self.end(told=self.mark == "close")

    def end(self, told: bool) -> None:
        self.closes += told
        self.is_open = False

    def promise(self, data: bytes) -> None:
        if self.mark is None:
            self.promised += data

    # -- the peer and the system ---------------------------------------------------------------------

    @precondition(lambda self: self.is_open)
    @rule(
        pieces=st.lists(some.filter(bool), min_size=1, max_size=4), size=st.sampled_from([None, 1, 3, 4096])
    )
    def arrive(self, pieces: list[bytes], size: int | None) -> None:
        if size is not None:
            self.channel.ac_in_buffer_size = size
        self.wire.arrived += pieces
        if not self.is_deaf:
            for message in self.reader.read(b"".join(pieces)):
                self.messages.append(message)
                self.promise(b"<" + message + b">")
                stumble = self.stumbles.pop(0) if self.stumbles else None
                if stumble is LookupError:
                    self.errors.append("LookupError")
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule(room=st.sampled_from([1, 7, 100, 5000, 1 << 20]), at_most=st.sampled_from([1 << 30, 3000, 500]))
    def take(self, room: int, at_most: int) -> None:
        self.wire.room += room
        self.wire.at_most = at_most
        self.settle()

    def hang_up(self) -> None:
        self.wire.arrived.append(None)
        self.end(told=True)
        self.settle()

    def reset(self, number: int) -> None:
        self.wire.faults["recv"] = number
        self.end(told=True)
        self.settle()

    def break_the_pipe(self, number: int) -> None:
        self.wire.faults["send"] = number
        self.end(told=True)
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule(number=st.sampled_from(PASSING))
    def fail_to_receive(self, number: int) -> None:
        self.wire.faults["recv"] = number
        self.errors.append("OSError")
        self.settle()

    @precondition(lambda self: self.is_open and self.wire.sent != self.promised)
    @rule(number=st.sampled_from(PASSING))
    def fail_to_send(self, number: int) -> None:
        self.wire.faults["send"] = number
        self.errors.append("OSError")
        self.settle()

    # -- the program ---------------------------------------------------------------------------------

    @precondition(lambda self: self.is_open)
    @rule(data=output, kind=st.sampled_from([bytes, bytearray, memoryview]))
    def push(self, data: bytes, kind: Any) -> None:
        self.promise(data)
        with contextlib.suppress(KeyboardInterrupt):  # Of a producer that waits before it.
            self.channel.push(kind(data))
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule(data=output.filter(bool))
    def append(self, data: bytes) -> None:
        self.promise(data)
        self.channel.producer_fifo.append(data)
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule(chunks=st.lists(output.filter(bool), max_size=4), leaves_at=st.none() | st.integers(0, 4))
    def produce(self, chunks: list[bytes], leaves_at: int | None) -> None:
        self.promise(b"".join(chunks))
        script: list[Any] = [*chunks]
        if leaves_at is not None:
            script.insert(leaves_at, KeyboardInterrupt)
        self.give(Chunks(*script))

    def produce_and_fail(self, chunks: list[bytes]) -> None:
        self.promise(b"".join(chunks))
        if self.mark is None:
            self.mark = "failure"
        self.give(Chunks(*chunks, ValueError))

    def give(self, producer: Chunks) -> None:
        self.producers.append(producer)
        with contextlib.suppress(KeyboardInterrupt):
            self.channel.push_with_producer(producer)
        self.settle()

    @precondition(lambda self: self.is_open)
    @rule(term=terminator)
    def set_terminator(self, term: Any) -> None:
        if term != self.reader.current or isinstance(term, int):
            self.reader.set(term)
        self.channel.current = term
        self.channel.set_terminator(term)

    @precondition(lambda self: self.is_open)
    @rule(terms=st.lists(terminator, max_size=4))
    def change_terminators(self, terms: list[Any]) -> None:
        """From now on, each message sets another."""
        self.reader.following = list(terms)
        self.channel.following = list(terms)

    stumble = st.sampled_from([None, LookupError, KeyboardInterrupt])

    @precondition(lambda self: self.is_open)
    @rule(stumbles=st.lists(stumble, max_size=4))
    def stumble_over_messages(self, stumbles: list[Any]) -> None:
        self.stumbles = list(stumbles)
        self.channel.stumbles = list(stumbles)

    @precondition(lambda self: self.is_open)
    @rule(times=st.integers(1, 3))
    def stumble_over_pieces(self, times: int) -> None:
        """In how many pieces a message is handed over is not promised, so nor is how often that is told."""
        self.channel.clumsy = times

    @precondition(lambda self: self.is_open)
    @rule(size=st.sampled_from([50, 1000, 4096]))
    def bound_sends(self, size: int) -> None:
        self.channel.ac_out_buffer_size = size

    def close_when_done(self) -> None:
        self.is_deaf = True
        if self.mark is None:
            self.mark = "close"
        self.channel.close_when_done()
        self.settle()

    def close(self) -> None:
        self.channel.close()
        self.end(told=False)

    # -- the end -------------------------------------------------------------------------------------

    @precondition(lambda self: self.is_open)
    @rule(
        how=st.sampled_from(["hang up", "reset", "pipe", "done", "close", "failure"]),
        number=st.sampled_from(ENDING),
        chunks=st.lists(output.filter(bool), max_size=3),
        chance=st.integers(0, 2),
    )
    def come_to_an_end(self, how: str, number: int, chunks: list[bytes], chance: int) -> None:
        """Not too often, or nothing else would happen."""
        if chance:
            return
        if how == "hang up":
            self.hang_up()
        elif how == "reset":
            self.reset(number)
        elif how == "pipe" and self.wire.sent != self.promised:
            self.break_the_pipe(number)
        elif how == "done":
            self.close_when_done()
        elif how == "failure":
            self.produce_and_fail(chunks)
        else:
            self.close()

    @rule()
    def look(self) -> None:
        self.settle()

    # -- both agree ----------------------------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        if not hasattr(self, "channel"):
            return
        assert self.promised.startswith(bytes(self.wire.sent))
        assert self.wire.closed == self.channel.closing == (not self.is_open)
        assert (self.wire.descriptor in self.channels) == self.is_open
        assert self.channel.closes == self.closes
        assert self.channel.messages == self.messages
        told = [error for error in self.channel.errors if error != "ArithmeticError"]
        assert sorted(told) == sorted(self.errors)
        if self.is_open:
            waits = self.wire.sent != self.promised or self.mark is not None
            assert self.channel.writable() == (waits or self.producers_wait())
            if not self.is_deaf:
                assert self.channel.unfinished == self.reader.kept + self.reader.rest


TestChannelAgainstModel = ChannelAgainstModel.TestCase
TestChannelAgainstModel.settings = settings(
    max_examples=effort(60, 10_000),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
