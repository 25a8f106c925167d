"""What a handler may do, one thing at a time; test_message_channel_model.py has all of them at random."""

import sys
from typing import Any

import pytest

import antiphon
from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat
from antiphon.errors import MessageTooLong
from chat_support import CountingSocket, ScriptedSocket, connected, fed, received
from test_package import output_of


class Messages(MessageChannel):
    """Notes its messages, and what ended each."""

    def __init__(self, *script: Any, **named: Any) -> None:
        super().__init__(ScriptedSocket(*script), {})
        self.messages: list[bytes] = []
        self.ends: list[bytes] = []
        self.errors: list[BaseException] = []
        self.actions: dict[bytes, Any] = {}

    def message_received(self, message: bytes) -> None:
        self.messages.append(message)
        self.ends.append(self.last_terminator)
        self.actions.get(message, lambda: None)()


class Batches(MessageChannel):
    """Notes its batches."""

    def __init__(self) -> None:
        super().__init__(ScriptedSocket(), {})
        self.batches: list[list[bytes]] = []
        self.ends: list[bytes] = []
        self.returns: list[Any] = []
        self.on_batch: Any = lambda: None

    def messages_received(self, messages: list[bytes]) -> int | None:
        self.batches.append(messages)
        self.ends.append(self.last_terminator)
        self.on_batch()
        return self.returns.pop(0) if self.returns else None


# -- messages ------------------------------------------------------------------------------------------------


def test_a_line_at_a_time_is_what_a_channel_begins_with() -> None:
    channel = fed(Messages(), b"one\r\ntwo\r\n\r\nthr", b"ee\r", b"\n")
    assert channel.messages == [b"one", b"two", b"", b"three"]
    assert channel.ends == [b"\r\n"] * 4


def test_all_messages_of_a_read_are_one_batch() -> None:
    channel = fed(Batches(), b"a\r\nb\r\n", b"c\r", b"\nd\r\ne", b"\r\n")
    assert channel.batches == [[b"a", b"b"], [b"c", b"d"], [b"e"]]


