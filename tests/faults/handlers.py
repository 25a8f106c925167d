"""A loop with one channel that misbehaves between two that don't, and what became of all three.

Each scene sets up the channel in whose handler something happens, and says how to find out whether what it
was to receive, to send or to be told has come once.
"""

import contextlib
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from loop_support import Noting, Wires

#: What is still to be done in the end: () -> what was observed.
Outcome = Callable[[], object]
Scene = Callable[["Stage"], Outcome]

LINES: Final = [b"one", b"two", b"three"]
#: As they are sent.
SENT: Final = b"one\ntwo\nthree\n"

#: All of them, in the order of this module.
SCENES: Final[list[Scene]] = []


def scene(play: Scene) -> Scene:
    """One of the scenes."""
    SCENES.append(play)
    return play


class Stage:
    """Where a handler misbehaves, once.

    Args:
        wires: opens what is needed, and closes it.
        channels: the map.
        act: what the handler does besides its work, the first time; called with its channel.

    Attributes:
        told: the exceptions that the channel's `handle_error` was called for.
        acted: whether the handler has misbehaved.
    """

    def __init__(self, wires: Wires, channels: Any, act: Callable[[Any], object]) -> None:
        self.wires, self.channels = wires, channels
        self.act = act
        self.acted = False
        self.told: list[BaseException | None] = []
        self.bystanders: list[tuple[Noting, socket.socket]] = []

    def misbehave(self, channel: Any) -> None:
        """Called by the handler of the scene in the middle of its work."""
        if not self.acted:
            self.acted = True
            self.act(channel)

    def after(self, work: Callable[..., object]) -> Callable[..., None]:
        """A handler that does this work, and then misbehaves."""

        def handler(channel: Any, *arguments: Any) -> None:
            work(channel, *arguments)
            self.misbehave(channel)

        return handler

    def note_error(self) -> None:
        self.told.append(sys.exc_info()[1])

    def add_bystander(self) -> None:
        self.bystanders.append(self.wires.channel(Noting, self.channels))

    def speak(self, data: bytes) -> None:
        """Have something arrive at every bystander."""
        for _, far in self.bystanders:
            with contextlib.suppress(BrokenPipeError):
                far.send(data)

    def heard(self) -> set[tuple[bytes, frozenset[str]]]:
        """What the bystanders have received, and which of their handlers were called."""
        return {(bystander.received, frozenset(bystander.events)) for bystander, _ in self.bystanders}

    def enter(self, made: type, **body: Any) -> tuple[Any, socket.socket]:
        """A channel of this class, with these methods, that goes on after its errors; its peer."""
        return self.wires.channel(self.kind(made, **body), self.channels)

    def kind(self, made: type, **body: Any) -> Any:
        note_error = self.note_error
        methods = {"handle_error": lambda channel: note_error(), **body}
        return type("Subject", (made,), methods)


class Reading(asyncore.dispatcher):
    """Keeps what it receives."""

    received = b""

    def handle_read(self) -> None:
        self.received += self.recv(100)

    def handle_close(self) -> None:
        self.close()


class Lines(async_chat):
    """Keeps its lines."""

    resumes_after_errors = True

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.lines: list[bytes] = []
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        self.lines.append(self._get_data())


class Messages(MessageChannel):
    """Keeps its messages."""

    terminator = b"\n"
    max_message_size = 10

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.lines: list[bytes] = []

    def message_received(self, message: bytes) -> None:
        self.lines.append(message)


def arrived(far: socket.socket) -> bytes:
    """All that waits at `far`, a socket that does not block."""
    data = b""
    try:
        while piece := far.recv(65536):
            data += piece
    except (BlockingIOError, ConnectionResetError):
        pass
    return data


# -- a dispatcher -----------------------------------------------------------------------------------------


@scene
def handle_read(stage: Stage) -> Outcome:
    channel, far = stage.enter(Reading, handle_read=stage.after(Reading.handle_read))
    far.send(b"one ")
    return lambda: channel.received == b"one "


def _asked(stage: Stage, predicate: str) -> Outcome:
    def asked(channel: Any) -> bool:
        stage.misbehave(channel)
        return predicate == "readable"

    channel, far = stage.enter(Reading, **{predicate: asked})
    far.send(b"one ")
    return lambda: channel.received == b"one "


@scene
def readable(stage: Stage) -> Outcome:
    return _asked(stage, "readable")


@scene
def writable(stage: Stage) -> Outcome:
    return _asked(stage, "writable")


@scene
def handle_write(stage: Stage) -> Outcome:
    def write(channel: Any) -> None:
        channel.rest = channel.rest[channel.send(channel.rest[:4]) :]

    body = {"handle_write": stage.after(write), "writable": lambda channel: bool(channel.rest)}
    _, far = stage.enter(Reading, rest=b"one two three", **body)
    return lambda: arrived(far) == b"one two three"


def _clients(stage: Stage, **body: Any) -> set[object]:
    """Three clients of a listener with these methods: their addresses."""
    listener = stage.wires.listener(stage.kind(Reading, **body), stage.channels)
    address = listener.socket.getsockname()
    return {stage.wires.client(address).getsockname() for _ in range(3)}


