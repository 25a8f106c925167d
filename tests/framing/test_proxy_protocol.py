"""The header of the PROXY protocol: what it says, what is refused, and where it ends."""

import itertools
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import AntiphonError, ProxyHeaderError
from antiphon.framing.crc32c import crc32c
from antiphon.framing.proxy_protocol import LONGEST, LONGEST_LINE, LONGEST_REST, Header, HeaderReader

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")

LOCAL, PROXY = 0x20, 0x21


def binary(command: int, family: int, rest: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if length is None else length) + rest


IPV4 = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 56324, 443)
IPV6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + struct.pack("!HH", 1, 65535)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
TLV = b"\x04\x00\x03abc"
EMPTY_CHECKSUM = b"\x03\x00\x04" + bytes(4)


def summed(command: int, family: int, before: bytes, behind: bytes = b"", damage: int = 0) -> bytes:
    """A header with its checksum between two parts, as proxy-protocol.txt has it made (2.2.3)."""
    header = binary(command, family, before + EMPTY_CHECKSUM + behind)
    place = 16 + len(before) + 3
    checksum = struct.pack("!I", crc32c(header) ^ damage)
    return header[:place] + checksum + header[place + 4 :]


def read(data: bytes) -> tuple[Header | None, int]:
    """The header, and how many bytes it takes."""
    reader = HeaderReader()
    used = reader.feed(data)
    return reader.header, used


VALID: list[tuple[bytes, Header]] = [
    (
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        Header(1, ("192.0.2.1", 56324), ("192.0.2.2", 443)),
    ),
    (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Header(1, ("255.255.255.255", 65535), ("255.255.255.255", 65535)),
    ),
    (
        b"PROXY TCP6 2001:DB8::1 ::1 0 1\r\n",
        Header(1, ("2001:db8::1", 0, 0, 0), ("::1", 1, 0, 0)),
    ),
    (
        b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n",
        Header(1, ("::ffff:192.0.2.1", 1, 0, 0), ("::ffff:192.0.2.2", 2, 0, 0)),
    ),
    (b"PROXY UNKNOWN\r\n", Header(1)),
    (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", Header(1)),
    (b"PROXY UNKNOWN \n\r\xff\r\n", Header(1)),
    (binary(PROXY, 0x11, IPV4), Header(2, ("192.0.2.1", 56324), ("192.0.2.2", 443))),
    (binary(PROXY, 0x12, IPV4 + TLV * 3), Header(2, ("192.0.2.1", 56324), ("192.0.2.2", 443))),
    (binary(PROXY, 0x21, IPV6), Header(2, ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 65535, 0, 0))),
    (binary(PROXY, 0x31, UNIX), Header(2, "/run/client", "/run/server")),
    (binary(PROXY, 0x32, b"\0abstract".ljust(108, b"\0") + bytes(108)), Header(2, b"\0abstract", "")),
    (binary(PROXY, 0x31, b"a" * 108 + b"b\0c".ljust(108, b"\0")), Header(2, "a" * 108, "b")),
    (
        binary(PROXY, 0x11, IPV4 + struct.pack("!BH", 4, LONGEST_REST - 15) + bytes(LONGEST_REST - 15)),
        Header(2, ("192.0.2.1", 56324), ("192.0.2.2", 443)),
    ),
    (summed(PROXY, 0x11, IPV4), Header(2, ("192.0.2.1", 56324), ("192.0.2.2", 443))),
    (summed(PROXY, 0x12, IPV4 + TLV, TLV * 2), Header(2, ("192.0.2.1", 56324), ("192.0.2.2", 443))),
    (summed(PROXY, 0x21, IPV6), Header(2, ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 65535, 0, 0))),
    (summed(PROXY, 0x31, UNIX), Header(2, "/run/client", "/run/server")),
    (summed(PROXY, 0x00, b""), Header(2)),
    (summed(PROXY, 0x10, IPV4), Header(2)),
    (summed(LOCAL, 0x00, b"", damage=1), Header(2)),
    (binary(PROXY, 0x00), Header(2)),
    (binary(PROXY, 0x00, b"anything"), Header(2)),
    (binary(PROXY, 0x10, IPV4), Header(2)),
    (binary(PROXY, 0x01, IPV4), Header(2)),
    (binary(LOCAL, 0x00), Header(2)),
    (binary(LOCAL, 0xFF, b"its family is to be ignored"), Header(2)),
]

