"""What programs make of the class `dispatcher`: other bases, other constructors, attributes of their own."""

import re
import socket
import threading
from typing import Any

import pytest

from faults.originals import Modules, ours, the_originals
from faults.scenes import listening
from wild.parts import connected_pair, listener_and_address, noting, received, step


class Named:
    """A base of somebody else's, with a constructor and a state."""

    def __init__(self, name: str = "nobody") -> None:
        self.name = name
        self.lines: list[str] = []

    def log_line(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("dispatcher_first", [True, False])
def test_a_channel_may_have_any_other_base(modules: Modules, dispatcher_first: bool) -> None:
    """bacpypes, hazelcast, cassandra-driver, mlat-client, asyncore-wsgi, pyinotify."""
    base = noting(modules.asyncore.dispatcher)

    class Mixed(*((base, Named) if dispatcher_first else (Named, base))):  # type: ignore[misc]
        def __init__(self, sock: Any, channels: Any) -> None:
            base.__init__(self, sock, channels)
            Named.__init__(self, "mixed")

        def handle_read(self) -> None:
            self.log_line(self.recv(100).decode())

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Mixed(near, channels)
        far.sendall(b"x")
        step(modules, channels)

        assert (channel.name, channel.lines) == ("mixed", ["x"])


def server_thread(modules: Modules, handle_read: Any) -> Any:
    """A thread that is a listener, whose channels do `handle_read`, until it is stopped."""
    channels: dict[int, Any] = {}

    class Server(modules.asyncore.dispatcher, threading.Thread):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            threading.Thread.__init__(self, name="server")
            modules.asyncore.dispatcher.__init__(self, map=channels)
            self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
            self.bind(("127.0.0.1", 0))
            self.listen(5)
            self.active = True
            self.reports: list[str] = []

        def run(self) -> None:
            while self.active:
                modules.asyncore.loop(timeout=0.01, map=channels, count=1)
            modules.asyncore.close_all(channels, ignore_all=True)

        def handle_accepted(self, conn: Any, addr: Any) -> None:
            noting(modules.asyncore.dispatcher, handle_read=handle_read)(conn, channels)

    return Server()


def test_a_listener_may_be_a_thread(modules: Modules) -> None:
    """CPython's test_ftplib and test_poplib: `class DummyServer(asyncore.dispatcher, threading.Thread)`."""
    server = server_thread(modules, lambda self: self.send(self.recv(100).upper()))
    server.start()
    with socket.create_connection(server.socket.getsockname(), timeout=10) as client:
        client.sendall(b"hello")
        answer = client.recv(100)
    server.active = False
    server.join()

    assert answer == b"HELLO"
    assert server.name == "server"


def test_the_error_of_a_channel_that_is_a_thread_is_reported() -> None:
    """A Thread keeps its name where a channel could keep something, and the other way round."""
    modules = ours()
    server = server_thread(modules, None)
    with listening() as heard:
        try:
            raise LookupError("as asked")
        except LookupError:
            server.handle_error()
        modules.asyncore.close_all(server._map)

    assert heard.levels() == ["ERROR*"]
    assert "as asked" in heard.text()
    assert server.name == "server"


#: Names that classes of the programs in question, or the bases that they mix in, use for something else.
PRIVATE_NAMES = [
    "_loop",
    "_timers",
    "_socket",
    "_data",
    "_queue",
    "_name",
    "_report",
    "_flush",
    "_connect",
    "_close",
]


@pytest.mark.parametrize("name", PRIVATE_NAMES)
@pytest.mark.parametrize("base", ["dispatcher", "async_chat"])
def test_a_program_s_private_names_are_its_own(base: str, name: str) -> None:
    """cassandra-driver's connections have a class attribute `_loop` of their own, and others the like."""
    modules = ours()
    kept = object()
    channels: dict[int, Any] = {}
    cls = noting(
        getattr(modules.asynchat if base == "async_chat" else modules.asyncore, base), **{name: kept}
    )
    with connected_pair() as (near, far), listening():
        channel = cls(near, channels)
        far.sendall(b"x")
        step(modules, channels)
        sent = channel.send(b"answer") if base == "dispatcher" else channel.push(b"answer")
        answer = received(far)
        assert getattr(channel, name) is kept
        setattr(channel, name, kept)
        far.sendall(b"y")
        step(modules, channels)
        try:
            raise LookupError("as asked")
        except LookupError:
            channel.handle_error()
        channel.close()

        assert getattr(channel, name) is kept
        assert sent in (None, 6)
        assert answer == b"answer"
        assert channel.read() == b"xy"
        assert channels == {}


@pytest.mark.parametrize("base", ["dispatcher", "dispatcher_with_send", "async_chat"])
def test_what_is_private_to_us_says_so(base: str) -> None:
    """Every name that the old modules did not have is public, or begins as asynchat's own always did."""

    def names(modules: Modules) -> set[str]:
        cls = getattr(modules.asynchat if base == "async_chat" else modules.asyncore, base)
        with connected_pair() as (near, _):
            channel = cls(near, {})
            found = {*dir(cls), *vars(channel)}
            channel.close()
            return found

    added = names(ours()) - names(the_originals())

    assert {name for name in added if re.match("_(?!_|ac_)", name)} == set()


def test_methods_can_be_put_into_the_class_itself(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper of unit tests: `asyncore.dispatcher.handle_error = f`, and back again."""
    seen: list[Any] = []

    def fail(self: Any) -> None:
        self.recv(100)
        raise LookupError("as asked")

    def note(self: Any) -> None:
        seen.append(self)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, handle_read=fail)(near, channels)
        with monkeypatch.context() as patched:
            patched.setattr(modules.asyncore.dispatcher, "handle_error", note)
            far.sendall(b"x")
            step(modules, channels)
        assert seen == [channel]
        assert channel in channels.values()


def test_attributes_can_be_added_to_the_class_and_deleted(modules: Modules) -> None:
    modules.asyncore.dispatcher.added_by_a_program = 1
    assert modules.asyncore.dispatcher(map={}).added_by_a_program == 1
    del modules.asyncore.dispatcher.added_by_a_program


@pytest.mark.parametrize(
    ("base", "names"),
    [
        ("dispatcher", ["socket", "connected"]),
        ("dispatcher_with_send", ["out_buffer"]),
        ("async_chat", ["ac_in_buffer", "producer_fifo"]),
    ],
)
def test_a_program_may_delete_what_it_has_no_more_use_for(
    modules: Modules, base: str, names: list[str]
) -> None:
    """`close()` of old programs ends with `del self.socket`, to break cycles."""
    with connected_pair() as (near, _):
        channel = getattr(modules.asynchat if base == "async_chat" else modules.asyncore, base)(near, {})
        channel.close()
        for name in names:
            setattr(channel, name, getattr(channel, name))
            delattr(channel, name)

    assert not [name for name in names if getattr(channel, name, None)]


@pytest.mark.parametrize("name", ["alpn", "tls_session", "outgoing"])
def test_what_we_tell_under_a_name_may_be_something_else_of_a_program_s(modules: Modules, name: str) -> None:
    channel = modules.asyncore.dispatcher(map={})
    setattr(channel, name, "the program's")

    assert getattr(channel, name) == "the program's"


def test_handlers_can_be_assigned_to_an_instance(modules: Modules) -> None:
    """`channel.handle_read = f`, also after the loop has met the channel."""
    channels: dict[int, Any] = {}
    seen: list[bytes] = []
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        step(modules, channels)
        channel.handle_read = lambda: seen.append(channel.recv(100))
        far.sendall(b"x")
        step(modules, channels)

        assert seen == [b"x"]


@pytest.mark.parametrize("use_poll", [False, True])
@pytest.mark.parametrize("on_class", [True, False], ids=["class", "instance"])
def test_predicates_can_be_assigned(modules: Modules, on_class: bool, use_poll: bool) -> None:
    """`channel.writable = lambda: False`, and back: before and after the loop has met the channel."""
    channels: dict[int, Any] = {}

    class Plain(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        writes = 0

        def handle_write(self) -> None:
            self.writes += 1

    def turn() -> int:
        before = channel.writes
        modules.asyncore.loop(0, use_poll, channels, 1)
        return int(channel.writes - before)

    with connected_pair() as (near, _):
        channel = Plain(near, channels)
        assert turn() == 1
        owner = Plain if on_class else channel
        owner.writable = (lambda self: False) if on_class else (lambda: False)
        # What was replaced on a class is seen when something about the channel changes.
        channel.connected = True
        assert turn() == 0
        del owner.writable
        channel.connected = True
        assert turn() == 1


def test_a_constructor_that_was_never_called(modules: Modules) -> None:
    """leo-editor sets `_map` and nothing else; the defaults of the class must do for the rest."""
    cls = noting(modules.asyncore.dispatcher)

    class Lazy(cls):  # type: ignore[misc, valid-type]
        def __init__(self, channels: Any) -> None:
            self._map = channels
            self.events: list[Any] = []

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Lazy(channels)
        state = (channel.connected, channel.accepting, channel.connecting, channel.closing, channel.addr)
        assert state == (False, False, False, False, None)
        assert channel.debug is False
        channel.set_socket(near)
        channel.connected = True
        far.sendall(b"x")
        step(modules, channels)

        assert channel.read() == b"x"
        channel.close()
        assert channels == {}


def test_a_constructor_that_is_called_late(modules: Modules) -> None:
    """PyBitmessage: `if not hasattr(self, "_map"): asyncore.dispatcher.__init__(self, sock)`."""
    cls = noting(modules.asyncore.dispatcher)

    class Late(cls):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.events: list[Any] = []

        def attach(self, sock: Any, channels: Any) -> None:
            assert not hasattr(self, "_map")
            modules.asyncore.dispatcher.__init__(self, sock, channels)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Late()
        channel.attach(near, channels)
        far.sendall(b"x")
        step(modules, channels)

        assert channel.read() == b"x"


def test_the_descriptor_may_have_a_default_in_the_class(modules: Modules) -> None:
    """zope.server: `_fileno = None` at class level, read before there is a socket."""
    cls = noting(modules.asyncore.dispatcher, _fileno=None)
    with connected_pair() as (near, _):
        assert cls(map={})._fileno is None
        assert cls(near, {})._fileno == near.fileno()


def test_the_map_of_a_channel_can_be_read_and_rebound(modules: Modules) -> None:
    """supervisor, waitress, asyncore-wsgi and ZEO: `channel._map = m`, then add_channel() and
    del_channel().
    """
    first: dict[int, Any] = {}
    second: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher)(near, first)
        step(modules, first)
        assert channel._map is first
        fd = channel._fileno
        channel.del_channel()
        channel._map, channel._fileno = second, fd
        channel.add_channel()
        far.sendall(b"x")
        step(modules, second)

        assert (first, second) == ({}, {fd: channel})
        assert channel.read() == b"x"
        channel.close()
        assert second == {}


def test_the_descriptor_is_a_key_and_none_after_the_end(modules: Modules) -> None:
    """pyftpdlib, waitress, zope.server, pysnmp and ZEO keep tables by `_fileno`."""
    with connected_pair() as (near, _):
        channel = modules.asyncore.dispatcher(near, {})
        assert {channel._fileno: channel}[near.fileno()] is channel
        channel.del_channel()
        assert channel._fileno is None


def test_joining_and_leaving_go_through_overridden_methods(modules: Modules) -> None:
    """pyftpdlib's add_channel() takes more arguments and wants `_fileno` first; pysnmp's and
    waitress' count.
    """
    calls: list[Any] = []

    class Registered(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def add_channel(self, map: Any = None, events: Any = None) -> None:
            calls.append(("add", self._fileno, events))
            super().add_channel(map)

        def del_channel(self, map: Any = None, events: Any = None) -> None:
            calls.append(("del", self._fileno, events))
            super().del_channel(map)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, _):
        fd = near.fileno()
        channel = Registered(near, channels)
        step(modules, channels)
        channel.close()

        assert calls == [("add", fd, None), ("del", fd, None)]
        assert channels == {}


def test_a_channel_may_refuse_to_join(modules: Modules) -> None:
    """add_channel() and del_channel() as no-ops: a channel that another loop drives."""
    ignore = lambda self, map=None: None  # noqa: E731
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, add_channel=ignore, del_channel=ignore)(near, channels)
        assert channels == {}
        far.sendall(b"x")
        channel.handle_read_event()

        assert channel.read() == b"x"
        assert channel.send(b"y") == 1
        channel.close()
        assert near.fileno() == -1


def test_a_channel_may_join_later_than_its_socket(modules: Modules) -> None:
    """cassandra-driver: set_socket() without add_channel(), which follows when the connection stands."""

    class Late(noting(modules.asyncore.dispatcher)):  # type: ignore[misc]
        def set_socket(self, sock: Any) -> None:
            self.socket = sock
            self._fileno = sock.fileno()

        def connect(self, address: Any) -> None:
            self.connected, self.connecting = False, True
            self.socket.settimeout(10)
            self.socket.connect(address)
            self.socket.setblocking(False)
            self.addr = address
            self.handle_connect_event()
            self.add_channel()

    channels: dict[int, Any] = {}
    accepted: list[Any] = []
    take = lambda self, sock, addr: accepted.append(sock)  # noqa: E731
    with listener_and_address(modules.asyncore.dispatcher, channels, handle_accepted=take) as (_, address):
        channel = Late(map=channels)
        channel.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        assert channel not in channels.values()
        channel.connect(address)
        step(modules, channels)
        accepted[0].sendall(b"x")
        step(modules, channels)
        accepted[0].close()
        step(modules, channels)

        assert channel.events == [("connect", None), ("read", b"x"), ("close", None)]


def test_after_leaving_the_map_a_channel_is_driven_by_hand(modules: Modules) -> None:
    """medusa, pyftpdlib, collective.taskqueue: del_channel() without close(), then events of one's own."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, writable=lambda self: True)(near, channels)
        step(modules, channels)
        channel.events.clear()
        channel.del_channel()
        far.sendall(b"x")
        step(modules, channels)
        assert channel.events == []
        channel.handle_read_event()
        channel.handle_write_event()

        assert channel.events == [("read", b"x"), ("write", None)]


def test_channels_are_keys_with_a_hash_of_their_own(modules: Modules) -> None:
    """pysnmp: `__hash__` from the socket; cassandra-driver and GTK glue keep channels in sets."""
    cls = noting(
        modules.asyncore.dispatcher,
        __hash__=lambda self: hash(self.socket),
        __eq__=lambda self, other: getattr(other, "socket", None) is self.socket,
    )
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = cls(near, channels)
        far.sendall(b"x")
        step(modules, channels)

        assert channel in {channel}
        assert hash(channel) == hash(near)
        assert channel.read() == b"x"
        channel.close()
        assert channels == {}


def test_a_channel_that_is_false_or_empty_is_a_channel(modules: Modules) -> None:
    """`__len__` of a channel's own, 0 at first: never a reason to pass it over."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = noting(modules.asyncore.dispatcher, __len__=lambda self: 0)(near, channels)
        far.sendall(b"x")
        step(modules, channels)

        assert not channel
        assert channel.read() == b"x"


def test_repr_can_be_overridden_and_called_by_its_class(modules: Modules) -> None:
    """medusa, supervisor and ZServer; ZEO has `__str__ = __repr__` against a delegation that is no more."""
    chat = modules.asynchat.async_chat
    cls = type(
        "Session", (chat,), {"__module__": "program", "__repr__": lambda self: f"[{chat.__repr__(self)}]"}
    )
    with connected_pair() as (near, _):
        channel = cls(near, {})
        channel.addr = ("192.0.2.1", 80)

        assert repr(channel) == f"[<program.Session connected 192.0.2.1:80 at {id(channel):#x}>]"
        assert str(channel) == repr(channel)


def test_a_channel_does_not_pass_for_its_socket(modules: Modules) -> None:
    """The delegation of Python 2 and 3.0 to 3.10 is gone for good (bpo-13248): programs defend against it."""
    with connected_pair() as (near, _):
        channel = modules.asyncore.dispatcher(near, {})

        assert not hasattr(channel, "getpeername")
        assert not hasattr(channel, "fileno")
