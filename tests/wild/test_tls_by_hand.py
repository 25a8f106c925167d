"""TLS as programs have always done it: the socket is replaced, and its errors are dealt with by hand."""

import datetime
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from faults.originals import Modules, ours
from wild.parts import connected_pair, step


@pytest.fixture(scope="module")
def contexts() -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext]]:
    """TLS contexts of a server and of a client that trusts it, with a certificate made for this."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(path)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        yield server, client


class Handshaking:
    """A mixin: TLS on a socket that does not block, whose events drive the handshake."""

    socket: Any
    handshaking = False

    def shake_hands(self) -> None:
        try:
            self.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        self.handshaking = False

    def handle_read_event(self) -> None:
        if self.handshaking:
            self.shake_hands()
        else:
            super().handle_read_event()  # type: ignore[misc]

    def handle_write_event(self) -> None:
        if self.handshaking:
            self.shake_hands()
        else:
            super().handle_write_event()  # type: ignore[misc]

    def recv(self, size: int) -> Any:
        try:
            return super().recv(size)  # type: ignore[misc]
        except ssl.SSLWantReadError:
            return b""

    def send(self, data: Any) -> Any:
        try:
            return super().send(data)  # type: ignore[misc]
        except ssl.SSLWantWriteError:
            return 0


def secure_class(modules: Modules) -> Any:
    """STARTTLS in the way of CPython's test_ftplib: the socket is replaced, want-read errors pass by."""

    class Secure(Handshaking, modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        def __init__(self, sock: Any, channels: Any, context: ssl.SSLContext) -> None:
            super().__init__(sock, channels)
            self.set_terminator(b"\n")
            self.context = context

        collect_incoming_data = modules.asynchat.async_chat._collect_incoming_data

        def found_terminator(self) -> None:
            line = self._get_data()
            if line != b"STARTTLS":
                self.push(line.upper() + b"\n")
                return
            self.push(b"go on\n")
            self.del_channel()
            self.socket = self.context.wrap_socket(
                self.socket, server_side=True, suppress_ragged_eofs=False, do_handshake_on_connect=False
            )
            self.set_socket(self.socket)
            self.handshaking = True

    return Secure


def test_tls_by_hand(modules: Modules, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """CPython's test_ftplib and test_poplib, pyftpdlib, async_http: STARTTLS on a channel that goes on."""
    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = secure_class(modules)(near, channels, contexts[0])

        def turn_until(done: Callable[[], Any]) -> Any:
            for _ in range(100):
                step(modules, channels)
                try:
                    return done()
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
            raise AssertionError("nothing came of it")

        far.sendall(b"hello\nSTARTTLS\n")
        greeting = b""
        while not greeting.endswith(b"go on\n"):
            greeting += turn_until(lambda: far.recv(100))
        with contexts[1].wrap_socket(far, do_handshake_on_connect=False) as client:
            turn_until(client.do_handshake)
            client.send(b"secret\n")
            answer = turn_until(lambda: client.recv(100))
            channel.close()

    assert greeting == b"HELLO\ngo on\n"
    assert answer == b"SECRET\n"


@pytest.mark.parametrize("error", [ssl.SSLWantReadError(2, "later"), ssl.SSLWantWriteError(3, "later")])
def test_a_tls_error_passes_through_handle_read(modules: Modules, error: ssl.SSLError) -> None:
    """irc-bot catches SSLWantReadError around `async_chat.handle_read(self)`, and loses nothing."""
    errors: list[Any] = [error]

    lines: list[bytes] = []
    caught: list[Any] = []

    class Bot(modules.asynchat.async_chat):  # type: ignore[misc, name-defined]
        def recv(self, size: int) -> Any:
            if errors:
                raise errors.pop()
            return super().recv(size)

        def handle_read(self) -> None:
            try:
                modules.asynchat.async_chat.handle_read(self)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as later:
                caught.append(later)

        collect_incoming_data = modules.asynchat.async_chat._collect_incoming_data

        def found_terminator(self) -> None:
            lines.append(self._get_data())

        def handle_error(self) -> None:
            caught.append("handle_error")

    channels: dict[int, Any] = {}
    with connected_pair() as (near, far):
        channel = Bot(near, channels)
        channel.set_terminator(b"\r\n")
        far.sendall(b"PRIVMSG\r")
        step(modules, channels, 2)
        far.sendall(b"\n")
        step(modules, channels, 2)

        assert lines == [b"PRIVMSG"]
        assert channel in channels.values()
        assert caught in ([error], ["handle_error"])
        if modules == ours():
            assert caught == [error]
