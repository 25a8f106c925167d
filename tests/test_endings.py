"""Why channels end, as their loop counts it."""

import errno
import socket
from typing import Any

import pytest

import loop_support
from antiphon import asyncore
from antiphon.asynchat import async_chat
from antiphon.datagrams import DatagramChannel
from antiphon.endings import ERROR, OVERFLOW, OWN, PEER, REASONS, TIMEOUT, because
from antiphon.errors import MessageTooLong
from antiphon.message_channel import MessageChannel
from loop_support import Failing, Foreign, Noting, Wires, raising, spin

wires = loop_support.wires
use_poll = loop_support.use_poll
each_poller = loop_support.each_poller


@pytest.fixture(params=["ChannelMap", "dict"])
def channels(request: pytest.FixtureRequest, wires: Wires) -> Any:
    return wires.map() if request.param == "ChannelMap" else {}


@pytest.fixture
def loop(channels: Any) -> Any:
    """Asked for first: the loop of a plain map is there as long as somebody holds it."""
    return asyncore.get_loop(channels)


def ended(loop: Any) -> dict[str, int]:
    return {reason: number for reason, number in loop.stats().closed.items() if number}


class Silent(asyncore.dispatcher):
    """Leaves everything to the defaults, and says nothing."""

    def log_info(self, message: object, type: str = "info") -> None:
        """Nothing."""

    def handle_read(self) -> None:
        self.recv(100)


class Chat(async_chat):
    """Likewise."""

    def log_info(self, message: object, type: str = "info") -> None:
        """Nothing."""

    def collect_incoming_data(self, data: bytes) -> None:
        """Nothing."""

    def found_terminator(self) -> None:
        """Nothing."""


def test_each_reason_begins_with_nothing(loop: Any) -> None:
    assert loop.stats().closed == dict.fromkeys(REASONS, 0)


# -- the program -------------------------------------------------------------------------------------------


def test_a_close_of_the_program_is_its_own_and_counted_once(wires: Wires, channels: Any, loop: Any) -> None:
    channel, _ = wires.channel(Silent, channels)
    channel.close()
    channel.close()
    assert ended(loop) == {OWN: 1}


def test_a_channel_that_closes_when_all_is_sent_ends_by_its_own(
    wires: Wires, channels: Any, loop: Any
) -> None:
    channel, _ = wires.channel(Chat, channels)
    channel.push(b"221 bye\r\n")
    channel.close_when_done()
    spin(channels, turns=2)
    assert ended(loop) == {OWN: 1}


def test_a_channel_that_only_leaves_has_not_ended(wires: Wires, channels: Any, loop: Any) -> None:
    channel, _ = wires.channel(Silent, channels)
    channel.del_channel()
    assert ended(loop) == {}
    channel.close()
    assert ended(loop) == {}


def test_a_channel_whose_del_channel_is_its_own_is_counted_once(
    wires: Wires, channels: Any, loop: Any
) -> None:
    class Staying(Silent):
        def del_channel(self, map: Any = None) -> None:
            """Nothing."""

    channel, _ = wires.channel(Staying, channels)
    channel.close()
    channel.close()
    assert ended(loop) == {OWN: 1}


# -- the peer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Silent, Chat])
def test_the_end_of_the_stream_is_the_peer_s(
    wires: Wires, channels: Any, loop: Any, kind: Any, each_poller: str, use_poll: bool
) -> None:
    _, far = wires.channel(kind, channels)
    far.close()
    spin(channels, use_poll=use_poll)
    assert ended(loop) == {PEER: 1}


@pytest.mark.parametrize("method", ["recv", "send"])
def test_a_lost_connection_is_the_peer_s(wires: Wires, channels: Any, loop: Any, method: str) -> None:
    channel, _ = wires.channel(Silent, channels)
    channel.socket.close()
    channel.socket = Failing(errno.ECONNRESET, closes=True)
    getattr(channel, method)(b"x" if method == "send" else 1)
    assert ended(loop) == {PEER: 1}


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("own", [False, True])
def test_what_the_network_does_is_not_the_program_s_error(
    wires: Wires, channels: Any, loop: Any, use_poll: bool, number: int, own: bool
) -> None:
    class Deciding(Silent):
        def handle_error(self) -> None:
            self.close()

    channel, far = wires.channel(Deciding if own else Silent, channels)
    channel.handle_read = raising(OSError(number, "as the system says"))
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert ended(loop) == {PEER: 1}


def test_a_channel_that_lives_on_after_its_peer_has_ended_for_it(
    wires: Wires, channels: Any, loop: Any
) -> None:
    class Lasting(Silent):
        def handle_close(self) -> None:
            """Later."""

    channel, far = wires.channel(Lasting, channels)
    far.close()
    spin(channels)
    assert ended(loop) == {}
    channel.close()
    assert ended(loop) == {PEER: 1}


def test_a_channel_that_is_used_again_ends_for_a_new_reason(wires: Wires, channels: Any, loop: Any) -> None:
    channel, _ = wires.channel(Silent, channels)
    because(TIMEOUT, channel, channel.close)
    channel.set_socket(wires.pair()[0])
    channel.close()
    assert ended(loop) == {TIMEOUT: 1, OWN: 1}
    channel.set_socket(wires.pair()[0])
    channel._ac_hang_up()
    channel.set_socket(wires.pair()[0])
    channel.close()
    assert ended(loop) == {TIMEOUT: 1, PEER: 1, OWN: 2}


