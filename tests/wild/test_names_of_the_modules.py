"""What programs reach through the modules besides channels and the loop."""

import errno
import socket
import sys
from collections import deque
from typing import Any
from unittest import mock

import pytest

from faults.originals import Modules, ours
from wild.parts import connected_pair, noting, step


def test_modules_are_reached_through_the_module(modules: Modules) -> None:
    """fail2ban: `hasattr(asyncore.select, "poll")`; others catch `asyncore.select.error`,
    `asyncore.socket.error`.
    """
    assert modules.asyncore.select.error is OSError
    assert modules.asyncore.socket.error is OSError
    assert modules.asyncore.socket is socket
    assert modules.asyncore.os.name


@pytest.mark.parametrize("name", ["EAGAIN", "EBADF", "ECONNRESET", "EINPROGRESS", "ENOTCONN", "EWOULDBLOCK"])
def test_error_numbers_are_reached_through_the_module(modules: Modules, name: str) -> None:
    """`except socket.error as e: if e.errno == asyncore.EWOULDBLOCK`, and `from asyncore import ENOTCONN`."""
    assert getattr(modules.asyncore, name) == getattr(errno, name)
    assert modules.asyncore.errorcode is errno.errorcode


def test_the_names_of_other_modules_come_with_a_star(modules: Modules) -> None:
    """`from asyncore import *`, and then `socket.AF_INET`, `EWOULDBLOCK`: the module had no `__all__`."""
    wanted = {"dispatcher", "loop", "socket_map", "ExitNow"}
    wanted |= {"socket", "select", "sys", "os", "time", "warnings"}
    wanted |= {"EAGAIN", "EALREADY", "EBADF", "ECONNABORTED", "ECONNRESET", "EINPROGRESS", "EINVAL"}
    wanted |= {"EISCONN", "ENOTCONN", "EPIPE", "ESHUTDOWN", "EWOULDBLOCK", "errorcode"}

    assert wanted <= _starred(modules.asyncore)
    assert {"async_chat", "simple_producer", "asyncore", "deque"} <= _starred(modules.asynchat)


def _starred(module: Any) -> set[str]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return {name for name in names if hasattr(module, name)}


def test_the_names_of_the_engine_do_not_come_with_a_star() -> None:
    """They would take the place of what a program calls so."""
    assert "READ" not in _starred(ours().asyncore)


def test_asynchat_has_asyncore(modules: Modules) -> None:
    """fail2ban: `if asynchat.asyncore:`."""
    assert modules.asynchat.asyncore is modules.asyncore


def test_a_patched_socket_class_is_the_one_that_is_used(modules: Modules) -> None:
    """cassandra-driver's tests patch `socket.socket`, and expect create_socket() to make one of those."""
    with mock.patch("socket.socket") as fake:
        fake.return_value.fileno.return_value = 100
        channel = modules.asyncore.dispatcher(map={})
        channel.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        fake.return_value.connect_ex.return_value = errno.EINPROGRESS
        channel.connect(("192.0.2.1", 9042))

        assert channel.socket is fake.return_value
        fake.assert_called_once_with(socket.AF_INET, socket.SOCK_STREAM)
        fake.return_value.setblocking.assert_called_once_with(False)
        fake.return_value.connect_ex.assert_called_once_with(("192.0.2.1", 9042))
        channel.close()
        fake.return_value.close.assert_called_once_with()


def test_the_set_of_what_ends_a_connection_can_be_read(modules: Modules) -> None:
    """PyBitmessage and anki look errors up in it."""
    wanted = {errno.ECONNRESET, errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.EPIPE, errno.EBADF}

    assert set(modules.asyncore._DISCONNECTED) == wanted


@pytest.mark.parametrize("method", ["recv", "send"])
def test_the_set_of_what_ends_a_connection_can_be_made_larger(
    modules: Modules, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """PyBitmessage adds ETIMEDOUT and others: recv() and send() must look the name up when they
    are called.
    """
    fake = mock.Mock(
        **{f"{method}.side_effect": OSError(errno.ETIMEDOUT, "timed out"), "fileno.return_value": 100}
    )
    channel = noting(modules.asyncore.dispatcher)(map={})
    channel.set_socket(fake)
    with pytest.raises(OSError, match="timed out"):
        getattr(channel, method)(b"x" if method == "send" else 1)

    monkeypatch.setattr(modules.asyncore, "_DISCONNECTED", {*modules.asyncore._DISCONNECTED, errno.ETIMEDOUT})
    if method == "send":
        assert channel.send(b"x") == 0
    else:
        assert channel.recv(1) == b""
    assert channel.events == [("close", None)]


def test_what_passes_through_the_loop_can_be_caught_by_its_name(modules: Modules) -> None:
    """Patches of readwrite(): `except asyncore._reraised_exceptions: raise`."""
    for error in (modules.asyncore.ExitNow, KeyboardInterrupt, SystemExit):
        with pytest.raises(modules.asyncore._reraised_exceptions) as caught:
            raise error("as asked")
        assert caught.type is error


@pytest.mark.parametrize("use_poll", [False, True])
@pytest.mark.parametrize("event", ["handle_read", "handle_write"])
def test_exit_now_ends_the_loop_and_nothing_else(modules: Modules, event: str, use_poll: bool) -> None:
    """supervisor leaves its loop so, and secure-smtpd the loop of each connection."""

    def leave(self: Any) -> None:
        self.recv(1) if reads else None
        raise modules.asyncore.ExitNow("enough")

    channels: dict[int, Any] = {}
    reads = event == "handle_read"
    body = {event: leave, "readable": lambda self: reads, "writable": lambda self: not reads}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, **body)(near, channels)
        for _ in range(2):
            far.sendall(b"x")
            with pytest.raises(modules.asyncore.ExitNow, match="enough"):
                modules.asyncore.loop(30, use_poll, channels)

        assert list(channels.values()) == [channel]
        assert channel.events == []


