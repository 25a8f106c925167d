"""How programs receive with `async_chat`: constructors, terminators, and the buffer that they meddle with."""

import socket
from typing import Any

import pytest

from faults.originals import Modules, ours
from faults.scenes import line_channel
from wild.parts import connected_pair, listener_and_address, received, step


def chat(modules: Modules, **body: Any) -> Any:
    """A class of channels that keep their messages in `lines`."""
    return line_channel(modules, **body)


@pytest.mark.parametrize("how", ["positional", "keywords", "sock alone", "later"])
def test_every_way_to_make_one(modules: Modules, socket_map: Any, how: str) -> None:
    """async_chat(conn), async_chat(sock=sock), async_chat(sock, map), async_chat() and then a
    socket: all of them.
    """
    cls = type("Chat", (modules.asynchat.async_chat,), {})
    with connected_pair() as (near, _):
        match how:
            case "positional":
                channel = cls(near, socket_map)
            case "keywords":
                channel = cls(sock=near, map=socket_map)
            case "sock alone":
                channel = cls(near)
            case _:
                channel = cls()
                channel.set_socket(near)

        assert channel.socket is near
        assert dict(socket_map) == {near.fileno(): channel}
        assert channel.connected is (how != "later")


def test_a_client_makes_its_socket_and_connects(modules: Modules) -> None:
    """irc-bot: `async_chat.__init__(self)`, create_socket(), connect(); what is pushed meanwhile waits."""
    channels: dict[int, Any] = {}
    accepted: list[Any] = []
    take = lambda self, sock, addr: accepted.append(sock)  # noqa: E731
    with listener_and_address(modules.asyncore.dispatcher, channels, handle_accepted=take) as (_, address):
        client = chat(modules, handle_connect=lambda self: self.push(b"USER\n"))(map=channels)
        client.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        client.set_terminator(b"\n")
        client.connect(address)
        client.push(b"NICK\n")
        for _ in range(5):
            modules.asyncore.loop(0.1, map=channels, count=1)
        sock = accepted[0]
        sock.settimeout(10)
        answer = b""
        while answer.count(b"\n") < 2:
            answer += sock.recv(100)
        sock.sendall(b"PING\n")
        for _ in range(20):
            modules.asyncore.loop(0.1, map=channels, count=1)
            if client.lines:
                break
        sock.close()
        client.close()

        assert answer == b"NICK\nUSER\n"
        assert client.lines == [b"PING"]


def test_a_constructor_passed_over(modules: Modules) -> None:
    """PodSixNet and servers of its kind set the buffers by hand and call dispatcher's constructor alone."""
    from collections import deque

    class Skipping(chat(modules)):  # type: ignore[misc]
        def __init__(self, sock: Any, channels: Any) -> None:
            self.ac_in_buffer = b""
            self.ac_out_buffer = b""
            self.incoming: Any = []
            self.producer_fifo: Any = getattr(modules.asynchat, "fifo", deque)()
            self.lines: list[bytes] = []
            self.line = b""
            modules.asyncore.dispatcher.__init__(self, sock, channels)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Skipping(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"one\ntw")
        step(modules, channels)
        far.sendall(b"o\n")
        channel.push(b"answer")
        step(modules, channels)

        assert channel.lines == [b"one", b"two"]
        assert received(far) == b"answer"


@pytest.mark.parametrize("when", ["class", "before", "after"])
def test_the_size_of_a_read_is_an_attribute(modules: Modules, when: str) -> None:
    """pyftpdlib (65536), irc-bot (8192), supervisor and medusa set `ac_in_buffer_size`, and read it."""
    sizes: list[int] = []

    def recv(self: Any, size: int) -> Any:
        sizes.append(size)
        return modules.asynchat.async_chat.recv(self, size)

    class Sized(chat(modules, recv=recv)):  # type: ignore[misc]
        def __init__(self, sock: Any, channels: Any) -> None:
            if when == "before":
                self.ac_in_buffer_size = 8192
            super().__init__(sock, channels)
            if when == "after":
                self.ac_in_buffer_size = 8192

    if when == "class":
        Sized.ac_in_buffer_size = 8192
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Sized(near, channels)
        channel.set_terminator(None)
        for _ in range(3):
            far.sendall(bytes(8192))
            step(modules, channels)

        assert channel.ac_in_buffer_size == 8192
        assert sizes == [8192] * 3


