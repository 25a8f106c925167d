"""The PROXY protocol as HAProxy and nginx speak it."""

import socket
from pathlib import Path
from typing import Any

import pytest

from antiphon import MessageChannel
from peers.proxies import PATIENCE, haproxy, nginx, serving


class Telling(MessageChannel):
    """Tells each peer who it is, and what it said."""

    terminator = b"\n"

    def message_received(self, message: bytes) -> None:
        host, port, *_ = self.addr
        self.push(b"%s %d %s\n" % (host.encode(), port, message))


def asked(address: Any, question: bytes) -> tuple[bytes, bytes]:
    """What is answered there, and what should be."""
    with socket.create_connection(address, timeout=PATIENCE) as client:
        client.sendall(question + b"\n")
        host, port = client.getsockname()
        with client.makefile("rb") as lines:
            return lines.readline(), b"%s %d %s\n" % (host.encode(), port, question)


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"])
def test_the_server_sees_whom_haproxy_speaks_for(tmp_path: Path, option: str) -> None:
    with (
        serving(Telling, proxy_protocol=["127.0.0.1"]) as address,
        haproxy(tmp_path, address, option) as proxy,
    ):
        for question in b"one", b"two":
            answer, wanted = asked(proxy, question)
            assert answer == wanted


def test_what_haproxy_does_not_announce_is_refused(tmp_path: Path) -> None:
    with serving(Telling, proxy_protocol=["127.0.0.1"]) as address, haproxy(tmp_path, address, "") as proxy:
        assert asked(proxy, b"hello")[0] == b""


def test_the_server_sees_whom_nginx_speaks_for(tmp_path: Path) -> None:
    with serving(Telling, proxy_protocol=["127.0.0.1"]) as (host, port):

        def body(own: int) -> str:
            return (
                f"stream {{ server {{ listen 127.0.0.1:{own}; proxy_pass {host}:{port}; "
                "proxy_protocol on; } }"
            )

        with nginx(tmp_path, body, stream=True) as proxy:
            answer, wanted = asked(proxy, b"hello")
            assert answer == wanted