@pytest.mark.parametrize("lines", [b"one\r\n", b"one\r\ntwo\r\nthree\r\n"])
def test_to_tell_that_all_were_used_costs_no_more_than_not_to_tell(
    lines: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(MessageChannel):
        count = 0

        def messages_received(self, messages: list[bytes]) -> int:
            self.count += len(messages)
            return len(messages)

    def made() -> Any:
        raise AssertionError("a buffer was made, though nothing is to be kept")

    monkeypatch.setattr("antiphon.message_channel.MessageBuffer", made)
    monkeypatch.setattr(Counted, "_ac_own_buffer", lambda channel: made())
    channel = Counted(ScriptedSocket(), {})
    channel.feed(lines)
    channel.feed(lines)
    assert channel.count == 2 * lines.count(b"\n")


def test_terminators_that_overlap_are_told_apart_from_the_front() -> None:
    channel = Messages()
    channel.set_terminator(b"aa")
    fed(channel, b"xaaa", b"aaa")
    assert channel.messages == [b"x", b"", b""]
    assert channel.ac_in_buffer == b""


def test_of_alternatives_the_one_that_ended_a_message_is_known() -> None:
    channel = Messages()
    channel.set_terminator((b"\r\n", b"\n"))
    assert channel.get_terminator() == (b"\r\n", b"\n")
    fed(channel, b"a\nb\r\nc\r", b"\nd\n")
    assert list(zip(channel.messages, channel.ends, strict=True)) == [
        (b"a", b"\n"),
        (b"b", b"\r\n"),
        (b"c", b"\r\n"),
        (b"d", b"\n"),
    ]


def test_in_a_batch_the_last_terminator_is_that_of_the_last_message() -> None:
    channel = Batches()
    channel.set_terminator((b"\r\n", b"\n"))
    fed(channel, b"a\nb\r\n", b"c\r\nd\n", b"e\r", b"\nf\ng")
    assert channel.ends == [b"\r\n", b"\n", b"\n"]


def test_a_length_stays() -> None:
    channel = Messages()
    channel.set_terminator(3)
    fed(channel, b"abcdef", b"g", b"hij")
    assert channel.messages == [b"abc", b"def", b"ghi"]
    assert channel.ends == [b"", b"", b""]
    assert channel.get_terminator() == 3


def test_without_a_terminator_each_read_is_a_message() -> None:
    channel = Messages()
    channel.set_terminator(None)
    fed(channel, b"abc\r\n", b"d")
    assert channel.messages == [b"abc\r\n", b"d"]
    assert channel.last_terminator == b""


def test_a_line_and_a_body_take_turns() -> None:
    channel = Messages()
    channel.actions = {
        b"5": lambda: channel.set_terminator(5),
        b"hello": lambda: channel.set_terminator(b"\r\n"),
        b"0": lambda: channel.set_terminator(0),
        b"": lambda: channel.set_terminator(b"\r\n"),
    }
    fed(channel, b"5\r\nhello0\r\n0\r\n5\r\nhel", b"lo5\r\n", b"hello")
    assert channel.messages == [b"5", b"hello", b"0", b"", b"0", b"", b"5", b"hello", b"5", b"hello"]


def test_an_empty_body_is_delivered_with_the_line_before_it() -> None:
    channel = Messages()
    channel.actions = {
        b"0": lambda: channel.set_terminator(0),
        b"": lambda: channel.set_terminator(b"\n"),
    }
    fed(channel, b"0\r\n")
    assert channel.messages == [b"0", b""]


def test_an_empty_body_may_follow_an_empty_body() -> None:
    channel = Messages()
    following = iter([0, 0, b"\n"])
    channel.actions = {b"": lambda: channel.set_terminator(next(following))}
    channel.set_terminator(0)
    assert channel.messages == []
    fed(channel, b"a\n")
    assert channel.messages == [b"", b"", b"", b"a"]


def test_nothing_is_delivered_for_ever() -> None:
    channel = Messages()
    channel.set_terminator(0)
    with pytest.raises(ValueError, match="nothing was used with 0"):
        channel.feed(b"a")
    assert channel.messages == [b""]


def test_a_class_may_say_what_its_channels_begin_with() -> None:
    class Lines(Messages):
        terminator: Any = (b"\r\n", bytearray(b"\n"))

    class Records(Lines):
        terminator: Any = 2

    class AsItComes(Records):
        terminator = None

    assert Lines.terminator == (b"\r\n", b"\n")
    assert fed(Lines(), b"a\nb\r\n").messages == [b"a", b"b"]
    assert fed(Records(), b"abcd").messages == [b"ab", b"cd"]
    assert fed(AsItComes(), b"abcd").messages == [b"abcd"]
    assert MessageChannel.terminator == b"\r\n"


def test_the_terminator_may_be_assigned() -> None:
    channel = Messages()
    channel.terminator = bytearray(b"\n")
    assert channel.terminator == b"\n"
    assert fed(channel, b"a\nb\n").messages == [b"a", b"b"]


@pytest.mark.parametrize("term", [b"", (), -1])
def test_a_class_with_an_impossible_terminator_is_refused(term: Any) -> None:
    with pytest.raises(ValueError, match="wanted"):
        type("Wrong", (MessageChannel,), {"terminator": term})


def test_setting_what_is_set_changes_nothing() -> None:
    channel = Batches()
    channel.on_batch = lambda: channel.set_terminator(bytes(bytearray(b"\r\n")))
    fed(channel, b"a\r\nb\r\nc", b"\r\n")
    assert channel.batches == [[b"a", b"b"], [b"c"]]


def test_what_is_kept_is_looked_at_again_when_the_terminator_has_changed() -> None:
    channel = fed(Messages(), b"abc;def")
    channel.set_terminator(b";")
    assert channel.messages == []
    channel.feed(b"")
    assert channel.messages == [b"abc"]
    channel.set_terminator(1)
    fed(channel, b"g")
    assert channel.messages == [b"abc", b"d", b"e", b"f", b"g"]


def test_a_class_without_a_handler_says_so() -> None:
    class Nothing(MessageChannel):
        pass

    channel = Nothing(ScriptedSocket(b"a\r\n"), {})
    with pytest.raises(NotImplementedError, match=r"Nothing has no message_received\(message\)"):
        channel.handle_read_event()


# -- batches that are used in part ---------------------------------------------------------------------------


def test_what_a_batch_does_not_use_is_framed_again() -> None:
    channel = Batches()
    channel.returns = [1]
    channel.on_batch = lambda: channel.set_terminator(b";")
    fed(channel, b"a\r\nb\r\n;c;", b"d;")
    assert channel.batches == [[b"a", b"b"], [b"b\r\n", b"c"], [b"d"]]


def test_a_batch_may_be_used_bit_by_bit_without_another_terminator() -> None:
    channel = Batches()
    channel.returns = [1, 1, 1]
    fed(channel, b"a\r\nb\r\nc\r\n")
    assert channel.batches == [[b"a", b"b", b"c"], [b"b", b"c"], [b"c"]]


@pytest.mark.parametrize("term", [b"\r\n", (b"\r\n", b"\n"), 3])
@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (-1, ValueError, "wanted 0 to 2 as the number of messages that were used, found -1"),
        (3, ValueError, "wanted 0 to 2 as the number of messages that were used, found 3"),
        ("1", TypeError, "wanted None or an int, how many of 2 messages were used, found str: '1'"),
        (True, TypeError, "found bool: True"),
        (0, ValueError, "nothing was used"),
    ],
)
def test_an_impossible_number_of_used_messages_is_an_error(
    term: Any, wrong: Any, error: type[Exception], words: str
) -> None:
    channel = Batches()
    channel.set_terminator(term)
    channel.returns = [wrong]
    with pytest.raises(error, match=words):
        channel.feed(b"a\r\nb\r\nc")
    channel.set_terminator(1)
    channel.feed(b"")
    assert b"".join(channel.batches[-1]) == (b"a\r\nb\r\nc" if wrong == 0 else b"c")


