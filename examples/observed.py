"""An echo server that tells what goes on in it: python examples/observed.py [PORT], then kill -USR1 PID.

What it tells is a line for each number; `--json` makes it a line of JSON, for a program to read.
"""

import argparse
import json
import logging
import os
import signal
import sys
from typing import Any

from antiphon import MessageChannel, asyncore


class Echo(MessageChannel):
    """One connection."""

    def message_received(self, message: bytes) -> None:
        """Send the line back."""
        self.push(message + b"\r\n")


class EchoServer(asyncore.dispatcher):
    """Accepts connections."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.create_socket()
        self.set_reuse_addr()
        self.bind(("127.0.0.1", port))
        self.listen(100)

    def handle_accepted(self, sock: Any, addr: Any) -> None:
        """Leave each to a channel of its own."""
        Echo(sock)


def tell_on_a_signal(as_json: bool) -> None:
    """Print the statistics whenever SIGUSR1 arrives.

    A signal may arrive in the middle of anything, also of a print: so the handler only asks the loop.
    """
    if sys.platform == "win32":
        raise SystemExit("Windows has no SIGUSR1")
    loop = asyncore.get_loop()
    loop.collect_stats()

    def tell() -> None:
        stats = loop.stats()
        print(json.dumps(stats.as_dict()) if as_json else f"{stats}\n", flush=True)

    def ask(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(tell)

    signal.signal(signal.SIGUSR1, ask)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="An echo server that tells what goes on in it.")
    parser.add_argument("port", nargs="?", type=int, default=7007, help="0 for any that is free")
    parser.add_argument("--json", action="store_true", help="tell it in JSON")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    server = EchoServer(arguments.port)
    tell_on_a_signal(arguments.json)
    host, port = server.socket.getsockname()
    print(f"listening on {host} port {port}; kill -USR1 {os.getpid()} for statistics", flush=True)
    try:
        asyncore.loop()
    except KeyboardInterrupt:
        asyncore.close_all()


if __name__ == "__main__":
    main()
