"""What `tests/test_message_channel_model.py` can't see from outside: what is copied, joined, and kept."""

import pickle
import tracemalloc
from typing import Any

import pytest

from antiphon.errors import AntiphonError, MessageTooLong
from antiphon.framing.messages import MessageBuffer


def filled(*pieces: bytes, term: Any = b"\n", limit: int | None = None) -> tuple[MessageBuffer, list[bytes]]:
    """A buffer that has got the pieces one by one, and the messages that came out."""
    buffer, messages = MessageBuffer(), []
    for piece in pieces:
        buffer.add(piece)
        while taken := buffer.take(term, limit)[0]:
            messages += taken
            buffer.use(len(taken))
    return buffer, messages


def test_a_new_buffer_is_empty() -> None:
    buffer = MessageBuffer()
    assert buffer.is_empty
    assert buffer.rest() == b""
    assert buffer.take(b"\n", None) == ([], [])


def test_what_is_behind_the_messages_is_kept() -> None:
    buffer, messages = filled(b"a\nb\nc")
    assert messages == [b"a", b"b"]
    assert not buffer.is_empty
    assert buffer.rest() == b"c"


@pytest.mark.parametrize("term", [b"abcd", (b"abcd", b"abce"), (b"xabd", b"abcd"), b"bcd", (b"bcd", b"bd")])
def test_a_terminator_may_arrive_byte_by_byte(term: Any) -> None:
    pieces = [bytes([byte]) for byte in b"1abababcd2abcd"]
    buffer, messages = filled(*pieces, term=term)
    left = b"" if b"a" in (term if isinstance(term, bytes) else term[0]) else b"a"
    assert messages == [b"1abab" + left, b"2" + left]
    assert buffer.is_empty


@pytest.mark.parametrize("term", [b"\n", (b"\n", b"\r")])
def test_a_long_rest_behind_a_part_of_a_run_is_kept(term: Any) -> None:
    buffer = MessageBuffer()
    buffer.add(b"a\n;" + b"x" * 600 + b"\n")
    buffer.take(term, None)
    buffer.use(0)
    buffer.add(b"y;" + b"x" * 600)
    assert buffer.take(b"!", None) == ([], [])
    assert len(buffer.rest()) == 1206
    buffer.add(b"!")
    assert list(map(len, buffer.take(b"!", None)[0])) == [1206]


def test_when_the_terminator_stays_runs_become_longer_again() -> None:
    buffer, runs = MessageBuffer(), []
    buffer.add(b"1234567\n" * 10_000)
    buffer.take(b"\n", None)
    buffer.use(1)
    while messages := buffer.take(b"\n", None)[0]:
        runs.append(len(messages))
        buffer.use(len(messages))
    assert runs == [64, 256, 1024, 4096, 4559]


@pytest.mark.parametrize("term", [b";", (b";", b"!"), 600, None])
def test_a_message_may_be_longer_than_what_is_split_at_once(term: Any) -> None:
    buffer = MessageBuffer()
    buffer.add(b"a\nb\n" + b"x" * 598 + b";" + b"y" * 300)
    buffer.take(b"\n", None)
    buffer.use(1)
    [message] = buffer.take(term, None)[0]
    assert message == b"b\n" + b"x" * 598 + (b";" + b"y" * 300 if term is None else b"")
    buffer.use(1)
    assert buffer.rest() == {600: b";" + b"y" * 300, None: b""}.get(term, b"y" * 300)


@pytest.mark.parametrize("term", [b"\n", (b"\n", b"\r"), 2])
def test_a_part_of_a_run_may_be_used(term: Any) -> None:
    buffer = MessageBuffer()
    buffer.add(b"a\nb\nc\nd\n")
    messages = buffer.take(term, None)[0]
    assert len(messages) == 4
    buffer.use(3)
    assert buffer.rest() == b"d\n"
    assert buffer.take(term, None)[0] == messages[3:]


def test_nothing_is_kept_behind_the_last_message() -> None:
    buffer, messages = filled(b"a\nb", b"\n")
    assert messages == [b"a", b"b"]
    assert buffer.is_empty