def test_an_override_that_forgets_the_number_loses_nothing() -> None:
    class Forgetful(Messages):
        def messages_received(self, messages: list[bytes]) -> None:
            super().messages_received(messages)

    channel = Forgetful()
    channel.actions = {b"a": lambda: channel.set_terminator(b";"), b"b\r\n": channel.close}
    fed(channel, b"a\r\nb\r\n;")
    assert channel.messages == [b"a", b"b\r\n"]


def test_an_override_may_leave_messages_out() -> None:
    class Picky(Messages):
        def messages_received(self, messages: list[bytes]) -> int | None:
            super().messages_received([message for message in messages if message])
            return None

    channel = Picky()
    assert fed(channel, b"a\r\n\r\nb\r\n", b"\r\n").messages == [b"a", b"b"]
    channel.actions = {b"a": channel.close}
    assert fed(channel, b"\r\na\r\nb\r\n").messages == [b"a", b"b", b"a"]


# -- limits --------------------------------------------------------------------------------------------------


class Limited(Messages):
    max_message_size: int | None = 4

    def handle_overflow(self, error: MessageTooLong) -> None:
        self.errors.append(error)


@pytest.mark.parametrize("term", [b"\r\n", (b"\r\n", b"\n")])
@pytest.mark.parametrize(
    "pieces",
    [
        [b"ok\r\n1234\r\n12345\r\nok\r\n12345"],
        [b"ok\r\n1234\r", b"\n12345\r", b"\nok\r\n1234", b"5"],
        [bytes([byte]) for byte in b"ok\r\n1234\r\n12345\r\nok\r\n12345"],
        [b"ok\r\n1234\r\n", b"12345\r\n", b"ok\r\n", b"12345"],
    ],
)
def test_a_message_may_be_as_long_as_the_limit_and_no_longer(pieces: list[bytes], term: Any) -> None:
    channel = Limited()
    channel.set_terminator(term)
    fed(channel, *pieces)
    assert channel.messages == [b"ok", b"1234", b"ok"]
    assert [str(error)[:43] for error in channel.errors] == [
        "wanted a message of at most 4 bytes, found "
    ] * 2


def test_a_batch_is_no_message() -> None:
    channel = Batches()
    channel.max_message_size = 1
    fed(channel, b"a\r\nb\r\nc\r\n")
    assert channel.batches == [[b"a", b"b", b"c"]]


def test_without_a_limit_any_length_is_fine() -> None:
    channel = Messages()
    channel.max_message_size = None
    fed(channel, b"x" * 2_000_000, b"\r\n")
    assert list(map(len, channel.messages)) == [2_000_000]


def test_the_limit_is_a_mebibyte() -> None:
    channel = fed(Messages(), b"x" * 2**20, b"\r\nok\r\n")
    assert list(map(len, channel.messages)) == [2**20, 2]


