"""antiphon and asyncio in one process: channels on its loops, and streams that read messages."""

import sys

from antiphon.aio.attachment import Attachment, attach, running
from antiphon.aio.hosting import HostedLoop, run_in
from antiphon.aio.streams import (
    ChatServer,
    ChatStream,
    IncompleteRead,
    MessageTooLong,
    open_connection,
    start_server,
)

__all__ = [
    "Attachment",
    "ChatServer",
    "ChatStream",
    "HostedLoop",
    "IncompleteRead",
    "MessageTooLong",
    "attach",
    "open_connection",
    "run_in",
    "running",
    "start_server",
]

if sys.platform != "win32":  # pragma: no branch: the tests of this branch need Windows
    from antiphon.aio.streams import open_unix_connection, start_unix_server

    __all__ += ["open_unix_connection", "start_unix_server"]
