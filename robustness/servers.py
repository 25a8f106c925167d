"""A server to be mistreated: `python -m robustness.servers http|chat|resp`.

It prints READY and its port.  For each line on its standard input it prints, as JSON, what it has and what it
has done since the last one; when that input ends, so does the server.
"""

import argparse
import ctypes
import gc
import json
import logging
import os
import sys
from typing import Any

from antiphon import asyncore
from robustness.proc import descriptors, resident
from robustness.served import SERVERS

__all__ = ["Control", "main"]

assert sys.platform != "win32", "wanted a POSIX system"


class Control(asyncore.file_dispatcher):
    """The standard input, by which reports are asked for."""

    def __init__(self) -> None:
        super().__init__(sys.stdin)
        self.loop = asyncore.get_loop()
        self.loop.collect_stats()

    def handle_read(self) -> None:
        """Report once for each line."""
        for _ in range(self.recv(4096).count(b"\n")):
            print(json.dumps(self.report()), flush=True)
            # In a turn of its own: that of the report is no one's that a peer has caused.
            self.loop.call_later(0, self.loop.collect_stats)

    def handle_close(self) -> None:
        """End the server."""
        asyncore.close_all()

    def writable(self) -> bool:
        """Nothing is written here."""
        return False

    def report(self) -> dict[str, Any]:
        """What the process has now, and what its loop has done since the last report."""
        stats = self.loop.stats()
        gc.collect()
        _give_back()
        return {
            "channels": len(asyncore.socket_map),
            "descriptors": descriptors(os.getpid()) - 1,  # One is that of the listing.
            "blocks": sys.getallocatedblocks(),
            "memory": resident(os.getpid()),
            "worst_turn": stats.worst_turn,
            "closed": stats.closed,
        }


def _give_back() -> None:
    """Have the C library return what it holds and nobody uses (malloc_trim(3)); others than glibc can't."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--directory", default=".")
    options = parser.parse_args()
    # A handler that takes long is in the report, as a part of the worst turn.
    logging.getLogger("antiphon.loop").setLevel(logging.ERROR)
    server = SERVERS[options.server](options.directory)
    Control()
    print("READY", server.socket.getsockname()[1], flush=True)
    asyncore.loop()


if __name__ == "__main__":
    main()
