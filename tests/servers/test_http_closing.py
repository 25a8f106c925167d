"""How a connection of the HTTP server ends: the client gets the last answer, whatever it sends meanwhile."""

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from antiphon.loop import Loop
from antiphon.maps import ChannelMap
from antiphon.servers.http_channel import http_request_handler
from antiphon.servers.messages import Request, Response
from antiphon.testing import FakeClock, FakeNetwork, ScriptedSocket, error
from servers.site import Site, answers, serving

LAST = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
TOO_LARGE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n"
TOO_SLOW = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\nbody"
SMALL = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nsmall"


def echo(request: Request) -> Response:
    return Response(body=b"<" + request.body + b">")


def fail(request: Request) -> Response:
    raise LookupError


def connection(sock: ScriptedSocket, respond: Callable[[Request], Response] = echo) -> http_request_handler:
    return http_request_handler(cast(Any, sock), ("192.0.2.1", 50_000), respond)


def bodies(sock: ScriptedSocket) -> list[bytes]:
    return [answer.body for answer in answers(sock.sent)]


@pytest.fixture
def network() -> Iterator[FakeNetwork]:
    with FakeNetwork() as network:
        yield network


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "end").write_bytes(b"end")
    with serving(tmp_path) as site:
        yield site


def flood(site: Site, data: bytes) -> list[int]:
    """Send `data` and go on sending until the server has said all; the statuses of its answers.

    Raises:
        OSError: the server has reset the connection: an answer that was not read yet would be lost.
    """
    client = site.client()
    client.socket.sendall(data)
    while client.receive():
        client.socket.send(bytes(10_000))
        site.turn(0)
    for _ in range(20):
        client.socket.send(bytes(10_000))
        site.turn(0)
    client.socket.close()
    assert site.closed
    return [answer.status for answer in answers(client.received)]


@pytest.mark.parametrize(("data", "status"), [(TOO_LARGE, 413), (b"BREW\r\n\r\n", 400), (LAST, 200)])
def test_a_client_that_goes_on_sending_gets_the_last_answer(site: Site, data: bytes, status: int) -> None:
    assert flood(site, data) == [status]


def test_the_client_is_told_that_nothing_more_comes(site: Site) -> None:
    client = site.client()
    client.send(LAST)
    assert client.receive_all().endswith(b"end")


def test_what_a_client_sends_behind_the_end_is_not_kept(network: FakeNetwork) -> None:
    sock = ScriptedSocket(LAST, SMALL, b"\n" * 10_000)
    channel = connection(sock)
    network.run()
    assert bodies(sock) == [b"<>"]
    assert sock.unread == []
    assert channel.ibuffer == []


def test_a_client_that_has_the_last_answer_and_stays_is_left(network: FakeNetwork) -> None:
    sock = ScriptedSocket(LAST)
    channel = connection(sock)
    network.run(channel.linger_time - 0.1)
    assert sock.called("shutdown") == [(socket.SHUT_WR,)]
    assert not sock.closed
    network.run(0.2)
    assert sock.closed


def test_a_client_that_closes_in_turn_is_left_at_once(network: FakeNetwork) -> None:
    sock = ScriptedSocket(LAST, b"")
    connection(sock)
    network.run()
    assert sock.closed


def test_a_client_that_is_gone_is_left_at_once(network: FakeNetwork) -> None:
    sock = ScriptedSocket(LAST, shutdown=[error(errno.ENOTCONN)])
    connection(sock)
    network.run()
    assert sock.closed


def test_the_last_answer_is_sent_before_the_end_is_told(network: FakeNetwork) -> None:
    sock = ScriptedSocket(LAST, send=[10, None, None])
    connection(sock)
    network.run()
    assert bodies(sock) == [b"<>"]
    assert sock.calls[-1][0] == "shutdown"


def test_small_answers_that_wait_are_sent_to_a_client_that_has_finished_sending(network: FakeNetwork) -> None:
    sock = ScriptedSocket(SMALL, b"", send=[None])
    channel = connection(sock)
    channel.handle_read_event()
    assert channel.producer_fifo
    channel.handle_read_event()
    network.run()
    assert bodies(sock) == [b"<small>"]
    assert sock.closed


@pytest.mark.parametrize("coalesce", [True, False])
def test_after_a_failure_nothing_else_is_answered(network: FakeNetwork, coalesce: bool) -> None:
    sock = ScriptedSocket(SMALL + SMALL, SMALL)
    connection(sock, fail).coalesce_pushes = coalesce
    network.run()
    assert [answer.status for answer in answers(sock.sent)] == [500]
    assert sock.called("shutdown")


# -- clients that keep the server waiting --------------------------------------------------------------------


def test_a_client_that_says_nothing_is_left(network: FakeNetwork) -> None:
    sock = ScriptedSocket(SMALL)
    channel = connection(sock)
    assert channel.idle_timeout is not None
    network.run(channel.idle_timeout - 1)
    assert not sock.closed
    network.run(2)
    assert sock.closed
    assert bodies(sock) == [b"<small>"]


@pytest.mark.parametrize("begun", [LAST[:20], TOO_SLOW], ids=["head", "body"])
def test_a_client_that_never_ends_its_request_is_left(network: FakeNetwork, begun: bytes) -> None:
    sock = ScriptedSocket(begun)
    channel = connection(sock)
    assert channel.message_timeout is not None
    for _ in range(int(channel.message_timeout) - 1):
        network.run(1)
        sock.script(b"a")
    assert not sock.closed
    network.run(2)
    assert sock.closed
    assert sock.sent == b""


def test_a_client_that_never_takes_its_answer_is_left(tmp_path: Path) -> None:
    clock, channels = FakeClock(), ChannelMap()
    channels.loop = Loop(channels, tells=True, now=clock)
    (tmp_path / "large").write_bytes(bytes(8 << 20))
    with serving(tmp_path, channels=channels) as site:
        site.client().send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(20):  # Until the system's buffers are full.
            site.turn()
        [channel] = site.connections
        assert channel.send_timeout is not None
        clock.advance(channel.send_timeout - 1)
        site.turn(0)
        assert site.connections
        clock.advance(2)
        site.turn(0)
        assert not site.connections
    channels.loop.close()
