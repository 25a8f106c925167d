"""The module by name, the channel's own life, and the documentation's example.

Input: test_incoming*.py.  Output: test_outgoing*.py.
"""

import doctest
import email.parser
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import asynchat, asyncore
from antiphon.asynchat import async_chat, fifo, find_prefix_at_end, simple_producer
from antiphon.maps import ChannelMap
from chat_support import (
    Chat,
    Chunks,
    ClosingChunks,
    Patient,
    ScriptedSocket,
    connected,
    fed,
    received,
    transferred,
    turn,
)

# -- names


def test_the_module_has_the_names_of_the_old_one() -> None:
    assert {"async_chat", "simple_producer", "find_prefix_at_end", "fifo", "asyncore"} <= set(vars(asynchat))
    assert asynchat.asyncore is asyncore


def test_the_public_classes_say_that_they_are_asynchat_s() -> None:
    assert {kind.__module__ for kind in (async_chat, simple_producer, fifo)} == {"asynchat"}


def test_a_channel_is_a_dispatcher() -> None:
    assert issubclass(async_chat, asyncore.dispatcher)


@pytest.mark.parametrize(
    "name",
    [
        "collect_incoming_data",
        "found_terminator",
        "set_terminator",
        "get_terminator",
        "push",
        "push_with_producer",
        "close_when_done",
        "discard_buffers",
        "handle_read",
        "handle_write",
        "handle_close",
        "readable",
        "writable",
        "initiate_send",
        "_collect_incoming_data",
        "_get_data",
    ],
)
def test_each_method_can_be_reached_through_the_class(name: str) -> None:
    assert callable(getattr(async_chat, name))


def test_what_may_be_changed_has_the_documented_defaults() -> None:
    assert (async_chat.ac_in_buffer_size, async_chat.ac_out_buffer_size) == (4096, 4096)
    assert (async_chat.use_encoding, async_chat.encoding) == (0, "latin-1")
    channel = async_chat(map={})
    assert (channel.ac_in_buffer, channel.incoming, len(channel.producer_fifo)) == (b"", [], 0)
    assert channel.terminator is None
    assert channel.get_terminator() is None


def test_the_examples_of_the_documentation_are_true() -> None:
    failures, examples = doctest.testmod(asynchat)
    assert (failures, bool(examples)) == (0, True)


# -- its life


def test_a_channel_may_be_made_without_a_socket() -> None:
    channels: dict[int, Any] = {}
    channel = async_chat(map=channels)
    assert (channel.socket, channels) == (None, {})
    assert channel.writable()
    assert channel.readable()


def test_a_channel_joins_the_map_that_it_is_given() -> None:
    channels: dict[int, Any] = {}
    one, other = ScriptedSocket(), ScriptedSocket()
    first, second = async_chat(one, channels), async_chat(sock=other, map=channels)
    assert channels == {one.fileno(): first, other.fileno(): second}


def test_without_a_map_a_channel_joins_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncore, "socket_map", ChannelMap())
    sock = ScriptedSocket()
    channel = async_chat(sock)
    assert asyncore.socket_map == {sock.fileno(): channel}


def test_a_channel_waits_to_read_always_and_to_write_when_there_is_something() -> None:
    channel = Patient(ScriptedSocket(takes=[0]))
    assert (channel.readable(), channel.writable()) == (True, False)
    channel.push(b"x")
    assert (channel.readable(), channel.writable()) == (True, True)
    channel.handle_write()
    assert (channel.readable(), channel.writable()) == (True, False)
    channel.connected = False
    assert (channel.readable(), channel.writable()) == (True, True)


def test_handle_close_closes() -> None:
    sock = ScriptedSocket()
    channel = async_chat(sock, {})
    channel.handle_close()
    assert (sock.closed, channel._map) == (True, {})


def test_closing_twice_is_fine() -> None:
    channel = Chat(ScriptedSocket())
    channel.push_with_producer(Chunks(b"x"))
    channel.close()
    channel.close()
    assert channel.closes == 0


def test_a_closed_channel_keeps_nothing() -> None:
    channel = fed(Patient(ScriptedSocket(takes=[0]), terminator=b"\r\n"), b"one\r")
    channel.push(b"x" * 1000)
    channel.close()
    assert channel.ac_in_buffer == b""
    assert len(channel.producer_fifo) == 0


