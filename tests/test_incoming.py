"""What a channel delivers of what it receives; in test_incoming_model.py, however it is cut."""

from typing import Any

import pytest

from antiphon.asynchat import async_chat
from chat_support import Chat, Patient, ScriptedSocket, connected, fed, once, turn

TERMINATORS = [b"\n", b"\r\n", b"\r\n\r\n", b"aab", b"\0" * 40, b"ab" * 20 + b"c", bytes(range(256)) * 64]


def chat(terminator: Any = b"\n", *script: Any) -> Patient:
    return Patient(ScriptedSocket(*script), terminator=terminator)


# -- terminators that are bytes


@pytest.mark.parametrize("terminator", TERMINATORS, ids=lambda terminator: f"{len(terminator)} bytes")
def test_a_terminator_ends_each_message_wherever_it_is_cut(terminator: bytes) -> None:
    data = b"one" + terminator + terminator + b"three" + terminator + b"four"
    for cut in range(3, len(data), max(1, len(terminator) // 25)):
        channel = fed(chat(terminator), data[:cut], data[cut:])
        assert channel.messages == [b"one", b"", b"three"]
        assert channel.unfinished == b"four"


def test_an_empty_message_is_a_terminator_alone() -> None:
    channel = chat()
    collected: list[bytes] = []
    channel.on_data = collected.append
    fed(channel, b"\n\n", b"\n")
    assert channel.messages == [b"", b"", b""]
    assert collected == []


def test_the_beginning_of_a_terminator_is_held_back() -> None:
    channel = fed(chat(b"\r\n\r\n"), b"head\r\n\r")
    assert channel.unfinished == b"head"
    assert channel.ac_in_buffer == b"\r\n\r"


def test_the_beginning_of_a_terminator_that_does_not_go_on_belongs_to_the_message() -> None:
    channel = fed(chat(b"\r\n\r\n"), b"head\r\n\r", b"body")
    assert channel.unfinished == b"head\r\n\rbody"
    assert channel.ac_in_buffer == b""


def test_nothing_but_the_beginning_of_a_terminator_is_no_data() -> None:
    channel = chat(b"\r\n")
    channel.on_data = lambda piece: pytest.fail("data")
    fed(channel, b"\r")
    assert channel.ac_in_buffer == b"\r"


def test_an_overlapping_terminator_is_found_where_it_first_ends() -> None:
    assert fed(chat(b"aba"), b"xab", b"aba", b"ba").messages == [b"x", b"b"]


def test_pieces_of_data_are_bytes_of_at_least_one() -> None:
    channel = chat(b"\r\n")
    pieces: list[bytes] = []
    channel.on_data = pieces.append
    fed(channel, b"a\r", b"b\r\n\r\nc\r\nd", bytes(9), b"\r", b"\n")
    assert {type(piece) for piece in pieces} == {bytes}
    assert all(pieces)


# -- lengths


def test_a_length_ends_the_message_after_so_many_bytes() -> None:
    channel = chat(4)
    channel.on_found = lambda message: channel.set_terminator(4)
    fed(channel, b"on", b"e.two.thr", b"e")
    assert channel.messages == [b"one.", b"two.", b"thre"]


def test_a_length_is_counted_down() -> None:
    channel = chat(10)
    left = []
    for piece in (b"abc", b"d", b"efghi"):
        fed(channel, piece)
        left.append((channel.terminator, channel.get_terminator()))
    assert left == [(7, 7), (6, 6), (1, 1)]
    assert channel.messages == []


def test_a_length_that_is_reached_is_0_when_that_is_told() -> None:
    channel = chat(3)
    seen: list[Any] = []
    channel.on_found = lambda message: seen.append(channel.terminator)
    fed(channel, b"abc")
    assert seen == [0]


def test_after_a_length_was_reached_everything_is_collected() -> None:
    channel = fed(chat(3), b"abcdef", b"ghi")
    assert channel.messages == [b"abc"]
    assert channel.unfinished == b"defghi"


def test_a_length_ends_exactly_with_a_read_as_well() -> None:
    channel = fed(chat(4), b"abcd")
    assert channel.messages == [b"abcd"]


def test_a_length_says_nothing_of_the_reads_to_come_when_none_of_it_is_left_over() -> None:
    channel = chat(2)
    channel.on_found = once(lambda: channel.set_terminator(b"\n"))
    fed(channel, b"ab", b"cd\n")
    assert channel.messages == [b"ab", b"cd"]


def test_a_huge_length_is_fine() -> None:
    channel = fed(chat(2**80), b"abc")
    assert channel.terminator == 2**80 - 3


class Length(int):
    """A length with a class of its own, as of an enumeration."""


def test_a_length_may_be_of_a_subclass_of_int() -> None:
    assert fed(chat(Length(3)), b"ab", b"cd").messages == [b"abc"]


# -- no end


@pytest.mark.parametrize("terminator", [None, 0, b"", "", bytearray()], ids=repr)
def test_without_a_terminator_everything_is_collected(terminator: Any) -> None:
    channel = fed(chat(terminator), b"one\n", b"\r\n\r\n", b"two\0")
    assert channel.messages == []
    assert channel.pieces == [b"one\n", b"\r\n\r\n", b"two\0"]
    assert channel.ac_in_buffer == b""


def test_before_a_terminator_was_set_everything_is_collected() -> None:
    class Unset(async_chat):
        pieces: list[bytes]

        def collect_incoming_data(self, data: bytes) -> None:
            self.pieces.append(data)

    channel = Unset(ScriptedSocket(b"one\n", b"two"), {})
    channel.pieces = []
    channel.handle_read()
    channel.handle_read()
    assert channel.pieces == [b"one\n", b"two"]
    assert channel.get_terminator() is None


# -- what is a terminator


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"\r\n", b"\r\n"),
        (bytearray(b"\r\n"), b"\r\n"),
        (memoryview(b"\r\n"), b"\r\n"),
        (17, 17),
        (Length(17), 17),
        (0, 0),
        (None, None),
        (b"", b""),
        ("", b""),
    ],
)
def test_what_was_set_is_what_one_gets(given: Any, kept: Any) -> None:
    channel = chat(b"before")
    channel.set_terminator(given)
    assert channel.get_terminator() == channel.terminator == kept
    assert type(channel.get_terminator()) is type(kept)


