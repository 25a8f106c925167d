"""How programs send with `async_chat`: the queue handled by themselves, and sending overridden."""

import threading
from collections import deque
from typing import Any

import pytest

from faults.originals import Modules, ours
from wild.parts import connected_pair, received, step


class Chunks:
    """A producer of some chunks, that has nothing but more()."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)

    def more(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


def chat(modules: Modules, sock: Any, channels: Any, **body: Any) -> Any:
    """A channel of a subclass with `body`."""
    return type("Chat", (modules.asynchat.async_chat,), body)(sock, channels)


def waiting(modules: Modules, sock: Any, channels: Any) -> Any:
    """A channel that is not connected yet, so that what is pushed stays in its queue."""
    channel = chat(modules, sock, channels, handle_connect=lambda self: None)
    channel.connected = False
    return channel


def test_the_queue_is_a_deque_of_bytes_producers_and_none(modules: Modules) -> None:
    """The fifo is read, measured, and changed at both ends: pyftpdlib, ZServer and public servers."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = waiting(modules, near, channels)
        fifo = channel.producer_fifo
        assert isinstance(fifo, deque)
        assert not fifo
        producer = Chunks(b"four")
        channel.push(b"three")
        channel.push_with_producer(producer)
        fifo.appendleft(b"never")
        fifo.appendleft(b"one ")
        fifo.append(None)
        assert (len(fifo), fifo[0], fifo[-1], fifo[-2]) == (5, b"one ", None, producer)
        assert list(fifo) == [b"one ", b"never", b"three", producer, None]
        assert fifo
        assert channel.writable()
        del fifo[1]
        fifo[0] = b"two "
        channel.connected = True
        step(modules, channels, 5)

        assert received(far) == b"two threefour"
        assert channels == {}


@pytest.mark.parametrize("turns_before", [0, 2])
@pytest.mark.parametrize("how", ["append", "extend", "appendleft", "insert"])
def test_what_is_put_into_the_queue_by_hand_is_sent(modules: Modules, how: str, turns_before: int) -> None:
    """Public servers enqueue with `producer_fifo.append(data)`, without sending, also from other channels."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels)
        step(modules, channels, turns_before)
        arguments = {"extend": ([b"x"],), "insert": (0, b"x")}.get(how, (b"x",))
        getattr(channel.producer_fifo, how)(*arguments)
        assert received(far) == b""
        assert len(channel.producer_fifo) > 0
        step(modules, channels, 2)

        assert received(far) == b"x"
        assert len(channel.producer_fifo) == 0


def test_the_queue_is_filled_under_a_lock_by_another_thread(modules: Modules) -> None:
    """Public servers append in a thread, while a step with a short timeout goes round and round."""
    channels: dict[int, Any] = {}
    lock = threading.Lock()
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels)

        def fill() -> None:
            for number in range(200):
                with lock:
                    channel.producer_fifo.append(b"%d " % number)

        thread = threading.Thread(target=fill)
        thread.start()
        got = b""
        wanted = b"".join(b"%d " % number for number in range(200))
        while len(got) < len(wanted):
            modules.asyncore.loop(0.01, map=channels, count=1)
            got += received(far)
        thread.join()

        assert got == wanted


def test_none_in_the_queue_closes_when_all_before_it_has_left(modules: Modules) -> None:
    """`producer_fifo.append(None)` is what close_when_done() does, and programs do it themselves."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels)
        channel.push_with_producer(Chunks(b"one", b"two"))
        channel.producer_fifo.append(None)
        assert channel in channels.values()
        step(modules, channels, 5)

        assert received(far) == b"onetwo"
        assert channels == {}
        assert near.fileno() == -1


def test_the_queue_is_cleared(modules: Modules) -> None:
    """`producer_fifo.clear()`: nothing waits any more, and the channel goes on."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = waiting(modules, near, channels)
        channel.push(b"never")
        channel.producer_fifo.clear()
        channel.connected = True
        assert not channel.writable()
        step(modules, channels)
        channel.push(b"x")
        step(modules, channels)

        assert received(far) == b"x"


def test_the_queue_may_be_replaced(modules: Modules) -> None:
    """`self.producer_fifo = deque()`, by hand or in a constructor."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = waiting(modules, near, channels)
        channel.push(b"never")
        channel.producer_fifo = deque()
        channel.connected = True
        channel.push(b"one ")
        channel.producer_fifo.append(b"two")
        step(modules, channels, 3)

        assert received(far) == b"one two"
        channel.close_when_done()
        step(modules, channels, 3)
        assert channels == {}


