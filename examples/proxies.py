"""Connects through a proxy: SOCKS5 by `socksio`, CONNECT of HTTP by `h11`, which leave the I/O to a channel.

    python examples/proxies.py socks5://127.0.0.1:1080 example.org 443 --tls
    python examples/proxies.py http://user:secret@127.0.0.1:3128 example.org 80
    python examples/proxies.py https://proxy.example example.org 443 --tls

asks a web server for its first page, and prints what it says first. Needs `pip install socksio h11`.
"""

import argparse
import base64
import socket
from collections.abc import Generator
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import h11
import socksio

from antiphon import MessageChannel, asyncore
from antiphon.asynchat import async_chat

PEEK = 4096  # bytes that are looked at at once
PATIENCE = 30.0  # seconds until the proxy has made the connection


# -- what is said to a proxy ---------------------------------------------------------------------------------


class Negotiation(Protocol):
    """What is said to a proxy, and what it answers.

    Attributes:
        target: host and port of the far end. The proxy looks the name up.
        done: whether the connection leads there.
    """

    target: tuple[str, int]
    done: bool

    def data_to_send(self) -> bytes:
        """What is to be said next; b"" for nothing."""

    def receive(self, seen: bytes) -> int:
        """Deal with what has arrived, and tell how many bytes of it are the proxy's: all, until it is done.

        Raises:
            ConnectionError: the proxy refuses, or says what makes no sense.
        """


class Socks5:
    """SOCKS5 (RFC 1928), with a name and a password (RFC 1929) if they are given."""

    def __init__(self, host: str, port: int, name: str = "", password: str = "") -> None:
        self.target, self.done = (host, port), False
        self._login = name.encode(), password.encode()
        self._socks = socksio.SOCKS5Connection()
        self._answers = self._dialogue()
        self._answer, self._missing = b"", next(self._answers)

    def data_to_send(self) -> bytes:
        """See `Negotiation`."""
        return self._socks.data_to_send()

    def receive(self, seen: bytes) -> int:
        """See `Negotiation`. `socksio` wants each answer whole, and nothing behind it."""
        used = 0
        while used < len(seen) and not self.done:
            piece = seen[used : used + self._missing]
            used += len(piece)
            self._answer += piece
            self._missing -= len(piece)
            if not self._missing:
                self._go_on()
        return used

    def _go_on(self) -> None:
        answer, self._answer = self._answer, b""
        try:
            self._missing = self._answers.send(answer)
        except StopIteration:
            self.done = True
        except socksio.ProtocolError as error:
            raise ConnectionError(f"the proxy does not speak SOCKS5, it says {answer!r}") from error

    def _dialogue(self) -> Generator[int, bytes, None]:
        """Yields the length of each answer, and is sent the answer."""
        socks, methods = self._socks, socksio.SOCKS5AuthMethod
        offered = [methods.NO_AUTH_REQUIRED, *([methods.USERNAME_PASSWORD] if self._login[0] else [])]
        socks.send(socksio.SOCKS5AuthMethodsRequest(offered))
        chosen: Any = socks.receive_data((yield 2))
        if chosen.method not in offered:
            raise ConnectionRefusedError(f"the proxy wants another login: {chosen.method.name}")
        if chosen.method == methods.USERNAME_PASSWORD:
            socks.send(socksio.SOCKS5UsernamePasswordRequest(*self._login))
            verdict: Any = socks.receive_data((yield 2))
            if not verdict.success:
                raise ConnectionRefusedError("the proxy refuses the name or the password")
        connect = socksio.SOCKS5Command.CONNECT
        socks.send(socksio.SOCKS5CommandRequest.from_address(connect, self.target))
        start = yield 5
        rest = {1: 5, 3: 2 + start[4], 4: 17}.get(start[3])  # By the kind of the address that it has.
        if rest is None:
            raise socksio.ProtocolError("Unknown kind of address")
        reply: Any = socks.receive_data(start + (yield rest))
        if reply.reply_code != socksio.SOCKS5ReplyCode.SUCCEEDED:
            raise ConnectionRefusedError(f"the proxy refuses: {reply.reply_code.name}")


