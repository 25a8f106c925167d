"""The conformance suite of pollers: real descriptors, and what `antiphon.pollers.base` promises of them.

    def test_my_poller_conforms() -> None:
        check_poller(MyPoller)

What select(2) and kqueue(2) cannot say is not asked for: a hang-up or an error may come as READ or WRITE,
and `URGENT` may never come.
"""

import errno
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final

from antiphon.pollers.base import ERROR, HANGUP, INVALID, READ, URGENT, WRITE, Poller

__all__ = ["CHECKS", "check_poller"]

#: Seconds after which a poller that should have said something is taken to be silent.
PATIENCE: Final = 10

Check = Callable[[Poller], None]


def check_poller(make_poller: Callable[[], Poller]) -> None:
    """Check that a poller keeps its contract.  Takes a fraction of a second.

    Args:
        make_poller: makes one that watches nothing yet.  It is called once for each of `CHECKS`.

    Raises:
        AssertionError: it does not; the message says what was expected and what was found.
    """
    for check in CHECKS:
        poller = make_poller()
        try:
            check(poller)
        except AssertionError as exc:
            title = check.__name__.removeprefix("_").replace("_", " ")
            raise AssertionError(f"poller {poller.name!r}, {title}: {exc}") from exc
        finally:
            poller.close()


def _what_is_not_ready_is_not_reported(poller: Poller) -> None:
    with _pair() as (here, _):
        poller.watch(here.fileno(), READ)
        _expect_silence(poller, "a socket that nothing was sent to, watched for READ")


def _readiness_is_reported_until_it_is_dealt_with(poller: Poller) -> None:
    with _pair() as (here, there):
        there.send(b"x")
        poller.watch(here.fileno(), READ)
        for turn in ("first", "second"):
            _expect(poller, here, READ, f"the {turn} wait, one byte to be read", exactly=True)
        here.recv(1)
        _expect_silence(poller, "the byte was read")


def _only_what_is_asked_for_is_reported(poller: Poller) -> None:
    with _pair() as (here, there):
        there.send(b"x")
        for interest in (READ, WRITE, READ | WRITE, WRITE, READ):
            poller.watch(here.fileno(), interest)
            _expect(poller, here, interest, f"readable and writable, watched for {interest}", exactly=True)


def _asking_for_the_same_again_changes_nothing(poller: Poller) -> None:
    with _pair() as (here, _):
        poller.watch(here.fileno(), WRITE)
        poller.watch(here.fileno(), WRITE)
        found = poller.interest(here.fileno())
        assert found == WRITE, f"interest() of a socket watched for WRITE is {found}, expected {WRITE}"
        _expect(poller, here, WRITE, "a writable socket, watched for WRITE twice", exactly=True)


def _urgent_interest_does_no_harm(poller: Poller) -> None:
    with _pair() as (here, there):
        there.send(b"x")
        poller.watch(here.fileno(), URGENT)
        _expect_silence(poller, "ordinary data, watched for URGENT")
        poller.watch(here.fileno(), READ | URGENT)
        _expect(poller, here, READ, "ordinary data, watched for READ | URGENT", exactly=True)


def _an_interest_in_nothing_is_refused(poller: Poller) -> None:
    with _pair() as (here, _):
        for interest in (0, -1, ERROR, READ | INVALID):
            _expect_value_error(f"interest {interest}", poller.watch, here.fileno(), interest)
        _expect_silence(poller, "no interest was accepted")


def _what_is_forgotten_is_not_reported(poller: Poller) -> None:
    with _pair() as (here, there):
        poller.watch(here.fileno(), READ | WRITE)
        poller.watch(there.fileno(), WRITE)
        poller.forget(here.fileno())
        found = poller.interest(here.fileno())
        assert found == 0, f"interest() of a socket that was forgotten is {found}, expected 0"
        _expect(poller, there, WRITE, "another socket was forgotten", exactly=True)
        poller.forget(there.fileno())
        _expect_silence(poller, "everything was forgotten")


def _forgetting_never_fails(poller: Poller) -> None:
    with _pair() as (here, there):
        poller.forget(here.fileno())
        poller.watch(here.fileno(), READ)
        poller.forget(here.fileno())
        poller.forget(here.fileno())
        number = there.fileno()
        poller.watch(number, READ)
    poller.forget(number)
    poller.forget(number)
    _expect_silence(poller, "a closed descriptor was forgotten")


