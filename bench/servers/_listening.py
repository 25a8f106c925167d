"""A listener for the rows that have asyncore's API, and the arguments of all servers."""

import argparse
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl


def parser() -> argparse.ArgumentParser:
    """A parser that knows `--port` and `--tls`."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    return arguments


def tls_context(files: Sequence[str] | None) -> "ssl.SSLContext | None":
    """What a server needs for TLS with a certificate and its key; None for neither."""
    if files is None:
        return None
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


def announce(port: int) -> None:
    """Tell the benchmark where the server listens."""
    print("READY", port, flush=True)


def serve(
    asyncore: Any, channel: Any, port: int, tls: "ssl.SSLContext | None" = None, **loop_arguments: Any
) -> None:
    """Accept connections for `channel` with this asyncore, for ever."""

    class Server(asyncore.dispatcher):  # type: ignore[misc]
        """Makes a channel of each connection."""

        def __init__(self) -> None:
            super().__init__()
            self.create_socket()
            self.set_reuse_addr()
            self.bind(("127.0.0.1", port))
            self.listen(4096)

        def handle_accepted(self, sock: socket.socket, addr: Any) -> None:
            """Send small replies at once, as every server here does."""
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted = channel(sock)
            if tls is not None:
                accepted.start_tls(tls, server_side=True)

    announce(Server().socket.getsockname()[1])
    asyncore.loop(**loop_arguments)
