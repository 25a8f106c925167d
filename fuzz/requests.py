"""The connections of the HTTP server: the same answers however it is cut, the requests that h11 reads."""

import logging
import re
from typing import Any, Final, NamedTuple, cast

import h11

from antiphon.servers.http_channel import http_request_handler
from antiphon.servers.messages import Request, Response
from antiphon.testing import ScriptedSocket
from fuzz.pieces import ways_to_cut

__all__ = ["try_requests"]

#: Fields that hang on the time.
_DATE: Final = re.compile(rb"Date: [^\r]*\r\n")
_HEAD: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]+\r\n((?:[A-Za-z-]+: [^\r\n]*\r\n)*)\r\n")
_LENGTH: Final = re.compile(rb"^Content-Length: ([0-9]+)\r$", re.MULTILINE)

#: (name, value) of each field, names in small letters.
Fields = list[tuple[str, str]]


class _Connection(http_request_handler):
    """One whose limits an input can reach."""

    max_head_size = 256
    max_body_size = 64
    max_unanswered = 4

    def handle_error(self) -> None:
        """Hide nothing."""
        raise  # noqa: PLE0704 (it is called where an exception is handled)


class _Loud(logging.Handler):
    """Raises the exception that is being reported: a request that can't be answered is a defect here."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None:
            raise AssertionError(record.getMessage()) from record.exc_info[1]


class _Seen(NamedTuple):
    """A request, as far as two readers must agree on it."""

    method: str
    target: str
    fields: Fields
    body: bytes


class _Exchange:
    """What became of a stream.

    Attributes:
        requests: that were answered, in their order.
        sent: the answers, without their dates.
        closed: whether the connection was closed when the client had said all.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self.requests: list[_Seen] = []
        sock = ScriptedSocket()
        channel = _Connection(cast(Any, sock), ("192.0.2.1", 50_000), self._respond, {})
        for piece in [*pieces, b""]:
            sock.script(piece)
            while not sock.closed and (sock.unread and channel.readable()):
                channel.handle_read_event()
                while not sock.closed and channel.writable():
                    channel.handle_write_event()
                if piece == b"":
                    break
        self.closed = sock.closed
        channel.close()
        self.sent = _DATE.sub(b"", sock.sent)

    def _respond(self, request: Request) -> Response:
        fields = [(name.lower(), value) for name, value in request.headers.items()]
        self.requests.append(_Seen(request.method, request.target, fields, request.body))
        return Response(body=b"%d" % len(self.requests))


def _statuses(exchange: _Exchange) -> list[int]:
    """Of the answers, which must be whole."""
    statuses: list[int] = []
    methods = [request.method for request in exchange.requests]
    sent, position = exchange.sent, 0
    while position < len(sent):
        head = _HEAD.match(sent, position)
        assert head is not None, f"wanted a response, found {sent[position:]!r}"
        position = head.end()
        if head[1] == b"100":
            continue
        length = _LENGTH.search(head[2])
        assert length is not None, f"wanted a Content-Length, found {head[0]!r}"
        if len(statuses) >= len(methods) or methods[len(statuses)] != "HEAD":
            position += 0 if _is_bodiless(sent, position) else int(length[1])
        statuses.append(int(head[1]))
    assert position == len(sent), f"wanted {position} bytes, found {len(sent)}"
    return statuses


def _is_bodiless(sent: bytes, position: int) -> bool:
    """Of the refusal of a HEAD request the body is missing; it is the last answer."""
    return position == len(sent)


def _read_by_h11(data: bytes, count: int) -> list[_Seen]:
    """The first `count` requests; fewer if h11 refuses one, which is its right."""
    found: list[_Seen] = []
    for _ in range(count):
        while data.startswith(b"\r\n"):  # Empty lines before a request (RFC 9112, section 2.2).
            data = data[2:]
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        try:
            found.append(_request_of(connection))
        except h11.RemoteProtocolError:
            break
        data, _ = connection.trailing_data
    return found


def _request_of(connection: h11.Connection) -> _Seen:
    head: Any = connection.next_event()
    assert type(head) is h11.Request, f"wanted a request, as antiphon found one; h11 found {head!r}"
    body = b""
    while type(event := connection.next_event()) is h11.Data:
        body += event.data
    assert type(event) is h11.EndOfMessage, f"wanted the end of the body, as antiphon did; found {event!r}"
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    return _Seen(head.method.decode(), head.target.decode(), fields, body)


def _try_quietly(data: bytes) -> None:
    whole: _Exchange | None = None
    for pieces in ways_to_cut(data):
        exchange = _Exchange(pieces)
        assert exchange.closed, (pieces, "not closed")
        if whole is None:
            whole = exchange
        assert exchange.sent == whole.sent, (pieces, exchange.sent, whole.sent)
        assert exchange.requests == whole.requests, (pieces, exchange.requests, whole.requests)
    assert whole is not None
    answered = len(whole.requests)
    statuses = _statuses(whole)
    assert statuses[:answered] == [200] * answered, statuses
    assert len(statuses) <= answered + 1, statuses
    assert all(400 <= status != 500 for status in statuses[answered:]), statuses
    read = _read_by_h11(data, answered)
    assert read == whole.requests[: len(read)], (read, whole.requests)


_log: Final = logging.getLogger("antiphon")
_loud: Final = _Loud()


def try_requests(data: bytes) -> None:
    """All that a client sends on a connection."""
    propagates, _log.propagate = _log.propagate, False
    _log.addHandler(_loud)
    try:
        _try_quietly(data)
    finally:
        _log.removeHandler(_loud)
        _log.propagate = propagates