def test_a_program_s_own_handle_read_uses_the_sizes(modules: Modules) -> None:
    """Game servers: `self.recv(self.ac_in_buffer_size)` in a handle_read() of their own, left at
    the default.
    """
    got: list[bytes] = []
    handle_read = lambda self: got.append(self.recv(self.ac_in_buffer_size))  # noqa: E731
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, handle_read=handle_read)(near, channels)
        far.sendall(b"x")
        step(modules, channels)

        assert got == [b"x"]
        assert isinstance(channel.ac_in_buffer_size, int)
        assert isinstance(channel.ac_out_buffer_size, int)


@pytest.mark.parametrize("empty", [b"", ""])
@pytest.mark.parametrize("callback", ["collect_incoming_data", "found_terminator"])
def test_input_is_dropped_by_clearing_the_buffer(modules: Modules, callback: str, empty: Any) -> None:
    """HTTP servers: `self.ac_in_buffer = ""` in a callback, against what a browser over-sends."""

    class Dropping(chat(modules)):  # type: ignore[misc]
        def collect_incoming_data(self, data: bytes) -> None:
            super().collect_incoming_data(data)
            if callback == "collect_incoming_data":
                self.ac_in_buffer = empty

        def found_terminator(self) -> None:
            super().found_terminator()
            if callback == "found_terminator":
                self.ac_in_buffer = empty

    if modules != ours() and (callback == "collect_incoming_data" or empty == ""):
        pytest.skip(
            "the old asynchat cut the buffer by its length after collect_incoming_data(), and knew no text"
        )
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Dropping(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"one\ntwo\nthree\n")
        step(modules, channels)
        dropped = list(channel.lines)
        channel.line = b""
        far.sendall(b"four\n")
        step(modules, channels)

        assert dropped in ([b"one"], [])
        assert channel.lines[len(dropped) :] == [b"four"]


def test_what_is_read_too_much_is_put_back(modules: Modules) -> None:
    """Servers that change protocols put the rest into `ac_in_buffer`, in front of what is still to come."""

    class PuttingBack(chat(modules)):  # type: ignore[misc]
        ac_in_buffer: bytes

        def found_terminator(self) -> None:
            super().found_terminator()
            if self.lines == [b"one"]:
                self.ac_in_buffer = b"more\n" + self.ac_in_buffer

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = PuttingBack(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"one\ntwo\n")
        step(modules, channels)

        assert channel.lines == [b"one", b"more", b"two"]


