from fuzz.pieces import Draft, ways_to_cut
from hypothesis import given
from hypothesis import strategies as st


def test_a_draft_is_used_up_from_its_beginning() -> None:
    draft = Draft(b"\x05abcdef")
    assert draft.number(3) == 1
    assert draft.take(2) == b"ab"
    assert draft.rest() == b"cdef"


def test_a_draft_that_has_run_out_is_zeros() -> None:
    draft = Draft(b"a")
    assert draft.take(3) == b"a\0\0"
    assert (draft.number(9), draft.rest()) == (0, b"")


@given(st.binary(max_size=100))
def test_no_piece_is_lost_and_none_is_empty(data: bytes) -> None:
    ways = list(ways_to_cut(data))
    assert [b"".join(pieces) for pieces in ways] == [data] * 3
    assert all(piece for pieces in ways for piece in pieces)
    assert list(ways_to_cut(data)) == ways
