"""OpenSSL's own programs as peers: new keys and new handshakes in the middle of a connection, and its end."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any

import pytest

from antiphon.errors import WouldBlock
from tls_support import Lines, a_map, authority, certificate_files, turn_until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")


@contextmanager
def openssl(*words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, ended in the end."""
    process = subprocess.Popen(
        ["openssl", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def say(process: "subprocess.Popen[bytes]", line: bytes) -> None:
    stdin: IO[bytes] | None = process.stdin
    assert stdin is not None
    stdin.write(line)


def read_until(process: "subprocess.Popen[bytes]", wanted: bytes) -> bytes:
    """What it says up to `wanted`; the end is a failure."""
    said = b""
    assert process.stdout is not None
    while wanted not in said:
        piece = process.stdout.read(4096)
        assert piece, said
        said += piece
    return said


def read_and_turn(process: "subprocess.Popen[bytes]", channels: Any, wanted: bytes) -> bytes:
    """The same, turning meanwhile."""
    with ThreadPoolExecutor(1) as threads:
        said = threads.submit(read_until, process, wanted)
        turn_until(channels, said.done)
        return said.result()


@contextmanager
def client(*words: str) -> Iterator[tuple[Any, "subprocess.Popen[bytes]"]]:
    """A channel and `openssl s_client`, whose TLS stands."""
    with certificate_files() as (chain, key, trusted), a_map() as channels:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, key)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            where = f"127.0.0.1:{listener.getsockname()[1]}"
            verify = ("-CAfile", trusted, "-verify_return_error", "-verify_hostname", "localhost")
            with openssl("s_client", "-connect", where, *verify, *words) as process:
                channel = Lines(listener.accept()[0], channels)
                channel.on_line = lambda line: channel.push(line.upper() + b"\n")
                channel.start_tls(context, server_side=True)
                turn_until(channels, lambda: channel.events)
                yield channel, process


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_talks_and_ends(version: str) -> None:
    with client("-quiet", version) as (channel, process):
        say(process, b"hello\n")
        turn_until(channel._map, lambda: channel.lines)
        read_until(process, b"HELLO\n")
        channel.close_when_done()
        turn_until(channel._map, lambda: channel.closing)
        assert channel.events == ["established", "close"]
        process.wait(10)


def test_the_keys_are_updated_as_often_as_the_peer_wants() -> None:
    """KeyUpdate (RFC 8446, section 4.6.3): "k" is s_client's own, "K" asks for ours, too."""
    with client("-tls1_3") as (channel, process):
        for command in b"k\n", b"K\n", b"K\n":
            say(process, command)
            read_until(process, b"KEYUPDATE")
            say(process, b"hello\n")
            wanted = len(channel.lines) + 1
            turn_until(channel._map, lambda: len(channel.lines) == wanted)  # noqa: B023
            read_until(process, b"HELLO\n")
        assert channel.lines == [b"hello"] * 3


def test_a_server_may_renegotiate_and_what_is_pushed_meanwhile_arrives() -> None:
    """With TLS 1.2: until that is done, writing waits for reading."""

    class Client(Lines):
        waits: list[bool]

        def recv(self, size: int) -> bytes:
            try:
                return super().recv(size)
            except WouldBlock:
                self.push(b"meanwhile\n")
                self.waits.append(self.socket._wants_read)
                raise

    with certificate_files() as (chain, key, _), a_map() as channels:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = ("-accept", f"127.0.0.1:{port}", "-cert", chain, "-key", key, "-tls1_2")
        with openssl("s_server", *words) as process:
            channel = Client(map=channels)
            channel.waits = []
            read_until(process, b"ACCEPT")
            channel.create_socket()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            authority().configure_trust(context)
            channel.start_tls(context, server_side=False, server_hostname="localhost")
            channel.connect(("127.0.0.1", port))
            turn_until(channels, lambda: channel.events)
            say(process, b"R\n")
            turn_until(channels, lambda: True in channel.waits)
            assert b"meanwhile\n" in read_and_turn(process, channels, b"meanwhile\n")
            say(process, b"hello\n")
            turn_until(channels, lambda: b"hello" in channel.lines)
            channel.push(b"last\n")
            read_until(process, b"last\n")
            assert channel.events == ["established"]
