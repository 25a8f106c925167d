"""Any commands, cut anywhere: the replies are those of a dict."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from bench.resp import INLINE, LONGEST, MOST, Channel, Store
from hypothesis import given
from hypothesis import strategies as st

from chat_support import ScriptedSocket

ROOT = Path(__file__).parents[2]

Request = list[bytes]


class Client:
    """A connection without a network."""

    def __init__(self, store: Store | None = None) -> None:
        self.socket = ScriptedSocket()
        self.channel = Channel(store or Store(), self.socket, {})

    def __call__(self, *pieces: bytes) -> bytes:
        """What is answered in the end; nothing is fed to a channel that has closed."""
        for piece in pieces:
            if not self.socket.closed:
                self.channel.feed(piece)
        return b"".join(self.socket.sent)


def request(*strings: bytes) -> bytes:
    return b"*%d\r\n" % len(strings) + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in strings)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces; the places count from its beginning, over and over."""
    stops = sorted({place % (len(data) + 1) for place in places})
    return [data[start:stop] for start, stop in zip([0, *stops], [*stops, len(data)], strict=True)]


def incremented(value: bytes) -> bytes | None:
    number = int(value) if re.fullmatch(rb"-?\d+", value) else None
    return b"%d" % (number + 1) if number is not None and b"%d" % number == value else None


def model(commands: Iterable[Request]) -> bytes:
    """The replies to commands that have the right number of arguments."""
    values: dict[bytes, bytes] = {}
    replies = []
    for name, *arguments in commands:
        match name.upper(), *arguments:
            case [b"PING"]:
                replies.append(b"+PONG")
            case [b"PING" | b"ECHO", text]:
                replies.append(b"$%d\r\n%b" % (len(text), text))
            case [b"SET", key, value]:
                values[key] = value
                replies.append(b"+OK")
            case [b"GET", key] if key in values:
                replies.append(b"$%d\r\n%b" % (len(values[key]), values[key]))
            case [b"GET", _]:
                replies.append(b"$-1")
            case [b"INCR", key]:
                after = incremented(values.get(key, b"0"))
                if after is None:
                    replies.append(b"-ERR value is not an integer or out of range")
                else:
                    values[key] = after
                    replies.append(b":" + after)
            case _:
                replies.append(b"-ERR unknown command '%b'" % name)
    return b"".join(reply + b"\r\n" for reply in replies)


awkward = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"$", b"$1\r\n", b"*1\r\n", b"a"])).map(b"".join)
value = st.one_of(awkward, st.binary(max_size=12), st.integers(-20, 20).map(lambda number: b"%d" % number))
key = st.sampled_from([b"a", b"b", b"\r\n", b""])
word = st.sampled_from([b"a", b"b", b"10", b"$3", b"\xff", b"x*1"])


def commands_of(key: st.SearchStrategy[bytes], value: st.SearchStrategy[bytes]) -> st.SearchStrategy[Request]:
    def named(names: list[bytes], *more: st.SearchStrategy[bytes]) -> st.SearchStrategy[Request]:
        return st.tuples(st.sampled_from(names), *more).map(list)

    return st.one_of(
        named([b"PING", b"ping", b"NOPE"]),
        named([b"PING", b"ECHO", b"eChO"], value),
        named([b"SET", b"set", b"Set"], key, value),
        named([b"GET", b"get", b"INCR", b"incr", b"NOPE"], key),
    )


arrays = commands_of(key, value).map(lambda command: (command, request(*command)))
inline = commands_of(word, word).map(lambda command: (command, b" ".join(command) + b"\r\n"))
nothing = st.sampled_from([b"\r\n", b"  \r\n", b"*0\r\n"]).map(lambda line: (None, line))
places = st.lists(st.integers(0, 5000), max_size=30)


@given(st.lists(st.one_of(arrays, arrays, arrays, inline, nothing), max_size=20), places)
def test_every_command_is_answered_as_by_a_dict(
    sent: list[tuple[Request | None, bytes]], places: list[int]
) -> None:
    data = b"".join(line for _, line in sent)
    expected = model(command for command, _ in sent if command is not None)
    assert Client()(data) == expected
    assert Client()(*cut(data, places)) == expected
    assert Client()(*(data[at : at + 1] for at in range(len(data)))) == expected


pieces = [
    b"*",
    b"$",
    b"1",
    b"3",
    b"-1",
    b"0",
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"GET",
    b"PING",
    b" ",
    b"+",
    b"QUIT",
]
scraps = st.one_of(
    st.sampled_from([b"*1\r\n", b"*2\r\n$3\r\nGET\r\n", b"$4\r\n", b"$2\r\n"]), st.sampled_from(pieces)
)


@given(st.lists(scraps, max_size=40).map(b"".join), places)
def test_nonsense_is_answered_alike_wherever_it_is_cut(data: bytes, places: list[int]) -> None:
    whole, parts = Client(), Client()
    assert whole(data) == parts(*cut(data, places))
    assert whole.socket.closed == parts.socket.closed


