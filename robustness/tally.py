"""What a crowd has done and got, in numbers that can be added up."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Tally"]

#: Of how many failures the words are kept.
_SHOWN = 10


@dataclass
class Tally:
    """The numbers.

    Attributes:
        sessions: connections that were made and came to their end, by behaviour.
        exchanges: answers, or chat lines, that well-behaved peers have checked.
        owed: bytes of payload that well-behaved peers should have got.
        arrived: bytes of those that came, intact and in their order.
        failures: what went wrong for well-behaved peers, the first few in words.
        failed: how often something did.
    """

    sessions: Counter[str] = field(default_factory=Counter)
    exchanges: int = 0
    owed: int = 0
    arrived: int = 0
    failures: list[str] = field(default_factory=list)
    failed: int = 0

    @property
    def lost(self) -> int:
        """Bytes that should have come and did not."""
        return self.owed - self.arrived

    def check(self, wanted: bytes, found: bytes) -> None:
        """Note that `found` has come where `wanted` was owed, and was counted as such.

        Raises:
            ValueError: they differ.
        """
        if wanted != found:
            raise ValueError(f"wanted {len(wanted)} bytes {wanted[:60]!r}, found {len(found)} {found[:60]!r}")
        self.exchanges += 1
        self.arrived += len(found)

    def fail(self, who: str, error: object) -> None:
        """Note that something went wrong."""
        self.failed += 1
        if len(self.failures) < _SHOWN:
            self.failures.append(f"{who}: {error}")

    @classmethod
    def of(cls, text: str) -> "Tally":
        """What `as_dict` gave, as JSON."""
        values = json.loads(text)
        return cls(**{**values, "sessions": Counter(values["sessions"])})

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "sessions": dict(self.sessions)}
