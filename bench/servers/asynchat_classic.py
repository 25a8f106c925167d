"""The old modules: Python 3.11's own, or pyasyncore and pyasynchat, which have the same names.

`--poll` waits with poll() instead of select().
"""

import asynchat
import asyncore
import sys

from _application import make_channel
from _listening import parser, serve


class Channel(make_channel(asynchat.async_chat)):  # type: ignore[misc]
    """Reads as much at a time as the other servers do."""

    ac_in_buffer_size = 65536
    ac_out_buffer_size = 65536

    def handle_error(self) -> None:
        """Close on what the network does; anything else is to be seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            raise  # noqa: PLE0704 (called while the exception is handled)
        self.close()


arguments = parser()
arguments.add_argument("--poll", action="store_true")
options = arguments.parse_args()
serve(asyncore, Channel, options.port, timeout=30, use_poll=options.poll)