# -- limits and errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*-1\r\n", b"invalid multibulk length"),
        (b"*%d\r\n" % (MOST + 1), b"invalid multibulk length"),
        (b"*01\r\n", b"invalid multibulk length"),
        (b"*\r\n", b"invalid multibulk length"),
        (b"*1\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n$%d\r\n" % (LONGEST + 1), b"invalid bulk length"),
        (b"*1\r\n$%d\r\n" % 10**30, b"invalid bulk length"),
        (b"*1\r\n$4x\r\nPING\r\n", b"invalid bulk length"),
        (b"*1\r\n+PING\r\n", b"expected '$', got '+'"),
        (b"*1\r\n\rPING\r\n", b"expected '$', got ' '"),
        (b"*2\r\n$3\r\nGET\r\n*1\r\n$4\r\nPING\r\n", b"expected '$', got '*'"),
        (b"*1\r\n\r\n", b"expected '$', got ''"),
        (b"*1\r\n$3\r\nPING\r\n", b"expected CR LF behind a bulk string"),
        (b"x" * (INLINE + 1) + b"\r\n", b"too big inline request"),
        (b"x" * (LONGEST + 3), b"too big inline request"),
    ],
)
def test_a_protocol_error_is_the_last_reply(data: bytes, error: bytes) -> None:
    client = Client()
    assert client(b"PING\r\n" + data + b"PING\r\n") == b"+PONG\r\n-ERR Protocol error: %b\r\n" % error
    assert client.socket.closed


@pytest.mark.parametrize("size", [4095, 4096, LONGEST])
@pytest.mark.parametrize("unit", [b"x", b"\r\n"])
def test_a_long_string_is_kept_whole(size: int, unit: bytes) -> None:
    text = (unit * size)[:size]
    client = Client()
    data = request(b"SET", b"k", text) + request(b"GET", b"k") + request(b"PING")
    answer = b"+OK\r\n$%d\r\n%b\r\n+PONG\r\n" % (size, text)
    assert client(*(data[at : at + 5000] for at in range(0, len(data), 5000))) == answer
    assert Client()(data) == answer


def test_a_request_may_have_as_many_strings_as_it_may() -> None:
    words = [b"COMMAND", *[b"x"] * (MOST - 1)]
    assert Client()(request(*words)) == b"*0\r\n"
    assert Client()(b"%b\r\n" % b" ".join([*words, b"x"])).startswith(b"-ERR wrong number of arguments")


def test_a_line_as_long_as_an_inline_command_may_be_is_one() -> None:
    line = b"ECHO " + b"x" * (INLINE - 5)
    assert Client()(line + b"\r\n") == b"$%d\r\n%b\r\n" % (INLINE - 5, line[5:])


# -- commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strings", "reply"),
    [
        ([b"SELECT", b"0"], b"+OK\r\n"),
        ([b"SELECT", b"1"], b"-ERR DB index is out of range\r\n"),
        ([b"CONFIG", b"GET", b"save"], b"*0\r\n"),
        ([b"config", b"get", b"appendonly"], b"*0\r\n"),
        ([b"CONFIG", b"SET", b"save"], b"-ERR unknown subcommand\r\n"),
        ([b"COMMAND"], b"*0\r\n"),
        ([b"COMMAND", b"DOCS"], b"*0\r\n"),
        ([b"Get"], b"-ERR wrong number of arguments for 'get' command\r\n"),
        ([b"a\r\nb" * 100], b"-ERR unknown command '%b'\r\n" % (b"a  b" * 32)),
        ([b""], b"-ERR unknown command ''\r\n"),
    ],
)
def test_each_command_has_its_reply(strings: list[bytes], reply: bytes) -> None:
    assert Client()(request(*strings)) == reply


@pytest.mark.parametrize(
    ("before", "reply"),
    [
        (b"%d" % (2**63 - 2), b":%d" % (2**63 - 1)),
        (b"%d" % (2**63 - 1), b"-ERR increment or decrement would overflow"),
        (b"%d" % 2**63, b"-ERR value is not an integer or out of range"),
        (b"%d" % -(2**63), b":%d" % (1 - 2**63)),
        (b"-0", b"-ERR value is not an integer or out of range"),
        (b"1" * 30, b"-ERR value is not an integer or out of range"),
        (b"-%d" % (2**63 + 1), b"-ERR value is not an integer or out of range"),
        (b" 1", b"-ERR value is not an integer or out of range"),
    ],
)
def test_a_number_has_64_bits_and_one_spelling(before: bytes, reply: bytes) -> None:
    data = request(b"SET", b"n", before) + request(b"INCR", b"n")
    assert Client()(data) == b"+OK\r\n%b\r\n" % reply


def test_nothing_is_answered_behind_quit() -> None:
    client = Client()
    assert client(b"PING\r\nQUIT\r\nPING\r\n") == b"+PONG\r\n+OK\r\n"
    assert client.socket.closed


def test_clients_share_the_keys() -> None:
    store = Store()
    Client(store)(b"SET k v\r\n")
    assert Client(store)(b"GET k\r\n") == b"$1\r\nv\r\n"


def test_the_replies_to_a_read_leave_in_one_send() -> None:
    client = Client()
    client(request(b"INCR", b"n") * 64)
    assert len(client.socket.sent) == 1


def test_the_program_says_where_it_listens_and_answers_there() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "bench.resp", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            ready, port = server.stdout.readline().split()
            assert ready == "READY"
            with (
                socket.create_connection(("127.0.0.1", int(port)), timeout=20) as sock,
                sock.makefile("rb") as file,
            ):
                sock.sendall(request(b"ECHO", b"a\r\nb") + b"QUIT\r\n")
                assert file.read() == b"$4\r\na\r\nb\r\n+OK\r\n"
        finally:
            server.kill()
