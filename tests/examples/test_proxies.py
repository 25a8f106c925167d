"""The example that connects through proxies: no byte is lost, nobody waits for ever, and TLS goes through."""

import functools
import importlib.util
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loop_support
from antiphon import MessageChannel, asyncore, create_server, secured
from examples.program import ENVIRONMENT, PROJECT
from examples.small_proxy import BOUND, ESTABLISHED, HINTS, SmallProxy
from tls_support import (
    NAME,
    Lines,
    Noting,
    a_map,
    certificate_files,
    server_context,
    shared_context,
    turn,
    turn_until,
)

pytest.importorskip("socksio")
pytest.importorskip("h11")
each_engine = loop_support.each_engine


def example() -> Any:
    """The module."""
    spec = importlib.util.spec_from_file_location("proxies", PROJECT / "examples" / "proxies.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


proxies = example()
KINDS = ["socks5", "http", "https"]
#: By which a proxy can be had as a program.
PLAIN_KINDS = ["socks5", "http"]


# -- clients -------------------------------------------------------------------------------------------------


class Client(Noting):
    """What all of them note."""

    lines: list[bytes]

    def __init__(self, map: Any) -> None:
        super().__init__(None, map)

    def handle_connect(self) -> None:
        self.events.append("connect")
        self.begin()

    def begin(self) -> None:
        """Called when the far end is there."""

    def handle_connect_failed(self, error: OSError) -> None:
        self.events.append(error)


class Chat(Client, Lines):
    """Is an async_chat."""


class Messages(Client, MessageChannel):
    """Is a MessageChannel."""

    terminator = b"\n"

    def __init__(self, map: Any) -> None:
        self.lines = []
        super().__init__(map)

    def message_received(self, message: bytes) -> None:
        self.lines.append(message)


class Old(Client, asyncore.dispatcher_with_send):
    """Is neither."""

    def __init__(self, map: Any) -> None:
        self.received = b""
        super().__init__(map)

    def push(self, data: bytes) -> None:
        self.send(data)

    @property
    def lines(self) -> list[bytes]:  # type: ignore[override]
        return self.received.split(b"\n")[:-1]

    def handle_read(self) -> None:
        self.received += self.recv(8192)


class Greeting(Lines):
    """The far end: says hello first, then each line again in capitals; knows STARTTLS."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(sock, map)
        self.push(b"hello\n")

    def found_terminator(self) -> None:
        line = self._get_data()
        self.push(line.upper() + b"\n")
        if line == b"starttls":
            self.start_tls(shared_context(True), server_side=True)


@contextmanager
def scene(kind: str, far: Callable[..., Any] = Greeting, tls: Any = None, **how: Any) -> Iterator[Any]:
    """A map, a proxy, and the port of a far end."""
    its_tls = server_context("127.0.0.1") if kind == "https" else None
    with (
        a_map() as channels,
        closing(SmallProxy(kind, tls=its_tls, **how)) as proxy,
        create_server(far, ("127.0.0.1", 0), map=channels, tls=tls) as server,
    ):
        yield channels, proxy, server.addresses[0][1]


def through(
    proxy: SmallProxy, channel: Any, port: int, host: str = "localhost", url: str | None = None
) -> Any:
    return proxies.connect_through(url or proxy.url, channel, host, port, tls=shared_context(False))


# -- what goes well ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [Chat, Messages, Old])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{}, {"piece": 1}, {"waits": True}, {"waits": True, "piece": 7}], ids=str)
def test_a_channel_is_connected_and_not_a_byte_is_lost(
    each_engine: str, how: dict[str, Any], kind: str, made: Any
) -> None:
    with scene(kind, **how) as (channels, proxy, port):
        client = made(channels)
        client.begin = lambda: client.push(b"one\ntwo\n")
        through(proxy, client, port)
        turn_until(channels, lambda: len(client.lines) == 3, proxy.step)
        assert client.lines == [b"hello", b"ONE", b"TWO"]
        assert client.events == ["connect"]
        assert client.addr == ("localhost", port)
        assert proxy.asked_for == ("localhost", port), "the name is the proxy's to look up"


@pytest.mark.parametrize("bound", BOUND)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_proxy_may_have_an_address_of_any_kind(bound: str, host: str) -> None:
    with scene("socks5", bound=bound, waits=True) as (channels, proxy, port):
        client = Chat(channels)
        through(proxy, client, port, host)
        turn_until(channels, lambda: client.lines, proxy.step)
        assert client.lines == [b"hello"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pushed_before_waits_for_the_far_end(kind: str) -> None:
    with scene(kind) as (channels, proxy, port):
        client = Chat(channels)
        client.push(b"early\n")
        through(proxy, client, port)
        client.push(b"later\n")
        turn_until(channels, lambda: len(client.lines) == 3, proxy.step)
        assert client.lines == [b"hello", b"EARLY", b"LATER"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_and_a_password_are_given_if_the_proxy_wants_them(kind: str) -> None:
    with scene(kind, login=("me", "s%20cret")) as (channels, proxy, port):
        client = Chat(channels)
        through(proxy, client, port, url=proxy.url.replace("%", "%25"))
        turn_until(channels, lambda: client.lines, proxy.step)
        assert client.lines == [b"hello"]


@pytest.mark.parametrize("how", [{}, {"piece": 1}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [Chat, Messages])
def test_tls_from_the_first_byte_on_reaches_the_far_end(
    each_engine: str, how: dict[str, Any], kind: str, made: Any
) -> None:
    with scene(kind, tls=server_context("localhost"), **how) as (channels, proxy, port):
        client = made(channels)

        def begin() -> None:
            client.start_tls(shared_context(False), server_side=False, server_hostname="localhost")
            client.push(b"secret\n")

        client.begin = begin
        through(proxy, client, port)
        turn_until(channels, lambda: len(client.lines) == 2, proxy.step)
        assert client.lines == [b"hello", b"SECRET"]
        assert client.events == ["connect", "established"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{}, {"piece": 1}, {"waits": True}], ids=str)
def test_starttls_reaches_the_far_end(how: dict[str, Any], kind: str) -> None:
    with scene(kind, **how) as (channels, proxy, port):
        client = Chat(channels)

        def answer(line: bytes) -> None:
            if line == b"hello":
                client.push(b"starttls\n")
            elif line == b"STARTTLS":
                client.start_tls(shared_context(False), server_side=False, server_hostname=NAME)
                client.push(b"secret\n")

        client.on_line = answer
        through(proxy, client, port)
        turn_until(channels, lambda: len(client.lines) == 3, proxy.step)
        assert client.lines == [b"hello", b"STARTTLS", b"SECRET"]
        assert client.events == ["connect", "established"]


# -- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "how", "said"),
    [
        ("socks5", {}, "the proxy refuses: CONNECTION_REFUSED"),
        ("http", {}, "the proxy refuses: 403 Not here"),
        ("socks5", {"login": ("me", "x")}, "the proxy refuses the name or the password"),
        ("http", {"login": ("me", "x")}, "the proxy refuses: 407 Proxy Authentication Required"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_refusal_is_told_and_closes(each_engine: str, kind: str, how: Any, said: str, piece: int) -> None:
    with scene(kind, refuses=True, piece=piece, **how) as (channels, proxy, port):
        client = Messages(channels)
        tunnel = through(proxy, client, port)
        turn_until(channels, lambda: client.closing, proxy.step)
        assert str(client.error) == said
        assert isinstance(client.error, ConnectionRefusedError)
        assert (client.events, tunnel.closing, len(channels)) == ([client.error], True, 1)


def test_a_login_that_nobody_has_given_is_told() -> None:
    with scene("socks5", login=("me", "x")) as (channels, proxy, port):
        client = Chat(channels)
        through(proxy, client, port, url=proxy.url.replace("me:x@", ""))
        turn_until(channels, lambda: client.closing, proxy.step)
        assert str(client.error) == "the proxy wants another login: NO_ACCEPTABLE_METHODS"


@pytest.mark.parametrize(("kind", "length"), [("socks5", 12), ("http", len(HINTS + ESTABLISHED))])
def test_a_proxy_that_hangs_up_at_any_byte_is_told(kind: str, length: int) -> None:
    for ends_after in range(1, length):
        with scene(kind, ends_after=ends_after) as (channels, proxy, port):
            client = Chat(channels)
            through(proxy, client, port)
            turn_until(channels, lambda: client.closing, proxy.step)  # noqa: B023
            assert str(client.error) == "the proxy has hung up"
            assert (client.lines, client.events) == ([], [client.error])
            assert proxy.sent == ends_after


def test_a_proxy_by_tls_that_hangs_up_at_any_byte_is_told() -> None:
    for ends_after in range(1, len(HINTS + ESTABLISHED), 7):
        with scene("https", ends_after=ends_after) as (channels, proxy, port):
            client = Chat(channels)
            tunnel = through(proxy, client, port)
            turn_until(channels, lambda: client.closing, proxy.step)  # noqa: B023
            assert "without close_notify" in str(client.error)
            assert (client.lines, client.events, tunnel.closing) == ([], [client.error], True)


def test_a_proxy_whose_certificate_is_refused_is_told_and_gets_no_password() -> None:
    with scene("https", login=("me", "secret")) as (channels, proxy, port):
        client = Chat(channels)
        through(proxy, client, port, url=proxy.url.replace("127.0.0.1", "localhost"))
        turn_until(channels, lambda: client.closing, proxy.step)
        assert isinstance(client.error, ssl.SSLCertVerificationError)
        assert proxy.asked_for is None


@pytest.mark.parametrize("tls", [False, True])
def test_by_tls_a_lot_is_passed_on_both_ways_and_so_is_the_end(each_engine: str, tls: bool) -> None:
    class Large(Greeting):
        def found_terminator(self) -> None:
            super().found_terminator()
            self.close_when_done()

    with scene("https", Large, tls=server_context("localhost") if tls else None) as (channels, proxy, port):
        client: Any = Chat(channels)

        def begin() -> None:
            if tls:
                client.start_tls(shared_context(False), server_side=False, server_hostname="localhost")
            client.push(b"x" * 3_000_000 + b"\n")

        client.begin = begin
        through(proxy, client, port)
        turn_until(channels, lambda: client.closing, proxy.step)
        assert client.lines == [b"hello", b"X" * 3_000_000]
        assert client.events == ["connect", *(["established"] if tls else []), "close"]
        turn_until(channels, lambda: len(channels) == 1, proxy.step)


def test_by_tls_a_channel_that_closes_waits_for_the_far_end_as_long_as_tls_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secured, "CLOSE_TIMEOUT", 0.05)

    class Deaf(Greeting):
        def handle_eof(self) -> None:
            """Stay."""

    with scene("https", Deaf) as (channels, proxy, port):
        client = Chat(channels)
        through(proxy, client, port)
        turn_until(channels, lambda: client.lines, proxy.step)
        client.close()
        turn_until(channels, lambda: len(channels) == 2, proxy.step)


def test_by_tls_nothing_is_left_when_the_channel_ends() -> None:
    with scene("https") as (channels, proxy, port):
        client = Chat(channels)
        through(proxy, client, port)
        turn_until(channels, lambda: client.lines, proxy.step)
        client.push(b"last\n")
        client.close_when_done()
        turn_until(channels, lambda: len(channels) == 1, proxy.step)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_is_not_there_is_told(kind: str) -> None:
    with a_map() as channels:
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"{kind}://127.0.0.1:{free.getsockname()[1]}"
        client = Chat(channels)
        proxies.connect_through(url, client, "localhost", 1)
        turn_until(channels, lambda: client.closing)
        assert isinstance(client.error, ConnectionRefusedError)


def test_a_proxy_that_says_nothing_is_given_up() -> None:
    with a_map() as channels, socket.create_server(("127.0.0.1", 0)) as silent:
        client = Chat(channels)
        proxies.Tunnel(client, silent.getsockname(), proxies.Socks5("localhost", 1), seconds=0.001)
        turn_until(channels, lambda: client.closing)
        assert str(client.error) == "wanted the proxy to be done within 0.001 s, found it at work"


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_that_was_closed_meanwhile_stays_closed(kind: str) -> None:
    with scene(kind) as (channels, proxy, port):
        client = Chat(channels)
        tunnel = through(proxy, client, port)
        client.close()
        turn_until(channels, lambda: tunnel.closing, proxy.step)
        turn(channels, 3)
        assert client.events == []
        assert client.socket is None


def test_by_default_a_failure_ends_as_it_does_without_a_proxy() -> None:
    class Plain(Noting):
        pass

    with scene("socks5", refuses=True) as (channels, proxy, port):
        client = Plain(None, channels)
        through(proxy, client, port)
        turn_until(channels, lambda: client.closing, proxy.step)
        assert isinstance(client.events[0], ConnectionRefusedError)


def test_an_exception_of_handle_connect_is_the_channel_s() -> None:
    with scene("socks5") as (channels, proxy, port):
        client: Any = Chat(channels)
        client.begin = lambda: 1 // 0
        through(proxy, client, port)
        turn_until(channels, lambda: client.closing, proxy.step)
        assert isinstance(client.error, ZeroDivisionError)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:1080", "socks5:///"])
def test_what_is_no_proxy_is_named(url: str) -> None:
    with (
        a_map() as channels,
        pytest.raises(ValueError, match="wanted socks5://host:port, http://host:port or https://"),
    ):
        proxies.connect_through(url, Chat(channels), "localhost", 1)


# -- what is said to it --------------------------------------------------------------------------------------

ANSWERS = {
    proxies.Socks5: b"\5\0\5\0\0\1\0\0\0\0\0\0",
    functools.partial(proxies.Socks5, name="me", password="x"): b"\5\2\1\0\5\0\0\3\2ab\0\0",
    proxies.HttpConnect: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n",
}


@given(st.sampled_from([*ANSWERS]), st.binary(max_size=20), st.lists(st.integers(0, 100)))
def test_in_any_pieces_what_is_behind_the_answers_is_left(
    make: Any, behind: bytes, places: list[int]
) -> None:
    negotiation, answers = make("localhost", 1), ANSWERS[make]
    data = answers + behind
    ends = sorted({0, *(place for place in places if place < len(answers))})
    for start, end in zip(ends, [*ends[1:], len(data)], strict=True):
        assert negotiation.data_to_send() is not None
        assert not negotiation.done
        used = negotiation.receive(data[start:end])
    assert negotiation.done
    assert data[start + used :] == behind


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (proxies.Socks5, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (proxies.Socks5, b"\5\0\4\0\0\1" + bytes(6)),
        (proxies.Socks5, b"\5\0\5\0\0\7" + bytes(6)),
        (proxies.Socks5, b"\5\0\5\x63\0\1" + bytes(6)),
        (proxies.HttpConnect, b"\5\0\r\n\r\n"),
        (proxies.HttpConnect, b"HTTP/1.1 2000 OK\r\n\r\n"),
        (proxies.HttpConnect, b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000),
    ],
)
def test_an_answer_that_makes_no_sense_is_told(make: Any, answer: bytes) -> None:
    with pytest.raises(ConnectionError, match="the proxy does not speak"):
        make("localhost", 1).receive(answer)


def test_an_ipv6_address_is_asked_for_in_brackets() -> None:
    assert proxies.HttpConnect("::1", 443).data_to_send().startswith(b"CONNECT [::1]:443 HTTP/1.1\r\n")


# -- as a program, by a proxy that is another's --------------------------------------------------------------

PPROXY = """
import asyncio, sys, pproxy

async def main():
    server = await pproxy.Server(sys.argv[1]).start_server({"rserver": []})
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200, "here you are")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def pproxy(kind: str) -> Iterator[str]:
    """The address of a proxy of its own process."""
    pytest.importorskip("pproxy")
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"{kind}://127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen([sys.executable, "-c", PPROXY, url], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                pytest.skip("pproxy does not run with this Python")
            yield url
        finally:
            process.kill()


