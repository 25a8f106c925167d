"""HTTP messages: the head of a request, from its bytes, and the head of a response, to its bytes.  No I/O.

The fields are parsed by `http.client`. What that forgives, and a proxy in front may read differently, is
refused before: a request that two readers understand in two ways is how requests are smuggled (RFC 9112,
section 11.2).
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from typing import Any, Final

import antiphon
from antiphon.errors import AntiphonError
from antiphon.producers import Producer, SupportsMore

__all__ = [
    "Request",
    "RequestError",
    "Response",
    "encode_head",
    "has_bare_line_feed",
    "parse_head",
    "printable",
    "status_page",
]

#: Bytes of a request target at most (RFC 9112, section 3, recommends to support 8,000).
MAX_TARGET_SIZE: Final = 8192

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
#: Exactly one space each: RFC 9112, section 3, allows to forgive others, which is where readers differ.
_REQUEST_LINE: Final = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
#: A field line without CR, LF, NUL, folding, or a space before the colon (RFC 9112, section 5).
_FIELD_LINE: Final = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)
_HOST: Final = re.compile(r"(?:[0-9A-Za-z\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")


class RequestError(AntiphonError):
    """A request to be answered with an error status, after which the connection ends.

    Attributes:
        status: the HTTP status.
        reason: what was wanted and what was found; sent to the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        """Refuse with `status` because of `reason`."""
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass
class Request:
    """A request that obeys the rules.

    Attributes:
        method: as sent: methods are case-sensitive (RFC 9110, section 9.1).
        target: as sent.
        path: that of the target, still percent-encoded; "*" for the whole server.
        query: what follows the first "?" of the target, still encoded.
        version: (1, 0) or (1, 1); a later 1.x is served as 1.1 (RFC 9110, section 2.5).
        headers: the fields, as `http.client` gives them.
        length: bytes of body that follow the head.
        body: those bytes.
        address: of the client, as `accept()` gives it.
    """

    method: str
    target: str
    path: str
    query: str
    version: tuple[int, int]
    headers: HTTPMessage
    length: int = 0
    body: bytes = b""
    address: Any = None

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to go on after the response (RFC 9112, section 9.3)."""
        options = self._members("Connection")
        return "close" not in options and (self.version >= (1, 1) or "keep-alive" in options)

    @property
    def expectations(self) -> set[str]:
        """What the client waits for before it sends the body (RFC 9110, section 10.1.1)."""
        return self._members("Expect") if self.version >= (1, 1) else set()

    def _members(self, name: str) -> set[str]:
        values = ",".join(self.headers.get_all(name, []))
        return {member.strip(" \t").lower() for member in values.split(",")} - {""}


@dataclass
class Response:
    """What is answered.

    Attributes:
        status: the HTTP status.
        headers: fields to send besides Date, Server, Connection and the Content-Length of bytes.
        body: bytes; or a producer of exactly as many bytes as the header Content-Length says.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | SupportsMore = b""

    def __post_init__(self) -> None:
        """Complete the headers.

        Raises:
            TypeError: the body is neither bytes nor a producer.
            ValueError: it is a producer, and there is no Content-Length.
        """
        if isinstance(self.body, bytes):
            if self.status >= 200 and self.status not in (204, 304):  # RFC 9110, section 8.6
                self.headers["Content-Length"] = str(len(self.body))
        elif not callable(getattr(self.body, "more", None)):
            raise TypeError(f"wanted bytes or a producer as the body, found {type(self.body).__name__}")
        elif "Content-Length" not in self.headers:
            raise ValueError("wanted a Content-Length for a body from a producer, found none")

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces."""
        return iter((self.body,)) if isinstance(self.body, bytes) else iter(self.body.more, b"")

    def close(self) -> None:
        """Release what the body holds."""
        if isinstance(self.body, Producer):
            self.body.close()


def status_page(status: int, reason: str = "", **headers: str) -> Response:
    """A response that says its status, and `reason`, in plain text.

    Args:
        status: the HTTP status.
        reason: a line for the reader.
        headers: further fields, "_" standing for "-".
    """
    text = f"{status} {HTTPStatus(status).phrase}\n{reason}\n".rstrip("\n") + "\n"
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"Content-Type": "text/plain; charset=utf-8", **fields}, text.encode())


def parse_head(head: bytes) -> Request:
    r"""The request whose head this is.

    >>> parse_head(b"GET /a?b HTTP/1.1\r\nHost: localhost").path
    '/a'

    Args:
        head: what was sent before the first empty line, without the CR LF at its end.

    Raises:
        RequestError: 400, 414, 431, 501 or 505.
    """
    request_line, _, field_lines = head.partition(b"\r\n")
    method, target, version = _parse_request_line(request_line)
    headers = _parse_fields(field_lines)
    _check_host(headers, version)
    path, query = _split_target(method, target)
    return Request(method, target, path, query, version, headers, _body_length(headers))


def has_bare_line_feed(data: bytes) -> bool:
    """Whether a line ends without CR: to some readers the end of the head, to others not."""
    return _BARE_LINE_FEED.search(data) is not None


def _parse_request_line(line: bytes) -> tuple[str, str, tuple[int, int]]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RequestError(400, f"wanted 'method target HTTP/1.1' as the request line, found {line[:80]!r}")
    method, target, major, minor = (part.decode("ascii") for part in match.groups())
    if major != "1":
        raise RequestError(505, f"wanted HTTP/1.0 or HTTP/1.1, found HTTP/{major}.{minor}")
    if len(target) > MAX_TARGET_SIZE:
        raise RequestError(414, f"wanted a target of {MAX_TARGET_SIZE} bytes at most, found {len(target)}")
    return method, target, (1, min(int(minor), 1))


def _parse_fields(section: bytes) -> HTTPMessage:
    lines = section.split(b"\r\n") if section else []
    for line in lines:
        if not _FIELD_LINE.fullmatch(line):
            raise RequestError(400, f"wanted 'name: value' as a header field, found {line[:80]!r}")
    stripped = b"".join(line.rstrip(b" \t") + b"\r\n" for line in lines)
    try:
        return parse_headers(io.BytesIO(stripped + b"\r\n"))
    except HTTPException as error:
        raise RequestError(431, f"wanted a smaller head, found that it {error}") from error


def _check_host(headers: HTTPMessage, version: tuple[int, int]) -> None:
    """RFC 9112, section 3.2: one valid Host; HTTP/1.0 may do without."""
    hosts = headers.get_all("Host", [])
    if len(hosts) > 1 or (not hosts and version >= (1, 1)):
        raise RequestError(400, f"wanted one Host field, found {len(hosts)}")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise RequestError(400, f"wanted 'name' or 'name:port' as Host, found {hosts[0]!a:.80}")


def _split_target(method: str, target: str) -> tuple[str, str]:
    """Path and query of the target (RFC 9112, section 3.2)."""
    if target == "*" and method == "OPTIONS":
        return "*", ""
    if not target.startswith("/"):
        target = _without_authority(target)
    path, _, query = target.partition("?")
    return path or "/", query


def _without_authority(target: str) -> str:
    scheme, separator, rest = target.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    if (
        scheme.lower() not in ("http", "https")
        or not separator
        or not _HOST.fullmatch(authority)
        or not authority
    ):
        raise RequestError(400, f"wanted '/path' or 'http://host/path' as the target, found {target[:80]!r}")
    return rest[len(authority) :]


def _body_length(headers: HTTPMessage) -> int:
    """How many bytes follow the head (RFC 9112, section 6.3), in the one way that every reader agrees on."""
    lengths = headers.get_all("Content-Length", [])
    if "Transfer-Encoding" in headers:
        if lengths:
            raise RequestError(400, "wanted Content-Length or Transfer-Encoding, found both")
        raise RequestError(501, f"wanted a Content-Length, found {headers['Transfer-Encoding']!a:.80}")
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
        raise RequestError(400, f"wanted one decimal number as Content-Length, found {lengths!a:.80}")
    # Python converts 4,300 digits at most; 19 are beyond every limit on bodies already.
    return int((lengths[0].lstrip("0") or "0")[:19])


def encode_head(response: Response, keep_alive: bool) -> bytes:
    """The head of a response, its empty line included.

    Args:
        response: what is answered.
        keep_alive: whether a further request may follow; none does after an error of the server.

    Raises:
        ValueError: a header is not valid; a CR LF in it could end the head early.
    """
    status = response.status
    fields = {
        "Date": formatdate(usegmt=True),
        "Server": f"antiphon/{antiphon.__version__}",
        **response.headers,
        "Connection": "keep-alive" if keep_alive and status < 500 else "close",
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode("ascii")]
    for name, value in fields.items():
        line = f"{name}: {value}".encode("latin-1")
        if not _FIELD_LINE.fullmatch(line):
            raise ValueError(f"wanted 'name: value' as a header, found {line[:80]!r}")
        lines.append(line)
    return b"\r\n".join([*lines, b"", b""])


def printable(line: str) -> str:
    r"""A request line without what could end a line of a log or its quotes, or steer a terminal.

    >>> printable('GET /"\x1b[2J')
    'GET /\\x22\\x1b[2J'
    """
    return re.sub(r'[^\x20-\x7e]|["\\]', lambda match: f"\\x{ord(match[0]):02x}", line[:2048])
