"""The errors that this machine's own kernel gives, without a script in between."""

import errno
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.testing import ScriptedSocket
from faults.stage import POLLERS, Stage, open_descriptors, staged, without_noise

assert not TYPE_CHECKING or sys.platform != "win32"

CHATS = ["async_chat", "MessageChannel"]
ALL = ["dispatcher", *CHATS]


@pytest.fixture(params=[(poller, use_poll) for poller in POLLERS for use_poll in (False, True)], ids=str)
def stage_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Stage]]:
    """Makes a stage for a kind of channel; checks in the end that nothing of it is left."""
    poller, use_poll = request.param
    before = open_descriptors()
    with ExitStack() as held, without_noise():
        stages: list[Stage] = []

        def stage_of(kind: str) -> Stage:
            stages.append(held.enter_context(staged(kind, poller, use_poll)))
            return stages[-1]

        yield stage_of
        for stage in stages:
            assert stage.leftovers() == []
            assert stage.reference() is None
    assert open_descriptors() == before


def news(stage: Stage) -> list[str]:
    """The handlers that were called, but for those that say only that something can be tried."""
    return [call for call in stage.trace if call not in ("handle_read", "handle_write")]


def reset(sock: socket.socket) -> None:
    """Close a connection so that the other side gets ECONNRESET (socket(7), SO_LINGER)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("kind", ALL)
def test_a_reset_by_the_peer_is_told_once(stage_of: Callable[[str], Stage], kind: str) -> None:
    stage = stage_of(kind)
    far = stage.tcp_pair()
    stage.channel(stage.sock)
    stage.turn()
    reset(far)
    stage.turn(3)
    assert news(stage) == ["handle_close"]
    assert stage.sock.closed


@pytest.mark.parametrize("kind", CHATS)
def test_a_reset_while_output_waits_is_told_once(stage_of: Callable[[str], Stage], kind: str) -> None:
    stage = stage_of(kind)
    far = stage.tcp_pair()
    stage.channel(stage.sock).push(bytes(20_000_000))
    stage.turn()
    assert news(stage) == []
    reset(far)
    stage.turn(3)
    assert news(stage) == ["handle_close"]


@pytest.mark.parametrize("kind", CHATS)
def test_pushing_to_a_peer_that_is_gone_is_told_once(stage_of: Callable[[str], Stage], kind: str) -> None:
    stage = stage_of(kind)
    channel, far = stage.connected()
    far.close()
    channel.push(b"too late")  # EPIPE
    del channel
    assert news(stage) == ["handle_close"]
    stage.turn(3)
    assert news(stage) == ["handle_close"]


@pytest.mark.parametrize("kind", ALL)
def test_a_connection_that_was_reset_before_its_channel_was_made_is_told_once(
    stage_of: Callable[[str], Stage], kind: str
) -> None:
    stage = stage_of(kind)
    reset(stage.tcp_pair())
    assert not stage.channel(stage.sock).connected  # getpeername: ENOTCONN
    stage.turn(3)
    assert news(stage) == ["handle_close"]
    assert stage.sock.closed


@pytest.mark.parametrize("kind", ALL)
def test_a_refused_connection_is_an_error_and_an_end_once(
    stage_of: Callable[[str], Stage], kind: str
) -> None:
    stage = stage_of(kind)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # Nobody listens there, and nobody else gets the port.
        sock = socket.socket()
        sock.setblocking(False)
        stage.put_under(sock)
        stage.opened().connect(bound.getsockname())
        stage.turn(3)
    assert news(stage) == ["handle_error", "handle_close"]
    assert stage.sock.closed


def unix_socket(stage: Stage) -> Any:
    """A channel that has a Unix socket without a connection."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    stage.put_under(sock)
    return stage.opened()


def error_of(connect: Callable[[str], None], address: str) -> str | None:
    """The name of the error that is raised."""
    try:
        connect(address)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def no_such_file(folder: str, held: ExitStack) -> str:
    return os.path.join(folder, "none")


def nobody_listens(folder: str, held: ExitStack) -> str:
    path = os.path.join(folder, "bound")
    held.enter_context(socket.socket(socket.AF_UNIX)).bind(path)
    return path


def the_backlog_is_full(folder: str, held: ExitStack) -> str:
    path = os.path.join(folder, "full")
    server = held.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(path)
    server.listen(0)
    while True:
        waiting = held.enter_context(socket.socket(socket.AF_UNIX))
        waiting.setblocking(False)
        if waiting.connect_ex(path):
            return path


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("place", [no_such_file, nobody_listens, the_backlog_is_full])
def test_an_attempt_that_fails_at_once_is_never_told_as_a_connection(
    stage_of: Callable[[str], Stage], place: Callable[[str, ExitStack], str], kind: str
) -> None:
    stage = stage_of(kind)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        assert error_of(unix_socket(stage).connect, place(folder, held)) in (
            "ENOENT",
            "ECONNREFUSED",
            "EAGAIN",
        )
        stage.turn(3)
    told = news(stage)  # Linux says ENOTCONN of a TCP socket that is read, and EINVAL of a Unix socket.
    assert told in (["handle_close"], ["handle_error", "handle_close"])
    assert stage.sock.closed


def test_a_script_above_a_real_socket_does_not_hide_what_the_kernel_says() -> None:
    near, far = socket.socketpair()
    with far:
        sock = ScriptedSocket(over=near)
        far.close()
        with pytest.raises(BrokenPipeError):
            sock.send(b"x")
        assert sock.recv(1) == b""
        sock.close()
    assert near.fileno() == -1
