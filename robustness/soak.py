"""The soak: `python -m robustness.soak`.  Crowds of peers on three servers, and what they leave behind."""

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from robustness.exchanges import CONTENT, RespDialogue, command
from robustness.processes import Process, ProcessError, Server, raise_file_limit
from robustness.tally import Tally

__all__ = ["GRACE", "Room", "main", "shares", "verdicts"]

#: Of forty peers, so many come to each server. What one says in the chat room goes to all: it gets fewer.
_SHARES: Final = {"http": 19, "chat": 2, "resp": 19}

#: Descriptors that a process needs besides one for each peer.
_BESIDES: Final = 50

#: Seconds that a server may need to notice that everybody has gone: the HTTP server lingers for 5.
_QUIET_LIMIT: Final = 30

#: Seconds beyond its own that a crowd may take.
_CROWD_LIMIT: Final = 150

#: Seconds that all of it may take beyond what was asked for: to start, and for both crowds to come to an end.
#: Most often it is less than one.
GRACE: Final = 240

#: Which part of the time the first crowd has. It leaves behind what is kept for good, and is as large as the
#: last one, so that it makes the process as large as that does.
_WARM_UP: Final = 0.2

#: Blocks that Python may hold more than before, and bytes by which the memory of a server may have grown. One
#: channel that is not let go is 10 blocks and more; caches (`re`, `functools.lru_cache`) take some. Memory is
#: less certain: Python gives it back in arenas of 1 MiB, those in which no block is left.
BLOCKS_TOLERANCE: Final = 1000
MEMORY_TOLERANCE: Final = 8 << 20


@dataclass
class Room:
    """A server, and what is known of it.

    Attributes:
        name: which one.
        peers: how many come to it.
        server: its process.
        before: its report when the first crowd had gone.
        after: its report when the last crowd had.
        tally: that of the last crowd.
    """

    name: str
    peers: int
    server: Server
    before: dict[str, Any]
    after: dict[str, Any]
    tally: Tally


