r"""A server for `redis-benchmark`: some commands of Redis, in RESP2, on `antiphon.MessageChannel`.

A request is an array of bulk strings, `*2 $3 GET $1 k`, each part with its CR LF, or an inline command,
`GET k`.  All is read as lines; requests of which every line is there, as most are, are cut out by slicing.
A line that is not as long as its header says, since the string has CR LF in it or is not all there yet, is
read again, by its length.  Only for 127.0.0.1: neither the keys nor the replies that wait are limited.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from antiphon import MessageChannel, asyncore
from antiphon.errors import MessageTooLong
from bench.servers._listening import parser, serve

__all__ = ["LONGEST", "Channel", "Store"]

#: Bytes of a bulk string; strings of a request; bytes of an inline command, which are Redis' own 64 KiB.
LONGEST: Final = 512 * 1024
MOST: Final = 1024
INLINE: Final = 64 * 1024

Handler: TypeAlias = Callable[[list[bytes]], bytes]

_CRLF: Final = b"\r\n"
#: Redis takes a number in one spelling only: no sign, no zero in front.
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,6}")
#: How many strings a request has, by its first line.
_COUNTS: Final = {b"*%d" % count: count for count in range(1, MOST + 1)}
#: The header of a bulk string by its length; those of longer ones are read one at a time.
_HEADERS: Final = {length: b"$%d" % length for length in range(4096)}
_LINE_ENDS: Final = bytes.maketrans(_CRLF, b"  ")
_GREATEST: Final = 2**63 - 1
_NO_INTEGER: Final = b"-ERR value is not an integer or out of range\r\n"


class LastReply(Exception):  # noqa: N818 - QUIT is not an error.
    """Nothing is answered behind this.

    Attributes:
        reply: to be sent before the connection is closed.
    """

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


def _number(line: bytes, most: int, what: str) -> int:
    """The number behind the type byte."""
    if not _NUMBER.fullmatch(line, 1) or int(line[1:]) > most:
        raise _wrong(f"invalid {what} length")
    return int(line[1:])


def _wrong(what: str) -> LastReply:
    return LastReply(b"-ERR Protocol error: %b\r\n" % what.encode("latin-1").translate(_LINE_ENDS))


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


class Store:
    """Keys with their values, and the commands on them.

    A command is given the strings of its request, its own name among them, and returns the reply.

    Attributes:
        handlers: by the number of strings, the commands that take so many, by name, in capitals and in
            small letters.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._names: set[bytes] = set()
        self.handlers: list[dict[bytes, Handler]] = [{} for _ in range(MOST + 1)]
        self._add(b"PING", lambda request: b"+PONG\r\n", 1)
        self._add(b"PING", lambda request: _bulk(request[1]), 2)
        self._add(b"ECHO", lambda request: _bulk(request[1]), 2)
        self._add(b"GET", self._get, 2)
        self._add(b"SET", self._set, 3)
        self._add(b"INCR", self._incr, 2)
        self._add(b"SELECT", self._select, 2)
        self._add(b"CONFIG", self._config, 3)
        self._add(b"COMMAND", lambda request: b"*0\r\n", *range(1, MOST + 1))
        self._add(b"QUIT", self._quit, *range(1, MOST + 1))

    def _add(self, name: bytes, handler: Handler, *counts: int) -> None:
        self._names.add(name)
        for count in counts:
            self.handlers[count] |= {name: handler, name.lower(): handler}

    def answer(self, request: list[bytes]) -> bytes:
        """The reply to a request of at least one string, whatever it is.

        Raises:
            LastReply: the command ends the connection.
        """
        name = request[0].upper()
        handler = self.handlers[len(request)].get(name) if len(request) <= MOST else None
        if handler is not None:
            return handler(request)
        if name in self._names:
            return b"-ERR wrong number of arguments for '%b' command\r\n" % name.lower()
        return b"-ERR unknown command '%b'\r\n" % request[0][:128].translate(_LINE_ENDS)

    def _get(self, request: list[bytes]) -> bytes:
        value = self._values.get(request[1])
        return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)

    def _set(self, request: list[bytes]) -> bytes:
        self._values[request[1]] = request[2]
        return b"+OK\r\n"

    def _incr(self, request: list[bytes]) -> bytes:
        key = request[1]
        value = self._values.get(key, b"0")
        try:
            number = int(value[:21])  # One byte more than any that is right.
        except ValueError:
            return _NO_INTEGER
        if b"%d" % number != value or not -_GREATEST - 1 <= number <= _GREATEST:  # int() takes b" 1_0" too.
            return _NO_INTEGER
        if number == _GREATEST:
            return b"-ERR increment or decrement would overflow\r\n"
        value = self._values[key] = b"%d" % (number + 1)
        return b":%b\r\n" % value

    def _select(self, request: list[bytes]) -> bytes:
        return b"+OK\r\n" if request[1] == b"0" else b"-ERR DB index is out of range\r\n"

    def _config(self, request: list[bytes]) -> bytes:
        """No setting has the name that is asked for."""
        return b"*0\r\n" if request[1].upper() == b"GET" else b"-ERR unknown subcommand\r\n"

    def _quit(self, request: list[bytes]) -> bytes:
        raise LastReply(b"+OK\r\n")