def _a_number_that_is_used_again_starts_afresh(poller: Poller) -> None:
    with _pair() as (here, there):
        there.send(b"x")
        poller.watch(here.fileno(), READ)
        poller.forget(here.fileno())
        with _pair() as (other, _):
            _put_in_place_of(here, other)
            _expect_silence(poller, "forgotten, closed, and the number used again")
            poller.watch(here.fileno(), READ)
            _expect_silence(poller, "the number means a socket that nothing was sent to")
            poller.watch(here.fileno(), WRITE)
            _expect(poller, here, WRITE, "the number means a writable socket", exactly=True)


def _a_number_used_again_unforgotten_can_be_watched(poller: Poller) -> None:
    with _pair() as (here, there):
        there.send(b"x")
        poller.watch(here.fileno(), READ)
        with _pair() as (other, far):
            _put_in_place_of(here, other)
            far.send(b"y")
            poller.watch(here.fileno(), READ | WRITE)
            _expect(
                poller, here, READ | WRITE, "closed, used again, then watched for READ | WRITE", exactly=True
            )


def _a_copy_of_what_was_closed_is_not_reported(poller: Poller) -> None:
    with _pair() as (here, there), _pair() as (other, far):
        there.send(b"x")
        number = os.dup(here.fileno())
        try:
            poller.watch(number, READ)
            os.dup2(other.fileno(), number, inheritable=False)
            poller.forget(number)
            _expect_silence(poller, "closed, then forgotten, and a copy of it is readable")
            poller.watch(number, READ)
            _expect_silence(
                poller, "the number is in use again, and a copy of its earlier meaning is readable"
            )
            far.send(b"y")
            _expect_events(poller, {number: READ}, "the number is in use again, and readable")
            poller.forget(number)
        finally:
            os.close(number)


def _a_closed_descriptor_does_not_disturb_the_others(poller: Poller) -> None:
    with _pair() as (here, there), _pair() as (doomed, far):
        poller.watch(doomed.fileno(), READ)
        poller.watch(here.fileno(), READ)
        number = doomed.fileno()
        far.close()
        doomed.close()
        there.send(b"x")
        seen: dict[int, int] = {}
        for _ in range(3):
            events = dict(poller.wait(PATIENCE))
            seen |= events
            if number in events:
                poller.forget(number)
        assert seen.get(here.fileno()) == READ, f"a neighbour was closed, and of this socket came {seen}"
        assert seen.get(number, INVALID) & INVALID, f"the closed one was reported as {seen[number]}"
        poller.forget(number)
        poller.forget(here.fileno())
        _expect_silence(poller, "both were forgotten")


def _what_is_not_open_is_refused_or_invalid(poller: Poller) -> None:
    number = os.dup(0) if sys.platform != "win32" else socket.socket().detach()
    os.close(number)
    refusal: int | None = errno.EBADF
    try:
        poller.watch(number, READ)
    except OSError as exc:
        refusal = exc.errno
    else:
        events = poller.wait(PATIENCE)
        assert events == [(number, INVALID)], f"a closed descriptor gave {events}, expected INVALID or EBADF"
    assert refusal == errno.EBADF, f"watching a closed descriptor failed with errno {refusal}, expected EBADF"
    poller.forget(number)
    _expect_silence(poller, "it was forgotten")


def _a_negative_descriptor_is_refused(poller: Poller) -> None:
    try:
        poller.watch(-1, READ)
    except (ValueError, OSError):
        return
    raise AssertionError("watching descriptor -1 raised nothing, expected ValueError or OSError (EBADF)")


def _the_end_of_input_is_readable(poller: Poller) -> None:
    with _pair() as (here, there):
        there.send(b"last words")
        there.close()
        poller.watch(here.fileno(), READ)
        _expect(poller, here, READ, "the peer sent and closed")
        assert here.recv(100) == b"last words", "what was sent before the hang-up can be read"
        _expect(poller, here, READ, "the peer closed, and everything was read")


def _half_a_close_is_the_end_of_input(poller: Poller) -> None:
    with _pair() as (here, there):
        there.shutdown(socket.SHUT_WR)
        poller.watch(here.fileno(), READ | WRITE)
        _expect(poller, here, READ | WRITE, "the peer has stopped sending and still listens")


def _a_refused_connection_is_reported(poller: Poller) -> None:
    with closing(socket.socket()) as refusing, closing(socket.socket()) as client:
        refusing.bind(("127.0.0.1", 0))  # Bound and not listening: nobody else gets the port.
        client.setblocking(False)
        started = client.connect_ex(refusing.getsockname())
        assert started in {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.ECONNREFUSED}, f"connect: {started}"
        poller.watch(client.fileno(), WRITE)
        ready = dict(poller.wait(PATIENCE)).get(client.fileno(), 0)
        assert ready & (WRITE | ERROR | HANGUP), f"a refused connection gave {ready}, expected WRITE or ERROR"


