r"""The header by which a proxy says whom a connection comes from: the PROXY protocol, versions 1 and 2.

The rules are those of HAProxy's proxy-protocol.txt, section 2.  Knows no socket: it is told what has arrived,
and tells how much of that is the header's.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from antiphon.errors import ProxyHeaderError
from antiphon.framing.crc32c import crc32c

__all__ = ["LONGEST", "LONGEST_LINE", "LONGEST_REST", "Header", "HeaderReader"]

#: Bytes of a header of version 1 at most, CR LF included.
LONGEST_LINE: Final = 107
#: Bytes at most that a header of version 2 has behind its first 16: more than the addresses of Unix sockets,
#: 216, and as much as the smallest segment that every host takes (RFC 9293, section 3.7.1).
LONGEST_REST: Final = 536
#: Bytes of any header at most.
LONGEST: Final = 16 + LONGEST_REST

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_WORD: Final = b"PROXY "
_PORT: Final = rb"(0|[1-9][0-9]{0,4})"
_LINE: Final = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b" % (_PORT, _PORT))
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)

#: The families of version 2 that have addresses, and the bytes that a pair of them takes.
_IPV4, _IPV6, _UNIX = 1, 2, 3
_SIZES: Final = {0: 0, _IPV4: 12, _IPV6: 36, _UNIX: 216}
#: The extension of version 2 that is understood: PP2_TYPE_CRC32C.
_CRC32C: Final = 3


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says.

    Attributes:
        version: 1 or 2.
        source: the address of the client, as accept(2) would have given it: (host, port) of IPv4, (host,
            port, 0, 0) of IPv6, the path of a Unix socket. None where those of the connection itself hold:
            the proxy speaks for itself (LOCAL), or doesn't know the client (UNKNOWN, UNSPEC).
        destination: likewise, what the client has connected to.
    """

    version: int
    source: Any = None
    destination: Any = None


