"""One read event: how much is asked for, what may go wrong, and what work it makes."""

import itertools
import ssl
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.asynchat import async_chat
from chat_support import Chat, Patient, ScriptedSocket, connected, fed, turn


def sizes_asked(channel: Chat, *amounts: int) -> list[int]:
    """What each `recv` asked for, when these amounts arrive one after the other."""
    sock = channel.sock
    sock.sizes.clear()
    for amount in amounts:
        sock.script[:] = [bytes(amount)]
        channel.handle_read()
    return list(sock.sizes)


# -- how much


def test_a_read_event_is_one_recv() -> None:
    channel = Chat(ScriptedSocket(b"one\n", b"two\n"))
    channel.handle_read_event()
    assert channel.messages == [b"one"]


def test_the_default_size_is_the_one_of_the_documentation() -> None:
    assert async_chat.ac_in_buffer_size == 4096
    assert async_chat(map={}).ac_in_buffer_size == 4096
    assert sizes_asked(Chat(ScriptedSocket()), 1) == [4096]


def test_full_reads_double_the_default_size_up_to_256_kib() -> None:
    asked = sizes_asked(Chat(ScriptedSocket()), *[10**6] * 8)
    assert asked == [4096, 8192, 16384, 32768, 65536, 131072, 262144, 262144]


def test_quiet_channels_fall_back_to_the_default_size() -> None:
    channel = Chat(ScriptedSocket())
    sizes_asked(channel, *[10**6] * 5)
    asked = sizes_asked(channel, *[1] * 7)
    assert asked == [131072, 65536, 32768, 16384, 8192, 4096, 4096]


def test_of_a_long_message_as_much_is_asked_for_as_is_missing() -> None:
    channel = Chat(ScriptedSocket(), terminator=100_000)
    assert sizes_asked(channel, 10**6, 10**6, 10**6) == [65536, 34464, 4096]


def test_what_is_missing_of_a_long_message_is_asked_for_also_after_little_came() -> None:
    channel = Chat(ScriptedSocket(), terminator=50_000)
    assert sizes_asked(channel, 10, 10, 10**6, 10**6) == [50_000, 49_990, 49_980, 4096]


def test_of_a_short_message_it_is_not_asked_for_less_than_usual() -> None:
    channel = Chat(ScriptedSocket(), terminator=100)
    assert sizes_asked(channel, 10, 10) == [4096, 4096]


def test_a_size_that_was_set_is_asked_for_whatever_is_missing() -> None:
    channel = Chat(ScriptedSocket(), terminator=100_000)
    channel.ac_in_buffer_size = 1000
    assert sizes_asked(channel, 10**6, 10**6) == [1000, 1000]


def test_channels_grow_each_by_itself() -> None:
    busy, quiet = Chat(ScriptedSocket()), Chat(ScriptedSocket())
    sizes_asked(busy, 10**6, 10**6)
    assert sizes_asked(quiet, 1) == [4096]


def test_the_size_that_one_reads_stays_what_it_is() -> None:
    channel = Chat(ScriptedSocket())
    sizes_asked(channel, *[10**6] * 5)
    assert channel.ac_in_buffer_size == 4096


class Small(Chat):
    ac_in_buffer_size = 3


class Documented(Chat):
    ac_in_buffer_size = 4096


@pytest.mark.parametrize(("make", "size"), [(Small, 3), (Documented, 4096)])
def test_a_size_set_by_the_class_is_asked_for_exactly(make: type[Chat], size: int) -> None:
    assert sizes_asked(make(ScriptedSocket()), *[10**6] * 5, *[1] * 5) == [size] * 10


@pytest.mark.parametrize("size", [1, 4096, 65536])
def test_a_size_set_on_the_instance_is_asked_for_exactly(size: int) -> None:
    channel = Chat(ScriptedSocket())
    sizes_asked(channel, *[10**6] * 3)
    channel.ac_in_buffer_size = size
    assert sizes_asked(channel, *[10**6] * 3, 1) == [size] * 4


