"""What a message may grow to, one thing at a time; test_bounded_model.py has all of it at random."""

import contextlib
import logging
import sys
from typing import Any

import pytest

import loop_support
from antiphon import MessageChannel, bounded
from antiphon.asynchat import async_chat
from antiphon.errors import MessageTooLong
from antiphon.logs import LimitedLog
from chat_support import Chat, Patient, ScriptedSocket, connected, fed, received, turn
from loop_support import Wires, spin

wires = loop_support.wires


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have no part in how much may be said."""
    monkeypatch.setattr(bounded, "_limited", LimitedLog(logging.getLogger("antiphon.limits"), burst=10))


class Limited(Patient):
    """Notes what was too long."""

    max_message_size: int | None = 4

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(ScriptedSocket(), *arguments, **named)
        self.overflows: list[MessageTooLong] = []
        self.on_overflow: Any = lambda: None

    def handle_overflow(self, error: MessageTooLong) -> None:
        assert sys.exc_info()[1] is error
        self.overflows.append(error)
        self.pieces.clear()
        self.on_overflow()


class Collecting(async_chat):
    """Collects in the library's own way."""

    collect_incoming_data = async_chat._collect_incoming_data
    max_message_size = 4

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock or ScriptedSocket(), {} if map is None else map)
        self.messages: list[bytes] = []
        self.closes = 0
        self.set_terminator(b"\n")

    def found_terminator(self) -> None:
        self.messages.append(self._get_data())

    def handle_close(self) -> None:
        self.closes += 1
        self.close()


class Whole(MessageChannel):
    """Keeps its messages, and the parts of those that are too long."""

    terminator: Any = b"\n"
    max_message_size = 4

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock or ScriptedSocket(), {} if map is None else map)
        self.messages: list[bytes] = []
        self.parts: list[tuple[bytes, bool]] = []
        self.on_part: Any = lambda: None
        self.closes = 0

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)

    def message_part_received(self, part: bytes, last: bool) -> None:
        self.parts.append((part, last))
        self.on_part()

    def handle_close(self) -> None:
        self.closes += 1
        self.close()


each_kind = pytest.mark.parametrize("made", [Collecting, Whole])
STREAM = b"ok\n1234\n12345\nok\n12345678"
each_cut = pytest.mark.parametrize(
    "pieces",
    [
        [STREAM],
        [bytes([byte]) for byte in STREAM],
        [b"ok\n1234", b"\n12345", b"\nok\n1234", b"5678"],
        [b"ok\n1234\n1", b"2345\nok\n12345678"],
    ],
    ids=["whole", "bytes", "at the ends", "in the middle"],
)


# -- what is too long ----------------------------------------------------------------------------------------


def test_a_chat_has_no_limit_of_its_own() -> None:
    assert async_chat.max_message_size is None
    channel = fed(Chat(ScriptedSocket()), b"x" * 2_000_000, b"\n")
    assert list(map(len, channel.messages)) == [2_000_000]


@each_cut
def test_a_message_may_be_as_long_as_the_limit_and_no_longer(pieces: list[bytes]) -> None:
    channel = fed(Limited(), *pieces)
    assert channel.messages == [b"ok", b"1234", b"ok"]
    assert [(error.limit, error.size, error.beginning) for error in channel.overflows] == [
        (4, 5, b"12345")
    ] * 2


def test_what_may_be_the_beginning_of_a_terminator_does_not_count_until_it_is_none() -> None:
    channel = fed(Limited(terminator=b"aab"), b"1234a", b"a")
    assert channel.overflows == []
    assert fed(channel, b"b").messages == [b"1234"]
    fed(channel, b"1234aa", b"c")
    assert len(channel.overflows) == 1
    assert fed(channel, b"aaa", b"bok", b"aab").messages == [b"1234", b"ok"]


def test_of_a_message_that_is_too_long_the_program_gets_as_much_as_is_allowed() -> None:
    for pieces in [b"ok\n123456"], [b"ok\n12", b"3456"], [b"ok\n1234", b"5"]:
        seen: list[bytes] = []
        channel = Limited()
        channel.on_data = seen.append
        fed(channel, *pieces)
        assert b"".join(seen) == b"ok1234"


def test_the_error_shows_the_first_bytes_only() -> None:
    for pieces in [b"x" * 30 + b"y" * 100], [b"x" * 30, b"y" * 30, b"y" * 70]:
        channel = Limited()
        channel.max_message_size = 100
        [error] = fed(channel, *pieces).overflows
        assert error.beginning == b"x" * 30 + b"y" * 10


