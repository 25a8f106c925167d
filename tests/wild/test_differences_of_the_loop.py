"""What the loop does otherwise than the old one, on purpose: docs/differences.md has the reasons.

Each scene is played with both, as in `test_differences_of_channels.py`.
"""

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import antiphon
from antiphon import pollers
from faults.originals import Modules, ours, the_originals
from faults.scenes import Defect, connected_pair, defect, listening
from wild.parts import listener_and_address, noting, step

SOURCE = Path(antiphon.__file__).parents[1]


def a_descriptor_used_again_in_the_same_turn(modules: Modules) -> object:
    """Two channels are ready; the first closes the second and makes another, which gets its number."""
    channels: dict[int, Any] = {}
    stale: list[str] = []
    with contextlib.ExitStack() as opened:
        near, far, second, peer = (sock for _ in range(2) for sock in opened.enter_context(connected_pair()))
        number = second.fileno()
        for sock in far, peer:
            sock.sendall(b"x")

        def handle_read(self: Any) -> None:
            self.recv(1)
            victim.close()
            os.dup2(far.fileno(), number)
            noting(modules.asyncore.dispatcher, handle_read=lambda self: stale.append("read"))(
                socket.socket(fileno=number), channels
            )

        noting(modules.asyncore.dispatcher, handle_read=handle_read)(near, channels)
        victim = noting(modules.asyncore.dispatcher)(second, channels)
        step(modules, channels)
        modules.asyncore.close_all(channels)
        return stale


