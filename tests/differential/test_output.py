"""What is pushed arrives the same, in whatever pieces, with the old modules as with ours."""

import contextlib
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from differential.traces import DIFFERENTIAL, TURNS, Producer, Trace, add, chat_class, connected_pair, take
from faults.originals import Modules, ours, the_originals

small = st.binary(max_size=20)
units = st.binary(min_size=1, max_size=7)
large = st.builds(lambda unit, repeats: unit * repeats, units, st.integers(1, 20_000))
data = st.one_of(small, small, large)
kind = st.sampled_from([bytes, bytearray, memoryview])
chunk = data.filter(bool)
turn = st.sampled_from(list(TURNS.values()))

push = st.tuples(st.just("push"), data, kind)
append = st.tuples(st.just("append"), data)
produce = st.tuples(st.just("produce"), st.lists(chunk, max_size=5))
simple = st.tuples(st.just("simple"), data, st.integers(1, 600))
go_round = st.tuples(st.just("turn"))
read = st.tuples(st.just("read"), st.integers(1, 100_000))
close_when_done = st.tuples(st.just("close_when_done"))
step = st.one_of(push, push, append, produce, simple, go_round, read)


def perform(modules: Modules, channel: Any, step: tuple[Any, ...]) -> None:
    """One step of a channel's program."""
    match step:
        case "push", content, kind:
            channel.push(kind(content))
        case "append", content:
            channel.producer_fifo.append(content)
        case "produce", chunks:
            channel.push_with_producer(Producer(chunks))
        case "simple", content, size:
            channel.push_with_producer(modules.asynchat.simple_producer(content, size))
        case "close_when_done", *_:
            channel.close_when_done()


def output(modules: Modules, steps: list[tuple[Any, ...]], turn: Any, size: int | None = None) -> Trace:
    """What a peer gets of a channel that performs `steps`, and what the channel notes."""
    channels: dict[int, Any] = {}
    wire: Trace = []
    with connected_pair() as (near, far):
        channel = chat_class(modules)(near, channels)
        channel.set_terminator(b"\n")
        if size is not None:
            channel.ac_out_buffer_size = size
        for step in steps:
            if step[0] == "turn":
                turn(modules, channels)
            elif step[0] == "read":
                with contextlib.suppress(BlockingIOError):
                    add(wire, "received", far.recv(step[1]))
            elif channel in channels.values():
                perform(modules, channel, step)
        while channel in channels.values():
            turn(modules, channels)
            if not take(far, wire) and not channel.producer_fifo:
                break
        take(far, wire)
        still_open = channel in channels.values()
        channel.close()
    return [entry for entry in [*channel.trace, *wire, ("open", still_open)] if entry != ("received", b"")]


@DIFFERENTIAL
@given(st.lists(step, max_size=12), turn)
def test_pushes_and_producers(steps: list[tuple[Any, ...]], turn: Any) -> None:
    assert output(ours(), steps, turn) == output(the_originals(), steps, turn)


@DIFFERENTIAL
@given(st.lists(step, max_size=8), close_when_done, st.lists(step, max_size=3), turn)
def test_close_when_done(before: list[Any], close: Any, after: list[Any], turn: Any) -> None:
    steps = [*before, close, *after]
    assert output(ours(), steps, turn) == output(the_originals(), steps, turn)


@DIFFERENTIAL
@given(st.lists(step, max_size=6), st.sampled_from([1024, 4096, 65536]), turn)
def test_output_buffer_sizes(steps: list[tuple[Any, ...]], size: int, turn: Any) -> None:
    assert output(ours(), steps, turn, size) == output(the_originals(), steps, turn, size)


def left_at_once(modules: Modules, content: bytes) -> Trace:
    """What a peer has of a push before the loop goes round."""
    wire: Trace = []
    with connected_pair() as (near, far):
        channel = chat_class(modules)(near, {})
        channel.push(content)
        take(far, wire)
        channel.close()
    return wire


@DIFFERENTIAL
@given(small.filter(bool))
def test_a_push_leaves_at_once(content: bytes) -> None:
    assert left_at_once(ours(), content) == left_at_once(the_originals(), content)


def pushed_before_connected(modules: Modules, steps: list[tuple[Any, ...]], turn: Any) -> Trace:
    """What a peer gets of what was pushed before the channel was connected."""
    channels: dict[int, Any] = {}
    wire: Trace = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = chat_class(modules)(None, channels)
        channel.handle_connect = lambda: None
        channel.set_terminator(b"\n")
        channel.create_socket()
        channel.connect(server.getsockname())
        for step in steps:
            perform(modules, channel, step)
        with server.accept()[0] as far:
            for _ in range(20):
                turn(modules, channels)
            far.settimeout(5)
            channel.close()
            while piece := far.recv(65536):
                add(wire, "received", piece)
    return [*channel.trace, *wire]


@DIFFERENTIAL
@given(st.lists(st.tuples(st.just("push"), small.filter(bool), kind), min_size=1, max_size=4), turn)
def test_pushes_before_the_connection_stands(steps: list[tuple[Any, ...]], turn: Any) -> None:
    old = pushed_before_connected(the_originals(), steps, turn)
    assert pushed_before_connected(ours(), steps, turn) == old


def discarded(modules: Modules) -> Trace:
    """What is left of a channel's buffers after discard_buffers(), and what its peer gets."""
    channels: dict[int, Any] = {}
    wire: Trace = []
    with connected_pair() as (near, far):
        channel = chat_class(modules)(near, channels)
        channel.set_terminator(b"ab")
        channel.incoming.append(b"kept by the program")
        far.sendall(b"a")
        channel.handle_read()
        channel.connected = False
        channel.push(b"never sent")
        channel.push_with_producer(Producer([b"never asked for"]))
        channel.discard_buffers()
        channel.connected = True
        state = (bytes(channel.ac_in_buffer), list(channel.incoming), list(channel.producer_fifo))
        TURNS["poll2"](modules, channels)
        take(far, wire)
        channel.close()
    return [*channel.trace, state, *wire]


def test_discard_buffers() -> None:
    assert discarded(ours()) == discarded(the_originals())