def test_what_comes_as_it_is_has_no_limit() -> None:
    channel = Limited()
    channel.set_terminator(None)
    channel.feed(b"12345")
    assert (channel.messages, channel.errors) == ([b"12345"], [])


def test_a_length_may_be_as_large_as_the_limit_and_no_larger() -> None:
    channel = Limited()
    channel.set_terminator(4)
    assert fed(channel, b"12345678").messages == [b"1234", b"5678"]
    channel.set_terminator(5)
    assert fed(channel, b"12345").messages == [b"1234", b"5678"]
    assert str(channel.errors[0]) == "wanted a message of at most 4 bytes, found one of 5"
    channel.max_message_size = None
    assert fed(channel, b"12345").messages == [b"1234", b"5678", b"12345"]


def test_a_class_with_a_length_above_its_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 4 bytes, max_message_size, as the terminator, found 5"):
        type("Bad", (Limited,), {"terminator": 5})


def test_a_handler_may_answer_before_the_connection_ends() -> None:
    class Answering(Messages):
        max_message_size = 4

        def handle_overflow(self, error: MessageTooLong) -> None:
            self.push(b"500 line too long\r\n")
            self.close_when_done()

    channel = fed(Answering(), b"ok\r\n12345\r\nok\r\n")
    assert channel.messages == [b"ok"]
    assert channel.closing


# -- the end, errors, and loops inside of handlers -----------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "close_when_done", "handle_close"])
def test_nothing_is_delivered_after_the_end(end: str) -> None:
    channel = Messages()
    channel.push(b"x")
    channel.actions = {b"quit": getattr(channel, end)}
    fed(channel, b"a\r\nquit\r\nb\r\nc", b"\r\nd\r\n")
    channel.feed(b"e\r\n")
    assert channel.messages == [b"a", b"quit"]
    assert channel.ac_in_buffer == b""


def test_what_is_put_into_the_buffer_of_a_closed_channel_is_not_delivered() -> None:
    channel = Messages()

    def end() -> None:
        channel.close()
        channel.ac_in_buffer = b"b\r\n"

    channel.actions = {b"a": end}
    assert fed(channel, b"a\r\n").messages == [b"a"]


def test_a_closing_mark_that_is_taken_back_lets_input_in_again() -> None:
    channel = Messages()
    channel._ac_cork = 3
    channel.close_when_done()
    channel.feed(b"a\r\n")
    channel.producer_fifo.clear()
    channel._ac_cork = 0
    channel.feed(b"b\r\n")
    assert channel.messages == [b"b"]


@pytest.mark.parametrize("data", [b"a\r\nbad\r\nb\r\n", b"a\r\nbad\r\nb\r\nc"])
def test_what_a_failed_handler_leaves_comes_with_the_next_read(data: bytes) -> None:
    channel = Messages()
    channel.actions = {b"bad": lambda: 1 / 0}
    with pytest.raises(ZeroDivisionError):
        fed(channel, data)
    assert channel.messages == [b"a", b"bad"]
    fed(channel, b"d\r\n")
    assert channel.messages == [b"a", b"bad", b"b", data.endswith(b"c") * b"c" + b"d"]


def test_a_handler_that_closes_and_fails_leaves_nothing() -> None:
    channel = Messages()

    def fail() -> None:
        channel.close()
        raise ZeroDivisionError

    channel.actions = {b"bad": fail}
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"bad\r\nb\r\n")
    assert channel.ac_in_buffer == b""


def test_a_batch_counts_as_used_when_its_handler_fails() -> None:
    channel = Batches()
    channel.on_batch = lambda: 1 / 0 if len(channel.batches) == 1 else None
    with pytest.raises(ZeroDivisionError):
        fed(channel, b"a\r\nb\r\nc")
    fed(channel, b"d\r\n")
    assert channel.batches == [[b"a", b"b"], [b"cd"]]


def test_a_message_that_a_handler_waits_for_in_a_loop_of_its_own_arrives() -> None:
    channel = Messages()
    seen: list[bytes] = []

    def ask() -> None:
        fed(channel, b"answer\r\n")
        seen.append(channel.messages[-1])

    channel.actions = {b"ask": ask}
    fed(channel, b"ask\r\nnext\r\nask\r\n", b"ask\r\n")
    assert channel.messages == [b"ask", b"next", b"ask", b"answer", b"answer", b"ask", b"answer"]
    assert seen == [b"answer"] * 3


