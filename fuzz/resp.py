"""The RESP server, beside a parser that sees the stream at once and knows no short cuts."""

from collections.abc import Iterator

from bench.resp import LONGEST, MOST, Channel, LastReply, Store

from antiphon.testing import ScriptedSocket
from fuzz.pieces import ways_to_cut

__all__ = ["try_resp"]

#: To make one takes long: it has a table of commands for each number of arguments.
_store = Store()

_PROTOCOL_ERROR = b"-ERR Protocol error: %b\r\n"


class _Refused(Exception):  # noqa: N818
    """What the server says last."""


class _Reader:
    """Takes requests from a stream; raises EOFError where it ends before they do."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def line(self) -> bytes:
        stop = self.data.find(b"\r\n", self.position)
        if stop < 0:
            raise EOFError
        line = self.data[self.position : stop]
        self.position = stop + 2
        return line

    def exactly(self, size: int) -> bytes:
        if self.position + size > len(self.data):
            raise EOFError
        self.position += size
        return self.data[self.position - size : self.position]

    def requests(self) -> Iterator[list[bytes]]:
        while True:
            line = self.line()
            if line.startswith(b"*"):
                count = _number(line, MOST, b"multibulk")
                strings = [self.string() for _ in range(count)]
            else:
                strings = line.split()
            if strings:
                yield strings

    def string(self) -> bytes:
        header = self.line()
        if header[:1] != b"$":
            # A line end inside of the error would end it early.
            found = header[:1].replace(b"\r", b" ").replace(b"\n", b" ")
            raise _Refused(b"expected '$', got '%b'" % found)
        string = self.exactly(_number(header, LONGEST, b"bulk") + 2)
        if string[-2:] != b"\r\n":
            raise _Refused(b"expected CR LF behind a bulk string")
        return string[:-2]


def _number(line: bytes, most: int, what: bytes) -> int:
    digits = line[1:]
    plain = digits.isdigit() and (digits == b"0" or not digits.startswith(b"0"))
    if not plain or len(digits) > 7 or int(digits) > most:
        raise _Refused(b"invalid %b length" % what)
    return int(digits)


def _replies(data: bytes) -> tuple[bytes, bool]:
    """What is answered to `data`, and whether the connection ends."""
    replies: list[bytes] = []
    _store._values.clear()
    try:
        replies.extend(_store.answer(request) for request in _Reader(data).requests())
    except EOFError:
        return b"".join(replies), False
    except _Refused as refused:
        replies.append(_PROTOCOL_ERROR % refused.args[0])
    except LastReply as last:
        replies.append(last.reply)
    return b"".join(replies), True


def try_resp(data: bytes) -> None:
    """A stream as a client of Redis sends it, or doesn't."""
    expected = _replies(data)
    for pieces in ways_to_cut(data):
        sock = ScriptedSocket()
        _store._values.clear()
        channel = Channel(_store, sock, {})
        for piece in pieces:
            channel.feed(piece)
        assert (sock.sent, sock.closed) == expected, (pieces, sock.sent, sock.closed, expected)
        channel.close()
