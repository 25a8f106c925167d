"""A connection of the HTTP server: the example in the documentation of asynchat, and what it leaves out.

It collects a head up to its empty line, then the body by its length, and queues the answer: a producer,
asked for its first byte when everything before it has been sent. So pipelined requests are answered one at a
time and in their order, and no file is open before its turn.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPMessage
from typing import Any, Final

from antiphon import asynchat
from antiphon.half_closing import EndOfOutput
from antiphon.producers import IterableProducer
from antiphon.servers.messages import (
    Request,
    RequestError,
    Response,
    encode_head,
    has_bare_line_feed,
    parse_head,
    printable,
    status_page,
)

__all__ = ["http_request_handler"]

_log: Final = logging.getLogger("antiphon.http")
_access_log: Final = logging.getLogger("antiphon.http.access")

_END_OF_HEAD: Final = b"\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_ACCESS_LINE: Final = '%s "%s" %d %d %.1fms'
_IMPLEMENTED: Final = ("GET", "HEAD", "OPTIONS", "POST")


class http_request_handler(asynchat.async_chat):  # noqa: N801 (its name in the documentation)
    """A client's connection: reads its requests and sends the answers.

    Attributes:
        addr: the client's address.
        respond: makes the response to a request; its exceptions are answered with 500.
        ibuffer: what has arrived of the present head or body.
        reading_headers: whether that is a head.
        handling: whether the last request was read; what else the client sends is ignored.
        op: the method of the present request.
        headers: its fields.
        max_head_size: bytes of a head, beyond which the answer is 431.
        max_body_size: bytes of a body, beyond which the answer is 413.
        max_unanswered: with so many requests waiting to be answered, no more are read.
        linger_time: seconds for which the client may go on sending behind the last answer.
        idle_timeout: seconds without a byte, after which the connection is closed.
        message_timeout: seconds in which a head must arrive whole, and again a body.
        send_timeout: seconds in which the client must take something of an answer.
    """

    # A bound, too, on how many further requests are already there when max_unanswered is reached.
    ac_in_buffer_size = 16_384
    max_head_size = 32_768
    max_body_size = 1_048_576
    max_unanswered = 32
    linger_time: float = 5.0
    idle_timeout: float | None = 75
    message_timeout: float | None = 60
    send_timeout: float | None = 60

    request: Request
    op: str
    headers: HTTPMessage

    def __init__(
        self,
        sock: socket.socket,
        addr: Any,
        respond: Callable[[Request], Response],
        map: Any = None,
    ) -> None:
        """Serve the client that was accepted.

        Args:
            sock: its socket.
            addr: its address.
            respond: makes the response to a request.
            map: of the loop that the connection lives in.
        """
        asynchat.async_chat.__init__(self, sock=sock, map=map)
        self.addr = addr
        self.respond = respond
        self.unanswered: int = 0
        self.failed: bool = False
        self.has_all: bool = False
        self.read_next_head()

    def read_next_head(self) -> None:
        """Begin with the next request."""
        self.ibuffer: list[bytes] = []
        self.buffered: int = 0
        self.reading_headers: bool = True
        self.handling: bool = False
        self.set_terminator(_END_OF_HEAD)

    def collect_incoming_data(self, data: bytes) -> None:
        """Buffer the data."""
        if self.handling:
            return
        before = b"\r" if self.ibuffer and self.ibuffer[-1].endswith(b"\r") else b""
        room = self.max_head_size - self.buffered
        self.ibuffer.append(data)
        self.buffered += len(data)
        if not self.reading_headers:
            return
        # Of both faults the first counts, so that it does not matter how the head was cut.
        if has_bare_line_feed(before + data[:room]):
            self.refuse(RequestError(400, "wanted CR LF at the end of each line, found a bare LF"))
        elif self.buffered > self.max_head_size:
            self.refuse(RequestError(431, f"wanted a head of {self.max_head_size} bytes at most"))

    def found_terminator(self) -> None:
        """Go on from the head to the body, and from there to the answer."""
        if self.handling:
            return
        data = b"".join(self.ibuffer)
        if self.reading_headers:
            try:
                self.parse_headers(data.removeprefix(b"\r\n"))
            except RequestError as error:
                self.refuse(error)
        else:
            self.request.body = data
            self.handle_request()

    def parse_headers(self, head: bytes) -> None:
        """Find out what is asked for, and whether to wait for a body.

        Raises:
            RequestError: this is not answered but refused.
        """
        if not head:  # Empty lines before a request are passed over (RFC 9112, section 2.2).
            self.read_next_head()
            return
        self.request = request = parse_head(head)
        request.address = self.addr
        self.op, self.headers = request.method, request.headers
        self.check_request(request)
        self.reading_headers = False
        self.ibuffer = []
        if request.length:
            self.set_terminator(request.length)
            if request.expectations:
                self.push(_CONTINUE)
        else:
            self.handle_request()

    def check_request(self, request: Request) -> None:
        """Refuse what this server can't or won't do.

        Raises:
            RequestError: 413, 417 or 501.
        """
        if request.method not in _IMPLEMENTED:
            raise RequestError(501, f"wanted one of {', '.join(_IMPLEMENTED)}, found {request.method:.80}")
        if request.length > self.max_body_size:
            raise RequestError(413, f"wanted a body of {self.max_body_size} bytes at most")
        if request.expectations - {"100-continue"}:
            raise RequestError(417, "wanted nothing but 100-continue to be expected")

    def handle_request(self) -> None:
        """Queue the answer; then read the next request, or, if this was the last one, ignore what follows."""
        request = self.request
        line = f"{request.method} {request.target} HTTP/{request.version[0]}.{request.version[1]}"
        self.answer(line, lambda: self.respond(request), request.keep_alive)
        if not request.keep_alive:
            self.finish()
        elif not self.failed:
            self.read_next_head()

    def refuse(self, error: RequestError) -> None:
        """Answer with an error page, and end the connection: where the next request begins is not known."""
        line = b"".join(self.ibuffer).removeprefix(b"\r\n").partition(b"\r\n")[0]
        self.answer(line.decode("latin-1"), lambda: status_page(error.status, error.reason), keep_alive=False)
        self.finish()

    def finish(self) -> None:
        """End the connection when all that is queued was sent; what the client still sends is dropped."""
        if self.handling:
            return
        self.handling = True
        self.ibuffer = []
        self.set_terminator(None)
        self.push_with_producer(EndOfOutput(self.linger))

    def linger(self) -> None:
        """Tell the client that nothing more comes, and close when it does, or after `linger_time`.

        To close while the client is sending resets the connection, and may cost it the answer (RFC 9112,
        section 9.6).
        """
        try:
            if not self.has_all:
                self.socket.shutdown(socket.SHUT_WR)
                self.call_later(self.linger_time, self.close)
                return
        except OSError:  # The client is gone.
            pass
        self.close_when_done()

    def handle_close(self) -> None:
        """Answer a client that has finished sending; close if there is nothing to answer."""
        self.has_all = True
        if self.unanswered or self.producer_fifo:
            self.finish()
        else:
            self.close()

    def answer(self, line: str, respond: Callable[[], Response], keep_alive: bool) -> None:
        """Queue an answer.

        Args:
            line: the request line.
            respond: makes the response when its turn has come.
            keep_alive: whether another one may follow.
        """
        self.unanswered += 1
        if self.unanswered == self.max_unanswered:
            setattr(self, "readable", self.has_room)  # noqa: B010 (a method, to type checkers)
        self.push_with_producer(IterableProducer(self.produce(line, respond, keep_alive)))

    def has_room(self) -> bool:
        """Whether few enough requests wait to be answered."""
        return self.unanswered < self.max_unanswered

    def produce(self, line: str, respond: Callable[[], Response], keep_alive: bool) -> Iterator[bytes]:
        """The bytes of an answer, and its line in the access log."""
        if self.failed:
            self.unanswered -= 1
            return
        began, sent = time.monotonic(), 0
        response, head = _prepare(respond, keep_alive)
        try:
            yield head
            for chunk in response.chunks() if not line.startswith("HEAD ") else ():
                sent += len(chunk)
                yield chunk
        finally:
            response.close()
            milliseconds = 1000 * (time.monotonic() - began)
            _access_log.info(_ACCESS_LINE, self.addr[0], printable(line), response.status, sent, milliseconds)
            self.unanswered -= 1
            if response.status >= 500:
                self.failed = True
                self.finish()


def _prepare(respond: Callable[[], Response], keep_alive: bool) -> tuple[Response, bytes]:
    """A response and its head; in place of one that can't be made, the page that says so."""
    with ExitStack() as stack:
        try:
            response = respond()
            stack.callback(response.close)
            head = encode_head(response, keep_alive)
            stack.pop_all()
        except Exception:
            _log.exception("a request could not be answered")
            response = status_page(500)
            head = encode_head(response, keep_alive)
        return response, head