def test_discard_buffers_drops_what_was_received_and_what_was_to_be_sent() -> None:
    channel = fed(Patient(ScriptedSocket(takes=[0, 0]), terminator=b"\r\n"), b"one\r")
    producer = ClosingChunks(b"two")
    channel._collect_incoming_data(b"kept")
    channel.push(b"one")
    channel.push_with_producer(producer)
    channel.discard_buffers()
    assert (channel.ac_in_buffer, channel.incoming, len(channel.producer_fifo)) == (b"", [], 0)
    assert producer.closings == 1
    assert not channel.writable()
    channel.handle_write()
    assert channel.sock.wire == b""


def test_after_discard_buffers_the_channel_works_as_before() -> None:
    channel = fed(Patient(ScriptedSocket(), terminator=b"\r\n"), b"one\r")
    channel.discard_buffers()
    channel.on_found = channel.push
    fed(channel, b"\ntwo\r\n")
    assert channel.messages == [b"one\ntwo"]
    assert channel.sock.wire == b"one\ntwo"


def test_discard_buffers_in_a_callback_drops_what_waits() -> None:
    channel = Patient(ScriptedSocket())

    def reset(message: bytes) -> None:
        channel.push(message)
        if message == b"reset":
            channel.discard_buffers()

    channel.on_found = reset
    fed(channel, b"one\nreset\ntwo\nthr", b"three\n")
    assert channel.messages == [b"one", b"reset", b"three"]
    assert channel.sock.wire == b"three"


def test_discard_buffers_of_a_closed_channel_opens_nothing() -> None:
    channel = Patient(ScriptedSocket(b"one\n"))
    channel.close()
    channel.discard_buffers()
    channel.handle_read()
    assert channel.messages == []


def test_a_discarded_rest_of_a_large_push_is_not_sent() -> None:
    with connected(Chat, map=ChannelMap()) as (channel, peer):
        channel.push(bytes(1 << 22))
        channel.discard_buffers()
        began = received(peer)
        assert len(began) < 1 << 22
        turn(channel._map, 2)
        channel.push(b"end")
        assert transferred(channel, peer, 3) == b"end"


# -- channels of both kinds in one map


class Echo(Chat):
    """Sends each line back."""

    def found_terminator(self) -> None:
        super().found_terminator()
        self.push(self.messages[-1] + b"\n")


class Server(asyncore.dispatcher):
    """Accepts echo channels."""

    def __init__(self, channels: Any) -> None:
        super().__init__(map=channels)
        self.accepted: list[Echo] = []
        self.create_socket()
        self.bind(("127.0.0.1", 0))
        self.listen(5)

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        self.accepted.append(Echo(sock, self._map))


def test_a_class_may_have_its_terminator_as_an_attribute() -> None:
    class Semicolons(async_chat):
        terminator = b";"
        found = 0

        def collect_incoming_data(self, data: bytes) -> None:
            self._collect_incoming_data(data)

        def found_terminator(self) -> None:
            self.found += 1

    channel = Semicolons(ScriptedSocket(b"one;two;"), {})
    channel.handle_read()
    assert (channel.found, channel.incoming) == (2, [b"one", b"two"])


class Plain(asyncore.dispatcher_with_send):
    """Keeps what it receives."""

    heard = b""

    def handle_read(self) -> None:
        self.heard += self.recv(100)


@pytest.mark.parametrize("channels", [ChannelMap(), {}], ids=["a map that tells", "a plain map"])
@pytest.mark.parametrize("use_poll", [False, True], ids=["poll", "poll2"])
def test_both_kinds_of_channel_live_in_one_map(channels: Any, use_poll: bool) -> None:
    server = Server(channels)
    address = server.socket.getsockname()
    plain, chat = Plain(map=channels), Chat(map=channels)
    for client in (plain, chat):
        client.create_socket()
        client.connect(address)
    plain.send(b"plain\n")
    chat.push(b"cha")
    chat.push(b"t\n")
    while not (plain.heard and chat.messages):
        asyncore.loop(10, use_poll, channels, 1)
    assert (plain.heard, chat.messages) == (b"plain\n", [b"chat"])
    assert sorted(echo.messages for echo in server.accepted) == [[b"chat"], [b"plain"]]
    asyncore.close_all(channels)
    assert not channels