@pytest.mark.parametrize(("used", "rest"), [(0, b"ab\nc\nd"), (1, b"c\nd"), (2, b"d"), (None, b"d")])
def test_the_rest_is_what_is_behind_the_used_ones(used: int | None, rest: bytes) -> None:
    buffer, _ = filled(b"a")
    buffer.add(b"b\nc\nd")
    assert buffer.take(b"\n", None) == ([b"ab", b"c"], [b"\n", b"\n"])
    assert buffer.rest(used) == rest
    buffer.add(b"e")
    assert buffer.rest(used) == rest + b"e"
    buffer.use(2 if used is None else used)
    assert buffer.rest() == rest + b"e"


def test_using_nothing_is_told() -> None:
    buffer = MessageBuffer()
    buffer.add(b"a\nb\n")
    buffer.take(b"\n", None)
    assert not buffer.use(0)
    buffer.take(b"\n", None)
    assert buffer.use(1)
    buffer.take(b"\n", None)
    assert buffer.use(1)
    buffer.add(b"c")
    buffer.take(b"\n", None)
    buffer.add(b"\n")
    buffer.take(b"\n", None)
    assert buffer.use(1)
    assert buffer.take(0, None) == ([b""], [b""])
    assert not buffer.use(1)


def test_what_is_missing_of_a_length_is_known() -> None:
    buffer, _ = filled(b"abc", term=10)
    assert buffer.missing == 7
    assert filled(b"abc")[0].missing == 0
    assert MessageBuffer().missing == 0


@pytest.mark.parametrize(
    "pieces",
    [
        [b"x" * 11 + b"\nok\n"],
        [b"x" * 11, b"\nok\n"],
        [b"x" * 10, b"x\nok\n"],
        [b"x" * 10, b"x", b"\n", b"ok\n"],
        [b"x" * 12, b"x" * 50, b"x\nok", b"\n"],
    ],
)
def test_a_message_that_is_too_long_is_told_once_and_skipped(pieces: list[bytes]) -> None:
    buffer = MessageBuffer()
    errors, messages = [], []
    for piece in pieces:
        buffer.add(piece)
        while True:
            try:
                taken = buffer.take(b"\n", 10)[0]
            except MessageTooLong as error:
                errors.append(error)
                continue
            if not taken:
                break
            messages += taken
            buffer.use(len(taken))
    assert messages == [b"ok"]
    [told] = errors
    assert told.limit == 10
    assert told.size > 10
    assert told.beginning == b"x" * min(told.size, 40)
    assert buffer.is_empty


def test_the_error_says_what_was_allowed_and_what_was_found() -> None:
    error = MessageTooLong(10, 12, b"abc")
    assert (
        str(error) == "wanted a message of at most 10 bytes, found one of at least 12 that begins with b'abc'"
    )
    assert isinstance(error, AntiphonError)
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_of_what_is_skipped_nothing_is_kept() -> None:
    buffer = MessageBuffer()
    buffer.add(b"x" * 20)
    with pytest.raises(MessageTooLong):
        buffer.take(b"\n", 10)
    tracemalloc.start()
    try:
        for _ in range(100):
            buffer.add(bytes(100_000))
            assert buffer.take(b"\n", 10) == ([], [])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000
    assert not buffer.is_empty


def test_a_skipped_message_ends_as_it_began_whatever_is_set_meanwhile() -> None:
    buffer = MessageBuffer()
    buffer.add(b"x" * 20)
    with pytest.raises(MessageTooLong):
        buffer.take(b"\n", 10)
    buffer.add(b"x;x\nok;")
    assert buffer.take(b";", 10) == ([b"ok"], [b";"])


def parts_of(buffer: MessageBuffer) -> list[tuple[bytes, bytes | None]]:
    """All parts that there are."""
    parts = []
    while buffer.in_parts and (part := buffer.take_part()) != (b"", None):
        parts.append(part)
    return parts


def divided(term: Any, *pieces: bytes, limit: int = 2) -> tuple[MessageBuffer, list[Any]]:
    """A buffer that has got the pieces, and the parts of the message that was too long, read by read."""
    buffer, parts = MessageBuffer(), []
    for piece in pieces:
        buffer.add(piece)
        if not buffer.in_parts:
            with pytest.raises(MessageTooLong):
                buffer.take(term, limit)
            buffer.divide()
        parts.append(parts_of(buffer))
    return buffer, parts