# -- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_an_exception_of_a_handler_is_an_error_whoever_closes_for_it(
    wires: Wires, channels: Any, loop: Any, use_poll: bool, own: bool
) -> None:
    channel, far = wires.channel(Noting if own else Silent, channels)
    channel.handle_read = raising(LookupError("a defect"))
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert ended(loop) == {ERROR: 1}


def test_so_is_one_that_handle_error_fails_with(wires: Wires, channels: Any, loop: Any) -> None:
    class Hopeless(Silent):
        handle_read = handle_error = raising(LookupError("a defect"))

    _, far = wires.channel(Hopeless, channels)
    far.send(b"x")
    spin(channels)
    assert ended(loop) == {ERROR: 1}


def test_so_is_one_of_a_producer(wires: Wires, channels: Any, loop: Any) -> None:
    class Broken:
        more = raising(LookupError("a defect"))

    class Patient(Chat):
        def handle_error(self) -> None:
            """Leaves it open."""

    channel, _ = wires.channel(Patient, channels)
    channel.push_with_producer(Broken())
    assert ended(loop) == {ERROR: 1}


def test_so_is_one_of_a_datagram_that_is_not_survived(wires: Wires, channels: Any, loop: Any) -> None:
    class Mortal(DatagramChannel):
        survives_errors = False
        handle_read = raising(LookupError("a defect"))

        def log_info(self, message: object, type: str = "info") -> None:
            """Nothing."""

    channel = wires.keep(Mortal(map=channels))
    channel.create_socket()
    channel.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"x", channel.socket.getsockname())
        asyncore.loop(10, map=channels, count=1)
    assert ended(loop) == {ERROR: 1}


def test_so_is_one_of_accepting(wires: Wires, channels: Any, loop: Any) -> None:
    class Half(Silent):
        def __init__(self, sock: Any, map: Any) -> None:
            super().__init__(sock, map)
            raise LookupError("a defect")

    class Listening(Silent):
        def handle_accepted(self, sock: Any, addr: Any) -> None:
            Half(sock, self._map)

    listener = wires.listener(Listening, channels)
    with socket.create_connection(listener.socket.getsockname()):
        asyncore.loop(10, map=channels, count=1)
    assert ended(loop) == {ERROR: 1}
    assert loop.stats().accepted == 1


def test_an_error_that_was_survived_is_no_reason_for_a_later_end(
    wires: Wires, channels: Any, loop: Any
) -> None:
    class Surviving(Silent):
        handle_read = raising(LookupError("a defect"))

        def handle_error(self) -> None:
            """Leaves it open."""

    channel, far = wires.channel(Surviving, channels)
    far.send(b"x")
    spin(channels)
    channel.close()
    assert ended(loop) == {OWN: 1}


# -- limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_a_message_that_is_too_long_is_an_overflow(wires: Wires, channels: Any, loop: Any, own: bool) -> None:
    class Short(MessageChannel):
        max_message_size = 10

        def log_info(self, message: object, type: str = "info") -> None:
            """Nothing."""

    class Polite(Short):
        def handle_overflow(self, error: MessageTooLong) -> None:
            self.push(b"too long\r\n")
            self.close_when_done()

    _, far = wires.channel(Polite if own else Short, channels)
    far.send(b"x" * 100)
    spin(channels, turns=3)
    assert ended(loop) == {OVERFLOW: 1}


def test_the_first_reason_counts(wires: Wires, channels: Any, loop: Any) -> None:
    channel, _ = wires.channel(Silent, channels)

    def handle_timeout(which: str) -> str:
        because(ERROR, channel, channel.close)
        return which

    assert because(TIMEOUT, channel, handle_timeout, "idle") == "idle"
    assert ended(loop) == {TIMEOUT: 1}


def test_a_reason_that_ended_nothing_is_forgotten(wires: Wires, channels: Any, loop: Any) -> None:
    channel, _ = wires.channel(Silent, channels)
    because(TIMEOUT, channel, lambda: None)
    with pytest.raises(LookupError):
        because(TIMEOUT, channel, raising(LookupError()))
    channel.close()
    assert ended(loop) == {OWN: 1}


def test_a_channel_that_ends_another_gives_it_no_reason_of_its_own(
    wires: Wires, channels: Any, loop: Any
) -> None:
    channel, _ = wires.channel(Silent, channels)
    other, _ = wires.channel(Silent, channels)
    because(TIMEOUT, channel, other.close)
    assert ended(loop) == {OWN: 1}


def test_nothing_is_noted_of_what_is_no_channel(wires: Wires) -> None:
    foreign = Foreign(wires.pair()[0])
    assert because(TIMEOUT, foreign, foreign.fileno) == foreign.sock.fileno()
    assert not hasattr(foreign, "_ac_ending")


def test_a_channel_made_by_hand_ends_without_a_loop() -> None:
    channel = asyncore.dispatcher(map={})
    channel.close()
    assert channel.closing
