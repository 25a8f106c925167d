"""The rows: which servers there are and what each needs."""

import re
from typing import Final, NamedTuple

__all__ = ["LIMIT", "OLDER", "REFERENCE", "ROWS", "Row", "chosen"]

#: The interpreter that still has asyncore and asynchat.
OLDER: Final = "3.11"


class Row(NamedTuple):
    """A server of the benchmark's protocol.

    Attributes:
        name: what tables call it.
        script: in `servers`; "" for the one in C.
        arguments: of the script.
        needs: a statement that fails, with an ImportError, where the row can't be measured.
        older: whether it runs on Python 3.11 rather than on the main interpreter.
        ours: whether it is antiphon, whose modules are on its path.
        scales: whether cost per request against idle connections is measured.
    """

    name: str
    script: str = ""
    arguments: tuple[str, ...] = ()
    needs: str = ""
    older: bool = False
    ours: bool = False
    scales: bool = False


LIMIT: Final = "climit"
REFERENCE: Final = "uvloop protocol"

_UVLOOP: Final = ("--loop", "uvloop")
_OURS: Final = "import antiphon"
_MESSAGES: Final = "from antiphon import MessageChannel"
_STREAMS: Final = "from antiphon.aio import ChatStream"
#: Since Python 3.12, as eager tasks.
_EAGER: Final = "from asyncio import eager_task_factory"

ROWS: Final = (
    Row(LIMIT, scales=True),
    Row("antiphon", "antiphon_chat.py", needs=_OURS, ours=True, scales=True),
    Row("antiphon messages", "antiphon_messages.py", needs=_MESSAGES, ours=True, scales=True),
    Row(REFERENCE, "asyncio_protocol.py", _UVLOOP, "import uvloop", scales=True),
    Row("uvloop protocol, callback", "asyncio_protocol.py", (*_UVLOOP, "--callback"), "import uvloop"),
    Row("chatstream uvloop", "chatstream.py", _UVLOOP, _STREAMS + "; import uvloop", ours=True),
    Row(
        "chatstream batches uvloop",
        "chatstream.py",
        (*_UVLOOP, "--batches"),
        _STREAMS + "; import uvloop",
        ours=True,
    ),
    Row("uvloop coroutine", "asyncio_protocol.py", (*_UVLOOP, "--coroutine"), _EAGER + "; import uvloop"),
    Row("uvloop streams", "asyncio_streams.py", _UVLOOP, "import uvloop"),
    Row("rloop protocol", "asyncio_protocol.py", ("--loop", "rloop"), "import rloop"),
    Row("asyncio protocol", "asyncio_protocol.py", scales=True),
    Row("chatstream", "chatstream.py", needs=_STREAMS, ours=True),
    Row("chatstream batches", "chatstream.py", ("--batches",), needs=_STREAMS, ours=True),
    Row("asyncio coroutine", "asyncio_protocol.py", ("--coroutine",), _EAGER),
    Row("asyncio streams", "asyncio_streams.py"),
    Row("twisted", "twisted_lines.py", needs="import twisted"),
    Row("tornado", "tornado_streams.py", needs="import tornado"),
    Row("gevent", "gevent_streams.py", needs="import gevent"),
    Row("pyasynchat select", "asynchat_classic.py", needs="import asyncore, asynchat"),
    Row("pyasynchat poll", "asynchat_classic.py", ("--poll",), "import asyncore, asynchat", scales=True),
    Row("antiphon 3.11", "antiphon_chat.py", needs=_OURS, older=True, ours=True),
    Row("antiphon messages 3.11", "antiphon_messages.py", needs=_MESSAGES, older=True, ours=True),
    Row("uvloop protocol 3.11", "asyncio_protocol.py", _UVLOOP, "import uvloop", older=True),
    Row("asynchat select 3.11", "asynchat_classic.py", needs="import asyncore, asynchat", older=True),
    Row("asynchat poll 3.11", "asynchat_classic.py", ("--poll",), "import asyncore, asynchat", older=True),
)


def chosen(pattern: str | None) -> list[Row]:
    """The rows whose names a regular expression finds, and the two that ratios refer to; all for None.

    >>> [row.name for row in chosen("antiphon$")]
    ['climit', 'antiphon', 'uvloop protocol']
    """
    return [
        row
        for row in ROWS
        if pattern is None or row.name in (LIMIT, REFERENCE) or re.search(pattern, row.name)
    ]