def shares(peers: int) -> dict[str, int]:
    """How many of the peers come to each server.

    >>> shares(5000)
    {'http': 2375, 'chat': 250, 'resp': 2375}
    """
    whole = sum(_SHARES.values())
    return {name: max(1, peers * share // whole) for name, share in _SHARES.items()}


def _possible(peers: int) -> int:
    """How many peers there may be, by the limit on open files."""
    room = raise_file_limit() - _BESIDES
    most = room * sum(_SHARES.values()) // max(_SHARES.values())
    if peers > most:
        print(f"wanted {peers} peers; found that a process may open {room + _BESIDES} files: {most} come")
    return min(peers, most)


def _left(until: float) -> float:
    """Seconds from now; `until` is by `time.monotonic`."""
    return max(0.0, until - time.monotonic())


def _send_crowd(room: Room, seconds: float, until: float) -> Tally:
    """A crowd comes, and is gone when this returns."""
    arguments = ["-m", "robustness.crowd", room.name, str(room.server.port)]
    with Process(*arguments, "--peers", str(room.peers), "--seconds", str(seconds)) as crowd:
        return Tally.of(crowd.hear(min(seconds + _CROWD_LIMIT, _left(until))))


def _send_crowds(rooms: Sequence[Room], seconds: float, until: float) -> list[Tally]:
    with ThreadPoolExecutor(len(rooms)) as threads:
        return list(threads.map(lambda room: _send_crowd(room, seconds, until), rooms))


def _furnish(room: Room) -> None:
    """Have the RESP server keep a value for every key before the start: it never forgets one."""
    with socket.create_connection(("127.0.0.1", room.server.port), timeout=60) as sock:
        for number in range(room.peers):
            keys = RespDialogue(f"{room.name}{number}").keys
            sock.sendall(b"".join(command(b"SET", key, bytes(250)) for key in keys))
            missing = len(keys) * len(b"+OK\r\n")
            while missing:
                if not (data := sock.recv(missing)):
                    raise ProcessError(
                        f"wanted {missing} bytes more of the {room.name} server, found its end"
                    )
                missing -= len(data)


def _when_quiet(server: Server, channels: int, until: float) -> dict[str, Any]:
    """The report of a server that has noticed that all have gone, or the last one that it gave."""
    stop = min(time.monotonic() + _QUIET_LIMIT, until)
    report = server.report()
    totals = report
    while report["channels"] > channels and time.monotonic() < stop:
        time.sleep(0.5)
        report = server.report()
        totals = _added(totals, report)
    return totals


def _added(totals: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    """The later report, with the worst of both."""
    return {**report, "worst_turn": max(totals["worst_turn"], report["worst_turn"])}


def verdicts(room: Room) -> Iterator[str]:
    """What is wrong with what came of it; nothing, if all is well."""
    before, after, tally = room.before, room.after, room.tally
    if tally.lost:
        yield f"wanted every byte that was owed to arrive, found {tally.lost} of {tally.owed} missing"
    if tally.failed:
        yield f"wanted no failure of a well-behaved peer, found {tally.failed}: {'; '.join(tally.failures)}"
    if not tally.exchanges:
        yield "wanted something to be checked, found nothing"
    for what in "channels", "descriptors":
        if after[what] != before[what]:
            yield f"wanted as many {what} as at the start, {before[what]}, found {after[what]}"
    for what, tolerance in ("memory", MEMORY_TOLERANCE), ("blocks", BLOCKS_TOLERANCE):
        if after[what] > before[what] + tolerance:
            more = after[what] - before[what]
            yield f"wanted at most {tolerance} more {what} than at the start, found {more}"
    if complaints := room.server.complaints:
        yield f"wanted a silent server, found {len(complaints)} lines: {complaints[-1]}"


def _lines(room: Room) -> Iterator[str]:
    before, after, tally = room.before, room.after, room.tally
    sessions = ", ".join(f"{count} {name}" for name, count in sorted(tally.sessions.items()))
    yield f"{room.name}: {room.peers} peers"
    yield f"  connections     {sum(tally.sessions.values())}: {sessions}"
    yield f"  bytes           {tally.arrived} of {tally.owed} arrived, {tally.lost} lost"
    yield f"  answers checked {tally.exchanges}"
    yield f"  connections end {', '.join(f'{count} {name}' for name, count in after['closed'].items())}"
    yield f"  turns of loop   worst {1000 * after['worst_turn']:.1f} ms"
    yield f"  descriptors     {before['descriptors']} before, {after['descriptors']} after"
    sizes = [f"{report['memory'] / 2**20:.1f} MiB" for report in (before, after)]
    yield f"  memory          {sizes[0]} before, {sizes[1]} after"
    yield f"  Python's blocks {before['blocks']} before, {after['blocks']} after"


def _soak(peers: int, seconds: float) -> list[str]:
    """Do it; what is wrong."""
    until = time.monotonic() + seconds + GRACE
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "content").write_bytes(CONTENT)
        rooms = []
        for name, share in shares(peers).items():
            server = Server("-m", "robustness.servers", name, "--directory", str(directory))
            stack.enter_context(server)
            rooms.append(Room(name, share, server, {}, {}, Tally()))
        alone = [room.server.report()["channels"] for room in rooms]
        _furnish(next(room for room in rooms if room.name == "resp"))
        _send_crowds(rooms, seconds * _WARM_UP, until)
        for room, channels in zip(rooms, alone, strict=True):
            room.before = _when_quiet(room.server, channels, until)
        for room, tally in zip(rooms, _send_crowds(rooms, seconds * (1 - _WARM_UP), until), strict=True):
            room.tally = tally
        wrong = []
        for room, channels in zip(rooms, alone, strict=True):
            room.after = _when_quiet(room.server, channels, until)
            print(*_lines(room), sep="\n", flush=True)
            wrong += [f"{room.name}: {verdict}" for verdict in verdicts(room)]
        return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status, 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.partition(".  ")[2])
    parser.add_argument(
        "--seconds",
        type=float,
        default=300,
        help=f"for which peers come; all of it takes longer, by {GRACE} s at most (default: %(default)s)",
    )
    parser.add_argument("--peers", type=int, default=5000, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if not 1 <= options.seconds <= 86_400 or options.peers < 40:
        parser.error("wanted 1 to 86400 seconds and 40 peers or more")
    peers = _possible(options.peers)
    print(f"{peers} peers for {options.seconds:g} s, of all kinds", flush=True)
    began = time.monotonic()
    try:
        wrong = _soak(peers, options.seconds)
    except ProcessError as error:
        wrong = [str(error)]
    print(f"all of it took {time.monotonic() - began:.0f} s")
    print(*(f"WRONG: {line}" for line in wrong) if wrong else ["nothing is wrong"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
