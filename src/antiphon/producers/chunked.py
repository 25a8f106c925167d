"""HTTP/1.1 chunked transfer coding: bodies of a length not known beforehand (RFC 9112, section 7.1)."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from antiphon.producers.base import chunks_of
from antiphon.producers.filters import FilterProducer
from antiphon.producers.sources import Source

Fields: TypeAlias = Iterable[tuple[str, str]]

#: A field name (RFC 9110, section 5.6.2) and a field value (section 5.5, written as Latin-1).
NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE: Final = re.compile(r"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?|")

#: Fields that a recipient needs before the body, or that would change how it is cut or who may have it.
#: RFC 9110, section 6.5.1, forbids them as trailers by kind; RFC 7230, section 4.1.2, names the kinds.
FORBIDDEN: Final = frozenset(
    {
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "warning",
        "www-authenticate",
    }
)

#: Bytes: up to here a chunk is copied into its frame, for one piece instead of three; a longer one is not.
COPIED_SIZE: Final = 64 * 1024


class ChunkedProducer(FilterProducer):
    r"""What a source holds, in chunked transfer coding: each chunk with its length, then the end.

    >>> b"".join(ChunkedProducer([b"ping", b"pong"]))
    b'4\r\nping\r\n4\r\npong\r\n0\r\n\r\n'

    If the source fails, the last chunk is never sent, so the peer knows that the body is not whole.
    """

    def __init__(self, source: Source, trailers: Fields | Callable[[], Fields] = ()) -> None:
        """Send `source` in chunks.

        Args:
            source: whatever `as_producer` takes.
            trailers: (name, value) pairs to send after the body; or a function that returns them, called
                once the body has ended, for a checksum of it.

        Raises:
            TypeError: `source` is not what `as_producer` takes, or `trailers` are not pairs of str.
            ValueError: a trailer is not a valid field, or one that has no place after a body (RFC 9110,
                section 6.5.1). Both also from `more()`, if the trailers come from a function.
        """
        self._trailers = trailers if callable(trailers) else encode_fields(trailers)
        super().__init__(source)

    def _chunks(self) -> Iterator[bytes]:
        due = b""  # The end of the chunk before, if it is still to be sent.
        for chunk in chunks_of(self._inner):
            if len(chunk) <= COPIED_SIZE:
                yield b"%b%x\r\n%b\r\n" % (due, len(chunk), chunk)
                due = b""
            else:
                yield b"%b%x\r\n" % (due, len(chunk))
                yield chunk
                due = b"\r\n"
        yield b"%b0\r\n%b\r\n" % (due, self._trailer_section())

    def _trailer_section(self) -> bytes:
        return encode_fields(self._trailers()) if callable(self._trailers) else self._trailers


def encode_fields(fields: Fields) -> bytes:
    r"""The trailer section for (name, value) pairs.

    >>> encode_fields([("Checksum", "1234")])
    b'Checksum: 1234\r\n'

    Raises:
        TypeError: `fields` is not an iterable of pairs of str.
        ValueError: a name or a value has other characters than RFC 9110, section 5, allows, or may not be a
            trailer.
    """
    if not isinstance(fields, Iterable):
        raise TypeError(f"wanted (name, value) pairs as trailers, found {type(fields).__name__}")
    return b"".join(_encode_field(field) for field in fields)


def _encode_field(field: object) -> bytes:
    match field:
        case (str(name), str(value)):
            pass
        case _:
            raise TypeError(f"wanted a (name, value) pair of str as trailer, found {field!r}")
    if not NAME.fullmatch(name):
        raise ValueError(f"wanted a field name as trailer (RFC 9110, section 5.1), found {name!r}")
    if name.lower() in FORBIDDEN:
        raise ValueError(f"wanted a field that may follow the body (RFC 9110, section 6.5.1), found {name}")
    if not VALUE.fullmatch(value):
        raise ValueError(f"wanted a field value (RFC 9110, section 5.5) for trailer {name}, found {value!r}")
    return f"{name}: {value}\r\n".encode("latin-1")