def test_a_size_set_before_the_base_class_is_initialised_is_asked_for_exactly() -> None:
    class Early(Chat):
        def __init__(self, *arguments: Any) -> None:
            self.ac_in_buffer_size = 7
            super().__init__(*arguments)

    assert sizes_asked(Early(ScriptedSocket()), *[100] * 3) == [7] * 3


def test_small_reads_make_the_same_messages() -> None:
    channel = Small(ScriptedSocket(b"one\ntwo\nthree\n"))
    while channel.sock.script:
        channel.handle_read()
    assert channel.messages == [b"one", b"two", b"three"]


def test_pipelined_lines_arrive_in_one_recv() -> None:
    with connected(Chat) as (channel, peer):
        peer.sendall(b"line\n" * 64)
        turn(channel._map)
        assert channel.messages == [b"line"] * 64
        assert channel.socket.recvs == [4096]


# -- what may go wrong


def test_no_data_is_no_event() -> None:
    channel = Patient(ScriptedSocket())
    channel.handle_read()
    assert (channel.messages, channel.errors, channel.closes) == ([], [], 0)


def test_the_end_of_the_connection_is_told_once() -> None:
    with connected(Chat) as (channel, peer):
        peer.close()
        turn(channel._map, 3)
        assert channel.closes == 1
        assert channel._map == {}


def test_what_came_before_the_end_of_the_connection_is_delivered() -> None:
    with connected(Chat) as (channel, peer):
        peer.sendall(b"one\ntwo")
        peer.close()
        turn(channel._map, 3)
        assert (channel.messages, channel.unfinished, channel.closes) == ([b"one"], b"two", 1)


def test_a_reset_connection_is_closed() -> None:
    channel = Chat(ScriptedSocket(ConnectionResetError(104, "reset")))
    channel.handle_read()
    assert (channel.closes, channel._map) == (1, {})


def test_another_error_of_the_socket_goes_to_handle_error() -> None:
    channel = Patient(ScriptedSocket(OSError(5, "input/output error"), b"one\n"))
    channel.handle_read()
    assert [str(error) for error in channel.errors] == ["[Errno 5] input/output error"]
    channel.handle_read()
    assert channel.messages == [b"one"]


class Tls(Patient):
    """Has a `recv` that wants something else before it can give data."""

    wants: list[Exception]

    def recv(self, buffer_size: int) -> bytes:
        data = super().recv(buffer_size)
        if self.wants:
            raise self.wants.pop()
        return data


@pytest.mark.parametrize("want", [ssl.SSLWantReadError, ssl.SSLWantWriteError])
@pytest.mark.parametrize("use_poll", [False, True])
def test_what_tls_wants_leaves_through_handle_read_and_closes_nothing(want: Any, use_poll: bool) -> None:
    with connected(Tls) as (channel, peer):
        channel.wants = [want()]
        channel.set_terminator(b"\r\n")
        fed_by = channel.handle_read
        escaped: list[BaseException] = []

        def handle_read() -> None:
            try:
                fed_by()
            except ssl.SSLError as error:
                escaped.append(error)
                raise

        channel.handle_read = handle_read  # type: ignore[method-assign]
        peer.sendall(b"lost with the fake\r")
        turn(channel._map)
        peer.sendall(b"one\r\n")
        turn(channel._map)
        assert [type(error) for error in escaped] == [want]
        assert (channel.errors, channel.closes) == ([], 0)
        assert channel.messages == [b"one"]


def test_what_tls_wants_keeps_what_was_received_before() -> None:
    channel = Patient(ScriptedSocket(b"o\r", ssl.SSLWantReadError(), b"\nrest"), terminator=b"\r\n")
    channel.handle_read()
    with pytest.raises(ssl.SSLWantReadError):
        channel.handle_read()
    channel.handle_read()
    assert (channel.messages, channel.unfinished) == ([b"o"], b"rest")


def test_an_overridden_recv_may_block_without_harm() -> None:
    class Blocking(Patient):
        def recv(self, buffer_size: int) -> bytes:
            raise BlockingIOError

    channel = Blocking(ScriptedSocket())
    channel.handle_read()
    assert (channel.errors, channel.closes) == ([], 0)