def test_a_length_above_the_limit_is_too_long_before_any_of_it_has_come() -> None:
    for made in Limited, NotingLength:
        channel: Any = made()
        channel.on_found = lambda message: channel.set_terminator(int(message))  # noqa: B023
        fed(channel, b"4\n", b"1234", b"5\n") if made is NotingLength else fed(channel, b"5\n")
        [error] = channel.overflows
        assert (error.limit, error.size, error.beginning) == (4, 5, b"")
        assert str(error) == "wanted a message of at most 4 bytes, found one of 5"


class NotingLength(Whole):
    """Takes turns: the length of a message, and a message."""

    def __init__(self) -> None:
        super().__init__()
        self.overflows: list[MessageTooLong] = []

    def message_received(self, message: bytes) -> None:
        super().message_received(message)
        self.set_terminator(int(message) if self.get_terminator() == b"\n" else b"\n")

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.overflows.append(error)
        self.set_terminator(b"\n")


def test_behind_a_length_that_is_dropped_comes_what_handle_overflow_has_set() -> None:
    for pieces in [b"5\n123452\nok"], [b"5\n", b"123", b"452\no", b"k"], [b"5\n12345", b"2\nok"]:
        channel = fed(NotingLength(), *pieces)
        assert channel.messages == [b"5", b"2", b"ok"]
        classic = Limited()
        classic.on_found = lambda message: classic.set_terminator(  # noqa: B023
            int(message) if classic.get_terminator() == b"\n" else b"\n"  # noqa: B023
        )
        classic.on_overflow = lambda: classic.set_terminator(b"\n")  # noqa: B023
        assert fed(classic, *pieces).messages == [b"5", b"2", b"ok"]


def test_a_terminator_that_is_set_while_pieces_come_ends_them() -> None:
    for pieces in [b"5\nab\nok\n"], [b"5\n", b"a", b"b\no", b"k\n"]:
        channel = Limited(terminator=5)
        channel.overflow_policy = "pieces"
        channel.on_overflow = lambda: channel.set_terminator(b"\n")  # noqa: B023
        assert fed(channel, *pieces).messages == [b"5", b"ab", b"ok"]


def test_a_length_that_nobody_replaces_is_too_long_again() -> None:
    for made in Limited, Noted:
        for pieces in [b"12345"], [b"123", b"45"]:
            channel: Any = made()
            channel.set_terminator(5)
            fed(channel, *pieces)
            assert len(channel.overflows) == 1
            fed(channel, *pieces)
            assert len(channel.overflows) == 2
            channel.set_terminator(4)
            assert fed(channel, b"1234").messages == [b"1234"]


class Noted(Whole):
    """Stays open."""

    def __init__(self, sock: Any = None, map: Any = None) -> None:
        super().__init__(sock, map)
        self.overflows: list[MessageTooLong] = []

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.overflows.append(error)


@pytest.mark.parametrize("endless", [None, 0, b""])
def test_where_nothing_ends_a_message_nothing_is_too_long(endless: Any) -> None:
    channel = fed(Limited(terminator=endless), b"12345678", b"9")
    assert channel.unfinished == b"123456789"
    channel.set_terminator(b"\n")
    assert fed(channel, b"1234", b"\n").messages == [b"1234567891234"]
    assert channel.overflows == []


def test_what_was_counted_of_a_message_counts_with_another_terminator() -> None:
    channel = fed(Limited(), b"123")
    channel.set_terminator(b";")
    assert fed(channel, b"4;12", b"3").messages == [b"1234"]
    channel.set_terminator(2)
    fed(channel, b"45")
    assert len(channel.overflows) == 1
    channel = fed(Limited(), b"12", b"3")
    channel.set_terminator(1)
    assert fed(channel, b"4").messages == [b"1234"]


def test_a_terminator_that_has_begun_and_is_replaced_is_looked_at_with_the_other() -> None:
    channel = fed(Limited(terminator=b"\r\n"), b"1234\r")
    channel.set_terminator(b"\r")
    assert fed(channel, b"5").messages == [b"1234"]
    channel = fed(Limited(terminator=b"\r\n"), b"1234\r")
    channel.set_terminator(b";")
    fed(channel, b";")
    assert len(channel.overflows) == 1


def test_a_terminator_may_be_asked_for_in_any_form() -> None:
    class Asked(Limited):
        answer: Any = bytearray(b"\n")

        def get_terminator(self) -> Any:
            return self.answer

    channel = fed(Asked(), b"1234\n12345\nok\n")
    assert channel.messages == [b"1234", b"ok"]
    Asked.use_encoding, Asked.answer = 1, "\n"
    assert fed(channel, b"1234\n12345\nok\n").messages == [b"1234", b"ok"] * 2


