"""What goes on in a loop, in numbers: taken when somebody asks, from what was counted and from the map."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from antiphon.counting import Counts

__all__ = ["STATES", "Observable", "Stats", "queued_in", "state_of", "states_of", "taken"]

#: In the order in which a channel goes through them.
STATES: Final = ("listening", "connecting", "open", "connected", "paused", "closing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A loop at one moment. `str()` makes lines of it, `as_dict()` what JSON can have.

    Attributes:
        channels: how many of each class, by its full name, are in each state. The states are `listening`;
            `connecting`; `connected`; `paused`, of a channel that for now reads nothing, as a listener does
            when no descriptor is left; `closing`, when the peer has ended the connection or
            `close_when_done` was called, and something is still to be sent; `open` for anything else, a
            socket without connections or a file.
        accepted: connections taken by listeners since the loop was made.
        refused: connections that listeners have turned away since then.
        closed: channels that have ended since then, by reason: `peer` (or the network; also a connection that
            could not be made), `timeout`, `overflow`, `error` (an exception in the program), `own` (the
            program's own close).
        queued: bytes that wait to be sent. What producers will yield is not known.
        producers: how many producers wait to be sent.
        timers: how many are pending.
        turns: how often the loop has waited.
        slow: handlers and callbacks that took longer than `slow_callback`.
        seconds: for how long traffic has been counted (`Loop.collect_stats`). None if it is not: then so are
            all that follow.
        bytes_received: by channels that are open or were meanwhile, with the library's `recv`.
        bytes_sent: likewise.
        messages: how often `found_terminator` was called, how many messages `messages_received` was
            given, and datagrams.
        busy: seconds that the loop was not waiting.
        worst_turn: seconds of the longest turn, without its wait: so long may everybody have had to wait.
        mean_turn: seconds of one turn that had anything to do; 0.0 if there was none.
    """

    channels: dict[str, dict[str, int]]
    accepted: int
    refused: int
    closed: dict[str, int]
    queued: int
    producers: int
    timers: int
    turns: int
    slow: int
    seconds: float | None
    bytes_received: int | None
    bytes_sent: int | None
    messages: int | None
    busy: float | None
    worst_turn: float | None
    mean_turn: float | None

    def as_dict(self) -> dict[str, Any]:
        """The attributes by name, in dicts of the caller's own."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **values,
            "channels": {name: dict(states) for name, states in self.channels.items()},
            "closed": dict(self.closed),
        }

    def __str__(self) -> str:
        return "\n".join(f"{name}: {_words(value)}" for name, value in _lines(self) if value is not None)


def _lines(stats: Stats) -> Iterable[tuple[str, Any]]:
    for name, value in stats.as_dict().items():
        if name == "channels":
            yield name, sum(sum(states.values()) for states in value.values())
            yield from ((f"  {kind}", states) for kind, states in value.items())
        else:
            yield name.replace("_", " "), value


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items()) or "none"
    return f"{value:.6f} s" if isinstance(value, float) else str(value)


class Observable:
    """What a loop tells of itself."""

    map: Any
    counts: Counts
    now: Callable[[], float]
    turns: int
    _timers: Any
    _guarding: set[Any]

    def collect_stats(self, on: bool = True) -> None:
        """Count traffic from now on, from nothing: bytes, messages, and the seconds that turns take.

        That costs about 0.6 microseconds for a read, its message and the send of the answer, and 0.3 for each
        turn.

        Args:
            on: False to stop.
        """
        if on:
            self.counts.start(self.now())
        else:
            self.counts.stop()

    def stats(self) -> Stats:
        """What has been going on. Looks at each channel of the map once; safe in any thread."""
        return taken(
            self.map,
            self.counts,
            timers=self._timers.active - len(self._guarding),
            turns=self.turns,
            now=self.now(),
        )


def taken(channels: Mapping[Any, Any], counts: Counts, *, timers: int, turns: int, now: float) -> Stats:
    """What can be told of a loop with these channels, which has counted that."""
    present = list(channels.values())
    queued = [queued_in(channel) for channel in present]
    return Stats(
        channels=states_of(present),
        accepted=counts.accepted,
        refused=counts.refused,
        closed=dict(counts.closed),
        queued=sum(size for size, _ in queued),
        producers=sum(producers for _, producers in queued),
        timers=timers,
        turns=turns,
        slow=counts.slow,
        **_traffic(counts, now),
    )


def _traffic(counts: Counts, now: float) -> dict[str, Any]:
    if counts.since is None:
        names = "seconds", "bytes_received", "bytes_sent", "messages", "busy", "worst_turn", "mean_turn"
        return dict.fromkeys(names)
    return {
        "seconds": now - counts.since,
        "bytes_received": counts.received,
        "bytes_sent": counts.sent,
        "messages": counts.messages,
        "busy": counts.busy,
        "worst_turn": counts.worst,
        "mean_turn": counts.busy / max(counts.turns, 1),
    }


def states_of(channels: Iterable[Any]) -> dict[str, dict[str, int]]:
    """How many channels of each class are in each state, classes by name and states in their order."""
    numbers = Counter((_name(type(channel)), state_of(channel)) for channel in channels)
    names = sorted({name for name, _ in numbers})
    return {name: {state: numbers[name, state] for state in STATES if numbers[name, state]} for name in names}


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def state_of(channel: Any) -> str:
    """One of STATES, for any object of a map."""

    def has(name: str) -> bool:
        return bool(getattr(channel, name, False))

    if has("_ac_paused") or has("_ac_reading_paused"):
        return "paused"
    if has("accepting"):
        return "listening"
    if has("_ac_hung_up") or has("_ac_deaf") or has("closing"):
        return "closing"
    if has("connected"):
        return "connected"
    return "connecting" if has("connecting") else "open"


def queued_in(channel: Any) -> tuple[int, int]:
    """How many bytes, and how many producers, a channel has queued to be sent."""
    size, producers = getattr(channel, "_ac_queued", 0), 0  # Of datagrams.
    for queue in getattr(channel, "_ac_outbox", None), getattr(channel, "_ac_foreign_fifo", None):
        for item in _items(queue):
            if isinstance(item, memoryview):
                size += item.nbytes
            elif isinstance(item, (bytes, bytearray, str)):
                size += len(item)
            elif item is not None:
                producers += 1
    return size, producers


def _items(queue: Any) -> tuple[Any, ...]:
    """A copy: the loop may be in another thread. A single push is no queue; a program's may be anything."""
    if isinstance(queue, bytes):
        return (queue,)
    try:
        return tuple(queue or ())
    except TypeError:
        return ()