def test_a_recv_that_closes_the_channel_delivers_nothing() -> None:
    class Closing(Patient):
        def recv(self, buffer_size: int) -> bytes:
            self.close()
            return b"one\n"

    channel = Closing(ScriptedSocket())
    channel.handle_read()
    assert channel.messages == []


def test_an_overridden_readable_decides_whether_anything_is_read() -> None:
    class Choosy(Chat):
        willing = False

        def readable(self) -> bool:
            return self.willing and super().readable()

    with connected(Choosy) as (channel, peer):
        peer.sendall(b"one\n")
        turn(channel._map)
        assert channel.messages == []
        channel.willing = True
        turn(channel._map)
        assert channel.messages == [b"one"]


# -- the work


def steps(function: Callable[[], object]) -> int:
    """How many calls and lines of Python, and calls of C functions, `function` takes."""
    counter = itertools.count()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        next(counter)
        return trace

    def profile(frame: Any, event: str, argument: Any) -> None:
        next(counter)

    before = sys.gettrace()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
        sys.settrace(before)
    return next(counter)


def dribbled(channel: Chat, data: bytes) -> None:
    handle_read, script = channel.handle_read, channel.sock.script
    for index in range(len(data)):
        script.append(data[index : index + 1])
        handle_read()


LONG = 2**14


@pytest.mark.parametrize(
    "terminator",
    [b"a" * (LONG - 1) + b"b", b"ab" * (LONG // 2 - 1) + b"ac", bytes(LONG - 1) + b"\1"],
    ids=["a..ab", "abab..ac", "0..01"],
)
def test_a_long_terminator_that_dribbles_in_costs_the_same_for_each_byte(terminator: bytes) -> None:
    channel = Chat(ScriptedSocket(), terminator=terminator)
    dribbled(channel, b"xy" + terminator[:-3] + b"x")
    first = steps(lambda: dribbled(channel, terminator[: LONG // 4]))
    middle = steps(lambda: dribbled(channel, terminator[LONG // 4 : LONG // 2]))
    dribbled(channel, terminator[LONG // 2 :])
    assert channel.messages == [b"xy" + terminator[:-3] + b"x"]
    assert first < 135 * LONG // 4
    assert middle < 1.2 * first


def test_a_terminator_that_nearly_ends_again_and_again_costs_no_more_in_all_than_bytes() -> None:
    terminator = b"a" * 1000 + b"b"
    channel = Chat(ScriptedSocket(), terminator=terminator)
    dribbled(channel, b"a" * 1000)
    once = steps(lambda: dribbled(channel, b"a" * 1000))
    twice = steps(lambda: dribbled(channel, b"a" * 2000))
    assert twice < 2.2 * once


def test_messages_in_one_read_cost_the_same_each_however_many_there_are() -> None:
    class Large(Chat):
        ac_in_buffer_size = 1 << 20

    def cost(lines: int) -> int:
        channel = Large(ScriptedSocket())
        return steps(lambda: fed(channel, b"line\n" * lines))

    cost(10)
    assert cost(8000) < 8.5 * cost(1000)


@pytest.mark.parametrize("changing", [False, True], ids=["one terminator", "a terminator for each message"])
def test_what_waits_is_not_copied_for_each_message(changing: bool) -> None:
    class Large(Chat):
        ac_in_buffer_size = 1 << 20

    channel = Large(ScriptedSocket(b"line;line\n" * 50_000))
    copies: list[int] = []

    def measure(message: bytes) -> None:
        current, peak = tracemalloc.get_traced_memory()
        if peak - current > 1 << 16:
            copies.append(peak - current)
        if changing:
            channel.set_terminator(b"\n" if len(channel.messages) % 2 else b";")
        tracemalloc.reset_peak()

    channel.on_found = measure
    channel.messages = []
    tracemalloc.start()
    try:
        channel.handle_read()
    finally:
        tracemalloc.stop()
    assert len(channel.messages) >= 50_000
    assert len(copies) < 20
