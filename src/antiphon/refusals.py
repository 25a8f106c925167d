"""The connections that a listener refused, in one line of the log a second at most."""

import logging
from collections import Counter
from typing import Any, Final

__all__ = ["INTERVAL", "Refusals"]

_log = logging.getLogger("antiphon.listener")

#: Seconds between two lines.
INTERVAL: Final = 1.0


class Refusals:
    """Counts refused connections, and tells of the first at once and of the others together.

    Args:
        channel: the listener; has `call_later()`.

    Attributes:
        total: how many there were.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.total: int = 0
        self._untold: Counter[str] = Counter()
        self._last: Any = None
        self._silent = False

    def note(self, reason: str, address: Any) -> None:
        """One from `address` was refused.

        Args:
            reason: why; reads behind "refused 3 connections: 3 ".
            address: of the peer, as accept(2) gives it.
        """
        self.total += 1
        self._untold[reason] += 1
        self._last = address
        if not self._silent:
            self._silent = True
            self.tell()
            self._channel.call_later(INTERVAL, self._go_on)

    def tell(self) -> None:
        """Write the line for what no line has told of."""
        if self._untold:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self._untold.items())
            number = self._untold.total()
            self._untold.clear()
            connections = "1 connection" if number == 1 else f"{number} connections"
            _log.warning(
                "%r refused %s: %s; the last from %r", self._channel, connections, reasons, self._last
            )

    def _go_on(self) -> None:
        if self._untold:
            self.tell()
            self._channel.call_later(INTERVAL, self._go_on)
        else:
            self._silent = False
