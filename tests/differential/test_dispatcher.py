"""The events of a connection reach the same handlers in the same order with the old modules as with ours."""

import contextlib
import socket
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from differential.traces import DIFFERENTIAL, TURNS, Reaction, Trace, chat_class, connected_pair, take
from faults.originals import Modules, ours, the_originals

turn = st.sampled_from(list(TURNS.values()))


def dispatcher_class(modules: Modules) -> Any:  # noqa: C901 (one class, whose methods are short)
    """A class of dispatchers that note what is called; flags say what they want and what fails."""

    class Noting(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        trace: Trace
        wants_read = wants_write = True
        over = False
        failing = frozenset[str]()
        closing_in = frozenset[str]()

        def readable(self) -> bool:
            return self.wants_read

        def writable(self) -> bool:
            return self.wants_write

        def handle_read(self) -> None:
            data = self.recv(4)
            self.done("handle_read", data)

        def handle_write(self) -> None:
            self.done("handle_write")

        def handle_connect(self) -> None:
            self.done("handle_connect")

        def handle_expt(self) -> None:
            self.done("handle_expt")

        def handle_close(self) -> None:
            if not self.over:
                self.trace.append(("handle_close",))
                self.over = True
                self.close()

        def handle_error(self) -> None:
            self.trace.append(("handle_error", type(sys.exc_info()[1]).__name__))

        def done(self, name: str, *facts: Any) -> None:
            if self.over:  # What the old modules still call then is a deliberate difference.
                return
            self.trace.append((name, *facts, self.connected))
            if name in self.closing_in:
                self.over = True
                self.close()
            if name in self.failing:
                raise LookupError(name)

    return Noting


step = st.one_of(
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
    st.tuples(st.just("peer sends"), st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("send"), st.binary(min_size=1, max_size=9)),
    st.tuples(st.just("wants"), st.sampled_from(["wants_read", "wants_write"]), st.booleans()),
    st.tuples(st.just("fails"), st.sampled_from(["handle_read", "handle_write"])),
)
ending = st.sampled_from(["peer closes", "peer shuts down", "close", "nothing"])


def read_all(modules: Modules, channel: Any, channels: Any, turn: Any) -> None:
    """Have the channel read what there is, which poll2 of the old modules drops when the peer has closed."""
    channel.wants_read = True
    if turn in (TURNS["poll2"], TURNS["loop, use_poll"]):
        for _ in range(30):
            turn(modules, channels)


def life(modules: Modules, steps: list[tuple[Any, ...]], ending: str, turn: Any) -> Trace:
    """A connection's life: `steps`, then `ending`, then three turns."""
    channels: dict[int, Any] = {}
    wire: Trace = []
    with connected_pair() as (near, far):
        channel = dispatcher_class(modules)(near, channels)
        channel.trace = []
        for step in steps:
            match step:
                case "turn", *_:
                    turn(modules, channels)
                case "peer sends", content:
                    far.sendall(content)
                case "send", content:
                    channel.trace.append(("send", channel.send(content)))
                case "wants", flag, value:
                    setattr(channel, flag, value)
                case "fails", name:
                    channel.failing = channel.failing | {name}
        take(far, wire)
        match ending:
            case "peer closes":
                read_all(modules, channel, channels, turn)
                far.close()
            case "peer shuts down":
                far.shutdown(socket.SHUT_WR)
            case "close":
                channel.close()
        for _ in range(3):
            turn(modules, channels)
        state = (channel.connected, channel.accepting, channel.connecting, len(channels))
        channel.close()
    return [*channel.trace, *wire, state]


@DIFFERENTIAL
@given(st.lists(step, max_size=10), ending, turn)
def test_the_life_of_a_connection(steps: list[tuple[Any, ...]], ending: str, turn: Any) -> None:
    assert life(ours(), steps, ending, turn) == life(the_originals(), steps, ending, turn)


def closing_in_a_handler(modules: Modules, handler: str, turn: Any) -> Trace:
    """The channel closes itself in `handler` while its peer has sent something."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = dispatcher_class(modules)(near, channels)
        channel.trace = []
        channel.closing_in = frozenset({handler})
        channel.wants_write = handler == "handle_write"
        far.sendall(b"x")
        for _ in range(3):
            turn(modules, channels)
    return [*channel.trace, ("left", len(channels))]


@DIFFERENTIAL
@given(st.sampled_from(["handle_read", "handle_write"]), turn)
def test_closing_in_a_handler(handler: str, turn: Any) -> None:
    assert closing_in_a_handler(ours(), handler, turn) == closing_in_a_handler(the_originals(), handler, turn)


def call(modules: Modules, steps: list[bytes], turn: Any) -> Any:
    """A listener and a client in one map: connect, talk, close.  The traces, and who is left in the map."""
    channels: dict[int, Any] = {}
    client_class = dispatcher_class(modules)
    accepted: list[Any] = []

    class Listener(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            channel = client_class(sock, channels)
            channel.trace = [("accepted", sock.family, addr is not None)]
            channel.wants_write = False
            accepted.append(channel)

        def handle_close(self) -> None:
            raise AssertionError("a listener is closed by nobody but its program")

    with contextlib.ExitStack() as opened:
        listener, client = Listener(map=channels), client_class(map=channels)
        for channel in listener, client:
            opened.callback(channel.close)
            channel.create_socket()
        listener.set_reuse_addr()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        client.trace = []
        client.connect(listener.socket.getsockname())
        client.trace.append((client.connected, client.connecting))
        four_turns(modules, channels, turn)
        client.wants_write = False
        client.trace = list(dict.fromkeys(client.trace))  # How often it is writable depends on the kernel.
        for content in steps:
            client.send(content)
            accepted[0].send(content[::-1])
            four_turns(modules, channels, turn)
        client.close()
        four_turns(modules, channels, turn)
        left = [type(channel).__name__ for channel in channels.values()]
        return client.trace, [channel.trace for channel in accepted], left


def four_turns(modules: Modules, channels: Any, turn: Any) -> None:
    for _ in range(4):
        turn(modules, channels)


@DIFFERENTIAL
@given(st.lists(st.binary(min_size=1, max_size=9), max_size=4), turn)
def test_connecting_and_accepting_over_tcp(steps: list[bytes], turn: Any) -> None:
    assert call(ours(), steps, turn) == call(the_originals(), steps, turn)


def out_of_band(modules: Modules, turn: Any) -> Trace:
    """A byte of urgent data arrives between two ordinary ones."""
    channels: dict[int, Any] = {}
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as far:
        channel = dispatcher_class(modules)(server.accept()[0], channels)
        channel.trace, channel.wants_write = [], False
        far.send(b"a")
        far.send(b"!", socket.MSG_OOB)
        turn(modules, channels)
        trace: Trace = list(channel.trace)
        channel.close()
    return trace


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_out_of_band_data(turn: Any) -> None:
    assert out_of_band(ours(), turn) == out_of_band(the_originals(), turn)


def to_the_end(modules: Modules, use_poll: bool) -> Any:
    """Two channels in the default map talk until it is empty and loop() returns."""
    chat = chat_class(modules)
    with connected_pair() as (near, far):
        server, client = chat(near, None), chat(far, None)
        both_there = sorted(modules.asyncore.socket_map) == sorted([near.fileno(), far.fileno()])
        for channel in server, client:
            channel.set_terminator(b"\n")
        server.to_found = [Reaction("push", (line,)) for line in (b"first\n", b"second\n")]
        server.to_found.append(Reaction("close_when_done"))
        client.to_found = [Reaction("push", (line,)) for line in (b"more\n", b"bye\n")]
        client.push(b"hello\n")
        modules.asyncore.loop(30, use_poll)
        return both_there, server.trace, client.trace, len(modules.asyncore.socket_map)


@pytest.mark.parametrize("use_poll", [False, True])
def test_a_loop_to_its_end(use_poll: bool) -> None:
    assert to_the_end(ours(), use_poll) == to_the_end(the_originals(), use_poll)


def with_send(modules: Modules, pieces: list[bytes], turn: Any) -> Trace:
    """A dispatcher_with_send sends `pieces`; how its buffer and its peer see that."""
    channels: dict[int, Any] = {}
    wire: Trace = []
    with connected_pair() as (near, far):
        channel = modules.asyncore.dispatcher_with_send(near, channels)
        for piece in pieces:
            channel.send(piece)
        while channel.out_buffer:
            turn(modules, channels)
            take(far, wire)
        state = (bool(channel.writable()), bytes(channel.out_buffer))
        take(far, wire)
        channel.close()
    return [("received", b"".join(entry[1] for entry in wire)), state]


large = st.builds(lambda unit, times: unit * times, st.binary(min_size=1, max_size=5), st.integers(1, 90_000))


@DIFFERENTIAL
@given(st.lists(large, max_size=4), turn)
def test_dispatcher_with_send(pieces: list[bytes], turn: Any) -> None:
    assert with_send(ours(), pieces, turn) == with_send(the_originals(), pieces, turn)