def test_a_message_that_has_arrived_already_can_be_asked_for() -> None:
    channel = Messages()
    order: list[bytes] = []

    def ask() -> None:
        channel.feed(b"")
        order.extend(channel.messages)

    channel.actions = {b"ask": ask}
    fed(channel, b"ask\r\nanswer\r\nnext\r\n")
    assert order == channel.messages == [b"ask", b"answer", b"next"]


def test_what_arrives_while_a_batch_is_handled_waits_for_its_end() -> None:
    channel = Batches()
    order: list[str] = []

    def nested() -> None:
        order.append("begin")
        if len(channel.batches) == 1:
            fed(channel, b"c\r\nd")
        order.append("end")

    channel.on_batch = nested
    fed(channel, b"a\r\nb\r\n", b"\r\n")
    assert channel.batches == [[b"a", b"b"], [b"c"], [b"d"]]
    assert order == ["begin", "end"] * 3


def test_pushes_of_a_feed_leave_together() -> None:
    channel = Messages()
    channel.actions = {b"a": lambda: channel.push(b"1"), b"b": lambda: channel.push(b"2")}
    channel.feed(b"a\r\nb\r\n")
    assert channel.socket.sent == [b"12"]
    channel.coalesce_pushes = False
    channel.feed(b"a\r\nb\r\n")
    assert channel.socket.sent == [b"12", b"1", b"2"]


def test_only_bytes_can_be_fed() -> None:
    channel = Messages()
    channel.feed(memoryview(b"a\r\n"))
    assert channel.messages == [b"a"]
    with pytest.raises(TypeError, match="wanted bytes as input, found str"):
        channel.feed("a\r\n")


# -- the buffer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "rest"),
    [(b"a\r\nswitch\r\nb\r\nc", b"b\r\nc"), (b"switch\r\nb\r\n", b"b\r\n"), (b"switch\r\n", b"")],
)
def test_inside_of_a_message_the_buffer_is_what_follows_it(data: bytes, rest: bytes) -> None:
    channel = Messages()
    seen: list[bytes] = []
    channel.actions = {b"switch": lambda: seen.extend([channel.ac_in_buffer, channel.take_buffer()])}
    fed(channel, data)
    assert seen == [rest, rest]
    assert channel.messages[-1] == b"switch"
    assert channel.take_buffer() == b""


@pytest.mark.parametrize(("used", "rest"), [(None, b"c"), (0, b"a\r\nb\r\nc"), (1, b"b\r\nc"), (2, b"c")])
def test_inside_of_a_batch_the_buffer_is_what_follows_the_used_ones(used: int | None, rest: bytes) -> None:
    channel = Batches()
    taken: list[bytes] = []
    channel.on_batch = lambda: taken.append(channel.take_buffer(used))
    channel.returns = [1]
    fed(channel, b"a\r\nb\r\nc")
    assert taken == [rest]
    channel.on_batch = lambda: None
    assert fed(channel, b"d\r\n").batches == [[b"a", b"b"], [b"d"]]


def test_more_than_there_was_can_not_be_used() -> None:
    channel = Batches()
    channel.on_batch = lambda: channel.take_buffer(3)
    with pytest.raises(ValueError, match="wanted 0 to 2 as the number of messages that were used, found 3"):
        fed(channel, b"a\r\nb\r\n")


def test_between_reads_the_buffer_is_what_is_not_complete() -> None:
    channel = fed(Messages(), b"a\r\nb", b"c\r")
    assert channel.ac_in_buffer == b"bc\r"
    assert channel.take_buffer() == b"bc\r"
    assert channel.take_buffer() == b""
    assert fed(channel, b"\nd\r\n").messages == [b"a", b"\nd"]


def test_the_buffer_may_be_replaced() -> None:
    channel = fed(Messages(), b"a")
    channel.ac_in_buffer = b"b\r\nc"
    assert channel.messages == []
    assert fed(channel, b"\r\n").messages == [b"b", b"c"]
    channel.actions = {b"d": lambda: setattr(channel, "ac_in_buffer", b"f\r\n")}
    assert fed(channel, b"d\r\ne\r\n").messages == [b"b", b"c", b"d", b"f"]


