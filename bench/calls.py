"""What `loop(timeout=0.01, map=m, count=1)` costs: antiphon's and the old modules', in one process.

That call, made for ever, is the commonest way in which programs drive these modules.  One channel is
readable, so that no call waits; the others are idle.  Run as a program, with the folder of antiphon as its
argument, it prints JSON.
"""

import argparse
import gc
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

from bench.processes import Setting, run_module
from bench.ratios import median
from bench.system import pinned, raise_file_limit

__all__ = ["Case", "cases", "measure_calls"]

#: Seconds of CPU that a batch of calls takes, about.
BATCH: Final = 0.02

#: Idle channels of the turns that are compared.
FEW, MANY = 100, 16000

#: Descriptors that a process needs besides those of the channels.
SPARE_FILES: Final = 50

#: Seconds after which the program is ended.
LIMIT: Final = 300


class Case(NamedTuple):
    """One kind of call.

    Attributes:
        channels: in the map, the readable one included.
        kind: "dict" for a plain dict, "socket_map" for the module's own map.
        use_poll: as the argument of `loop`.
    """

    channels: int
    kind: str
    use_poll: bool


def cases(files: int) -> list[Case]:
    """Those that a process which may have `files` open can run."""
    small = [
        Case(channels, kind, use_poll)
        for channels in (1, 10, 1000)
        for kind in ("dict", "socket_map")
        for use_poll in (False, True)
    ]
    turns = [Case(FEW, "socket_map", True), Case(MANY, "socket_map", True)]
    return [case for case in [*small, *turns] if case.channels + SPARE_FILES <= files]


def _channel_class(asynchat: Any) -> Any:
    class Quiet(asynchat.async_chat):  # type: ignore[misc]
        """Reads nothing: it stays as readable as it was."""

        def handle_read(self) -> None:
            """Leave the byte where it is."""

        def handle_error(self) -> None:
            """Let nothing pass unseen."""
            raise  # noqa: PLE0704 (called while the exception is handled)

    return Quiet


@contextmanager
def _sockets(count: int) -> Iterator[list[socket.socket]]:
    """A socket that is readable, and copies of one that is not."""
    readable, writer = socket.socketpair()
    idle, other = socket.socketpair()
    made = [readable, *(idle.dup() for _ in range(count - 1))]
    try:
        writer.send(b"x")
        yield made
    finally:
        for one in (*made, writer, idle, other):
            one.close()


@contextmanager
def _calls(
    modules: tuple[Any, Any], sockets: Sequence[socket.socket], case: Case
) -> Iterator[Callable[[], None]]:
    """A function that makes one call, with the sockets in a map of that module."""
    asyncore, asynchat = modules
    channels: Any = asyncore.socket_map if case.kind == "socket_map" else {}
    quiet = _channel_class(asynchat)
    for one in sockets:
        quiet(one, channels)
    loop, use_poll = asyncore.loop, case.use_poll

    def call() -> None:
        loop(timeout=0.01, use_poll=use_poll, map=channels, count=1)

    try:
        yield call
    finally:
        for channel in list(channels.values()):
            channel.del_channel(channels)  # The other module's channels have the same sockets.


def _timed(call: Callable[[], None], count: int) -> float:
    """CPU microseconds of a call, over `count` of them."""
    begin = time.process_time_ns()
    for _ in range(count):
        call()
    return (time.process_time_ns() - begin) / 1000 / count


def _batch_size(call: Callable[[], None]) -> int:
    call()  # The first one opens what is opened once.
    return max(2, min(20000, int(BATCH * 1e6 / max(_timed(call, 3), 0.1))))


def _measure(case: Case, ours: tuple[Any, Any], theirs: tuple[Any, Any], rounds: int) -> dict[str, Any]:
    with (
        _sockets(case.channels) as sockets,
        _calls(ours, sockets, case) as our_call,
        _calls(theirs, sockets, case) as their_call,
    ):
        our_count, their_count = _batch_size(our_call), _batch_size(their_call)
        pairs = [(_timed(our_call, our_count), _timed(their_call, their_count)) for _ in range(rounds)]
    return case._asdict() | {
        "ours_us": median([mine for mine, _ in pairs]),
        "theirs_us": median([other for _, other in pairs]),
        "ratio": median([other / mine for mine, other in pairs]),
        "pairs": [[round(mine, 3), round(other, 3)] for mine, other in pairs],
    }


def _main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("source")
    arguments.add_argument("--rounds", type=int, default=9)
    options = arguments.parse_args()
    theirs = import_module("asyncore"), import_module("asynchat")
    sys.path.insert(0, options.source)
    ours = import_module("antiphon.asyncore"), import_module("antiphon.asynchat")
    assert ours[0] is not theirs[0], "wanted the old asyncore first on the path, found antiphon's"
    gc.disable()
    print(json.dumps([_measure(case, ours, theirs, options.rounds) for case in cases(raise_file_limit())]))


def measure_calls(setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """Run this module as a program, on the server's core.

    Raises:
        RuntimeError: it failed; with the last thing that it said.
    """
    with pinned(setting.cores[0]):
        return run_module(setting, "bench.calls", "--rounds", str(rounds), limit=LIMIT)


if __name__ == "__main__":
    _main()
