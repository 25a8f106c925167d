"""results.json: every sample that was taken, and where."""

import json
from pathlib import Path
from typing import Any

from bench.ratios import good, median, ratios, values

__all__ = ["Results", "load", "merged", "save"]

FORMAT = 1


class Results:
    """What was measured, and the questions that reports ask of it.

    Args:
        document: what results.json holds.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._samples: dict[str, dict[str, list[dict[str, Any]]]] = document["samples"]

    @property
    def rows(self) -> list[str]:
        """Names of the rows, in their order."""
        return list(self._samples)

    def samples(self, row: str, mode: str) -> list[dict[str, Any]]:
        """Every sample, failures too."""
        return self._samples.get(row, {}).get(mode, [])

    def modes_of(self, names: list[str]) -> list[str]:
        """Those of `names` in which anything was measured."""
        return [name for name in names if any(self.samples(row, name) for row in self.rows)]

    def figure(self, row: str, mode: str, key: str) -> float | None:
        """The median of a figure over the rounds; None if there is none."""
        return median(values(self.samples(row, mode), key))

    def ratio(self, row: str, mode: str, reference: str, key: str = "cpu_us") -> float | None:
        """The reference's figure over this row's, in the same round: the median. Above 1 is cheaper."""
        return median(self.all_ratios(row, mode, reference, key))

    def all_ratios(self, row: str, mode: str, reference: str, key: str = "cpu_us") -> list[float]:
        """That of each round."""
        return ratios(self.samples(reference, mode), self.samples(row, mode), key)

    def bytes_per_connection(self, row: str, mode: str, count: int) -> float | None:
        """Memory that one of `count` idle connections takes: the growth of the resident set."""
        growth = [
            (sample["rss1_kb"] - sample["rss0_kb"]) * 1024 / count
            for sample in good(self.samples(row, mode))
            if "rss1_kb" in sample
        ]
        return median(growth)

    def points(self, row: str) -> dict[int, list[dict[str, Any]]]:
        """Samples by the number of idle connections beside them, each with its round."""
        found: dict[int, list[dict[str, Any]]] = {}
        for sample in good(self.samples(row, "scale")):
            for point in sample["points"]:
                found.setdefault(point["idle"], []).append(point | {"round": sample["round"]})
        return found

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Samples of calls to `loop` in one process."""
        found: list[dict[str, Any]] = self.document.get("calls", [])
        return found

    @property
    def profile(self) -> list[dict[str, Any]]:
        """What an operation executes, by server."""
        found: list[dict[str, Any]] = self.document.get("profile", [])
        return found


def load(path: Path) -> dict[str, Any]:
    """Read results.json.

    Raises:
        ValueError: it has another format.
    """
    document: dict[str, Any] = json.loads(path.read_text())
    if document.get("format") != FORMAT:
        raise ValueError(f"{path}: wanted format {FORMAT}, found {document.get('format')!r}")
    return document


def _encoded(value: Any, depth: int) -> str:
    """JSON with a line for each item down to `depth`."""
    if not depth or not value or not isinstance(value, dict | list):
        return json.dumps(value, separators=(", ", ": "))
    if isinstance(value, list):
        return "[\n" + ",\n".join(_encoded(item, depth - 1) for item in value) + "\n]"
    members = (f"{json.dumps(name)}: {_encoded(item, depth - 1)}" for name, item in value.items())
    return "{\n" + ",\n".join(members) + "\n}"


def save(path: Path, document: dict[str, Any]) -> None:
    """Write results.json, a sample a line."""
    path.write_text(_encoded({"format": FORMAT} | document, 4) + "\n")


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The old results, with what was measured now in place of the same rows and modes.

    Calls and the profile are replaced as a whole, if there are any now; the versions and runs of both are
    kept.
    """
    samples = {row: dict(modes) for row, modes in old["samples"].items()}
    for row, modes in new["samples"].items():
        samples.setdefault(row, {}).update({mode: found for mode, found in modes.items() if found})
    left_out = {row: why for row, why in (old["left_out"] | new["left_out"]).items() if row not in samples}
    return old | {
        "runs": [*old["runs"], *new["runs"]],
        "versions": old["versions"] | new["versions"],
        "left_out": left_out,
        "calls": new.get("calls") or old.get("calls", []),
        "profile": new.get("profile") or old.get("profile", []),
        "samples": samples,
    }