def _a_connection_to_accept_is_readable(poller: Poller) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        poller.watch(listener.fileno(), READ)
        _expect_silence(poller, "a listening socket that nobody connected to")
        with closing(socket.create_connection(listener.getsockname())):
            _expect(poller, listener, READ, "a listening socket that somebody connected to", exactly=True)


def _an_accepted_connection_is_writable_at_the_other_end(poller: Poller) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, closing(socket.socket()) as client:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        poller.watch(client.fileno(), WRITE)
        _expect(poller, client, WRITE, "a connection that was made", exactly=True)


def _a_full_socket_is_not_writable(poller: Poller) -> None:
    with _pair() as (here, there):
        sent = _fill(here)
        poller.watch(here.fileno(), WRITE)
        _expect_silence(poller, "a socket that takes no more")
        while sent:
            sent -= len(there.recv(1 << 16))
        _expect(poller, here, WRITE, "everything was read at the other end", exactly=True)


def _pipes_can_be_watched(poller: Poller) -> None:
    reader, writer = os.pipe()
    try:
        poller.watch(reader, READ)
        poller.watch(writer, WRITE)
        _expect_events(poller, {writer: WRITE}, "an empty pipe")
        os.write(writer, b"x")
        _expect_events(poller, {reader: READ, writer: WRITE}, "a pipe with one byte in it")
        poller.forget(writer)
    finally:
        os.close(writer)
    try:
        os.read(reader, 1)
        ready = dict(poller.wait(PATIENCE)).get(reader, 0)
        assert ready & (READ | HANGUP), f"a pipe whose writer closed gave {ready}, expected READ or HANGUP"
        poller.forget(reader)
    finally:
        os.close(reader)


def _a_regular_file_is_ready(poller: Poller) -> None:
    with tempfile.TemporaryFile() as file, _pair() as (here, _):
        file.write(b"text")
        file.seek(0)
        poller.watch(file.fileno(), READ)
        poller.watch(here.fileno(), WRITE)
        for _turn in range(2):
            _expect_events(poller, {file.fileno(): READ, here.fileno(): WRITE}, "a file and a socket")
        poller.forget(file.fileno())
        _expect(poller, here, WRITE, "the file was forgotten", exactly=True)


def _many_descriptors_are_each_reported_once(poller: Poller) -> None:
    with ExitStack() as stack:
        pairs = [stack.enter_context(_pair()) for _ in range(100)]
        for here, there in pairs:
            poller.watch(here.fileno(), READ)
            poller.watch(there.fileno(), READ)
        for here, there in pairs[::2]:
            here.send(b"x")
            there.send(b"x")
        events = poller.wait(PATIENCE)
        expected = sorted((end.fileno(), READ) for pair in pairs[::2] for end in pair)
        assert sorted(events) == expected, f"of 200 sockets 100 are readable, and {len(events)} were reported"


def _a_wait_lasts_as_long_as_it_should(poller: Poller) -> None:
    with _pair() as (here, _):
        poller.watch(here.fileno(), READ)
        for timeout in (0.0001, 0.0004, 0.0015):
            started = time.perf_counter()
            events = poller.wait(timeout)
            waited = time.perf_counter() - started
            assert not events, f"nothing was ready, and {events} came"
            # A little less, since the kernel's clock is not this one.
            assert waited > timeout * 0.9, f"a wait of {timeout} s lasted {waited:.6f} s: rounded down?"


def _a_look_does_not_wait(poller: Poller) -> None:
    with _pair() as (here, there):
        poller.watch(here.fileno(), READ)
        rescue = threading.Timer(PATIENCE, there.send, (b"x",))
        rescue.start()
        try:
            assert poller.wait(0) == [], "wait(0) waited until something was ready"
            assert poller.wait(-1.0) == [], "wait(-1.0) waited until something was ready"
        finally:
            rescue.cancel()
            rescue.join()


def _a_wait_without_end_or_beyond_the_kernels_numbers_ends_with_an_event(poller: Poller) -> None:
    for timeout in (None, 1e9, float("inf")):
        with _pair() as (here, there):
            poller.watch(here.fileno(), READ)
            sender = threading.Timer(0.01, there.send, (b"x",))
            sender.start()
            _expect(poller, here, READ, f"a byte arrived during wait({timeout})", timeout=timeout)
            sender.join()
            poller.forget(here.fileno())


