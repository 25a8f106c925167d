"""A listener for the rows that have asyncore's API, and the arguments of all servers."""

import argparse
import socket
from typing import Any


def parser() -> argparse.ArgumentParser:
    """A parser that knows `--port`."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    return arguments


def announce(port: int) -> None:
    """Tell the benchmark where the server listens."""
    print("READY", port, flush=True)


def serve(asyncore: Any, channel: Any, port: int, **loop_arguments: Any) -> None:
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
            channel(sock)

    announce(Server().socket.getsockname()[1])
    asyncore.loop(**loop_arguments)
