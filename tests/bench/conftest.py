"""Small results: two rounds of three servers, with round figures."""

from typing import Any

import pytest
from bench.results import Results


def sample(number: int, cpu: float, **more: Any) -> dict[str, Any]:
    latency = {"50": 10.0, "99": 20.0, "99.9": 30.0}
    return {
        "round": number,
        "rate": 1e6 / cpu,
        "cpu_us": cpu,
        "faults": 0.5,
        "server_cpu": 1.0,
        "generator_cpu": 0.5,
        "latency_us": latency,
        "foreign": 0.01,
        **more,
    }


def idle(number: int, cpu: float, grown_kb: int) -> dict[str, Any]:
    return sample(number, cpu, rss0_kb=10000, rss1_kb=10000 + grown_kb, setup_s=0.5)


def scale(*cpus: float) -> list[dict[str, Any]]:
    counts = (10, 100, 16000)
    points = [
        sample(0, cpu, idle=count, rss0_kb=1, rss1_kb=2) for count, cpu in zip(counts, cpus, strict=False)
    ]
    return [{"round": 0, "points": points}]


def call(channels: int, ours: float, theirs: float) -> dict[str, Any]:
    case = {"channels": channels, "kind": "dict", "use_poll": True}
    return case | {"ours_us": ours, "theirs_us": theirs, "ratio": theirs / ours, "pairs": [[ours, theirs]]}


def executed(server: str, operation: str, bytecodes: float, calls: float, *functions: Any) -> dict[str, Any]:
    counts = {"bytecodes": bytecodes, "calls": calls, "functions": list(functions)}
    return {"server": server, "operation": operation} | counts


@pytest.fixture
def document() -> dict[str, Any]:
    run = {"started": "2026-01-02 03:04", "rounds": 2, "seconds": 0.8, "modes": ["pingpong100"], "only": None}
    machine = {"processor": "Abacus", "cores": "2", "kernel": "Linux 6", "C library": "glibc 2"}
    return {
        "format": 1,
        "runs": [run | machine],
        "versions": {"main": {"Python": "3.13.0", "uvloop": "0.22"}},
        "left_out": {"gevent": "No module named 'gevent'"},
        "calls": [call(1, 2.0, 3.0), call(100, 2.0, 30.0), call(16000, 2.2, 4000.0)],
        "profile": [
            executed("antiphon", "ping-pong", 420.6, 11.44, ["Incoming.handle_read", 91.0, 1.0]),
            executed("antiphon", "connection", 1743.5, 70.06, ["Loop.turn", 35.3, 0.44]),
            executed("pyasynchat poll", "ping-pong", 365.5, 12.19, ["poll2", 51.4, 0.06]),
        ],
        "samples": {
            "climit": {
                "pingpong100": [sample(0, 3), sample(1, 6)],
                "idle9000": [idle(0, 4, 36000)],
                "scale": scale(4, 4, 5),
            },
            "antiphon": {
                "pingpong100": [sample(0, 4), sample(1, 8)],
                "idle9000": [idle(0, 5, 9000)],
                "scale": scale(5, 5, 6),
            },
            "uvloop protocol": {
                "pingpong100": [sample(0, 5), sample(1, 10)],
                "idle9000": [{"round": 0, "error": "closed", "server": "OSError"}],
                "scale": scale(5, 6),
            },
        },
    }


@pytest.fixture
def results(document: dict[str, Any]) -> Results:
    return Results(document)