def _a_signal_does_not_end_a_wait(poller: Poller) -> None:
    if threading.current_thread() is not threading.main_thread():  # Signals are handled there only.
        return
    posix: Any = signal  # Alarms are not typed for Windows.
    with _pair() as (here, there):
        poller.watch(here.fileno(), READ)
        before = signal.signal(posix.SIGALRM, lambda *_: there.send(b"x"))
        try:
            posix.setitimer(posix.ITIMER_REAL, 0.01)
            _expect(poller, here, READ, "a signal's handler sent a byte during the wait")
        finally:
            posix.setitimer(posix.ITIMER_REAL, 0)
            signal.signal(posix.SIGALRM, before)


def _a_closed_poller_refuses(poller: Poller) -> None:
    with _pair() as (here, there):
        poller.watch(here.fileno(), READ)
        poller.close()
        poller.close()
        for fd in (here.fileno(), there.fileno()):
            _expect_value_error("watch() of a closed poller", poller.watch, fd, READ)
        _expect_value_error("wait() of a closed poller", poller.wait, 0)
        poller.forget(here.fileno())


#: These need signals, or descriptors that are no sockets or whose numbers can be given anew.
_ON_POSIX: Final[tuple[Check, ...]] = (
    _a_number_that_is_used_again_starts_afresh,
    _a_number_used_again_unforgotten_can_be_watched,
    _a_copy_of_what_was_closed_is_not_reported,
    _pipes_can_be_watched,
    _a_regular_file_is_ready,
    _a_signal_does_not_end_a_wait,
)

#: Each takes a fresh poller and raises AssertionError; their names say what holds.
CHECKS: Final[tuple[Check, ...]] = (
    _what_is_not_ready_is_not_reported,
    _readiness_is_reported_until_it_is_dealt_with,
    _only_what_is_asked_for_is_reported,
    _asking_for_the_same_again_changes_nothing,
    _urgent_interest_does_no_harm,
    _an_interest_in_nothing_is_refused,
    _what_is_forgotten_is_not_reported,
    _forgetting_never_fails,
    _a_closed_descriptor_does_not_disturb_the_others,
    _what_is_not_open_is_refused_or_invalid,
    _a_negative_descriptor_is_refused,
    _the_end_of_input_is_readable,
    _half_a_close_is_the_end_of_input,
    _a_refused_connection_is_reported,
    _a_connection_to_accept_is_readable,
    _an_accepted_connection_is_writable_at_the_other_end,
    _a_full_socket_is_not_writable,
    _many_descriptors_are_each_reported_once,
    _a_wait_lasts_as_long_as_it_should,
    _a_look_does_not_wait,
    _a_wait_without_end_or_beyond_the_kernels_numbers_ends_with_an_event,
    _a_closed_poller_refuses,
    *(() if sys.platform == "win32" else _ON_POSIX),
)


def _expect(
    poller: Poller,
    sock: socket.socket,
    wanted: int,
    situation: str,
    *,
    exactly: bool = False,
    timeout: float | None = PATIENCE,
) -> None:
    """One event, of `sock`, with all bits of `wanted`, and with `exactly` no other bit."""
    events = poller.wait(timeout)
    assert [fd for fd, _ in events] == [sock.fileno()], (
        f"{situation}: {events}, expected one for {sock.fileno()}"
    )
    ready = events[0][1]
    assert ready & wanted == wanted, f"{situation}: ready for {ready}, expected {wanted}"
    assert ready == wanted or not exactly, f"{situation}: ready for {ready}, expected {wanted} and no more"


def _expect_events(poller: Poller, wanted: dict[int, int], situation: str) -> None:
    events = dict(poller.wait(PATIENCE))
    assert events == wanted, f"{situation}: {events}, expected {wanted}"


def _expect_silence(poller: Poller, situation: str) -> None:
    events = poller.wait(0)
    assert events == [], f"{situation}: {events}, expected nothing"


def _expect_value_error(situation: str, call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except ValueError:
        return
    raise AssertionError(f"{situation} raised nothing, expected ValueError")


@contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with closing(here), closing(there):
        yield here, there


def _put_in_place_of(doomed: socket.socket, other: socket.socket) -> None:
    """Close what `doomed` is the number of, and let the number mean what `other` means."""
    os.dup2(other.fileno(), doomed.fileno(), inheritable=False)


def _fill(sock: socket.socket) -> int:
    """Send until no more is taken.  Returns how much was."""
    sock.setblocking(False)
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(1 << 16))
        except BlockingIOError:
            return sent