class HttpConnect:
    """The method CONNECT of HTTP (RFC 9110, section 9.3.6), with a name and a password if they are given."""

    def __init__(self, host: str, port: int, name: str = "", password: str = "") -> None:
        self.target, self.done = (host, port), False
        self._http = h11.Connection(h11.CLIENT)
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = [("Host", authority)]
        if name:
            login = base64.b64encode(f"{name}:{password}".encode()).decode()
            headers.append(("Proxy-Authorization", f"Basic {login}"))
        request = h11.Request(method="CONNECT", target=authority, headers=headers)
        self._to_send = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")

    def data_to_send(self) -> bytes:
        """See `Negotiation`."""
        data, self._to_send = self._to_send, b""
        return data

    def receive(self, seen: bytes) -> int:
        """See `Negotiation`. `h11` says what it has not used."""
        self._http.receive_data(seen)
        try:
            while isinstance(event := self._http.next_event(), h11.InformationalResponse):
                pass
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"the proxy does not speak HTTP: {error}") from error
        if not isinstance(event, h11.Response):
            return len(seen)
        if not 200 <= event.status_code < 300:
            reason = bytes(event.reason).decode("latin-1")
            raise ConnectionRefusedError(f"the proxy refuses: {event.status_code} {reason}")
        self.done = True
        return len(seen) - len(self._http.trailing_data[0])


# -- the connection to it ------------------------------------------------------------------------------------


class Tunnel(async_chat):
    """A connection to a proxy, until it leads to the far end: then it is that of `channel`.

    Not a byte behind the proxy's last is taken off the socket, so what the far end says is all the channel's,
    and a `start_tls()` finds nothing that came before the handshake.

    Args:
        channel: any channel that has no socket yet. `handle_connect()` is called when the connection leads
            where it should, `handle_connect_failed(error)` if it won't.
        proxy: address of the proxy.
        negotiation: what is said to it.
        seconds: that all of this may take.
        tls: what TLS is spoken with to the proxy itself: a context, or True for the default.
    """

    def __init__(
        self,
        channel: Any,
        proxy: Any,
        negotiation: Negotiation,
        *,
        seconds: float = PATIENCE,
        tls: Any = None,
    ) -> None:
        super().__init__(map=channel._map)
        self.channel, self.negotiation, self.tls = channel, negotiation, tls
        late = TimeoutError(f"wanted the proxy to be done within {seconds:g} s, found it at work")
        self.call_later(seconds, self.handle_connect_failed, late)
        self.connect(proxy, tls=tls)

    def handle_connect(self) -> None:
        """Begin."""
        self.push(self.negotiation.data_to_send())

    def handle_read(self) -> None:
        """Look at what has arrived, and take of it what the proxy has said."""
        try:
            while not self.negotiation.done:
                self.take()
                self.push(self.negotiation.data_to_send())
        except BlockingIOError:
            return
        except OSError as error:
            self.handle_connect_failed(error)
            return
        self.hand_over()

    def take(self) -> None:
        """Take what the proxy has said. What comes by TLS can't be looked at: it comes by bytes."""
        seen = self.socket.recv(1) if self.tls else self.socket.recv(PEEK, socket.MSG_PEEK)
        if not seen:
            raise ConnectionResetError("the proxy has hung up")
        used = self.negotiation.receive(seen)
        if not self.tls:
            self.socket.recv(used)

    def hand_over(self) -> None:
        """Give the connection to the channel, and end without it."""
        sock, channel = self.socket, self.channel
        self.del_channel()
        self.socket = None
        self.close()
        if channel.closing:  # It has changed its mind.
            sock.close()
            return
        try:
            channel.set_socket(relayed(sock, channel) if self.tls else sock)
            channel.addr = self.negotiation.target
            channel.handle_connect_event()
        except Exception:
            channel.handle_error()

    def handle_connect_failed(self, error: OSError) -> None:
        """Tell the channel why there is no connection; as usual, it is closed after that."""
        self.close()
        try:
            self.channel.handle_connect_failed(error)
        except Exception:
            self.channel.handle_error()
        self.channel.close()

    def handle_tls_error(self, error: Any) -> None:
        """The proxy can't be trusted, or TLS has broken off."""
        self.handle_connect_failed(error)

    def handle_close(self) -> None:
        """The connection is lost."""
        self.handle_connect_failed(ConnectionResetError("the proxy has hung up"))