def told(modules: Modules, events: int = 3, **body: Any) -> tuple[list[str], Any]:
    """What log_info() of a connected dispatcher with `body` is told in `events` turns."""
    messages: list[str] = []

    class Telling(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def log_info(self, message: str, type: str = "info") -> None:
            messages.append(message)

    for name, value in body.items():
        setattr(Telling, name, value)
    channels: dict[int, Any] = {}
    with connected_pair() as (near, _):
        Telling(near, channels)
        step(modules, channels, events)
    return messages, channels


def a_dispatcher_that_never_writes(modules: Modules) -> object:
    """It overrides neither writable() nor handle_write(). What is its log_info() told in three turns?"""
    return told(modules)[0]


def a_dispatcher_that_writes(modules: Modules) -> object:
    """As before, but with a handle_write() of its own. How often is that called?"""
    written: list[None] = []
    told(modules, handle_write=lambda self: written.append(None))
    return len(written)


def out_of_band_data(modules: Modules, **body: Any) -> object:
    """A byte out of band arrives at a channel of a class with `body`. What is log_info() told?"""
    messages: list[str] = []
    channels: dict[int, Any] = {}
    accepted: list[Any] = []
    take = lambda self, sock, addr: accepted.append(sock)  # noqa: E731
    log_info = lambda self, message, type="info": messages.append(message)  # noqa: E731
    with (
        listener_and_address(modules.asyncore.dispatcher, channels, handle_accepted=take) as (_, address),
        socket.create_connection(address, timeout=10) as client,
    ):
        modules.asyncore.loop(1, map=channels, count=1)
        noting(modules.asyncore.dispatcher, log_info=log_info, **body)(accepted[0], channels)
        client.send(b"!", socket.MSG_OOB)
        client.send(b"x")
        modules.asyncore.loop(1, map=channels, count=1)
        modules.asyncore.close_all(channels)
    return messages


def out_of_band_data_with_the_switch(modules: Modules) -> object:
    return out_of_band_data(modules, handle_expt=lambda self: self.log_info("urgent"))


def where_an_error_is_reported(modules: Modules) -> object:
    """A handler fails; the program overrides nothing that reports."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening() as heard:
        noting(modules.asyncore.dispatcher, handle_read=lambda self: 1 // 0)(near, channels)
        far.sendall(b"x")
        step(modules, channels)
    return "uncaptured python exception" in heard.stdout.getvalue(), heard.levels(), channels


def where_an_error_is_reported_with_the_switch(modules: Modules) -> object:
    """As before, with log_info() overridden."""
    messages: list[tuple[str, str]] = []
    log_info = lambda self, message, type="info": messages.append((type, message[:27]))  # noqa: E731
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening() as heard:
        noting(modules.asyncore.dispatcher, handle_read=lambda self: 1 // 0, log_info=log_info)(
            near, channels
        )
        far.sendall(b"x")
        step(modules, channels)
    return messages, heard.levels()


def a_lost_connection(modules: Modules) -> object:
    """A handler lets a ConnectionResetError escape: what is reported, and at which level?"""

    def handle_read(self: Any) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset by somebody")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening() as heard:
        noting(modules.asyncore.dispatcher, handle_read=handle_read)(near, channels)
        far.sendall(b"x")
        step(modules, channels)
    return "uncaptured python exception" in heard.stdout.getvalue(), heard.levels()


def a_listener_whose_program_fails(modules: Modules, **body: Any) -> object:
    """handle_accepted() raises for a connection; does the listener stay?"""

    def handle_accepted(self: Any, sock: Any, addr: Any) -> None:
        sock.close()
        raise LookupError("as asked")

    channels: dict[int, Any] = {}
    body["handle_accepted"] = handle_accepted
    with listener_and_address(modules.asyncore.dispatcher, channels, **body) as (listener, address):
        with socket.create_connection(address, timeout=10), listening():
            modules.asyncore.loop(1, map=channels, count=1)
        return listener in channels.values()


def a_listener_whose_program_fails_with_the_switch(modules: Modules) -> object:
    return a_listener_whose_program_fails(modules, survives_errors=False)


def connections_taken_in_two_turns(modules: Modules) -> object:
    """Five clients wait. How many does a listener with a handle_accepted() take in two turns?"""
    accepted: list[Any] = []
    take = lambda self, sock, addr: accepted.append(sock)  # noqa: E731
    channels: dict[int, Any] = {}
    with contextlib.ExitStack() as opened:
        _, address = opened.enter_context(
            listener_and_address(modules.asyncore.dispatcher, channels, handle_accepted=take)
        )
        for _ in range(5):
            opened.enter_context(socket.create_connection(address, timeout=10))
        step(modules, channels, 2)
        for sock in accepted:
            sock.close()
        return len(accepted)


def an_error_of_accept_that_passes(modules: Modules) -> object:
    """accept() fails as it may when the network goes away: accept(2) says to try again."""
    channels: dict[int, Any] = {}
    listener = modules.asyncore.dispatcher(map=channels)
    listener.set_socket(
        mock.Mock(**{"accept.side_effect": OSError(errno.ENETDOWN, "down"), "fileno.return_value": 1})
    )
    listener.accepting = True
    with listening():
        modules.asyncore.read(listener)
    return listener in channels.values()


class Unusual(BaseException):
    """No Exception, like asyncio.CancelledError and GeneratorExit."""


def an_exception_that_is_no_exception(modules: Modules) -> object:
    """A handler raises something that is derived from BaseException alone."""
    errors: list[str] = []

    def handle_read(self: Any) -> None:
        raise Unusual

    body = {"handle_read": handle_read, "handle_error": lambda self: errors.append("handle_error")}
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        noting(modules.asyncore.dispatcher, **body)(near, channels)
        far.sendall(b"x")
        try:
            step(modules, channels)
        except Unusual:
            errors.append("the loop raised")
        return errors


def handle_error_fails(modules: Modules) -> object:
    """Both a handler and handle_error() raise. Does that end the loop?"""

    def fail(self: Any) -> None:
        raise LookupError("as asked")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), listening():
        channel = noting(modules.asyncore.dispatcher, handle_read=fail, handle_error=fail)(near, channels)
        far.sendall(b"x")
        try:
            step(modules, channels)
        except LookupError:
            return "the loop raised", channel in channels.values()
        return "the loop goes on", channel in channels.values()


def readable_fails(modules: Modules) -> object:
    """A predicate raises. Does that end the loop?"""

    def fail(self: Any) -> bool:
        raise LookupError("as asked")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, _), listening():
        channel = noting(modules.asyncore.dispatcher, readable=fail)(near, channels)
        try:
            step(modules, channels)
        except LookupError:
            return "the loop raised", channel in channels.values()
        return "the loop goes on", channel in channels.values()


def a_descriptor_closed_behind_the_channel(modules: Modules) -> object:
    """One of two channels has its descriptor closed by somebody else. Does that end the loop?"""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far), connected_pair() as (other, _), listening():
        channel = noting(modules.asyncore.dispatcher)(near, channels)
        lost = noting(modules.asyncore.dispatcher)(other, channels)
        step(modules, channels)
        other.close()
        far.sendall(b"x")
        try:
            step(modules, channels, 3)
        except OSError as error:
            return type(error).__name__, channel.read()
        finally:
            lost.close()
        return "the loop goes on", channel.read()


def the_type_of_the_default_map(modules: Modules) -> object:
    return type(modules.asyncore.socket_map) is dict, isinstance(modules.asyncore.socket_map, dict)


def a_predicate_replaced_late(modules: Modules, on_class: bool = True) -> object:
    """A channel, or its class, gets another readable() after the loop has met it. Is it asked in
    the next turn?
    """

    class Plain(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        pass

    asked: list[None] = []
    channels: dict[int, Any] = {}
    with connected_pair() as (near, _), listening():
        channel = Plain(near, channels)
        step(modules, channels)
        if on_class:
            Plain.readable = lambda self: asked.append(None)
        else:
            channel.readable = lambda: asked.append(None)
        step(modules, channels)
        return len(asked)


def a_predicate_replaced_late_with_the_switch(modules: Modules) -> object:
    return a_predicate_replaced_late(modules, on_class=False)


def a_handler_replaced_on_the_class_late(modules: Modules) -> object:
    """The class of a channel gets a handle_write() after the loop has met the channel. Is it called then?"""

    class Plain(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        pass

    called: list[None] = []
    channels: dict[int, Any] = {}
    with connected_pair() as (near, _):
        Plain(near, channels)
        step(modules, channels)
        Plain.handle_write = lambda self: called.append(None)
        step(modules, channels)
        return len(called)


def in_another_thread(function: Any, *arguments: Any) -> None:
    """Call it there, and wait for its end."""
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def a_turn_in_another_thread(modules: Modules) -> object:
    """Two channels are ready. While the first is dealt with, another thread calls poll() for their map."""
    channels: dict[int, Any] = {}
    threads: list[bool] = []

    def handle_read(self: Any) -> None:
        self.recv(1)
        threads.append(threading.current_thread() is here)
        if len(threads) == 1:
            in_another_thread(modules.asyncore.poll, 0, channels)

    here = threading.current_thread()
    with connected_pair() as (near, far), connected_pair() as (other, peer):
        for sock in near, other:
            noting(modules.asyncore.dispatcher, handle_read=handle_read)(sock, channels)
        far.sendall(b"x")
        peer.sendall(b"x")
        step(modules, channels)
        return threads[:2]


def a_push_in_another_thread(modules: Modules) -> object:
    """While a channel is dealt with, another thread pushes to a second one. Does the loop's thread
    send that?
    """
    channels: dict[int, Any] = {}
    threads: list[bool] = []

    def send(self: Any, data: Any) -> Any:
        threads.append(threading.current_thread() is here)
        return modules.asynchat.async_chat.send(self, data)

    here = threading.current_thread()
    with connected_pair() as (near, far), connected_pair() as (other, _):
        pushed = type("Chat", (modules.asynchat.async_chat,), {"send": send})(other, channels)

        def handle_read(self: Any) -> None:
            self.recv(1)
            in_another_thread(pushed.push, b"x")

        noting(modules.asyncore.dispatcher, handle_read=handle_read)(near, channels)
        far.sendall(b"x")
        step(modules, channels)
        return threads


def a_wait_without_select(modules: Modules) -> object:
    """How often does a turn call `select.select`, which a test may have replaced?"""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, _), mock.patch("select.select", return_value=([], [], [])) as called:
        noting(modules.asyncore.dispatcher)(near, channels)
        with mock.patch.dict(os.environ, {pollers.ENVIRONMENT_VARIABLE: pollers.offered()[0]}):
            step(modules, channels)
    return called.call_count > 0


UNHANDLED_WRITES = ["unhandled write event"] * 3
DIFFERENCES = [
    defect(a_descriptor_used_again_in_the_same_turn, original=["read"], wanted=[]),
    defect(a_dispatcher_that_never_writes, original=UNHANDLED_WRITES, wanted=[]),
    defect(a_dispatcher_that_writes, original=3, wanted=3),
    defect(out_of_band_data, original=["unhandled incoming priority event"], wanted=[]),
    defect(out_of_band_data_with_the_switch, original=["urgent"], wanted=["urgent"]),
    defect(where_an_error_is_reported, original=(True, [], {}), wanted=(False, ["ERROR*"], {})),
    defect(
        where_an_error_is_reported_with_the_switch,
        original=([("error", "uncaptured python exception")], []),
        wanted=([("error", "uncaptured python exception")], []),
    ),
    defect(a_lost_connection, original=(True, []), wanted=(False, ["INFO"])),
    defect(a_listener_whose_program_fails, original=False, wanted=True),
    defect(a_listener_whose_program_fails_with_the_switch, original=False, wanted=False),
    defect(connections_taken_in_two_turns, original=2, wanted=3),
    defect(an_error_of_accept_that_passes, original=False, wanted=True),
    defect(an_exception_that_is_no_exception, original=["handle_error"], wanted=["the loop raised"]),
    defect(handle_error_fails, original=("the loop raised", True), wanted=("the loop goes on", False)),
    defect(readable_fails, original=("the loop raised", True), wanted=("the loop goes on", False)),
    defect(
        a_descriptor_closed_behind_the_channel, original=("OSError", b""), wanted=("the loop goes on", b"x")
    ),
    defect(a_turn_in_another_thread, original=[True, False], wanted=[True, True]),
    defect(a_push_in_another_thread, original=[False], wanted=[True]),
    defect(a_wait_without_select, original=True, wanted=pollers.offered()[0] == "select"),
    defect(the_type_of_the_default_map, original=(True, True), wanted=(False, True)),
    defect(a_predicate_replaced_late, original=1, wanted=0),
    defect(a_predicate_replaced_late_with_the_switch, original=1, wanted=1),
    defect(a_handler_replaced_on_the_class_late, original=1, wanted=0),
]


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_the_old_modules_did_that(difference: Defect) -> None:
    assert difference.scene(the_originals()) == difference.original


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_antiphon_does_this(difference: Defect) -> None:
    assert difference.scene(ours()) == difference.wanted


def test_the_loop_goes_on_while_a_timer_is_pending() -> None:
    """loop() used to end with the last channel; it still does where the program sets no timer."""
    asyncore = ours().asyncore
    channels: dict[int, Any] = {}
    called: list[str] = []
    asyncore.get_loop(channels).call_later(0, called.append, "due")
    asyncore.loop(30, map=channels)

    assert called == ["due"]


def test_importing_warns_of_nothing() -> None:
    """The old modules announced their removal in a DeprecationWarning."""
    program = "from antiphon import asyncore, asynchat"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, env={"PYTHONPATH": str(SOURCE)}
    )
