"""How programs meet the events of a channel: handlers overridden at every level, and states set by hand."""

import contextlib
import io
import socket
import threading
from typing import Any

import pytest

from faults.originals import Modules, ours
from wild.parts import connected_pair, listener_and_address, noting, received, step

both_ways = pytest.mark.parametrize("use_poll", [False, True], ids=["loop", "use_poll"])


@both_ways
def test_the_loop_calls_the_event_methods(modules: Modules, use_poll: bool) -> None:
    """bacpypes, PyBitmessage, pyftpdlib: handle_read_event() and its like overridden, calling the
    class's own.
    """
    base = noting(modules.asyncore.dispatcher, writable=lambda self: True)

    class Watched(base):  # type: ignore[misc, valid-type]
        def handle_read_event(self) -> None:
            self.events.append("read event")
            modules.asyncore.dispatcher.handle_read_event(self)

        def handle_write_event(self) -> None:
            self.events.append("write event")
            modules.asyncore.dispatcher.handle_write_event(self)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Watched(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(0, use_poll, channels, 1)

        assert channel.events == ["read event", ("read", b"x"), "write event", ("write", None)]


@both_ways
def test_the_event_method_may_be_the_handler(modules: Modules, use_poll: bool) -> None:
    """pyftpdlib, for speed: `handle_read_event = handle_read` in a class."""
    base = noting(modules.asyncore.dispatcher)

    class Direct(base):  # type: ignore[misc, valid-type]
        handle_read_event = base.handle_read

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Direct(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(0, use_poll, channels, 1)

        assert channel.read() == b"x"


@both_ways
def test_an_overridden_write_event_is_waited_for(modules: Modules, use_poll: bool) -> None:
    """A channel with a handle_write_event() of its own and no handle_write(): its loop must still
    wait for it.
    """

    class Writing(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        wrote = 0

        def handle_write_event(self) -> None:
            self.wrote += 1

    channels: dict[int, Any] = {}
    with connected_pair() as (near, _):
        channel = Writing(near, channels)
        modules.asyncore.loop(0, use_poll, channels, 2)

        assert channel.wrote == 2


def connecting(modules: Modules, channels: Any, address: Any, **body: Any) -> Any:
    """A channel that connects to `address`."""
    channel = noting(modules.asyncore.dispatcher, **body)(map=channels)
    channel.create_socket()
    channel.connect(address)
    return channel


@both_ways
def test_a_connection_is_made_and_then_used(modules: Modules, use_poll: bool) -> None:
    channels: dict[int, Any] = {}
    accepted: list[Any] = []
    take = lambda self, sock, addr: accepted.append(sock)  # noqa: E731
    with listener_and_address(modules.asyncore.dispatcher, channels, handle_accepted=take) as (_, address):
        channel = connecting(modules, channels, address)
        for _ in range(3):
            modules.asyncore.loop(1, use_poll, channels, 1)
            if channel.events and accepted:
                break
        accepted[0].sendall(b"x")
        modules.asyncore.loop(1, use_poll, channels, 1)
        accepted[0].close()

        assert channel.events[0] == ("connect", None)
        assert (channel.connected, channel.connecting, channel.addr) == (True, False, address)
        assert channel.read() == b"x"
        channel.close()


def refused_address() -> Any:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closing:
        return closing.getsockname()


@both_ways
def test_a_failed_connection_is_an_error_of_handle_connect_event(modules: Modules, use_poll: bool) -> None:
    """PyBitmessage, bacpypes and cassandra-driver catch the OSError that it raises."""
    caught: list[Any] = []

    def handle_connect_event(self: Any) -> None:
        try:
            modules.asyncore.dispatcher.handle_connect_event(self)
        except OSError as error:
            caught.append(error)
            self.close()

    channels: dict[int, Any] = {}
    channel = connecting(modules, channels, refused_address(), handle_connect_event=handle_connect_event)
    for _ in range(5):
        modules.asyncore.loop(1, use_poll, channels, 1)

    # With the old poll2() the hang-up alone ended the channel, and nobody was asked.
    assert [type(error) for error in caught] == [ConnectionRefusedError] or (
        channel.events == [("close", None)] and modules != ours()
    )
    assert channels == {}


def test_handle_connect_event_is_called_by_hand(modules: Modules) -> None:
    """irc-bot, for a socket that is connected already."""
    with connected_pair() as (near, _):
        channel = noting(modules.asyncore.dispatcher)(map={})
        channel.set_socket(near)
        channel.handle_connect_event()

        assert channel.events == [("connect", None)]
        assert (channel.connected, channel.connecting) == (True, False)
        channel.del_channel()


def test_states_are_set_by_hand(modules: Modules) -> None:
    """zope.server (`connecting = True`), waitress, bacpypes, pysnmp: the loop must see what they come to."""
    channels: dict[int, Any] = {}

    class Plain(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self, *arguments: Any) -> None:
            self.calls: list[str] = []
            super().__init__(*arguments)

        def handle_connect(self) -> None:
            self.calls.append("connect")

        def handle_write(self) -> None:
            self.calls.append("write")

        def handle_read(self) -> None:
            self.calls.append("read")
            self.recv(100)

    with connected_pair() as (near, far):
        channel = Plain(near, channels)
        step(modules, channels)
        assert channel.calls == ["write"]
        channel.calls.clear()
        channel.connected, channel.connecting = False, True
        step(modules, channels)
        assert channel.calls == ["connect", "write"]
        assert channel.connected
        channel.calls.clear()
        channel.accepting = True
        channel.accepting = False
        far.sendall(b"x")
        step(modules, channels)
        assert channel.calls == ["read", "write"]
        assert channel.closing is False
        channel.close()
        assert channel.closing is True or modules != ours()


def test_the_default_log_and_log_info_write_where_suites_look(modules: Modules) -> None:
    """CPython's test_asyncore compares both, to the letter."""
    channel = modules.asyncore.dispatcher(map={})
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        channel.log_info("something happened")
        channel.log_info("something happened", "error")
        channel.log_info("something happened", "warning")
        channel.log("something happened")

    assert output.getvalue() == "info: something happened\nerror: something happened\n"
    assert errors.getvalue() == "log: something happened\n"


def test_log_info_overridden_hears_of_everything(modules: Modules) -> None:
    """zope.server, mlat-client (from another base), ZEO and medusa send it to loggers of their own."""
    told: list[tuple[str, str]] = []

    class LoggingMixin:
        def log_info(self, message: str, type: str = "info") -> None:
            told.append((type, message))

    class Program(LoggingMixin, modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        ignore_log_types = frozenset[str]()

        def writable(self) -> bool:
            return False

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        Program(near, channels)
        far.sendall(b"x")
        step(modules, channels)
        step(modules, channels)
        Program.handle_read = lambda self: 1 // 0
        step(modules, channels)

    assert told[:2] == [("warning", "unhandled read event")] * 2
    assert told[2][0] == "error"
    assert "uncaptured python exception, closing channel <" in told[2][1]
    assert "ZeroDivisionError" in told[2][1]
    assert channels == {}


def test_ignored_types_are_not_printed(modules: Modules) -> None:
    """`ignore_log_types` of a class of a program: zope.server, ZEO."""
    channel = type("Quiet", (modules.asyncore.dispatcher,), {"ignore_log_types": ("info",)})(map={})
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        channel.log_info("a message")
        channel.log_info("a message", "warning")

    assert output.getvalue() == "warning: a message\n"


@both_ways
@pytest.mark.parametrize("base", ["dispatcher", "async_chat"])
def test_handle_close_and_handle_error_are_called_by_their_class(
    modules: Modules, base: str, use_poll: bool
) -> None:
    """fail2ban, async_http, PodSixNet, supervisor: an override does its own and calls the class's."""
    cls = getattr(modules.asynchat if base == "async_chat" else modules.asyncore, base)
    calls: list[str] = []

    class Program(cls):  # type: ignore[misc, valid-type]
        def handle_close(self) -> None:
            calls.append("close")
            cls.handle_close(self)

        def handle_error(self) -> None:
            calls.append("error")
            cls.handle_error(self)

        def handle_read(self) -> None:
            self.recv(1)
            raise LookupError("as asked")

        def log_info(self, message: str, type: str = "info") -> None:
            pass

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        Program(near, channels)
        far.sendall(b"x")
        modules.asyncore.loop(0, use_poll, channels, 1)

        assert calls == ["error", "close"]
        assert channels == {}


def test_close_may_take_other_arguments(modules: Modules) -> None:
    """mlat-client: `close(self, manual_close=False)`; hazelcast: `close(self, reason, cause)`
    calling the class's.
    """
    calls: list[bool] = []

    class Program(noting(modules.asyncore.dispatcher)):  # type: ignore[misc]
        def close(self, manual_close: bool = False) -> None:
            calls.append(manual_close)
            super().close()

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), connected_pair() as (other, _):
        first, second = Program(near, channels), Program(other, channels)
        far.close()
        step(modules, channels)
        second.close(manual_close=True)
        first.close()

        assert calls == [False, True, False]
        assert channels == {}


def test_closing_twice_and_in_handlers(modules: Modules) -> None:
    """waitress, pyftpdlib, ZEO."""
    channels: dict[int, Any] = {}

    def handle_read(self: Any) -> None:
        self.close()
        self.close()

    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, handle_read=handle_read)(near, channels)
        far.sendall(b"x")
        step(modules, channels, 2)
        channel.close()

        assert channels == {}
        assert channel.events == []


def test_the_buffer_of_dispatcher_with_send(modules: Modules) -> None:
    """medusa's monitor and an HTTP client look at `out_buffer`, put something there, and call
    initiate_send().
    """
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = modules.asyncore.dispatcher_with_send(near, channels)
        assert channel.out_buffer == b""
        assert not channel.writable()
        channel.send(b"GET / ")
        channel.out_buffer = channel.out_buffer + b"HTTP/1.0"
        assert channel.writable()
        channel.initiate_send()
        assert channel.out_buffer == b""
        channel.out_buffer += b"\r\n\r\n"
        step(modules, channels)

        assert received(far) == b"GET / HTTP/1.0\r\n\r\n"
        channel.close()


def test_initiate_send_of_dispatcher_with_send_may_be_overridden(modules: Modules) -> None:
    class Slow(modules.asyncore.dispatcher_with_send):  # type: ignore[misc, name-defined]
        calls = 0

        def initiate_send(self) -> None:
            self.calls += 1
            if self.calls > 1:
                super().initiate_send()

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Slow(near, channels)
        channel.send(b"x")
        assert (channel.calls, received(far)) == (1, b"")
        step(modules, channels)
        assert (channel.calls, received(far)) == (2, b"x")


def test_a_thread_may_use_the_map_while_the_loop_runs(modules: Modules) -> None:
    """cassandra-driver, hazelcast, zope.server: channels join in one thread and are served in another."""
    channels: dict[int, Any] = {}
    stop = threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            while not stop.is_set():
                modules.asyncore.loop(timeout=0.001, use_poll=True, map=channels, count=1)
        except BaseException as error:
            failures.append(error)

    with contextlib.ExitStack() as opened:
        first, _ = opened.enter_context(connected_pair())
        noting(modules.asyncore.dispatcher)(first, channels)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            pairs = [opened.enter_context(connected_pair()) for _ in range(100)]
            seen = [threading.Event() for _ in pairs]
            for (near, far), event in zip(pairs, seen, strict=True):
                hear = lambda self, event=event: (self.recv(1), event.set())  # noqa: E731
                noting(modules.asyncore.dispatcher, handle_read=hear)(near, channels)
                far.sendall(b"x")
            assert all(event.wait(20) for event in seen)
        finally:
            stop.set()
            thread.join()
        assert failures == []
        assert len(channels) == 101
        modules.asyncore.close_all(channels)


def in_another_thread(function: Any, *arguments: Any) -> None:
    """Call it there, and wait until it has returned."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


@pytest.mark.parametrize("body", [{}, {"writable": lambda self: True}], ids=["tracked", "polled"])
@both_ways
def test_a_thread_may_connect_while_another_runs_the_loop(body: dict[str, Any], use_poll: bool) -> None:
    """hazelcast: `create_socket()`, then `connect()`. In between, the kernel reports a hang-up."""
    modules = ours()
    channels: dict[int, Any] = {}
    base: Any = noting(modules.asyncore.dispatcher, **body)
    if not body:
        del base.writable
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = base(map=channels)
        in_another_thread(channel.create_socket)
        modules.asyncore.loop(0, use_poll, channels, 2)
        assert channel.events == []

        in_another_thread(channel.connect, server.getsockname())
        modules.asyncore.loop(1, use_poll, channels, 1)
        assert channel.connected
        assert channel.events[0] == ("connect", None)
        channel.close()


@both_ways
def test_a_thread_may_listen_while_another_runs_the_loop(use_poll: bool) -> None:
    modules = ours()
    channels: dict[int, Any] = {}
    accepted: list[Any] = []

    def handle_accepted(self: Any, sock: socket.socket, address: Any) -> None:
        accepted.append(address)
        sock.close()

    listener = noting(modules.asyncore.dispatcher, handle_accepted=handle_accepted)(map=channels)
    in_another_thread(listener.create_socket)
    in_another_thread(listener.bind, ("127.0.0.1", 0))
    modules.asyncore.loop(0, use_poll, channels, 2)
    in_another_thread(listener.listen, 1)
    with socket.create_connection(listener.socket.getsockname()) as client:
        modules.asyncore.loop(1, use_poll, channels, 1)
        assert accepted == [client.getsockname()]
    listener.close()


@both_ways
def test_a_socket_that_its_own_thread_does_nothing_with_is_closed(modules: Modules, use_poll: bool) -> None:
    channels: dict[int, Any] = {}
    channel = noting(modules.asyncore.dispatcher, handle_connect=lambda self: None)(map=channels)
    channel.create_socket()
    modules.asyncore.loop(0, use_poll, channels, 2)

    assert ("close", None) in channel.events
    channel.close()


@both_ways
def test_a_channel_may_be_closed_by_another_thread_while_the_loop_waits(use_poll: bool) -> None:
    """mlat-client, fail2ban: what used to end in EBADF wakes the loop here, and ends the channel there."""
    modules = ours()
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        thread = threading.Thread(target=modules.asyncore.loop, args=(30, use_poll, channels))
        thread.start()
        channel.close()
        thread.join()

        assert channels == {}
        assert near.fileno() == -1
        assert received(far) == b""


def test_a_byte_in_the_map_wakes_the_loop(modules: Modules) -> None:
    """The "trigger" of ZEO, zope.server, waitress, hazelcast, cassandra-driver and ZServer."""
    channels: dict[int, Any] = {}
    work: list[Any] = []

    class Trigger(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def __init__(self, sock: Any, channels: Any) -> None:
            super().__init__(sock, channels)
            self.lock = threading.Lock()
            self.thunks: list[Any] = []

        def readable(self) -> bool:
            return True

        def writable(self) -> bool:
            return False

        def handle_connect(self) -> None:
            pass

        def handle_read(self) -> None:
            self.recv(8192)
            with self.lock:
                thunks, self.thunks = self.thunks, []
            for thunk in thunks:
                thunk()

    with connected_pair() as (near, far):
        trigger = Trigger(near, channels)

        def pull() -> None:
            with trigger.lock:
                trigger.thunks += [lambda: work.append(threading.current_thread()), trigger.close]
            far.send(b"x")

        thread = threading.Thread(target=pull)
        thread.start()
        modules.asyncore.loop(30, map=channels)
        thread.join()

        assert work == [threading.current_thread()]