def test_a_terminator_does_not_change_with_the_bytearray_that_it_was_set_from() -> None:
    mutable = bytearray(b"\n")
    channel = chat(mutable)
    mutable[:] = b"x"
    assert fed(channel, b"axb\n").messages == [b"axb"]


@pytest.mark.parametrize(
    ("term", "error", "wanted", "found"),
    [
        ("text", TypeError, "use_encoding", "str: 'text'"),
        (-1, ValueError, "0 bytes or more", "-1"),
        (Length(-5), ValueError, "0 bytes or more", "-5"),
        (True, TypeError, "bytes, an int or None", "bool: True"),
        (False, TypeError, "bytes, an int or None", "bool: False"),
        (1.0, TypeError, "bytes, an int or None", "float: 1.0"),
        ([b"\n"], TypeError, "bytes, an int or None", "list"),
        (object, TypeError, "bytes, an int or None", "type"),
    ],
    ids=repr,
)
def test_a_wrong_terminator_is_refused_at_the_call(term: Any, error: Any, wanted: str, found: str) -> None:
    channel = chat(b"before")
    with pytest.raises(error, match="wanted") as refused:
        channel.set_terminator(term)
    assert wanted in str(refused.value)
    assert found in str(refused.value)
    assert channel.get_terminator() == b"before"


def test_the_error_for_a_long_wrong_terminator_is_short() -> None:
    with pytest.raises(TypeError) as refused:
        chat(b"before").set_terminator("x" * 100_000)
    assert len(str(refused.value)) < 300


# -- the callbacks


def test_a_channel_without_collect_incoming_data_says_so() -> None:
    with pytest.raises(NotImplementedError, match="async_chat has no collect_incoming_data"):
        async_chat(map={}).collect_incoming_data(b"x")


def test_a_channel_without_found_terminator_says_so() -> None:
    with pytest.raises(NotImplementedError, match="async_chat has no found_terminator"):
        async_chat(map={}).found_terminator()


def test_what_is_kept_in_incoming_is_taken_whole() -> None:
    class Keeping(Chat):
        collect_incoming_data = async_chat._collect_incoming_data
        lines: list[bytes]

        def found_terminator(self) -> None:
            self.lines.append(self._get_data())

    channel = Keeping(ScriptedSocket())
    channel.lines = []
    kept = channel.incoming
    fed(channel, b"o", b"ne\ntw")
    assert channel.lines == [b"one"]
    assert channel.incoming == [b"tw"]
    assert channel.incoming is kept
    fed(channel, b"o\n\n")
    assert channel.lines == [b"one", b"two", b""]


def test_a_callback_may_be_replaced_on_the_instance_at_any_time() -> None:
    channel = chat()
    calls: list[str] = []

    def second() -> None:
        calls.append("second")

    def first() -> None:
        calls.append("first")
        if len(calls) == 4:
            channel.found_terminator = second  # type: ignore[method-assign]

    channel.found_terminator = first  # type: ignore[method-assign]
    fed(channel, b"\n" * 9)
    assert calls == ["first"] * 4 + ["second"] * 5