class Channel(MessageChannel):
    """A client.

    Args:
        store: what the commands are done on.
        sock: the connection.
        channels: the map that it lives in; `asyncore.socket_map` if None.
    """

    max_message_size = LONGEST + len(_CRLF)

    def __init__(self, store: Store, sock: object, channels: dict[int, object] | None = None) -> None:
        super().__init__(sock, channels)
        self._store = store
        self._begun: list[bytes] = []  # The strings that have come of a request that was not all there.
        self._missing = 0  # Strings of it that have not.
        self._by_length = False  # Whether the next message is a string and its CR LF.

    def messages_received(self, messages: list[bytes]) -> int | None:
        """Answer all requests that are complete, with one push."""
        replies: list[bytes] = []
        try:
            used = self._answer(messages, replies)
        except LastReply as last:
            self.push(b"".join((*replies, last.reply)))
            self.close_when_done()
            return None
        if replies:
            self.push(b"".join(replies))
        return None if used == len(messages) else used

    def handle_overflow(self, error: MessageTooLong) -> None:
        """Refuse a line that is longer than any string."""
        self.push(_wrong("too big inline request").reply)
        self.close_when_done()

    def _answer(self, messages: list[bytes], replies: list[bytes]) -> int:
        """Add the replies to the messages up to where the terminator changes; returns how many those are."""
        if self._by_length:
            self._take_exact(messages[0], replies)
            return 1
        used, total = 0, len(messages)
        while used < total and not self._by_length:
            if not self._missing:
                used = self._answer_whole(messages, used, replies)
            if used < total:
                used = self._take_line(messages, used, replies)
        return used

    def _answer_whole(self, messages: list[bytes], used: int, replies: list[bytes]) -> int:
        """Add the replies to requests of which all lines are there; returns where the first other begins."""
        handlers, answer, total = self._store.handlers, self._store.answer, len(messages)
        count_of, header_of = _COUNTS.get, _HEADERS.get
        while (
            used < total and (count := count_of(messages[used])) and (stop := used + 1 + 2 * count) <= total
        ):
            request = messages[used + 2 : stop : 2]
            if messages[used + 1 : stop : 2] != [*map(header_of, map(len, request))]:
                break
            replies.append(handlers[count].get(request[0], answer)(request))
            used = stop
        return used

    def _take_line(self, messages: list[bytes], used: int, replies: list[bytes]) -> int:
        """Take a first line, or a header with its string; returns how many messages are used then."""
        line = messages[used]
        used += 1
        if not self._missing:
            self._begin(line, replies)
            return used
        if not line.startswith(b"$"):
            raise _wrong(f"expected '$', got '{line[:1].decode('latin-1')}'")
        length = _number(line, LONGEST, "bulk")
        if used < len(messages) and len(messages[used]) == length:
            self._take_string(messages[used], replies)
            return used + 1
        self._by_length = True
        self.set_terminator(length + len(_CRLF))
        return used

    def _begin(self, line: bytes, replies: list[bytes]) -> None:
        if line.startswith(b"*"):
            self._missing = _number(line, MOST, "multibulk")
        elif len(line) > INLINE:
            raise _wrong("too big inline request")
        elif words := line.split():
            replies.append(self._store.answer(words))

    def _take_exact(self, message: bytes, replies: list[bytes]) -> None:
        if not message.endswith(_CRLF):
            raise _wrong("expected CR LF behind a bulk string")
        self._by_length = False
        self.set_terminator(_CRLF)
        self._take_string(message[: -len(_CRLF)], replies)

    def _take_string(self, string: bytes, replies: list[bytes]) -> None:
        self._begun.append(string)
        self._missing -= 1
        if not self._missing:
            request, self._begun = self._begun, []
            replies.append(self._store.answer(request))


if __name__ == "__main__":
    serve(asyncore, partial(Channel, Store()), parser().parse_args().port)
