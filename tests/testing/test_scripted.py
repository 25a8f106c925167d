import doctest
import errno
import socket
import weakref
from typing import Any

import pytest

from antiphon.pollers.base import READ, WRITE
from antiphon.testing import ScriptedSocket, error, scripted


def test_the_examples_of_the_module_are_true() -> None:
    results = doctest.testmod(scripted)
    assert results.attempted >= 3
    assert results.failed == 0


def test_an_error_is_what_a_socket_would_raise() -> None:
    assert type(error(errno.ECONNRESET)) is ConnectionResetError
    assert type(error(errno.EAGAIN)) is BlockingIOError
    assert error(errno.EIO).errno == errno.EIO


def outcome(call: Any, *arguments: Any) -> Any:
    """What a call returns, or the number of the error that it raises."""
    try:
        return call(*arguments)
    except OSError as failure:
        return errno.errorcode[failure.errno or 0]


# -- receiving ---------------------------------------------------------------------------------------------


def test_input_comes_in_the_order_of_the_script() -> None:
    sock = ScriptedSocket(b"ab", None, b"cdefg", error(errno.ETIMEDOUT), b"h")
    assert [outcome(sock.recv, 3) for _ in range(7)] == [
        b"ab",
        "EAGAIN",
        b"cde",
        b"fg",
        "ETIMEDOUT",
        b"h",
        "EAGAIN",
    ]
    assert sock.called("recv") == [(3,)] * 7


def test_the_end_of_the_input_is_final() -> None:
    sock = ScriptedSocket(b"a", b"", b"never")
    assert [sock.recv(9) for _ in range(4)] == [b"a", b"", b"", b""]
    assert sock.ready == READ | WRITE
    assert sock.unread == [b"", b"never"]


def test_a_buffer_is_filled_with_what_is_received() -> None:
    sock = ScriptedSocket(b"abcdef", recv_into=[b"xy"])
    buffer = bytearray(4)
    assert [sock.recv_into(buffer), bytes(buffer)] == [2, b"xy\0\0"]
    assert [sock.recv_into(buffer, 3), bytes(buffer)] == [3, b"abc\0"]
    assert [sock.recv_into(buffer), bytes(buffer)] == [3, b"def\0"]
    assert outcome(sock.recv_into, buffer) == "EAGAIN"


def test_nothing_has_arrived_where_recv_into_says_so() -> None:
    assert outcome(ScriptedSocket(recv_into=[None]).recv_into, bytearray(1)) == "EAGAIN"


def test_more_may_come_later() -> None:
    sock = ScriptedSocket(b"a")
    sock.script(None, b"b", send=[1])
    assert [outcome(sock.recv, 1) for _ in range(3)] == [b"a", "EAGAIN", b"b"]
    assert sock.send(b"xyz") == 1


# -- sending -----------------------------------------------------------------------------------------------


def test_output_is_taken_as_the_script_says_and_then_all_of_it() -> None:
    sock = ScriptedSocket(send=[2, None, 0, error(errno.EPIPE), 100])
    taken = [outcome(sock.send, memoryview(b"hello")) for _ in range(6)]
    assert taken == [2, "EAGAIN", 0, "EPIPE", 5, 5]
    assert sock.sends == [b"he", b"", b"hello", b"hello"]
    assert sock.sent == b"hehellohello"


def test_several_pieces_are_taken_as_one() -> None:
    sock = ScriptedSocket(send=[3], sendmsg=[4, None])
    pieces = [b"ab", memoryview(b"cd"), b"ef"]
    assert [outcome(sock.sendmsg, pieces) for _ in range(4)] == [4, "EAGAIN", 3, 6]
    assert sock.sends == [b"abcd", b"abc", b"abcdef"]


# -- the other calls ---------------------------------------------------------------------------------------


def test_connections_are_accepted_as_the_script_says() -> None:
    first, second = ScriptedSocket(), ScriptedSocket()
    sock = ScriptedSocket(accept=[first, None, (second, "its address"), error(errno.EMFILE)])
    assert sock.ready == READ | WRITE
    assert sock.accept() == (first, first.peer)
    assert outcome(sock.accept) == "EAGAIN"
    assert sock.accept() == (second, "its address")
    assert outcome(sock.accept) == "EMFILE"
    assert sock.ready == WRITE
    assert outcome(sock.accept) == "EAGAIN"


def test_an_attempt_to_connect_lasts_until_its_outcome_is_asked_for() -> None:
    sock = ScriptedSocket(b"greeting")
    assert sock.connect_ex(("192.0.2.9", 25)) == errno.EINPROGRESS
    assert sock.ready == WRITE
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert sock.ready == READ | WRITE
    assert sock.getpeername() == ("192.0.2.9", 25)


@pytest.mark.parametrize("answer", [errno.ECONNREFUSED, error(errno.ECONNREFUSED)])
def test_an_attempt_to_connect_may_fail_at_once(answer: Any) -> None:
    sock = ScriptedSocket(connect_ex=[answer, 0])
    assert sock.connect_ex("anywhere") == errno.ECONNREFUSED
    assert sock.connect_ex("anywhere") == 0