def test_a_message_that_is_too_long_can_be_had_in_parts() -> None:
    buffer, parts = divided(b"\r\n", b"123", b"4\r", b"5\r", b"\nok\r\n")
    assert parts == [[(b"123", None)], [(b"4", None)], [(b"\r5", None)], [(b"", b"\r\n")]]
    assert not buffer.in_parts
    assert buffer.take(b"\r\n", 2) == ([b"ok"], [b"\r\n"])


def test_what_has_ended_is_a_part_of_its_own() -> None:
    for term, pieces in [(b";", [b"123;ok;"]), (3, [b"123ok;"])]:
        buffer, parts = divided(term, *pieces)
        assert [part for part, _ in parts[0]] == [b"123"]
        assert buffer.take(b";", 2) == ([b"ok"], [b";"])


def test_a_part_has_what_came_in_several_pieces() -> None:
    buffer = MessageBuffer()
    for piece in b"1", b"2":
        buffer.add(piece)
        assert buffer.take(b"\r\n", 2) == ([], [])
    buffer.add(b"\r")
    assert buffer.take(b"\r\n", 2) == ([], [])
    buffer.add(b"3")
    with pytest.raises(MessageTooLong):
        buffer.take(b"\r\n", 2)
    buffer.divide()
    assert buffer.rest() == b"12\r3"
    buffer.add(b"4")
    buffer.add(b"5")
    assert parts_of(buffer) == [(b"12\r345", None)]
    assert buffer.rest() == b""


def test_a_terminator_that_has_begun_behind_a_part_is_in_the_rest() -> None:
    buffer, _ = divided(b"\r\n", b"123\r")
    assert buffer.rest() == b"\r"
    assert not buffer.is_empty


def test_a_message_that_is_to_be_had_in_parts_is_in_the_rest() -> None:
    buffer = MessageBuffer()
    buffer.add(b"123;ok")
    with pytest.raises(MessageTooLong):
        buffer.take(b";", 2)
    assert buffer.rest() == b"ok"
    buffer.divide()
    assert buffer.rest() == b"123;ok"
    assert not buffer.is_empty


def test_a_length_above_the_limit_is_told_before_anything_has_come_and_again_with_its_next_message() -> None:
    buffer = MessageBuffer()
    with pytest.raises(MessageTooLong, match=r"^wanted a message of at most 2 bytes, found one of 3$"):
        buffer.take(3, 2)
    for piece in b"12", b"3":
        buffer.add(piece)
        assert buffer.take(3, 2) == ([], [])
    buffer.add(b"1")
    with pytest.raises(MessageTooLong):
        buffer.take(3, 2)


class Counted(bytes):
    """Bytes that add up what is looked for in them, and what is copied out of them."""

    looked_at = copied = 0

    def split(self, what: Any = None, count: Any = -1) -> list[bytes]:
        Counted.looked_at += len(self)
        return super().split(what, count)

    def find(self, what: Any, start: Any = 0, stop: Any = None) -> int:
        found = super().find(what, start)
        Counted.looked_at += (len(self) if found < 0 else found + len(what)) - start
        return found

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(part, int) or len(part) == len(self):
            return self if isinstance(part, bytes) else part
        Counted.copied += len(part)
        return Counted(part)


def test_of_a_long_message_each_byte_is_looked_at_once_and_copied_once() -> None:
    Counted.looked_at = Counted.copied = 0
    piece = Counted(b"x" * 4096)
    buffer, messages = filled(Counted(b"y\r\n" + piece), *[piece] * 99, Counted(b"\r\n"), term=b"\r\n")
    size = 100 * len(piece)
    assert list(map(len, messages)) == [1, size]
    assert size <= Counted.looked_at < size + 1000
    assert Counted.copied <= len(piece) + 1000  # Behind the first message.
    assert buffer.is_empty