def test_discarding_the_buffers_drops_what_is_kept() -> None:
    channel = fed(Messages(), b"a")
    channel.discard_buffers()
    assert fed(channel, b"b\r\n").messages == [b"b"]


# -- what it costs -------------------------------------------------------------------------------------------


class Pong(MessageChannel):
    def __init__(self, sock: Any) -> None:
        super().__init__(sock, {})
        self.batches = 0

    def messages_received(self, messages: list[bytes]) -> None:
        self.batches += 1
        self.push(b"".join([message + b"\r\n" for message in messages]))


class PongEach(MessageChannel):
    def __init__(self, sock: Any) -> None:
        super().__init__(sock, {})

    def message_received(self, message: bytes) -> None:
        self.push(message + b"\r\n")


@pytest.mark.parametrize("make", [Pong, PongEach])
@pytest.mark.parametrize("lines", [1, 64])
def test_lines_that_come_together_cost_one_recv_and_one_send(make: Any, lines: int) -> None:
    with connected(make) as (channel, peer):
        sock = channel.socket
        assert isinstance(sock, CountingSocket)
        peer.send(b"ping\r\n" * lines)
        asyncore.loop(0, map=channel._map, count=1)
        assert received(peer) == b"ping\r\n" * lines
        assert (len(sock.recvs), len(sock.sends)) == (1, 1)
        assert getattr(channel, "batches", 1) == 1


def functions_called_by(channel: MessageChannel, data: bytes) -> list[str]:
    """The Python functions that run when `data` is fed, by name."""
    called: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        channel._ac_feed(data)
    finally:
        sys.setprofile(None)
    return called


def test_a_read_that_is_whole_messages_takes_a_call_for_each_and_two() -> None:
    channel = Messages()
    functions_called_by(channel, b"a\r\n")
    for lines in (1, 64):
        called = functions_called_by(channel, b"a\r\n" * lines)
        assert called[:2] == ["_ac_feed", "messages_received"]
        assert called.count("message_received") == lines
        assert len([name for name in called if name != "<lambda>"]) <= lines + 2 + (lines > 1)


def test_a_channel_at_rest_keeps_nothing_of_what_it_had() -> None:
    channel = fed(Messages(), b"x" * 100, b"\r\ny", b"\r\n", b"z\r\n")
    assert channel._ac_buffer is None
    assert channel._ac_messages is None


def test_of_a_long_body_as_much_is_read_as_is_missing() -> None:
    channel = Messages()
    channel.set_terminator(100_000)
    channel.socket.script = [bytes(65_536), bytes(100_000 - 65_536), b"x"]
    for _ in range(2):
        channel.handle_read_event()
    assert channel.socket.sizes == [65_536, 100_000 - 65_536]
    assert list(map(len, channel.messages)) == [100_000]


def test_a_line_behind_a_long_body_is_read_like_the_first() -> None:
    channel = Messages()
    channel.set_terminator(100_000)
    channel.actions[bytes(100_000)] = lambda: channel.set_terminator(b"\r\n")
    channel.socket.script = [bytes(65_536), bytes(100_000 - 65_536), b"x"]
    for _ in range(3):
        channel.handle_read_event()
    assert channel.socket.sizes == [65_536, 100_000 - 65_536, 4096]


def test_short_bodies_between_lines_leave_the_size_of_reads_as_it_has_grown() -> None:
    channel = Messages()
    channel.actions[b"5"] = lambda: channel.set_terminator(5)
    channel.actions[b"hello"] = lambda: channel.set_terminator(b"\r\n")
    channel.set_terminator(b"\r\n")
    channel.socket.script = [b"5\r\nhello" * 2000]
    for _ in range(3):
        channel.handle_read_event()
    assert channel.socket.sizes == [4096, 8192, 16_384]


# -- the package ---------------------------------------------------------------------------------------------


def test_the_package_has_the_channel() -> None:
    assert antiphon.MessageChannel is MessageChannel
    assert issubclass(MessageChannel, async_chat)
    assert "MessageChannel" in antiphon.__all__


def test_the_package_has_nothing_else_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'antiphon' has no attribute 'message_canal'"):
        antiphon.message_canal  # noqa: B018


def test_the_channel_can_be_imported_from_the_package_first() -> None:
    assert output_of("from antiphon import MessageChannel as M; print(M.__name__)") == "MessageChannel\n"