def fetch(*arguments: str, authority: str | None = None) -> tuple[int, str]:
    command = [sys.executable, "-W", "error", "examples/proxies.py", *arguments]
    environment = {**ENVIRONMENT, **({"SSL_CERT_FILE": authority} if authority else {})}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize("kind", PLAIN_KINDS)
def test_the_program_fetches_by_a_proxy_that_is_not_ours(kind: str, page: ThreadingHTTPServer) -> None:
    with pproxy(kind) as url:
        status, printed = fetch(url, "localhost", str(page.server_port))
        assert (status, printed.splitlines()[0]) == (0, "HTTP/1.0 200 here you are")
        page.socket.close()
        assert fetch(url, "localhost", str(page.server_port))[0] == 1


@pytest.mark.parametrize("kind", PLAIN_KINDS)
def test_the_program_speaks_tls_with_the_far_end(kind: str, page: ThreadingHTTPServer) -> None:
    context = server_context("localhost")
    page.socket = context.wrap_socket(page.socket, server_side=True)
    with pproxy(kind) as url, certificate_files() as (_chain, _key, authority):
        status, printed = fetch(url, "localhost", str(page.server_port), "--tls", authority=authority)
        assert (status, printed.splitlines()[0]) == (0, "HTTP/1.0 200 here you are")
        status, printed = fetch(url, "127.0.0.1", str(page.server_port), "--tls", authority=authority)
        assert status == 1
        assert "IP address mismatch" in printed
