"""The socket by itself, over one that takes and gives what a script says."""

import contextlib
import ssl
from typing import Any

import pytest

from antiphon.errors import WouldBlock
from antiphon.secure_socket import SecureSocket
from antiphon.sizes import LARGEST
from chat_support import ScriptedSocket
from tls_support import NAME, shared_context


class Both:
    """A `SecureSocket` over a script, and Python's own ssl at the other end of it."""

    def __init__(self) -> None:
        self.below = ScriptedSocket()
        self.secure = SecureSocket(self.below, shared_context(True), server_side=True)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = shared_context(False).wrap_bio(self.incoming, self.outgoing, server_hostname=NAME)
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.peer.do_handshake()
            self.secure._incoming.write(self.outgoing.read())
            self.secure._shake_hands()
            self.carry()
        self.below.sent.clear()
        self.below.offered.clear()

    def carry(self) -> None:
        """Give the peer what was sent."""
        self.incoming.write(b"".join(self.below.sent))
        self.below.sent.clear()

    def received(self) -> bytes:
        """What the peer decrypts."""
        self.carry()
        data = b""
        try:
            while piece := self.peer.read(65536):
                data += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return data

    def say(self, data: bytes) -> None:
        """Have the peer send."""
        while data:
            data = data[self.peer.write(data) :]
        self.below.script.append(self.outgoing.read())


@pytest.fixture
def both() -> Both:
    return Both()


def test_data_goes_both_ways(both: Both) -> None:
    both.say(b"hello")
    assert both.secure.recv(100) == b"hello"
    with pytest.raises(BlockingIOError):
        both.secure.recv(100)
    assert both.secure.send(b"answer") == 6
    assert both.received() == b"answer"


@pytest.mark.parametrize("made", [bytes, bytearray, memoryview, lambda data: memoryview(data).cast("H")])
def test_what_is_like_bytes_is_sent(both: Both, made: Any) -> None:
    assert both.secure.send(made(b"abcd" * 10)) == 40
    assert both.received() == b"abcd" * 10


def test_nothing_is_sent_for_nothing(both: Both) -> None:
    assert both.secure.send(b"") == 0
    assert both.secure.send(bytearray()) == 0
    assert both.below.offered == []


def test_a_send_counts_when_all_of_its_ciphertext_was_taken(both: Both) -> None:
    both.below.takes = [10, BlockingIOError(), 5, 1000]
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            both.secure.send(b"x" * 100)
    assert both.secure.send(b"x" * 100 + b"more") == 100
    assert both.received() == b"x" * 100


def test_less_may_be_offered_than_the_last_time(both: Both) -> None:
    """As by a channel whose rate is limited."""
    both.below.takes = [10]
    with pytest.raises(BlockingIOError):
        both.secure.send(b"abcdefghij")
    assert both.secure.send(b"") == 0
    assert both.secure.send(b"abc") == 3
    assert both.secure.send(b"defg") == 4
    assert both.secure.send(b"hijklm") == 3
    assert both.secure.send(b"klm") == 3
    assert both.received() == b"abcdefghijklm"


def test_the_end_of_the_output_is_a_close_notify(both: Both) -> None:
    import socket

    shut: list[int] = []
    both.below.shutdown = shut.append  # type: ignore[attr-defined]
    both.secure.shutdown(socket.SHUT_RD)
    assert both.below.sent == []
    both.secure.shutdown(socket.SHUT_WR)
    assert both.received() == b""
    assert both.peer.read(10) == b""
    assert shut == [socket.SHUT_RD, socket.SHUT_WR]
    both.say(b"still heard")
    assert both.secure.recv(100) == b"still heard"
    other = Both()
    other.below.takes = [5]
    other.secure.shutdown(socket.SHUT_WR)  # The socket below would end before the rest of it.


def test_a_large_send_counts_as_far_as_its_ciphertext_was_taken(both: Both) -> None:
    both.below.takes = [65_624, 65_624, 10, 1 << 20]
    data = bytes(range(250)) * 1000
    assert both.secure.send(data) == 131_072
    assert both.secure.send(memoryview(data)[131_072:]) == 65_536
    assert both.secure.send(memoryview(data)[196_608:]) == len(data) - 196_608
    assert both.received() == data


def test_one_call_sends_256_kib_at_most(both: Both) -> None:
    assert both.secure.send(bytes(1 << 20)) == 262_144


def test_the_programs_buffer_may_change_while_it_is_sent(both: Both) -> None:
    both.below.takes = [10]
    data = bytearray(b"a" * 100)
    with pytest.raises(BlockingIOError):
        both.secure.send(data)
    data[:] = b"b" * 200  # Another size: nothing holds on to the buffer.
    assert both.secure.send(data) == 200
    assert both.received() == b"a" * 100 + b"b" * 200


def test_a_small_read_leaves_the_rest_for_the_next(both: Both) -> None:
    both.say(b"abcdefgh")
    assert [both.secure.recv(3) for _ in range(3)] == [b"abc", b"def", b"gh"]
    assert len(both.below.sizes) == 1, "no system call for what is there already"


def test_a_read_takes_the_records_that_are_there_up_to_its_size(both: Both) -> None:
    for _ in range(5):
        both.peer.write(b"x" * 1000)
    both.below.script.append(both.outgoing.read())
    assert len(both.secure.recv(3500)) == 3500
    assert len(both.secure.recv(3500)) == 1500
    assert len(both.below.sizes) == 1


