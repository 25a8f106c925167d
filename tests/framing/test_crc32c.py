"""The checksum Castagnoli, by the examples of RFC 3720."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.framing.crc32c import crc32c

#: RFC 3720, appendix B.4, which has the bytes in the order of iSCSI: the lowest first.
PDU = bytes.fromhex(
    "01c00000 00000000 00000000 00000000 14000000 00000400"
    "00000014 00000018 28000000 00000000 02000000 00000000"
)
EXAMPLES = [
    (bytes(32), "aa36918a"),
    (b"\xff" * 32, "43aba862"),
    (bytes(range(32)), "4e79dd46"),
    (bytes(reversed(range(32))), "5cdb3f11"),
    (PDU, "563a96d9"),
    (b"", "00000000"),
]


@pytest.mark.parametrize(("data", "checksum"), EXAMPLES)
def test_it_is_that_of_the_rfc(data: bytes, checksum: str) -> None:
    assert crc32c(data).to_bytes(4, "little").hex() == checksum


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_damage_within_32_bits_is_noticed(data: bytes, draws: st.DataObject) -> None:
    place = draws.draw(st.integers(0, len(data) - 1))
    damage = draws.draw(st.binary(min_size=1, max_size=4).filter(any))[: len(data) - place]
    damaged = bytearray(data)
    for offset, bits in enumerate(damage):
        damaged[place + offset] ^= bits
    assert (crc32c(bytes(damaged)) == crc32c(data)) == (damaged == data)