def test_collect_incoming_data_may_be_replaced_on_the_instance_at_any_time() -> None:
    channel = chat()
    others: list[bytes] = []
    channel.on_found = once(lambda: setattr(channel, "collect_incoming_data", others.append))
    fed(channel, b"one\ntwo\nthree")
    assert (channel.messages, others) == ([b"one", b""], [b"two", b"three"])


@pytest.mark.parametrize(
    "answer", [b"\n", bytearray(b"\n"), memoryview(b"\n")], ids=lambda answer: type(answer).__name__
)
@pytest.mark.timeout(5)
def test_an_overridden_get_terminator_decides(answer: Any) -> None:
    class Deciding(Patient):
        def get_terminator(self) -> Any:
            return answer

    channel = Deciding(ScriptedSocket(), terminator=b"something else")
    fed(channel, b"one\ntwo\nthr", b"ee\nfour\nfive\nsix")
    assert channel.messages == [b"one", b"two", b"three", b"four", b"five"]
    assert channel.unfinished == b"six"


@pytest.mark.timeout(5)
def test_an_overridden_get_terminator_may_answer_differently_each_time() -> None:
    class Alternating(Patient):
        def get_terminator(self) -> bytes:
            return bytes(bytearray(b"\r\n" if len(self.messages) % 2 else b";"))

    channel = Alternating(ScriptedSocket())
    fed(channel, b"one;two\r\nthree", b";four;\r", b"\nfive\r\n;")
    assert channel.messages == [b"one", b"two", b"three", b"four;", b"five\r\n"]


@pytest.mark.timeout(5)
def test_an_overridden_get_terminator_may_answer_with_a_length_of_its_own_class() -> None:
    class Counting(Patient):
        def get_terminator(self) -> Any:
            return Length(self.terminator) if isinstance(self.terminator, int) else self.terminator

    assert fed(Counting(ScriptedSocket(), terminator=3), b"abcd").messages == [b"abc"]


def test_a_terminator_that_was_assigned_holds_like_one_that_was_set() -> None:
    channel = chat()
    channel.terminator = bytearray(b";")
    fed(channel, b"one;two;")
    channel.terminator = Length(3)
    fed(channel, b"th", b"ree")
    assert channel.messages == [b"one", b"two", b"thr"]


@pytest.mark.timeout(5)
@pytest.mark.parametrize("term", [-3, True, 1.5, "text"], ids=repr)
def test_a_wrong_terminator_that_was_assigned_is_an_error_of_the_channel(term: Any) -> None:
    with connected(Patient) as (channel, peer):
        channel.terminator = term
        channel.on_found = lambda message: pytest.fail("nothing can end")
        peer.sendall(b"one\n")
        turn(channel._map)
        assert [type(error) for error in channel.errors] in ([TypeError], [ValueError])
        assert "wanted" in str(channel.errors[0])


# -- text


class Text(Patient):
    use_encoding = 1


def test_with_use_encoding_a_terminator_may_be_text() -> None:
    channel = Text(ScriptedSocket(), terminator="\u00e9")
    assert channel.get_terminator() == b"\xe9"
    assert fed(channel, b"one\xe9two\xe9").messages == [b"one", b"two"]


def test_text_is_encoded_in_the_encoding_of_the_channel() -> None:
    class Utf8(Text):
        encoding = "utf-8"

    channel = Utf8(ScriptedSocket(), terminator="\u00e9")
    assert fed(channel, b"one\xc3", b"\xa9two\xe9\xc3\xa9").messages == [b"one", b"two\xe9"]


def test_with_use_encoding_text_may_be_received() -> None:
    channel = Text(ScriptedSocket("on", "e\ntw", "\u00e9\n"))
    for _ in range(3):
        channel.handle_read()
    assert channel.messages == [b"one", b"tw\xe9"]


def test_with_use_encoding_an_assigned_terminator_may_be_text() -> None:
    channel = Text(ScriptedSocket())
    channel.terminator = ";"
    assert fed(channel, b"one;two;").messages == [b"one", b"two"]


def test_without_use_encoding_received_text_is_an_error_of_the_channel() -> None:
    with pytest.raises(TypeError, match=r"wanted bytes as input, found str: 'text'"):
        chat(b"\n", "text").handle_read()


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_received_data_may_be_of_any_kind_of_bytes(make: Any) -> None:
    data = bytearray(b"one\ntw")
    channel = chat(b"\n", make(data))
    channel.handle_read()
    data[:] = b"??????"
    assert channel.messages == [b"one"]
    assert channel.pieces == [b"tw"]
    assert type(channel.pieces[0]) is bytes