@scene
def handle_accept(stage: Stage) -> Outcome:
    taken: list[socket.socket] = []

    def accept(channel: Any) -> None:
        pair = channel.accept()
        if pair is not None:
            taken.append(pair[0])
            stage.wires.owned(pair[0])
            stage.misbehave(channel)

    clients = _clients(stage, handle_accept=accept)
    return lambda: {sock.getpeername() for sock in taken} == clients and len(taken) == 3


@scene
def handle_accepted(stage: Stage) -> Outcome:
    addresses: list[object] = []

    def accepted(channel: Any, sock: socket.socket, address: object) -> None:
        addresses.append(address)
        stage.wires.owned(sock)

    clients = _clients(stage, handle_accepted=stage.after(accepted))
    return lambda: set(addresses) == clients and len(addresses) == 3


@scene
def handle_connect(stage: Stage) -> Outcome:
    connected: list[Any] = []
    server = stage.wires.owned(socket.create_server(("127.0.0.1", 0)))
    made = stage.kind(Reading, handle_connect=stage.after(connected.append))
    channel = stage.wires.keep(made(map=stage.channels))
    channel.create_socket()
    channel.connect(server.getsockname())
    far = stage.wires.owned(server.accept()[0])
    far.sendall(b"one ")
    return lambda: (connected, channel.connected, channel.received) == ([channel], True, b"one ")


@scene
def handle_close(stage: Stage) -> Outcome:
    closed: list[Any] = []
    channel, far = stage.enter(Reading, handle_close=stage.after(closed.append))
    far.send(b"one ")
    far.close()
    return lambda: (closed, channel.received) == ([channel], b"one ")


@scene
def handle_expt(stage: Stage) -> Outcome:
    urgent: list[bytes] = []

    def receive(channel: Any) -> None:
        urgent.append(channel.socket.recv(1, socket.MSG_OOB))

    near, far = stage.wires.pair(socket.AF_INET)
    made = stage.kind(Reading, handle_expt=stage.after(receive))
    channel = stage.wires.keep(made(near, stage.channels))
    far.send(b"one ")  # Before it: what is read behind out-of-band data passes it over.
    far.send(b"!", socket.MSG_OOB)
    return lambda: (urgent, channel.received) == ([b"!"], b"one ")


# -- input ------------------------------------------------------------------------------------------------


def _lines(stage: Stage, made: Any = Lines, **body: Any) -> Outcome:
    """A channel that has these methods, and is to keep all lines."""
    channel, far = stage.enter(made, **body)
    far.send(SENT)
    return lambda: channel.lines == LINES


@scene
def collect_incoming_data(stage: Stage) -> Outcome:
    return _lines(stage, collect_incoming_data=stage.after(Lines.collect_incoming_data))


@scene
def collecting_what_is_counted(stage: Stage) -> Outcome:
    def found(channel: Any) -> None:
        Lines.found_terminator(channel)
        channel.set_terminator(3)

    collect = stage.after(Lines.collect_incoming_data)
    channel, far = stage.enter(Lines, collect_incoming_data=collect, found_terminator=found)
    channel.set_terminator(3)
    far.send(b"onetwosix")
    return lambda: channel.lines == [b"one", b"two", b"six"]


@scene
def collecting_the_beginning(stage: Stage) -> Outcome:
    channel, far = stage.enter(Lines, collect_incoming_data=stage.after(Lines.collect_incoming_data))
    far.send(b"one")
    return lambda: channel.incoming == [b"one"]


@scene
def found_terminator(stage: Stage) -> Outcome:
    return _lines(stage, found_terminator=stage.after(Lines.found_terminator))


@scene
def found_terminator_of_the_second(stage: Stage) -> Outcome:
    def found(channel: Any) -> None:
        Lines.found_terminator(channel)
        if len(channel.lines) == 2:
            stage.misbehave(channel)

    return _lines(stage, found_terminator=found)


@scene
def found_terminator_of_a_bounded_message(stage: Stage) -> Outcome:
    return _lines(stage, found_terminator=stage.after(Lines.found_terminator), max_message_size=100)


@scene
def collecting_a_bounded_message(stage: Stage) -> Outcome:
    collect = stage.after(Lines.collect_incoming_data)
    return _lines(stage, collect_incoming_data=collect, max_message_size=100)


def _too_long(stage: Stage, made: Any, also: Callable[[Any], object], **body: Any) -> Outcome:
    """A channel that is sent a message that is too long, and does this in `handle_overflow`."""
    overflows: list[object] = []

    def overflow(channel: Any, error: object) -> None:
        overflows.append(error)
        also(channel)

    channel, far = stage.enter(made, handle_overflow=stage.after(overflow), **body)
    far.send(b"one\n" + b"x" * 20 + b"\ntwo\nthree\n")
    return lambda: (channel.lines, len(overflows)) == (LINES, 1)


@scene
def handle_overflow_of_a_chat(stage: Stage) -> Outcome:
    def forget(channel: Any) -> None:
        channel.incoming.clear()

    return _too_long(stage, Lines, forget, max_message_size=10, overflow_policy="discard")