class HeaderReader:
    r"""Reads one header, in whatever pieces it comes.

    >>> reader = HeaderReader()
    >>> reader.feed(b"PROXY TCP4 192.0.2.1 192.0."), reader.header
    (27, None)
    >>> reader.feed(b"2.2 56324 443\r\nGET /")
    15
    >>> reader.header
    Header(version=1, source=('192.0.2.1', 56324), destination=('192.0.2.2', 443))

    Attributes:
        header: None until it is complete.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self._seen = b""

    def feed(self, data: bytes) -> int:
        """How many bytes of `data` belong to the header: all, as long as it is not complete.

        Args:
            data: what has arrived behind what was fed before.

        Raises:
            ProxyHeaderError: this is no header.
            ValueError: the header is complete.
        """
        if self.header is not None:
            raise ValueError("wanted nothing more, since the header is complete")
        before = len(self._seen)
        self._seen += data
        size = self._size()
        if size is None:
            return len(data)
        self.header = _parse(self._seen[:size])
        return size - before

    def _size(self) -> int | None:
        """Bytes of the header; None if that is not seen yet, or not all of them are."""
        seen = self._seen
        if seen[: len(_SIGNATURE)] == _SIGNATURE[: len(seen)]:
            if len(seen) < 16:
                return None
            size = 16 + _length(seen)
            return size if len(seen) >= size else None
        if seen[: len(_WORD)] != _WORD[: len(seen)]:
            raise ProxyHeaderError(f"wanted a header of the PROXY protocol, found {seen[:16]!r}")
        end = seen.find(b"\r\n", 0, LONGEST_LINE)
        if end < 0 and len(seen) >= LONGEST_LINE:
            raise ProxyHeaderError(
                f"wanted a PROXY line of {LONGEST_LINE} bytes at most, found {seen[:40]!r}…"
            )
        return None if end < 0 else end + 2


def _length(seen: bytes) -> int:
    """Bytes behind the first 16 of version 2."""
    command = seen[12]
    if command not in (0x20, 0x21):
        raise ProxyHeaderError(f"wanted LOCAL or PROXY of version 2 (0x20, 0x21), found {command:#04x}")
    length: int = struct.unpack_from("!H", seen, 14)[0]
    if length > LONGEST_REST:
        raise ProxyHeaderError(f"wanted {LONGEST_REST} bytes of addresses at most, found {length}")
    return length


def _parse(header: bytes) -> Header:
    return _parse_line(header[:-2]) if header.startswith(_WORD) else _parse_binary(header)


def _parse_line(line: bytes) -> Header:
    if _UNKNOWN.fullmatch(line):
        return Header(1)
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProxyHeaderError(f"wanted 'PROXY TCP4|TCP6 source destination port port', found {line!r}")
    kind: Any = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, destination = (kind(match[place].decode("ascii")) for place in (2, 3))
    except ValueError as error:
        raise ProxyHeaderError(f"wanted two addresses of TCP{match[1].decode()}, found {line!r}") from error
    ports = int(match[4]), int(match[5])
    if max(ports) > 65_535:
        raise ProxyHeaderError(f"wanted ports of 65535 at most, found {line!r}")
    return Header(1, _address(source, ports[0]), _address(destination, ports[1]))


def _parse_binary(header: bytes) -> Header:
    family, protocol = header[13] >> 4, header[13] & 0xF
    if header[12] == 0x20:  # LOCAL: the family is to be ignored.
        return Header(2)
    if family > _UNIX or protocol > 2:
        raise ProxyHeaderError(f"wanted a known family and protocol, found {header[13]:#04x}")
    size = _SIZES[family]
    if len(header) - 16 < size:
        raise ProxyHeaderError(
            f"wanted {size} bytes for the addresses of family {family}, found {len(header) - 16}"
        )
    try:
        extensions = list(_extensions(header, 16 + size))
    except ProxyHeaderError:
        if family:
            raise
        extensions = []  # Without a family, it may be addresses as well.
    _verify(header, extensions)
    if not family or not protocol:
        return Header(2)
    if family == _UNIX:
        return Header(2, _path(header[16:124]), _path(header[124:232]))
    kind: Any = IPv4Address if family == _IPV4 else IPv6Address
    source, destination, *ports = struct.unpack_from(
        "!4s4sHH" if family == _IPV4 else "!16s16sHH", header, 16
    )
    return Header(2, _address(kind(source), ports[0]), _address(kind(destination), ports[1]))


def _extensions(header: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """The type of each extension (TLV), where its value begins, and where it ends."""
    while at < len(header):
        start = at + 3
        if start > len(header):
            raise ProxyHeaderError(f"wanted a type and a length, found {len(header) - at} bytes")
        kind, length = struct.unpack_from("!BH", header, at)
        at = start + length
        if at > len(header):
            raise ProxyHeaderError(f"wanted {length} bytes of type {kind:#04x}, found {len(header) - start}")
        yield kind, start, at


def _verify(header: bytes, extensions: Iterable[tuple[int, int, int]]) -> None:
    """Refuse a header that is not what its checksum says, if it has one (section 2.2.3)."""
    places = [(start, end) for kind, start, end in extensions if kind == _CRC32C]
    if not places:
        return
    if len(places) > 1:
        raise ProxyHeaderError("wanted the CRC32c of the header once, found it twice")
    [(start, end)] = places
    if end - start != 4:
        raise ProxyHeaderError(f"wanted 4 bytes of CRC32c, found {end - start}")
    found = int.from_bytes(header[start:end], "big")
    wanted = crc32c(header[:start] + bytes(4) + header[end:])
    if found != wanted:
        raise ProxyHeaderError(f"wanted the CRC32c of the header, {wanted:#010x}, found {found:#010x}")


def _address(address: IPv4Address | IPv6Address, port: int) -> Any:
    if isinstance(address, IPv4Address):
        return str(address), port
    mapped = address.ipv4_mapped  # Before Python 3.13 its text is another one than the system's.
    return str(address) if mapped is None else f"::ffff:{mapped}", port, 0, 0


def _path(field: bytes) -> str | bytes:
    """The name of a Unix socket: bytes if it is an abstract one, as Python has it."""
    name = field.rstrip(b"\0")
    return name if name.startswith(b"\0") else os.fsdecode(name.partition(b"\0")[0])