def test_the_queue_put_back_is_the_same_queue(modules: Modules) -> None:
    """`fifo = channel.producer_fifo; ...; channel.producer_fifo = fifo`."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = waiting(modules, near, channels)
        channel.push(b"one ")
        fifo, channel.producer_fifo = channel.producer_fifo, deque()
        channel.producer_fifo = fifo
        fifo.append(b"two")
        channel.connected = True
        step(modules, channels, 3)

        assert received(far) == b"one two"


def test_what_was_pushed_before_the_queue_is_replaced_has_left(modules: Modules) -> None:
    """Also when both are done while a line is being answered."""

    class Answering(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        def collect_incoming_data(self, data: bytes) -> None:
            self.push(b"one ")
            self.producer_fifo = deque([b"two"])

        def found_terminator(self) -> None:
            self.push(b" three")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Answering(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"x\n")
        step(modules, channels, 3)

        assert received(far) == b"one two three"


@pytest.mark.parametrize("on_instance", [False, True], ids=["class", "instance"])
def test_initiate_send_is_overridden(modules: Modules, on_instance: bool) -> None:
    """pyftpdlib (`self.initiate_send = self.initiate_sendfile`), ZServer, async_http: everything
    goes through it.
    """
    channels: dict[int, Any] = {}
    calls: list[int] = []

    class Program(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        def counted(self) -> None:
            calls.append(len(self.producer_fifo))
            modules.asynchat.async_chat.initiate_send(self)

    if not on_instance:
        Program.initiate_send = Program.counted
    with connected_pair() as (near, far):
        channel = Program(near, channels)
        if on_instance:
            channel.initiate_send = channel.counted
        channel.push(b"one")
        assert calls == [1]
        channel.push_with_producer(Chunks(b"two"))
        assert calls[1:] == [1]
        channel.handle_write()
        assert len(calls) == 3
        channel.producer_fifo.append(b"three")
        step(modules, channels)
        assert len(calls) >= 4
        step(modules, channels)

        assert received(far) == b"onetwothree"


def test_sending_is_done_by_hand(modules: Modules) -> None:
    """pyftpdlib's sendfile: initiate_send() replaced for a while by what sends from a file, then put back."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        parts = [b"one", b"two"]
        channel = chat(modules, near, channels, writable=lambda self: bool(parts) or bool(self.producer_fifo))

        def by_hand() -> None:
            channel.send(parts.pop(0))
            if not parts:
                channel.initiate_send = type(channel).initiate_send.__get__(channel)

        channel.initiate_send = by_hand
        step(modules, channels, 3)
        channel.push(b"three")
        step(modules, channels)

        assert received(far) == b"onetwothree"


def test_a_throttled_channel_sends_when_it_may(modules: Modules) -> None:
    """ZServer and async_http hold output back in initiate_send() and writable(), and let it go later."""
    channels: dict[int, Any] = {}

    class Throttled(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        held = True

        def writable(self) -> bool:
            return not self.held and modules.asynchat.async_chat.writable(self)

        def initiate_send(self) -> None:
            if not self.held:
                modules.asynchat.async_chat.initiate_send(self)

    with connected_pair() as (near, far):
        channel = Throttled(near, channels)
        channel.push(b"x")
        step(modules, channels, 2)
        assert received(far) == b""
        channel.held = False
        step(modules, channels, 2)
        assert received(far) == b"x"


@pytest.mark.parametrize(
    "data", [b"data", bytearray(b"data"), memoryview(b"data")], ids=lambda data: type(data).__name__
)
def test_push_is_overridden_and_called_by_its_class(modules: Modules, data: Any) -> None:
    """test_ftplib, PodSixNet, pyftpdlib: `asynchat.async_chat.push(self, data + b"\\r\\n")`."""

    def push(self: Any, data: Any) -> None:
        modules.asynchat.async_chat.push(self, data)
        modules.asynchat.async_chat.push(self, b"\r\n")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels, push=push)
        channel.push(data)
        step(modules, channels, 3)
        assert received(far) == b"data\r\n"
        with pytest.raises(TypeError):
            channel.push("data")


@pytest.mark.parametrize("call_inherited", [True, False])
def test_close_when_done_is_wrapped(modules: Modules, call_inherited: bool) -> None:
    """pyftpdlib, fail2ban, secure-smtpd override it: by the class's own, or by None in the queue."""

    def close_when_done(self: Any) -> None:
        self.asked = True
        if call_inherited:
            modules.asynchat.async_chat.close_when_done(self)
        else:
            self.producer_fifo.append(None)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels, close_when_done=close_when_done)
        channel.push(b"bye")
        channel.close_when_done()
        step(modules, channels, 3)

        assert channel.asked
        assert received(far) == b"bye"
        assert channels == {}


def test_discarding_the_buffers(modules: Modules) -> None:
    """pyftpdlib, before a transfer is aborted: input, output and the queue are empty; the channel goes on."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = waiting(modules, near, channels)
        channel.push(b"never")
        channel.push_with_producer(Chunks(b"never"))
        channel.ac_in_buffer = b"never"
        channel.incoming.append(b"never")
        channel.discard_buffers()
        assert (len(channel.producer_fifo), channel.ac_in_buffer, channel.incoming) == (0, b"", [])
        channel.connected = True
        channel.push(b"x")
        step(modules, channels)

        assert received(far) == b"x"


def test_pending_output_is_what_writable_says(modules: Modules) -> None:
    """pyftpdlib: `asynchat.async_chat.writable(self)` in a predicate of its own, and
    `len(producer_fifo) > 0`.
    """
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels)
        assert not modules.asynchat.async_chat.writable(channel)
        while not channel.producer_fifo:
            channel.push(bytes(1 << 20))
        assert modules.asynchat.async_chat.writable(channel)
        size = 0
        while channel.producer_fifo:
            size += len(received(far))
            step(modules, channels)
        size += len(received(far))

        assert size % (1 << 20) == 0
        assert not modules.asynchat.async_chat.writable(channel)


def test_a_fifo_of_old_versions_can_be_the_queue() -> None:
    """PodSixNet: `self.producer_fifo = asynchat.fifo()`, with push(), first() and pop() of Python 2."""
    modules = ours()
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, near, channels)
        channel.producer_fifo = modules.asynchat.fifo([b"one "])
        channel.producer_fifo.push(b"two ")
        step(modules, channels)
        channel.producer_fifo.push(b"three")
        step(modules, channels)

        assert received(far) == b"one two three"
        assert channel.producer_fifo.is_empty()