class Relay(async_chat):
    """One end of two: sends what the other receives, and waits with it where one is slow."""

    high_water = 262_144
    channel: Any
    other: "Relay"

    def collect_incoming_data(self, data: bytes) -> None:
        """Pass on."""
        self.other.push(data)

    def handle_output_full(self) -> None:
        """Have the other wait."""
        self.other.pause_reading()

    def handle_output_drained(self) -> None:
        """Have it go on."""
        self.other.resume_reading()

    def handle_eof(self) -> None:
        """Pass the end of this direction on; of both, if the channel has closed."""
        if self.channel.closing:
            self.handle_close()
        else:
            self.other.shutdown_write()

    def handle_close(self) -> None:
        """End: the other, when all has left."""
        self.close()
        self.other.close_when_done()


def relayed(sock: Any, channel: Any) -> socket.socket:
    """A socket for what is TLS's by `sock`: the far end may want another TLS in it."""
    near, inside = socket.socketpair()
    outer, inner = Relay(sock, channel._map), Relay(inside, channel._map)
    for relay, other in (outer, inner), (inner, outer):
        relay.channel, relay.other = channel, other
        relay.set_terminator(None)
    near.setblocking(False)
    return near


def connect_through(proxy: str, channel: Any, host: str, port: int, *, tls: Any = True) -> Tunnel:
    """Connect `channel` to a host by way of a proxy.

    Args:
        proxy: "socks5://name:password@host:port", "http://…"; "https://…" if TLS is spoken to the proxy.
        channel: see `Tunnel`.
        host: of the far end.
        port: of the far end.
        tls: with `https`, the context for the proxy; the default verifies its certificate.
    """
    url = urlsplit(proxy)
    connects = {"http": (HttpConnect, 3128), "https": (HttpConnect, 443)}
    kinds: dict[str, Any] = {"socks5": (Socks5, 1080), **connects}
    if url.scheme not in kinds or not url.hostname:
        wanted = "socks5://host:port, http://host:port or https://host:port"
        raise ValueError(f"wanted {wanted}, found {proxy!r}")
    kind, usual = kinds[url.scheme]
    negotiation = kind(host, port, unquote(url.username or ""), unquote(url.password or ""))
    address = url.hostname, url.port or usual
    return Tunnel(channel, address, negotiation, tls=tls if url.scheme == "https" else None)


# -- a channel like any other --------------------------------------------------------------------------------


class FirstPage(MessageChannel):
    """Asks for the page / and prints the lines that come before it."""

    def __init__(self, host: str, tls: bool) -> None:
        super().__init__()
        self.host, self.tls, self.failed = host, tls, True

    def handle_connect(self) -> None:
        """The far end is there."""
        if self.tls:
            self.start_tls(True, server_side=False, server_hostname=self.host)
        self.push(f"GET / HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())

    def message_received(self, message: bytes) -> None:
        """Print a line; an empty one is the last."""
        print(message.decode("latin-1"))
        if not message:
            self.failed = False
            self.close_when_done()

    def handle_connect_failed(self, error: OSError) -> None:
        """Say why."""
        print(f"cannot connect: {error}")

    def handle_tls_error(self, error: Any) -> None:
        """Say why."""
        print(f"cannot speak TLS: {error}")


def main() -> int:
    """Fetch; 0 if that succeeds."""
    parser = argparse.ArgumentParser(description="Connects through a proxy.")
    parser.add_argument("proxy", help="socks5://[name:password@]host[:port], http://… or https://…")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", action="store_true", help="speak TLS with the host")
    options = parser.parse_args()
    page = FirstPage(options.host, options.tls)
    connect_through(options.proxy, page, options.host, options.port)
    asyncore.loop()
    return int(page.failed)


if __name__ == "__main__":
    raise SystemExit(main())
