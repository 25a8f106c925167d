"""A proxy of SOCKS5 (RFC 1928, 1929) and of CONNECT, which does what a test wants; none of it is our code.

It is on sockets that don't block, and does what can be done whenever it is told to.
"""

import base64
import contextlib
import socket
import ssl
from collections.abc import Generator

#: Of the address that a proxy of SOCKS5 says to have bound: its kind, and the rest of it.
BOUND = {"IPv4": b"\1" + bytes(4), "name": b"\3\4host", "IPv6": b"\4" + bytes(16)}

HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 small\r\n\r\n"
REFUSED = b"HTTP/1.1 403 Not here\r\n\r\n"


class SmallProxy:
    """Serves one connection.

    Args:
        kind: "socks5", "http", or "https" for CONNECT by TLS.
        tls: the context for "https".
        login: the name and the password that it wants.
        refuses: whether it refuses to connect.
        piece: bytes that it sends in one step at most.
        ends_after: bytes that it sends before it hangs up.
        waits: whether its answer leaves together with the first bytes of the far end.
        bound: see `BOUND`.
    """

    def __init__(
        self,
        kind: str,
        *,
        login: tuple[str, str] | None = None,
        refuses: bool = False,
        piece: int = 65_536,
        ends_after: int | None = None,
        waits: bool = False,
        bound: str = "IPv4",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.url = f"{kind}://127.0.0.1:{self.listener.getsockname()[1]}"
        if login is not None:
            self.url = self.url.replace("//", "//{}:{}@".format(*login))
        self._login, self._refuses, self._piece, self._waits = login, refuses, piece, waits
        self._ends_after, self._bound, self._tls = ends_after, bound, tls
        self._dialogue = self._socks5() if kind == "socks5" else self._http()
        self.asked_for: tuple[str, int] | None = None
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None
        self._from_near = self._to_near = self._to_far = b""
        self.sent = 0
        self.ended = False
        #: Who has sent all; whether that was passed on.
        self._ended_ones: dict[socket.socket | None, bool] = {}

    def close(self) -> None:
        for sock in self.listener, self._near, self._far:
            if sock is not None:
                sock.close()

    def step(self) -> None:
        """Do what can be done."""
        if self.ended:
            return
        if self._near is None:
            with contextlib.suppress(BlockingIOError):
                self._near = self.listener.accept()[0]
                self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._near.setblocking(False)
                if self._tls is not None:
                    self._near = self._tls.wrap_socket(
                        self._near, server_side=True, do_handshake_on_connect=False
                    )
            return
        self._from_near += self._received(self._near)
        if self._far is None:
            next(self._dialogue, None)
        if self._far is not None:
            self._to_far, self._from_near = self._to_far + self._from_near, b""
            came = self._received(self._far)
            self._to_near += came
            self._waits = self._waits and not came
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                self._to_far = self._to_far[self._far.send(self._to_far) :]
        if not self._waits or self._far is None:
            self._answer(self._near)
        self._pass_ends_on(self._near)

    def _received(self, sock: socket.socket) -> bytes:
        with contextlib.suppress(BlockingIOError, ConnectionResetError, ssl.SSLError):
            data = sock.recv(65_536)
            if not data and self._far is not None and self._near is not None:
                self._ended_ones.setdefault(sock, False)
            return data
        return b""

    def _pass_ends_on(self, near: socket.socket) -> None:
        """Have who has sent all be followed by an end."""
        if self._ended_ones.get(near) is False and self._far is not None and not self._to_far:
            self._ended_ones[near] = True
            with contextlib.suppress(OSError):
                self._far.shutdown(socket.SHUT_WR)
        if self._ended_ones.get(self._far) is False and not self._to_near:
            self._ended_ones[self._far] = True
            with contextlib.suppress(OSError):
                if isinstance(near, ssl.SSLSocket):
                    near.unwrap()
                else:
                    near.shutdown(socket.SHUT_WR)

    def _answer(self, near: socket.socket) -> None:
        limit = self._piece if self._ends_after is None else min(self._piece, self._ends_after - self.sent)
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError, ssl.SSLError):
            sent = near.send(self._to_near[:limit])
            self.sent += sent
            self._to_near = self._to_near[sent:]
        has_refused = self._refuses and self.asked_for is not None and not self._to_near
        if has_refused or self.sent == self._ends_after:
            near.close()
            self.ended = True

    def _take(self, count: int) -> Generator[None, None, bytes]:
        while len(self._from_near) < count:
            yield
        data, self._from_near = self._from_near[:count], self._from_near[count:]
        return data

    def _reach(self, host: str, port: int) -> None:
        self.asked_for = host, port
        if not self._refuses:
            self._far = socket.create_connection((host, port), timeout=20)
            self._far.setblocking(False)

    def _socks5(self) -> Generator[None, None, None]:
        version, count = yield from self._take(2)
        methods = yield from self._take(count)
        wanted = 0 if self._login is None else 2
        assert version == 5
        if wanted not in methods:
            self._to_near += b"\5\xff"
            return
        self._to_near += bytes([5, wanted])
        if self._login is not None:
            _, length = yield from self._take(2)
            name = yield from self._take(length)
            (length,) = yield from self._take(1)
            password = yield from self._take(length)
            right = (name.decode(), password.decode()) == self._login and not self._refuses
            self._to_near += b"\1\0" if right else b"\1\1"
            if not right:
                return
        version, command, _, kind = yield from self._take(4)
        assert (version, command) == (5, 1)
        if kind == 3:
            (length,) = yield from self._take(1)
            host = (yield from self._take(length)).decode()
        else:
            packed = yield from self._take(4 if kind == 1 else 16)
            host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, packed)
        port = int.from_bytes((yield from self._take(2)), "big")
        self._to_near += bytes([5, 5 if self._refuses else 0, 0]) + BOUND[self._bound] + b"\x12\x34"
        self._reach(host, port)

    def _http(self) -> Generator[None, None, None]:
        while b"\r\n\r\n" not in self._from_near:
            yield
        head, _, self._from_near = self._from_near.partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        method, target, version = first.split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
        }
        assert headers["host"] == target
        if self._login is not None:
            login = base64.b64encode(":".join(self._login).encode()).decode()
            if headers.get("proxy-authorization") != f"Basic {login}" or self._refuses:
                self._to_near += b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno"
                return
        host, _, port = target.rpartition(":")
        self._to_near += HINTS + (REFUSED if self._refuses else ESTABLISHED)
        self._reach(host.strip("[]"), int(port))