def test_a_handle_read_of_one_s_own_may_cut_the_buffer_itself(modules: Modules) -> None:
    """Copies of handle_read() with several terminators keep the rest in `ac_in_buffer` between reads."""

    lines: list[bytes] = []

    class Several(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        ac_in_buffer: bytes

        def handle_read(self) -> None:
            self.ac_in_buffer = self.ac_in_buffer + self.recv(self.ac_in_buffer_size)
            while self.ac_in_buffer:
                ends = [i for i in (self.ac_in_buffer.find(b";"), self.ac_in_buffer.find(b"\n")) if i >= 0]
                if not ends:
                    return
                lines.append(self.ac_in_buffer[: min(ends)])
                self.ac_in_buffer = self.ac_in_buffer[min(ends) + 1 :]

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Several(near, channels)
        for piece in (b"one;tw", b"o\nthree", b";"):
            far.sendall(piece)
            step(modules, channels)

        assert lines == [b"one", b"two", b"three"]
        assert channel.ac_in_buffer == b""


def test_the_kinds_of_terminators(modules: Modules) -> None:
    """smtpd, fail2ban, supervisor's HTTP client: a line, then a counted body, then a line again,
    in one read.
    """

    class Counted(chat(modules)):  # type: ignore[misc]
        def found_terminator(self) -> None:
            super().found_terminator()
            if self.lines[-1].isdigit() and self.get_terminator() == b"\r\n":
                self.set_terminator(int(self.lines[-1]))
            else:
                self.set_terminator(b"\r\n")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Counted(near, channels)
        channel.set_terminator(b"\r\n")
        far.sendall(b"5\r\na\r\nb!line\r\n3\r\nab")
        step(modules, channels)
        assert channel.lines == [b"5", b"a\r\nb!", b"line", b"3"]
        assert (channel.terminator, channel.get_terminator()) == (1, 1)
        far.sendall(b"crest\r\n")
        step(modules, channels)
        assert channel.lines[4:] == [b"abc", b"rest"]


@pytest.mark.parametrize("for_ever", [None, 0, b""])
def test_the_terminators_that_collect_for_ever(modules: Modules, for_ever: Any) -> None:
    """The documentation's HTTP example: `self.set_terminator(None)` for what browsers over-send."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules)(near, channels)
        channel.set_terminator(b"\n")
        channel.set_terminator(for_ever)
        far.sendall(b"one\ntwo\n")
        step(modules, channels)

        assert channel.lines == []
        assert channel.line == b"one\ntwo\n"
        assert not channel.get_terminator()


def test_the_terminator_may_be_assigned(modules: Modules) -> None:
    """async_http: `self.terminator = 0` and `if self.terminator == 0`, past set_terminator()."""

    class Assigning(chat(modules)):  # type: ignore[misc]
        terminator: Any

        def found_terminator(self) -> None:
            super().found_terminator()
            if self.terminator == b"\n":
                self.terminator = 3
            elif self.terminator == 0:
                self.terminator = b"\n"

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Assigning(near, channels)
        channel.terminator = b"\n"
        far.sendall(b"one\ntwothree\n")
        step(modules, channels)

        assert channel.lines == [b"one", b"two", b"three"]


def test_what_comes_in_is_kept_by_the_inherited_helpers(modules: Modules) -> None:
    """async_http, SMTP and IRC bots: `_collect_incoming_data`, `_get_data()`, `incoming`."""
    lines: list[bytes] = []

    class Helped(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        def collect_incoming_data(self, data: bytes) -> None:
            self._collect_incoming_data(data)

        def found_terminator(self) -> None:
            assert b"".join(self.incoming) == b"one"
            lines.append(self._get_data())

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Helped(near, channels)
        channel.set_terminator(b"\n")
        for piece in (b"o", b"ne\n"):
            far.sendall(piece)
            step(modules, channels)

        assert lines == [b"one"]
        assert channel.incoming == []


def test_text_with_use_encoding(modules: Modules) -> None:
    """Bots set `use_encoding = 1`: str for terminators and in producers, bytes as ever in the callbacks."""

    class Producer:
        def __init__(self) -> None:
            self.chunks = ["caf", "é", ""]

        def more(self) -> str:
            return self.chunks.pop(0)

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, use_encoding=1)(near, channels)
        assert channel.encoding == "latin-1"
        channel.set_terminator("é")
        assert channel.get_terminator() == b"\xe9"
        far.sendall(b"caf\xe9")
        channel.push_with_producer(modules.asynchat.simple_producer("simple "))
        channel.push_with_producer(Producer())
        step(modules, channels, 4)

        assert channel.lines == [b"caf"]
        assert received(far) == b"simple caf\xe9"


def test_handle_read_is_called_by_its_class(modules: Modules) -> None:
    """irc-bot, async_http, test_poplib: an override around `async_chat.handle_read(self)`."""
    calls: list[str] = []

    def handle_read(self: Any) -> None:
        calls.append("before")
        modules.asynchat.async_chat.handle_read(self)
        calls.append("after")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, handle_read=handle_read)(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"one\n")
        step(modules, channels)

        assert channel.lines == [b"one"]
        assert calls == ["before", "after"]


def test_reading_is_held_back_by_readable(modules: Modules) -> None:
    """async_http: `return self.want_read and asynchat.async_chat.readable(self)`."""
    readable = lambda self: self.want_read and modules.asynchat.async_chat.readable(self)  # noqa: E731
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, want_read=False, readable=readable)(near, channels)
        channel.set_terminator(b"\n")
        far.sendall(b"one\n")
        step(modules, channels, 2)
        assert channel.lines == []
        channel.want_read = True
        step(modules, channels)
        assert channel.lines == [b"one"]
        channel.want_read = False
        far.sendall(b"two\n")
        step(modules, channels, 2)
        assert channel.lines == [b"one"]


def test_attributes_of_python_2_5_do_no_harm(modules: Modules) -> None:
    """supervisor, medusa and pyftpdlib override refill_buffer() and set ac_out_buffer: nobody
    calls or reads them.
    """

    def refill_buffer(self: Any) -> None:
        raise AssertionError("called")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = chat(modules, refill_buffer=refill_buffer, ac_out_buffer=b"")(near, channels)
        channel.ac_out_buffer = b"dead"
        channel.push(b"x")
        step(modules, channels)

        assert received(far) == b"x"