@scene
def handle_timeout(stage: Stage) -> Outcome:
    which: list[str] = []

    def timeout(channel: Any, limit: str) -> None:
        which.append(limit)
        channel.idle_timeout = None

    complete = _lines(stage, handle_timeout=stage.after(timeout), idle_timeout=1e-9)
    return lambda: complete() and which == ["idle"]


def _water_mark(stage: Stage, handler: str) -> Outcome:
    calls: list[Any] = []
    channel, far = stage.enter(Lines, high_water=4, low_water=1, **{handler: stage.after(calls.append)})
    channel.producer_fifo.append(b"one two")
    return lambda: (arrived(far), calls) == (b"one two", [channel])


@scene
def handle_output_full(stage: Stage) -> Outcome:
    return _water_mark(stage, "handle_output_full")


@scene
def handle_output_drained(stage: Stage) -> Outcome:
    return _water_mark(stage, "handle_output_drained")


@scene
def handle_eof(stage: Stage) -> Outcome:
    ends: list[Any] = []

    def eof(channel: Any) -> None:
        ends.append(channel)
        channel.push(b"goodbye")

    channel, far = stage.enter(Lines, handle_eof=stage.after(eof))
    far.send(b"one\n")
    far.shutdown(socket.SHUT_WR)
    return lambda: (channel.lines, ends, arrived(far)) == ([b"one"], [channel], b"goodbye")


@scene
def message_received(stage: Stage) -> Outcome:
    return _lines(stage, Messages, message_received=stage.after(Messages.message_received))


@scene
def message_received_alone(stage: Stage) -> Outcome:
    channel, far = stage.enter(Messages, message_received=stage.after(Messages.message_received))
    far.send(b"one\n")
    return lambda: channel.lines == [b"one"]


@scene
def messages_received(stage: Stage) -> Outcome:
    def received(channel: Any, messages: list[bytes]) -> None:
        channel.lines += messages

    return _lines(stage, Messages, messages_received=stage.after(received))


@scene
def handle_overflow(stage: Stage) -> Outcome:
    return _too_long(stage, Messages, lambda channel: None)


# -- output -----------------------------------------------------------------------------------------------


class _Counting:
    """A producer of three chunks."""

    def __init__(self, before: Callable[[], object], when: int) -> None:
        self.chunks = [b"one ", b"two ", b"three"]
        self.before, self.when = before, when

    def more(self) -> bytes:
        if len(self.chunks) == self.when:
            self.before()
        return self.chunks.pop(0) if self.chunks else b""


def _producer(stage: Stage, when: int, size: int | None = None) -> Outcome:
    channel, far = stage.enter(Lines)
    if size is not None:
        channel.ac_out_buffer_size = size
    channel.producer_fifo.append(b"zero ")
    channel.producer_fifo.append(_Counting(lambda: stage.misbehave(channel), when))
    channel.producer_fifo.append(b" four")
    return lambda: arrived(far) == b"zero one two three four"


@scene
def more(stage: Stage) -> Outcome:
    return _producer(stage, 3)


@scene
def more_in_the_middle(stage: Stage) -> Outcome:
    return _producer(stage, 2)


@scene
def more_in_the_middle_with_a_size(stage: Stage) -> Outcome:
    return _producer(stage, 2, size=100)


@scene
def more_of_an_answer(stage: Stage) -> Outcome:
    def found(channel: Any) -> None:
        Lines.found_terminator(channel)
        channel.push_with_producer(_Counting(lambda: stage.misbehave(channel), 2))
        channel.push(b" four")

    _, far = stage.enter(Lines, found_terminator=found)
    far.send(b"question\n")
    return lambda: arrived(far) == b"one two three four"


@scene
def more_at_the_end(stage: Stage) -> Outcome:
    return _producer(stage, 0)


# -- what is due, and what other threads ask for ----------------------------------------------------------


def _calls(stage: Stage, schedule: Callable[[Callable[..., object], int], object]) -> Outcome:
    called: list[int] = []

    def call(number: int) -> None:
        called.append(number)
        if number == 1:
            stage.misbehave(None)

    for number in range(4):
        schedule(call, number)
    return lambda: called == [0, 1, 2, 3]


@scene
def timer_of_a_channel(stage: Stage) -> Outcome:
    channel, _ = stage.enter(Reading)
    return _calls(stage, lambda call, number: channel.call_later(0, call, number))


@scene
def timer_of_the_loop(stage: Stage) -> Outcome:
    loop = asyncore.get_loop(stage.channels)
    return _calls(stage, lambda call, number: loop.call_later(0, call, number))


@scene
def call_soon_threadsafe_of_a_channel(stage: Stage) -> Outcome:
    channel, _ = stage.enter(Reading)
    return _calls(stage, channel.call_soon_threadsafe)


@scene
def call_soon_threadsafe_of_the_loop(stage: Stage) -> Outcome:
    return _calls(stage, asyncore.get_loop(stage.channels).call_soon_threadsafe)
