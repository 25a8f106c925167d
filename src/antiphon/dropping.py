"""What is pushed to a closed channel: some of it waits for the next connection, the rest is dropped."""

import logging
from typing import Any, Final

from antiphon.logs import LimitedLog, name_of
from antiphon.outbox import Outbox, weight

__all__ = ["drops", "drops_output"]

_limited: Final = LimitedLog(logging.getLogger("antiphon.channels"))

#: Items, and bytes, that a closed channel keeps at most for its next connection.
_LONGEST: Final = 1000
_MOST: Final = 1 << 20


def drops(channel: Any, outbox: Outbox) -> bool:
    """Whether a closed channel is not to keep what waits in its queue, which is noted then.

    Programs go on pushing to those who have left. A channel that was given its socket, as a listener gives
    it, will hardly get another one.
    """
    if getattr(channel, "keeps_unsent", False):
        return False
    waiting = tuple(outbox)  # Other threads may be changing the queue.
    may_connect = channel._ac_searched or hasattr(channel, "family_and_type")
    if may_connect and len(waiting) <= _LONGEST and sum(map(weight, waiting)) <= _MOST:
        return False
    channel._ac_push_dropped = True
    _limited.log(
        logging.DEBUG, type(channel), "%s is closed: items dropped: %d", name_of(channel), len(waiting)
    )
    return True


def drops_output(channel: Any) -> bool:
    """Whether something was pushed to a closed `async_chat` and has been dropped."""
    if channel._ac_foreign_fifo is not None:
        channel._ac_take_over()
    if not channel._ac_outbox or not drops(channel, channel._ac_own_outbox()):
        return False
    unsent = channel._ac_unsent
    channel._ac_discard_output()
    channel._ac_unsent = unsent  # The connection that is gone was not owed it.
    return True
