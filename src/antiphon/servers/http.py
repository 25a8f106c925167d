"""The HTTP server of the documentation of asynchat, completed: a listener, and the command that runs it.

    serve("public", port=8000, post=lambda request: b"received %d bytes" % len(request.body))

Each connection is an `http_request_handler`; what it is answered comes from `Directory` and from `post`.
"""

import argparse
import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from antiphon import asyncore
from antiphon.servers.files import Directory
from antiphon.servers.http_channel import http_request_handler
from antiphon.servers.messages import Request, Response, status_page

if TYPE_CHECKING:
    import ssl

__all__ = [
    "HTTPServer",
    "Request",
    "Response",
    "add_arguments",
    "http_request_handler",
    "run",
    "serve",
    "tls_context",
]

PostHandler: TypeAlias = Callable[[Request], Response | bytes]

_log: Final = logging.getLogger("antiphon.http")


class HTTPServer(asyncore.dispatcher):
    """Listens, and serves the files of a directory to whoever connects.

    Attributes:
        files: answers GET and HEAD.
        post: answers POST, or None where nothing may be posted.
        url: where the server is reached.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        post: PostHandler | None = None,
        tls: "ssl.SSLContext | None" = None,
        map: Any = None,
    ) -> None:
        """Listen.

        Args:
            directory: what is served (see `antiphon.servers.files`).
            host: name or address to listen at; "" for every one of IPv4.
            port: 0 for a free one.
            post: called with each POST request, its body included; what it returns is sent, bytes with
                status 200. The loop waits for it.
            tls: of a server, for HTTPS; None for HTTP.
            map: of the loop that the server and its connections live in.

        Raises:
            NotADirectoryError: there is no such directory.
            OSError: the address does not exist here or is taken.
        """
        asyncore.dispatcher.__init__(self, map=map)
        self.files: Directory = Directory(directory)
        self.post = post
        self.tls = tls
        self.channels = map
        try:
            found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
            family, kind, _, _, address = found[0]
            self.create_socket(family, kind)
            # On Windows, others could then take the address while it is in use.
            if sys.platform != "win32":  # pragma: no branch (coverage is not measured on Windows)
                self.set_reuse_addr()
            self.bind(address)
            self.listen(1024)
        except OSError as error:
            self.close()
            error.filename = f"{host}:{port}"  # Its message ends with it.
            raise
        host, port = self.socket.getsockname()[:2]
        scheme = "http" if tls is None else "https"
        self.url: str = f"{scheme}://{f'[{host}]' if family == socket.AF_INET6 else host}:{port}/"

    def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
        """Serve a client."""
        channel = http_request_handler(sock, addr, self.respond, map=self.channels)
        if self.tls is not None:
            channel.start_tls(self.tls, server_side=True)

    def respond(self, request: Request) -> Response:
        """The response to a request, chosen by its method."""
        allowed = "GET, HEAD, OPTIONS" + (", POST" if self.post is not None else "")
        if request.method == "OPTIONS":
            return Response(204, {"Allow": allowed})
        if request.method != "POST":
            return self.files.respond(request)
        if self.post is None:
            return status_page(405, Allow=allowed)
        answer = self.post(request)
        return answer if isinstance(answer, Response) else Response(body=answer)


def serve(
    directory: str | os.PathLike[str] = ".",
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    post: PostHandler | None = None,
    tls: "ssl.SSLContext | None" = None,
) -> None:
    """Serve a directory until Ctrl-C or SIGTERM; prints the URL once clients can connect.

    To be called in the main thread. The arguments and errors are those of `HTTPServer`.
    """
    server = HTTPServer(directory, host, port, post=post, tls=tls)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(server.url, flush=True)
        asyncore.loop()
    except KeyboardInterrupt:
        _log.info("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
        asyncore.close_all()


def tls_context(certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> "ssl.SSLContext":
    """What HTTPS needs: TLS 1.2 or later, and HTTP/1.1 agreed on by ALPN.

    Args:
        certificate: a file in PEM format, with those of the authorities between it and one that is known.
        key: the file of its key, likewise.

    Raises:
        OSError: one of them can't be read, or they don't belong together.
    """
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path in certificate, key:
        with open(path, "rb"):  # OpenSSL's errors don't say which file they are about.
            pass
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise OSError(f"wanted a certificate and its key, found {certificate} and {key}: {error}") from error
    return context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options that `run` reads."""
    parser.add_argument(
        "--directory", default=".", metavar="DIR", help="what to serve (default: the current one)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", default=8000, type=_port, help="0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--tls",
        nargs=2,
        metavar=("CERT", "KEY"),
        help="HTTPS, with a certificate and its key: files in PEM format",
    )


def _port(word: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", word) or int(word) > 65535:
        raise argparse.ArgumentTypeError(f"wanted a port from 0 to 65535, found {word!r}")
    return int(word)


def run(arguments: argparse.Namespace) -> int:
    """Serve as the command line says, with the access log on standard error; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _raise_descriptor_limit()
    try:
        tls = None if arguments.tls is None else tls_context(*arguments.tls)
        serve(arguments.directory, arguments.host, arguments.port, tls=tls)
    except OSError as error:
        print(f"antiphon serve http: {error}", file=sys.stderr)
        return 1
    return 0


def _raise_descriptor_limit() -> None:
    """Allow as many connections as the system does: the soft limit is often 1,024 (getrlimit(2))."""
    if sys.platform != "win32":  # pragma: no branch (coverage is not measured on Windows)
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