def test_a_message_in_tiny_pieces_is_not_kept_in_as_many_objects() -> None:
    buffer = MessageBuffer()
    pieces = [bytes([65 + number % 7]) * 3 for number in range(7)]
    tracemalloc.start()
    try:
        for number in range(100_000):
            buffer.add(bytes(bytearray(pieces[number % 7])))
            buffer.take(b"\n", None)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * 300_000
    assert buffer.rest() == b"".join(pieces[number % 7] for number in range(100_000))


def test_large_pieces_are_not_joined_before_the_end() -> None:
    buffer = MessageBuffer()
    tracemalloc.start()
    try:
        for _ in range(600):
            buffer.add(bytes(4096))
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            buffer.take(b"\n", None)
            assert tracemalloc.get_traced_memory()[1] - before < 20_000
    finally:
        tracemalloc.stop()


def test_terminators_in_turn_do_not_split_all_that_waits_for_each_message() -> None:
    """Each message has a terminator of its own: what is split in vain is bounded."""
    copied = 0

    class Split(bytes):
        def __getitem__(self, key: Any) -> Any:
            nonlocal copied
            part = super().__getitem__(key)
            copied += len(part)
            return part

    buffer, count = MessageBuffer(), 1000
    buffer.add(Split(b"line\nbody;" * count))
    terms, messages = (b"\n", b";"), []
    for number in range(2 * count):
        taken = buffer.take(terms[number % 2], None)[0]
        messages.append(taken[0])
        buffer.use(1)
    assert messages == [b"line", b"body"] * count
    assert copied < 10_000 * count


# -- numbers of bytes ----------------------------------------------------------------------------------


def test_bytes_may_be_cut_between_messages() -> None:
    buffer = MessageBuffer()
    buffer.add(b"3\nabc5\nhe")
    buffer.add(b"llo1\n")
    assert buffer.take(b"\n", None)[0] == [b"3", b"abc5", b"hello1"]
    buffer.use(1)
    assert buffer.cut(3) == b"abc"
    assert buffer.take(b"\n", None)[0][0] == b"5"
    buffer.use(1)
    assert buffer.cut(5) == b"hello"
    assert buffer.rest() == b"1\n"


@pytest.mark.parametrize(
    ("pieces", "count", "rest"),
    [
        ([b"abcdef"], 6, b""),
        ([b"abcdef"], 2, b"cdef"),
        ([b"ab", b"cd", b"ef"], 1, b"bcdef"),
        ([b"ab", b"cd", b"ef"], 3, b"def"),
        ([b"ab", b"cd", b"ef"], 5, b"f"),
        ([b"ab", b"cd", b"ef"], 6, b""),
        ([b"abcdef"], 0, b"abcdef"),
    ],
)
def test_bytes_are_cut_of_pieces(pieces: list[bytes], count: int, rest: bytes) -> None:
    buffer = MessageBuffer()
    for piece in pieces:
        buffer.add(piece)
    assert buffer.size == 6
    assert buffer.cut(count) == b"abcdef"[:count]
    assert buffer.size == len(rest)
    assert buffer.rest() == rest


def test_bytes_are_cut_of_a_message_that_has_begun() -> None:
    buffer, _ = filled(b"abc", b"def")
    buffer.add(b"ghi\n")
    assert buffer.size == 10
    assert buffer.cut(7) == b"abcdefg"
    assert buffer.take(b"\n", None)[0] == [b"hi"]


def test_what_is_out_is_not_counted() -> None:
    buffer = MessageBuffer()
    buffer.add(b"a\nb\nc")
    buffer.take(b"\n", None)
    assert buffer.size == 1
    buffer.use(1)
    assert buffer.size == 3


def test_a_message_that_is_skipped_ends_before_bytes_are_cut() -> None:
    buffer = MessageBuffer()
    assert buffer.skip()
    buffer.add(b"x" * 20)
    with pytest.raises(MessageTooLong):
        buffer.take(b"\n", 10)
    assert not buffer.skip()
    buffer.add(b"xx")
    assert (buffer.skip(), buffer.size) == (False, 0)
    buffer.add(b"x\nabc")
    assert (buffer.skip(), buffer.size) == (True, 3)
    assert buffer.cut(3) == b"abc"