# -- what becomes of it --------------------------------------------------------------------------------------


@each_kind
@each_cut
def test_by_default_a_line_is_logged_and_the_connection_ends(
    made: Any, pieces: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    channel = fed(made(), *pieces)
    assert channel.messages == [b"ok", b"1234"]
    assert channel.closing
    assert channel.closes == 1
    [record] = caplog.records
    assert (record.name, record.levelno, record.exc_info) == ("antiphon.limits", logging.WARNING, None)
    assert " connected 127.0.0.1:1 at " in record.getMessage()
    assert record.getMessage().endswith(
        ">: wanted a message of at most 4 bytes, found one of at least 5 "
        "that begins with b'12345'; closing it"
    )


@each_kind
def test_a_peer_that_is_always_too_long_cannot_fill_the_log(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    channel = made()
    channel.overflow_policy = "discard"
    fed(channel, b"12345\n" * 100)
    assert len(caplog.records) == 10


@each_kind
@pytest.mark.parametrize("policy", ["close", "discard", "pieces"])
def test_a_loop_knows_why_it_ended_and_counts_what_was_delivered(
    wires: Wires, made: Any, policy: str
) -> None:
    channels = wires.map()
    channels.loop.collect_stats()
    channel, far = wires.channel(made, channels)
    channel.overflow_policy = policy
    for data in b"ok\n12\n", b"3", b"4\n", b"123456\nok\n", b"1\n2\n3\n4\n" * 50:
        with contextlib.suppress(BrokenPipeError):
            far.send(data)
        spin(channels)
    far.close()
    spin(channels)
    stats = channels.loop.stats()
    assert stats.closed["overflow" if policy == "close" else "peer"] == 1
    assert stats.messages == {"close": 3, "discard": 204, "pieces": 205}[policy]


def test_a_channel_that_pauses_instead_of_ending_has_not_ended_for_that(wires: Wires) -> None:
    class Pausing(Noted):
        def handle_overflow(self, error: MessageTooLong) -> None:
            self.pause_reading()

    channels = wires.map()
    channel, far = wires.channel(Pausing, channels)
    far.send(b"12345\n")
    spin(channels)
    channel.close()
    assert channels.loop.stats().closed["own"] == 1


@each_kind
def test_a_class_with_a_log_of_its_own_gets_the_line_there(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[tuple[str, str]] = []

    class Logging(made):  # type: ignore[misc]
        def log_info(self, message: str, type: str = "info") -> None:
            lines.append((message[-10:], type))

    fed(Logging(), b"12345\n")
    assert lines == [("closing it", "warning")]
    assert caplog.records == []


@each_kind
def test_a_channel_that_stays_open_at_the_end_is_closed(made: Any) -> None:
    class Staying(made):  # type: ignore[misc]
        def handle_close(self) -> None:
            self.closes += 1

    channel = fed(Staying(), b"12345\nok\n")
    assert channel.closing
    assert channel.messages == []
    assert channel.closes == 1


@each_kind
@each_cut
def test_what_is_discarded_leaves_the_next_message_in_step(
    made: Any, pieces: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    channel = made()
    channel.overflow_policy = "discard"
    fed(channel, *pieces, b"\nlast\n")
    assert channel.messages == [b"ok", b"1234", b"ok", b"last"]
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 2
    assert caplog.records[0].getMessage().endswith("; dropping it")


def test_what_is_discarded_must_be_forgotten_where_it_was_collected() -> None:
    class Forgetful(Patient):
        max_message_size = 4
        overflow_policy = "discard"

    channel = Forgetful(ScriptedSocket())
    with pytest.raises(
        TypeError, match=r"wanted a handle_overflow\(\) that forgets .* found none in Forgetful"
    ):
        fed(channel, b"ok\n")
    assert channel.messages == []


@each_cut
def test_in_pieces_the_program_is_told_once_and_given_everything(pieces: list[bytes]) -> None:
    told: list[bytes] = []

    class Streaming(Patient):
        max_message_size = 4
        overflow_policy = "pieces"

        def handle_overflow(self, error: MessageTooLong) -> None:
            super().handle_overflow(error)
            told.append(self.unfinished)

    channel = fed(Streaming(ScriptedSocket()), *pieces, b"9\nlast\n")
    assert channel.messages == [b"ok", b"1234", b"12345", b"ok", b"123456789", b"last"]
    assert told == [b"1234"] * 2


@each_cut
def test_a_message_channel_gives_parts_of_what_is_too_long_and_whole_messages_of_the_rest(
    pieces: list[bytes],
) -> None:
    channel = Whole()
    channel.overflow_policy = "pieces"
    fed(channel, *pieces, b"9\nlast\n")
    assert channel.messages == [b"ok", b"1234", b"ok", b"last"]
    assert b"".join(part for part, _ in channel.parts) == b"12345123456789"
    assert [last for _, last in channel.parts].count(True) == 2
    assert channel.last_terminator == b"\n"


def test_the_first_part_has_all_that_was_kept() -> None:
    channel = Whole()
    channel.overflow_policy = "pieces"
    channel.set_terminator(b"\r\n")
    fed(channel, b"12", b"34\r", b"5", b"\r", b"6", b"\r\n")
    assert channel.parts == [(b"1234\r5", False), (b"\r6", False), (b"", True)]


def test_a_length_above_the_limit_comes_in_parts() -> None:
    for pieces in [b"123456ok\n"], [b"123", b"456ok\n"]:
        channel = Whole()
        channel.overflow_policy = "pieces"
        channel.on_part = lambda: channel.set_terminator(b"\n")  # noqa: B023
        channel.set_terminator(6)
        fed(channel, *pieces)
        assert b"".join(part for part, _ in channel.parts) == b"123456"
        assert channel.parts[-1][1]
        assert channel.last_terminator == b"\n"
        assert channel.messages == [b"ok"]


def test_parts_without_a_method_for_them_are_an_error() -> None:
    class Unprepared(MessageChannel):
        max_message_size = 4
        overflow_policy = "pieces"

    channel = Unprepared(ScriptedSocket(), {})
    with pytest.raises(NotImplementedError, match=r"Unprepared has no message_part_received\(part, last\)"):
        channel.feed(b"12345")


def test_a_connection_may_be_handed_over_in_the_middle_of_a_message_that_is_too_long() -> None:
    for data, last, rest in [(b"12345\r", False, b"\r"), (b"12345\r\nrest", True, b"rest")]:
        channel = Whole()
        channel.overflow_policy = "pieces"
        channel.set_terminator(b"\r\n")
        taken: list[bytes] = []
        channel.on_part = lambda: taken.append(channel.take_buffer())  # noqa: B023
        fed(channel, data)
        assert channel.parts == [(b"12345", last)]
        assert taken == [rest]


def test_a_handler_may_take_what_is_too_long_before_any_part_of_it() -> None:
    for data in b"12345", b"12345\nok\n":

        class Taking(Whole):
            overflow_policy = "pieces"
            taken: bytes = b""

            def handle_overflow(self, error: MessageTooLong) -> None:
                self.taken = self.take_buffer()

        channel = fed(Taking(), b"ok\n" + data)
        assert channel.messages == [b"ok"]
        assert channel.taken == data
        assert channel.parts == []


def test_a_part_handler_that_feeds_keeps_the_order() -> None:
    channel = Whole()
    channel.overflow_policy = "pieces"
    more = [b"78\nok\n"]
    channel.on_part = lambda: channel.feed(more.pop()) if more else None
    fed(channel, b"12345", b"6")
    assert channel.parts == [(b"12345", False), (b"78", True)]
    assert channel.messages == [b"ok"]
    assert channel.ac_in_buffer == b"6"


def test_a_handler_that_leaves_the_channel_open_has_the_message_dropped() -> None:
    for made in Limited, Noted:
        channel: Any = made()
        fed(channel, b"12345", b"6", b"7\nok\n")
        assert channel.messages == [b"ok"]
        assert len(channel.overflows) == 1


def test_a_handler_may_answer_before_the_connection_ends() -> None:
    class Answering(Collecting):
        def handle_overflow(self, error: MessageTooLong) -> None:
            self.push(b"500 line too long\r\n")
            self.close_when_done()

    with connected(Answering) as (channel, peer):
        peer.sendall(b"ok\n12345\nok\n")
        turn(channel._map, 3)
        assert received(peer) == b"500 line too long\r\n"
        assert channel.messages == [b"ok"]
        assert channel.closing


def test_a_handler_that_fails_has_been_told() -> None:
    channel = Limited()
    channel.on_overflow = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"ok\n12345\nok\n")
    assert fed(channel, b"last\n").messages == [b"ok", b"ok", b"last"]
    assert len(channel.overflows) == 1


def test_a_callback_that_fails_has_been_called() -> None:
    for pieces, messages in [([b"ok\n12", b"3\n"], [b"ok", b"123"]), ([b"12\nok\n"], [b"12", b"ok"])]:
        channel = Limited()
        failures = [b"12"]
        channel.on_data = lambda piece: 1 / 0 if failures and failures.pop() == piece else None  # noqa: B023
        if len(pieces) > 1:
            failures.append(b"ok")
        for piece in [*pieces, b""]:
            try:
                if piece or channel._ac_has_more():
                    channel._ac_feed(piece)
            except ZeroDivisionError:
                continue
        assert channel.messages == messages


@pytest.mark.parametrize("end", ["close", "pause_reading"])
def test_a_piece_after_which_nothing_is_to_come_is_the_last_call(end: str) -> None:
    for before in 0, 1, 5:
        channel = Limited()
        channel.on_data = lambda piece: getattr(channel, end)() if piece == b"end" else None  # noqa: B023
        fed(channel, b"zero\n" * before + b"end\nnext\n")
        assert channel.messages == [b"zero"] * before
        assert channel.pieces == [b"end"]


# -- changes -------------------------------------------------------------------------------------------------


def test_a_limit_may_be_set_and_taken_off_at_any_time() -> None:
    channel = Limited()
    channel.max_message_size = None
    fed(channel, b"123456\n12")
    channel.max_message_size = 4
    fed(channel, b"34\n123")  # Counted from where it was set.
    channel.max_message_size = None
    assert fed(channel, b"45\n").messages == [b"123456", b"1234", b"12345"]
    assert channel.overflows == []


def test_a_limit_may_be_set_or_taken_off_by_a_callback() -> None:
    channel = Limited()

    def change(message: bytes) -> None:
        channel.max_message_size = {b"off": None, b"on": 4}.get(message, channel.max_message_size)

    channel.on_found = change
    fed(channel, b"off\n123456\non\n", b"12345\nok\n")
    assert channel.messages == [b"off", b"123456", b"on", b"ok"]


def test_a_limit_that_is_lowered_below_what_was_received_is_exceeded_with_the_next_byte() -> None:
    channel = fed(Limited(), b"1234")
    channel.max_message_size = 2
    fed(channel, b"5")
    assert len(channel.overflows) == 1


def test_another_connection_counts_afresh() -> None:
    for first in b"123", b"12345":
        channel = fed(Limited(), first)
        channel.close()
        channel.set_socket(ScriptedSocket())
        channel.connected = True
        channel.pieces.clear()
        assert fed(channel, b"1234\n").messages == [b"1234"]


# -- what is no limit ----------------------------------------------------------------------------------------

BAD_SIZES: list[tuple[Any, type[Exception], str]] = [
    ("10", TypeError, "wanted a number of bytes or None as max_message_size, found str: '10'"),
    (1.5, TypeError, "wanted a number of bytes or None as max_message_size, found float: 1.5"),
    (True, TypeError, "wanted a number of bytes or None as max_message_size, found bool: True"),
    (-1, ValueError, "wanted 0 bytes or more as max_message_size, found -1"),
]
BAD_POLICY = 'wanted "close", "discard" or "pieces" as overflow_policy, found \'drop\''


@each_kind
@pytest.mark.parametrize(("size", "error", "words"), BAD_SIZES)
def test_a_class_with_a_limit_that_is_none_is_refused(
    made: Any, size: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"^{words}$"):
        type("Bad", (made,), {"max_message_size": size})


@each_kind
def test_a_class_with_a_policy_that_is_none_is_refused(made: Any) -> None:
    with pytest.raises(ValueError, match=f"^{BAD_POLICY}$"):
        type("Bad", (made,), {"overflow_policy": "drop"})


@pytest.mark.parametrize(("size", "error", "words"), BAD_SIZES)
def test_a_chat_with_a_limit_that_is_none_says_so_at_its_first_read(
    size: Any, error: type[Exception], words: str
) -> None:
    channel = Limited()
    channel.max_message_size = size
    with pytest.raises(error, match=f"^{words}$"):
        fed(channel, b"x")


@each_kind
def test_a_channel_with_a_policy_that_is_none_says_so(made: Any) -> None:
    channel = made()
    channel.overflow_policy = "drop"
    with pytest.raises(ValueError, match=f"^{BAD_POLICY}$"):
        fed(channel, b"12345")


@each_kind
def test_limits_may_be_computed(made: Any) -> None:
    class Computed(made):  # type: ignore[misc]
        max_message_size = property(lambda self: 2)
        overflow_policy = property(lambda self: "discard")

    assert fed(Computed(), b"123\nok\n").messages == [b"ok"]
