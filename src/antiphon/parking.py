"""Turns of a loop that somebody else waits for: asyncio, for example."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from antiphon.pollers.base import Poller

__all__ = ["Host", "Parking"]


class Host(Protocol):
    """What runs the turns of a loop in the place of `asyncore.loop()`."""

    def check_turn(self) -> None:
        """Raise RuntimeError unless a turn that is about to begin is the host's."""


class Parking:
    """The part of a loop that its host uses.

    Attributes:
        host: who runs the turns in the place of `asyncore.loop()`, if anybody does.
        asyncio_loop: the asyncio loop that runs in the same thread, if one does.
    """

    map: Any
    host: Host | None = None
    asyncio_loop: Any = None
    _lock: Any
    _waiting: bool
    _mirror: Any
    _polled: set[int]
    _poller: Poller | None
    _wakeup: Any
    _make_poller: Callable[[], Poller]

    if TYPE_CHECKING:

        def _read_map_again(self, mirror: Any) -> None: ...
        def _ask_polled(self) -> None: ...
        def _open(self) -> Poller: ...
        def _prepare(self, timeout: float | None) -> float | None: ...
        def _release(self) -> None: ...

    def park(self) -> tuple[Poller, float | None]:
        """Prepare for a wait that the host does, until `turn(0.0)`.

        Returns:
            The poller, which has an event from now on when there is something to do; and the seconds after
            which there is something to do in any case, None for never.
        """
        with self._lock:
            self._waiting = True  # First: from here on, who changes something ends the wait.
            if self._mirror is not None:
                self._read_map_again(self._mirror)
            if self._polled:
                self._ask_polled()
            poller = self._poller or self._open()
            if self._wakeup is not None and not self.map:  # A turn without channels does not look.
                self._wakeup.drain()
            return poller, self._prepare(None)

    @property
    def asks(self) -> bool:
        """Whether there are channels that are to be asked again and again what they wait for."""
        return bool(self._polled)

    def use(self, make_poller: Callable[[], Poller], host: Host | None) -> None:
        """Wait with other pollers from now on, in turns of `host`; None for `asyncore.loop()`."""
        with self._lock:
            self._make_poller, self.host = make_poller, host
            self._waiting = False
            self._release()