def test_options_are_what_they_were_set_to() -> None:
    sock = ScriptedSocket(
        getsockopt=[7, error(errno.EINVAL), None], setsockopt=[None, error(errno.ENOPROTOOPT)]
    )
    option = socket.IPPROTO_TCP, socket.TCP_NODELAY
    sock.setsockopt(*option, 1)
    assert outcome(sock.setsockopt, *option, 2) == "ENOPROTOOPT"
    assert [outcome(sock.getsockopt, *option) for _ in range(4)] == [7, "EINVAL", 1, 1]
    assert sock.getsockopt(0, 0) == 0


@pytest.mark.parametrize("name", ["bind", "listen", "shutdown"])
def test_what_returns_nothing_succeeds_or_fails_as_the_script_says(name: str) -> None:
    sock = ScriptedSocket()
    sock.script(**{name: [None, error(errno.EINVAL)]})
    assert [outcome(getattr(sock, name), 1) for _ in range(3)] == [None, "EINVAL", None]
    assert sock.called(name) == [(1,)] * 3


def test_addresses_are_those_of_the_script() -> None:
    sock = ScriptedSocket(getpeername=["a", error(errno.ENOTCONN)], getsockname=["b"])
    assert [outcome(sock.getpeername) for _ in range(3)] == ["a", "ENOTCONN", sock.peer]
    assert [sock.getsockname(), sock.getsockname()] == ["b", ("192.0.2.2", 80)]


def test_it_never_blocks() -> None:
    sock = ScriptedSocket()
    sock.setblocking(True)
    sock.settimeout(5)
    assert sock.gettimeout() == 0


def test_an_answer_may_be_made_when_it_is_asked_for() -> None:
    answers = iter([3, error(errno.EPIPE)])
    sock = ScriptedSocket(send=[lambda: next(answers)] * 2)
    assert [outcome(sock.send, b"hello") for _ in range(2)] == [3, "EPIPE"]


def test_what_is_raised_holds_nothing_of_the_socket_when_it_is_gone() -> None:
    sock = ScriptedSocket(error(errno.ECONNRESET))
    reference = weakref.ref(sock)
    assert outcome(sock.recv, 1) == "ECONNRESET"
    del sock
    assert reference() is None


# -- closing -----------------------------------------------------------------------------------------------


def test_a_closed_socket_does_nothing_more() -> None:
    sock = ScriptedSocket(b"left")
    assert sock.fileno() >= 1_000_000
    assert repr(sock) == f"<ScriptedSocket fd={sock.fileno()} 0 calls>"
    sock.close()
    sock.close()
    assert sock.closed
    assert sock.fileno() == -1
    assert sock.ready == 0
    assert outcome(sock.recv, 1) == outcome(sock.send, b"x") == outcome(sock.getpeername) == "EBADF"
    assert sock.called("close") == [(), ()]
    assert repr(sock) == "<ScriptedSocket closed 5 calls>"


def test_it_is_closed_also_where_that_fails() -> None:
    sock = ScriptedSocket(close=[error(errno.EIO)])
    assert outcome(sock.close) == "EIO"
    assert sock.closed
    sock.close()


def test_every_socket_has_a_number_of_its_own() -> None:
    numbers = {ScriptedSocket().fileno() for _ in range(10)}
    assert len(numbers) == 10


# -- a real socket underneath ------------------------------------------------------------------------------


def test_what_is_not_scripted_is_the_real_socket_s() -> None:
    near, far = socket.socketpair()
    with far:
        sock = ScriptedSocket(b"scripted", over=near, send=[2])
        assert sock.fileno() == near.fileno()
        far.send(b"real")
        assert [sock.recv(100), sock.recv(100)] == [b"scripted", b"real"]
        assert [sock.send(b"abc"), sock.send(b"def")] == [2, 3]
        assert far.recv(100) == b"def"
        assert sock.sent == b"abdef"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert near.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        assert sock.getpeername() == near.getpeername()
        sock.shutdown(socket.SHUT_WR)
        assert far.recv(100) == b""
        sock.close()
    assert near.fileno() == -1


def test_a_real_listener_may_be_underneath() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        listener = ScriptedSocket(over=server, accept=[error(errno.EMFILE)])
        connecting = ScriptedSocket(over=client)
        assert connecting.connect_ex(server.getsockname()) == 0
        assert outcome(listener.accept) == "EMFILE"
        accepted, _ = listener.accept()
        accepted.close()


# -- what a script can't be --------------------------------------------------------------------------------


@pytest.mark.parametrize("nameless", [ConnectionResetError, ConnectionResetError(), OSError("no number")])
def test_an_error_without_its_number_is_refused(nameless: Any) -> None:
    with pytest.raises(ValueError, match=r"wanted an error with its number, as error\(errno.ECONNRESET\)"):
        ScriptedSocket(nameless)


def test_an_unknown_call_is_refused() -> None:
    with pytest.raises(TypeError, match=r"wanted a call of accept, .*, found 'reveice'"):
        ScriptedSocket(reveice=[b"x"])


def test_what_has_happened_so_far_can_be_told_from_before() -> None:
    sock = ScriptedSocket(b"abc", b"", send=[None])
    seen = [sock.progress]
    for call in sock.recv, sock.recv, sock.recv, sock.send, sock.send:
        outcome(call, b"x" if call == sock.send else 2)
        seen.append(sock.progress)
    sock.close()
    assert seen == [0, 1, 2, 2, 3, 4]
    assert sock.progress == 5