INVALID: list[tuple[bytes, str]] = [
    (b"GET / HTTP/1.1\r\n", "wanted a header of the PROXY protocol, found b'GET / HTTP/1.1"),
    (b"PROXYTCP4", "wanted a header"),
    (b"\x16\x03\x01\x02\x00", "wanted a header"),
    (SIGNATURE[:-1] + b"\r", "wanted a header"),
    (b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "wanted a header"),
    (b"PROXY \r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY UNKNOWNS\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "wanted 'PROXY TCP4|TCP6"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "wanted ports of 65535 at most"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n", "wanted ports of 65535 at most"),
    (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "wanted two addresses of TCP4"),
    (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", "wanted two addresses of TCP4"),
    (b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n", "wanted two addresses of TCP4"),
    (b"PROXY TCP4 ::1 ::1 1 2\r\n", "wanted two addresses of TCP4"),
    (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "wanted two addresses of TCP6"),
    (b"PROXY TCP6 1::2::3 ::1 1 2\r\n", "wanted two addresses of TCP6"),
    (b"PROXY TCP4 " + b"1" * LONGEST_LINE, "wanted a PROXY line of 107 bytes at most"),
    (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "wanted a PROXY line of 107 bytes at most"),
    (binary(0x11, 0x11, IPV4), "wanted LOCAL or PROXY of version 2 (0x20, 0x21), found 0x11"),
    (binary(0x22, 0x11, IPV4), "found 0x22"),
    (binary(0x31, 0x11, IPV4), "found 0x31"),
    (binary(PROXY, 0x41, IPV4), "wanted a known family and protocol, found 0x41"),
    (binary(PROXY, 0x13, IPV4), "wanted a known family and protocol, found 0x13"),
    (binary(PROXY, 0x40), "wanted a known family and protocol, found 0x40"),
    (binary(PROXY, 0x11, IPV4[:-1]), "wanted 12 bytes for the addresses of family 1, found 11"),
    (binary(PROXY, 0x21, IPV4), "wanted 36 bytes for the addresses of family 2, found 12"),
    (binary(PROXY, 0x31, UNIX[:-1]), "wanted 216 bytes for the addresses of family 3, found 215"),
    (binary(PROXY, 0x11, IPV4, LONGEST_REST + 1), "wanted 536 bytes of addresses at most, found 537"),
    (binary(LOCAL, 0x00, b"", 65535), "wanted 536 bytes of addresses at most, found 65535"),
    (summed(PROXY, 0x11, IPV4, damage=1), "wanted the CRC32c of the header, 0x"),
    (summed(PROXY, 0x21, IPV6 + TLV, TLV, damage=0x80000000), "wanted the CRC32c of the header, 0x"),
    (summed(PROXY, 0x00, b"", damage=1), "wanted the CRC32c of the header, 0x"),
    (summed(PROXY, 0x10, IPV4, damage=1), "wanted the CRC32c of the header, 0x"),
    (binary(PROXY, 0x11, IPV4 + EMPTY_CHECKSUM), "wanted the CRC32c of the header, 0x"),
    (binary(PROXY, 0x11, IPV4 + EMPTY_CHECKSUM * 2), "wanted the CRC32c of the header once, found it twice"),
    (binary(PROXY, 0x11, IPV4 + b"\x03\x00\x03abc"), "wanted 4 bytes of CRC32c, found 3"),
    (binary(PROXY, 0x11, IPV4 + b"\x03\x00\x05abcde"), "wanted 4 bytes of CRC32c, found 5"),
    (binary(PROXY, 0x11, IPV4 + TLV[:-1]), "wanted 3 bytes of type 0x04, found 2"),
    (binary(PROXY, 0x11, IPV4 + TLV + b"\x04\x00"), "wanted a type and a length, found 2 bytes"),
]


@pytest.mark.parametrize(("data", "header"), VALID)
def test_a_header_says_who_the_client_is_and_ends_where_it_ends(data: bytes, header: Header) -> None:
    assert read(data) == (header, len(data))
    assert read(data + b"EHLO\r\n") == (header, len(data))
    assert len(data) <= LONGEST


@pytest.mark.parametrize(("data", "complaint"), INVALID)
def test_what_is_no_header_is_refused_with_what_was_wanted_and_found(data: bytes, complaint: str) -> None:
    with pytest.raises(ProxyHeaderError) as caught:
        read(data)
    assert complaint in str(caught.value)
    assert isinstance(caught.value, AntiphonError)


@given(st.integers(0, 27), st.integers(0, 7))
def test_with_a_checksum_no_bit_of_addresses_or_values_can_be_wrong(place: int, bit: int) -> None:
    data = summed(PROXY, 0x11, IPV4 + TLV, TLV)
    types_and_lengths = {at + offset for at in (28, 34, 41) for offset in range(3)}
    values = [at for at in range(16, len(data)) if at not in types_and_lengths]
    damaged = bytearray(data)
    damaged[values[place % len(values)]] ^= 1 << bit
    with pytest.raises(ProxyHeaderError, match="wanted the CRC32c"):
        read(bytes(damaged))


def test_the_longest_header_of_version_1_is_taken() -> None:
    line = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"
    assert len(line) == LONGEST_LINE
    assert read(line)[1] == LONGEST_LINE


def test_nothing_may_be_fed_behind_the_header() -> None:
    reader = HeaderReader()
    reader.feed(b"PROXY UNKNOWN\r\n")
    with pytest.raises(ValueError, match="wanted nothing more"):
        reader.feed(b"x")


def outcome(pieces: list[bytes]) -> Any:
    """The header and how many bytes are its own; "refused"; or "incomplete"."""
    reader, used = HeaderReader(), 0
    for piece in pieces:
        try:
            taken = reader.feed(piece)
        except ProxyHeaderError:
            return "refused"
        used += taken
        if reader.header is not None:
            return reader.header, used
        assert taken == len(piece), "all of it is taken until the header is complete"
    return "incomplete"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


BEGINNINGS = st.sampled_from([data for data, _ in VALID] + [data for data, _ in INVALID])
CUTS = st.lists(st.integers(0, LONGEST), max_size=20)


@given(BEGINNINGS, st.binary(max_size=40), CUTS)
def test_any_cut_gives_the_same(beginning: bytes, behind: bytes, places: list[int]) -> None:
    data = beginning + behind
    assert outcome(cut(data, places)) == outcome([data])
    assert outcome([bytes([byte]) for byte in data]) == outcome([data])


@given(BEGINNINGS, st.data(), CUTS)
def test_damage_is_noticed_at_any_cut_alike(beginning: bytes, data: st.DataObject, places: list[int]) -> None:
    damaged = bytearray(beginning)
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(cut(bytes(damaged), places)) == outcome([bytes(damaged)])


@given(st.binary(max_size=2 * LONGEST))
def test_no_input_is_more_than_refused(data: bytes) -> None:
    found = outcome([data])
    assert found in ("refused", "incomplete") or found[1] <= len(data)


@given(st.sampled_from(VALID), st.binary(max_size=100))
def test_never_is_a_byte_read_that_is_behind_the_header(valid: tuple[bytes, Header], behind: bytes) -> None:
    data, header = valid
    assert outcome([data + behind]) == (header, len(data))
    assert outcome([data[:-1]]) == "incomplete"


PORTS = st.integers(0, 65535)


def read_in_both_versions(family: int, one: Any, other: Any, here: int, there: int) -> Header:
    """What both say of these addresses."""
    line = f"PROXY TCP{one.version} {one} {other} {here} {there}\r\n".encode()
    packed = binary(PROXY, family, one.packed + other.packed + struct.pack("!HH", here, there))
    first, second = read(line)[0], read(packed)[0]
    assert first is not None
    assert second is not None
    assert (first.source, first.destination) == (second.source, second.destination)
    return first


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), PORTS, PORTS)
def test_both_versions_say_the_same_of_ipv4(
    one: IPv4Address, other: IPv4Address, here: int, there: int
) -> None:
    header = read_in_both_versions(0x11, one, other, here, there)
    assert header.source == (socket.inet_ntop(socket.AF_INET, one.packed), here)


@given(st.ip_addresses(v=6), st.ip_addresses(v=6), PORTS, PORTS)
def test_both_versions_say_the_same_of_ipv6(
    one: IPv6Address, other: IPv6Address, here: int, there: int
) -> None:
    header = read_in_both_versions(0x21, one, other, here, there)
    assert IPv6Address(header.source[0]) == one
    assert header.source[1:] == (here, 0, 0)