# -- the documentation's example, completed


class HttpRequestHandler(async_chat):
    """Reads a request as the documentation shows: headers up to an empty line, then a body by its length."""

    def __init__(self, sock: Any, channels: Any) -> None:
        async_chat.__init__(self, sock=sock, map=channels)
        self.ibuffer: list[bytes] = []
        self.set_terminator(b"\r\n\r\n")
        self.reading_headers = True
        self.handling = False
        self.cgi_data: bytes | None = None
        self.requests: list[tuple[str, bytes | None]] = []

    def collect_incoming_data(self, data: bytes) -> None:
        self.ibuffer.append(data)

    def found_terminator(self) -> None:
        if self.reading_headers:
            self.reading_headers = False
            self.parse_headers(b"".join(self.ibuffer))
            self.ibuffer = []
            if self.op.upper() == "POST":
                self.set_terminator(int(self.headers["content-length"]))
            else:
                self.handling = True
                self.set_terminator(None)
                self.handle_request()
        elif not self.handling:
            self.set_terminator(None)  # Browsers sometimes over-send.
            self.cgi_data = b"".join(self.ibuffer)
            self.handling = True
            self.ibuffer = []
            self.handle_request()

    def parse_headers(self, head: bytes) -> None:
        line, _, rest = head.decode("latin-1").partition("\r\n")
        self.op, self.path, _ = line.split(" ")
        self.headers = email.parser.HeaderParser().parsestr(rest)

    def handle_request(self) -> None:
        self.requests.append((f"{self.op} {self.path}", self.cgi_data))


GET = b"GET /index HTTP/1.0\r\nHost: example\r\n\r\n"
POST = b"POST /form HTTP/1.0\r\nHost: example\r\nContent-Length: 11\r\n\r\nname=a\r\n\r\nb"


@given(st.sampled_from([(GET, ("GET /index", None)), (POST, ("POST /form", b"name=a\r\n\r\nb"))]), st.data())
def test_the_documentation_s_example_reads_requests_however_they_are_cut(
    case: tuple[bytes, tuple[str, bytes | None]], draw: st.DataObject
) -> None:
    request, expected = case
    handler = HttpRequestHandler(ScriptedSocket(), {})
    wire = request + b"\r\nover-sent\r\n\r\n"
    while wire:
        size = draw.draw(st.integers(1, len(wire)))
        fed(handler, wire[:size])
        wire = wire[size:]
    assert handler.requests == [expected]
    assert handler.get_terminator() is None


# -- the small parts


@pytest.mark.parametrize(
    "data", [b"", b"x" * 1000, "text" * 300, b"x" * 512], ids=["none", "bytes", "text", "one piece"]
)
def test_a_simple_producer_yields_its_data_in_pieces(data: Any) -> None:
    producer = simple_producer(data)
    pieces = []
    while piece := producer.more():
        pieces.append(piece)
    assert data[:0].join(pieces) == data
    assert all(len(piece) == 512 for piece in pieces[:-1])
    assert producer.more() == data[:0]


def test_a_simple_producer_tells_what_is_left() -> None:
    producer = simple_producer(b"abcdefgh", buffer_size=3)
    left = [producer.data]
    while producer.more():
        left.append(producer.data)
    assert left == [b"abcdefgh", b"defgh", b"gh", b""]
    assert producer.buffer_size == 3


def test_the_size_of_a_simple_producer_s_pieces_may_be_changed() -> None:
    producer = simple_producer(b"abcdefgh", 2)
    assert producer.more() == b"ab"
    producer.buffer_size = 5
    assert [producer.more(), producer.more(), producer.more()] == [b"cdefg", b"h", b""]


@pytest.mark.parametrize(
    ("haystack", "needle", "size"),
    [
        (b"qwerty\r", b"\r\n", 1),
        ("qwerty\r", "\r\n", 1),
        ("qwertydkjf", "\r\n", 0),
        (b"ab", b"abab", 2),
        (b"", b"\r\n", 0),
        ("\r\n\r", "\r\n\r\n", 3),
    ],
)
def test_the_prefix_at_the_end_is_found_in_bytes_and_in_text(haystack: Any, needle: Any, size: int) -> None:
    assert find_prefix_at_end(haystack, needle) == size