def test_a_large_read_takes_many_records_up_to_its_size(both: Both) -> None:
    both.say(bytes(400_000))
    sizes: list[int] = []
    while sum(sizes) < 400_000:
        sizes.append(len(both.secure.recv(LARGEST)))
    assert max(sizes) == sizes[0] == LARGEST
    both.say(bytes(400_000))
    assert len(both.secure.recv(65_536)) == 65_536


def test_a_record_behind_a_full_read_is_kept(both: Both) -> None:
    for letter in b"abc":
        both.peer.write(bytes([letter]) * 1000)
    both.below.script.append(both.outgoing.read())
    assert both.secure.recv(1000) == b"a" * 1000
    assert both.secure.recv(500) == b"b" * 500
    assert both.secure.recv(5000) == b"b" * 500
    assert both.secure.recv(5000) == b"c" * 1000


def test_data_before_the_end_comes_first(both: Both) -> None:
    both.peer.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        both.peer.unwrap()
    both.below.script.append(both.outgoing.read())
    assert [both.secure.recv(100) for _ in range(3)] == [b"last", b"", b""]


@pytest.mark.parametrize("at_once", [True, False])
def test_data_before_a_spoilt_record_comes_first(both: Both, at_once: bool) -> None:
    both.peer.write(b"good")
    good = both.outgoing.read()
    both.peer.write(b"bad")
    bad = both.outgoing.read()[:-1] + b"?"
    both.below.script += [good + bad] if at_once else [good, bad]
    assert both.secure.recv(100) == b"good"
    with pytest.raises(ssl.SSLError):
        both.secure.recv(100)
    assert both.below.sent, "the alert"


def test_half_a_record_is_nothing_yet(both: Both) -> None:
    both.peer.write(b"hello")
    record = both.outgoing.read()
    both.below.script += [record[:10], record[10:]]
    with pytest.raises(WouldBlock):
        both.secure.recv(100)
    assert both.secure.recv(100) == b"hello"


def test_an_end_without_close_notify_is_an_error(both: Both) -> None:
    both.below.script.append(b"")
    with pytest.raises(ssl.SSLEOFError, match="may be incomplete"):
        both.secure.recv(100)


def test_a_lost_connection_is_an_error(both: Both) -> None:
    both.below.script.append(ConnectionResetError(104, "reset"))
    with pytest.raises(ConnectionResetError):
        both.secure.recv(100)
    both.below.takes = [BrokenPipeError(32, "broken")]
    both.below.script.append(OSError(5, "nothing to be read either"))
    with pytest.raises(BrokenPipeError):
        both.secure.send(b"x")


@pytest.mark.parametrize("last", ["data", "close_notify"])
def test_what_arrived_before_a_send_failed_does_not_hide_it(both: Both, last: str) -> None:
    both.peer.write(b"data")
    if last == "close_notify":
        with pytest.raises(ssl.SSLWantReadError):
            both.peer.unwrap()
    both.below.script.append(both.outgoing.read())
    both.below.takes = [BrokenPipeError(32, "broken")]
    with pytest.raises(BrokenPipeError):
        both.secure.send(b"x")


def test_nothing_is_sent_or_received_before_the_handshake() -> None:
    below = ScriptedSocket(b"x")
    secure = SecureSocket(below, shared_context(True), server_side=True)
    with pytest.raises(BlockingIOError):
        secure.send(b"secret")
    with pytest.raises(WouldBlock):
        secure.recv(100)
    assert (below.sent, below.sizes) == ([], [])
    secure.close()
    assert below.closed


def test_close_says_so_if_the_system_takes_it(both: Both) -> None:
    both.secure.close()
    both.carry()
    assert both.peer.read(10) == b""
    other = Both()
    other.below.takes = [BrokenPipeError(32, "broken")]
    other.secure.close()
    assert other.below.closed


def test_what_openssl_answers_waits_until_it_is_taken(both: Both) -> None:
    """As after KeyUpdate: nothing that the program has sent."""
    both.secure._outgoing.write(b"answer")
    both.below.takes = [BlockingIOError(), ConnectionResetError(104, "reset")]
    both.say(b"hello")
    assert both.secure.recv(100) == b"hello"
    assert bytes(both.secure._unsent) == b"answer"
    both.secure._outgoing.write(b"answer")
    both.say(b"hello")
    assert both.secure.recv(100) == b"hello"
    assert both.secure._unsent == b"", "the next recv() finds the connection lost"


def test_it_answers_for_the_socket_below_and_for_tls_and_gives_no_way_around_it(both: Both) -> None:
    assert both.secure.fileno() == both.below.descriptor
    assert both.secure.getpeername() == ("127.0.0.1", 1)
    assert both.secure.version() == "TLSv1.3"
    assert both.secure.cipher()
    assert "TLSv1.3 over" in repr(both.secure)
    for name in "sendall", "sendmsg", "sendto", "recv_into", "makefile", "detach", "sendfile", "other":
        with pytest.raises(AttributeError, match=name):
            getattr(both.secure, name)


def test_what_openssl_will_not_write_is_an_error(both: Both) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        both.secure._object.unwrap()
    with pytest.raises(ssl.SSLError, match="shutdown"):
        both.secure.send(b"x")
