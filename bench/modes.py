"""The modes: what the load generator does, and what is counted as one operation."""

from typing import Final, NamedTuple

__all__ = ["CALLS", "CONNECTION_COUNTS", "IDLE", "MODES", "PROFILE", "SCALE", "Mode"]


class Mode(NamedTuple):
    """One kind of load.

    Attributes:
        arguments: the load generator's.
        unit: of the rate.
        operation: what CPU is counted for.
        fresh: whether each sample needs a server that has just started: a heap that has grown takes bodies
            without page faults, and memory per connection is known of a clean process only.
    """

    arguments: tuple[str, ...]
    unit: str
    operation: str
    fresh: bool = False


#: With one connection the generator polls without blocking, so that its own wake-up is not measured.
MODES: Final = {
    "pingpong1": Mode(("pingpong", "-S", "-n", "1"), "req/s", "request"),
    "pingpong100": Mode(("pingpong", "-n", "100"), "req/s", "request"),
    "pingpong1000": Mode(("pingpong", "-n", "1000"), "req/s", "request"),
    "pipeline": Mode(("pipeline",), "lines/s", "line"),
    "upload": Mode(("upload",), "MB/s", "1 MiB body", fresh=True),
    "download": Mode(("download",), "MB/s", "16 MiB body"),
    "churn": Mode(("churn",), "conn/s", "connection"),
    "drip": Mode(("drip", "-H", "60"), "MB/s", "8 MiB line"),
    "idle9000": Mode(("idle", "-i", "9000", "-H", "75"), "req/s", "request", fresh=True),
}

IDLE: Final = 9000

#: Idle connections beside which a request is measured.
CONNECTION_COUNTS: Final = (10, 100, 1000, 2000, 4000, 9000, 16000)

#: What is measured besides the modes, under the names that `--modes` takes.
SCALE: Final = "scale"
CALLS: Final = "calls"
PROFILE: Final = "profile"