def test_compact_traceback_is_unpacked(modules: Modules) -> None:
    """zope.server, ZEO, supervisor, ZServer, medusa: `(file, fun, line), t, v, tbinfo =
    asyncore.compact_traceback()`.
    """
    try:
        raise LookupError("as asked")
    except LookupError:
        (file, function, line), kind, value, frames = modules.asyncore.compact_traceback()

    assert file.endswith("test_names_of_the_modules.py")
    assert function == "test_compact_traceback_is_unpacked"
    assert 0 < int(line) - test_compact_traceback_is_unpacked.__code__.co_firstlineno < 10
    assert (kind, str(value)) == (LookupError, "as asked")
    assert frames == f"[{file}|{function}|{line}]"


def test_close_all_is_called_in_each_of_its_ways(modules: Modules, socket_map: Any) -> None:
    """asyncore-wsgi, ZServer, medusa, ZEO and CPython's test servers."""
    for arguments, named in [
        ((), {}),
        ((socket_map,), {}),
        ((socket_map, True), {}),
        ((), {"ignore_all": True}),
    ]:
        with connected_pair() as (near, far):
            for sock in (near, far):
                modules.asyncore.dispatcher(sock)
            modules.asyncore.close_all(*arguments, **named)

            assert len(socket_map) == 0
            assert near.fileno() == far.fileno() == -1


def test_strerror_knows_every_number(modules: Modules) -> None:
    """waitress' tests ask it for a number that there is none of."""
    assert "refused" in modules.asyncore._strerror(errno.ECONNREFUSED)
    assert "Unknown error" in modules.asyncore._strerror(-1)


def test_the_prefix_at_the_end_of_text_and_of_bytes(modules: Modules) -> None:
    """supervisor and medusa call it with str, for output that they read by themselves."""
    find = modules.asynchat.find_prefix_at_end

    assert find("qwerty\r\n.", "\r\n.\r\n") == 3
    assert find(b"qwerty\r\n.", b"\r\n.\r\n") == 3
    assert find("qwerty", "\r\n") == 0


def test_simple_producer_and_producers_with_nothing_but_more(modules: Modules) -> None:
    """ZServer, supervisor, medusa and async_http push producers of their own: more() is all that
    they have.
    """

    class Countdown:
        left = 3

        def more(self) -> bytes:
            self.left -= 1
            return b"%d" % self.left if self.left else b""

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = modules.asynchat.async_chat(near, channels)
        channel.push_with_producer(modules.asynchat.simple_producer(b"simple", buffer_size=4))
        channel.push_with_producer(Countdown())
        channel.close_when_done()
        modules.asyncore.loop(0, map=channels, count=20)

        assert channels == {}
        assert far.recv(100) == b"simple21"


def test_the_fifo_of_old_versions_is_there() -> None:
    """PodSixNet and ZServer make one; Python's own asynchat lost it in version 3.6."""
    fifo = ours().asynchat.fifo([b"one"])
    fifo.push(b"two")

    assert (fifo.first(), len(fifo), fifo.is_empty()) == (b"one", 2, False)
    assert [fifo.pop(), fifo.pop(), fifo.pop()] == [(1, b"one"), (1, b"two"), (0, None)]
    assert fifo.is_empty()


def test_the_modules_can_be_mocked_with_their_signatures(modules: Modules) -> None:
    """A web application's tests: `mock.patch(..., autospec=True)` looks at every attribute of what
    it replaces.
    """
    fake = mock.create_autospec(modules.asyncore)
    fake.loop(timeout=1, count=2)
    fake.loop.assert_called_once_with(1, count=2)
    with pytest.raises(TypeError):
        fake.loop(1, 2, 3, 4, 5)
    chat = mock.create_autospec(modules.asynchat.async_chat)(None, {})
    chat.push(b"x")
    with pytest.raises(TypeError):
        chat.push()


def test_methods_of_a_class_can_be_patched(modules: Modules) -> None:
    """cassandra-driver's tests: `patch("...AsyncoreConnection.add_channel")`."""

    class Connection(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        pass

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        with mock.patch.object(Connection, "add_channel") as joined:
            Connection(near, channels)
        joined.assert_called_once()
        assert channels == {}
        with mock.patch.object(modules.asyncore.dispatcher, "recv", autospec=True, return_value=b"fake"):
            channel = noting(modules.asyncore.dispatcher)(near, channels)
            far.sendall(b"x")
            step(modules, channels)
        assert channel.read() == b"fake"


def test_the_modules_are_known_by_their_old_names() -> None:
    """`repr` and pickles name `asyncore` and `asynchat`, as in suites that compare them."""
    asyncore, asynchat = ours()
    for cls in (asyncore.dispatcher, asyncore.dispatcher_with_send, asyncore.file_wrapper, asyncore.ExitNow):
        assert cls.__module__ == "asyncore"
    if sys.platform != "win32":
        assert asyncore.file_dispatcher.__module__ == "asyncore"
    for cls in (asynchat.async_chat, asynchat.simple_producer, asynchat.fifo):
        assert cls.__module__ == "asynchat"


@pytest.mark.parametrize("name", ["os", "select", "socket", "sys", "time", "warnings"])
def test_modules_are_reached_through_asyncore(modules: Modules, name: str) -> None:
    """Programs that say asyncore.time.sleep(), or asyncore.socket.AF_INET."""
    assert getattr(modules.asyncore, name) is sys.modules[name]


def test_deque_is_reached_through_asynchat(modules: Modules) -> None:
    assert modules.asynchat.deque is deque
