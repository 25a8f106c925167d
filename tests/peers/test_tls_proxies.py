"""HAProxy and nginx as clients of TLS: they verify the certificate and the name."""

import http.client
from pathlib import Path
from typing import Any

import pytest

from antiphon.servers.http_channel import http_request_handler
from antiphon.servers.messages import Response
from peers.proxies import PATIENCE, haproxy, nginx, serving
from peers.test_proxy_protocol import Telling, asked
from tls_support import NAME, authority, server_context


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    """The certificate of the authority, in a file."""
    file = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(file))
    return file


def test_haproxy_reaches_a_server_of_tls_and_announces_its_peer(tmp_path: Path, trusted: Path) -> None:
    options = f"send-proxy-v2 ssl verify required ca-file {trusted} sni str({NAME}) verifyhost {NAME}"
    with (
        serving(Telling, proxy_protocol=["127.0.0.1"], tls=server_context()) as address,
        haproxy(tmp_path, address, options) as proxy,
    ):
        answer, wanted = asked(proxy, b"over TLS")
        assert answer == wanted


def test_haproxy_refuses_another_name(tmp_path: Path, trusted: Path) -> None:
    options = f"ssl verify required ca-file {trusted} verifyhost another.test"
    with (
        serving(Telling, tls=server_context()) as address,
        haproxy(tmp_path, address, options) as proxy,
    ):
        try:
            answer, _ = asked(proxy, b"hello")
        except ConnectionError:
            answer = b""
        assert answer == b""


class Site(http_request_handler):
    """Says which path was asked for."""

    def __init__(self, sock: Any, map: Any) -> None:
        super().__init__(
            sock, "127.0.0.1", lambda request: Response(200, body=request.path.encode()), map=map
        )


def test_nginx_passes_requests_on_over_tls(tmp_path: Path, trusted: Path) -> None:
    with serving(Site, tls=server_context()) as (host, port):

        def body(own: int) -> str:
            return f"""
            http {{
                access_log off;
                server {{
                    listen 127.0.0.1:{own};
                    location / {{
                        proxy_pass https://{host}:{port};
                        proxy_http_version 1.1;
                        proxy_ssl_verify on;
                        proxy_ssl_trusted_certificate {trusted};
                        proxy_ssl_name {NAME};
                        proxy_ssl_server_name on;
                    }}
                }}
            }}"""

        with nginx(tmp_path, body) as proxy:
            client = http.client.HTTPConnection(*proxy, timeout=PATIENCE)
            for path in "/one", "/two":
                client.request("GET", path)
                answer = client.getresponse()
                assert (answer.status, answer.read()) == (200, path.encode())
            client.close()
