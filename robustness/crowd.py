"""A crowd of peers and its tally: `python -m robustness.crowd http|chat|resp PORT --peers N --seconds S`."""

import argparse
import asyncio
import json
import random
from collections.abc import Callable
from functools import partial
from typing import Final

from robustness.exchanges import Dialogue, HTTPDialogue, RespDialogue
from robustness.guests import STAYS, Stay, Witness
from robustness.processes import raise_file_limit
from robustness.tally import Tally
from robustness.visits import GOOD, Visit, Visitor, visits_of

__all__ = ["main"]

#: Seconds within which all peers come, and, at the end, within which they go; less in a short time. What
#: each guest of a chat room says as it comes and goes is told to all others.
_SPREAD: Final = 20.0
#: Seconds that a well-behaved peer may need to come to an end.
_LONGEST_END: Final = 90.0

#: Guests of the chat room have one too, and say nothing of it.
DIALOGUES: Final[dict[str, Callable[[str], Dialogue]]] = {
    "http": HTTPDialogue,
    "resp": RespDialogue,
    "chat": RespDialogue,
}


async def _come_and_go(visitor: Visitor, name: str, visit: Visit) -> None:
    """One visit after the other. Only what happens to a well-behaved peer is a failure."""
    tally = visitor.tally
    while visitor.has_time():
        try:
            await visit(visitor)
            tally.sessions[name] += 1
        except (OSError, TimeoutError, ValueError) as error:
            if name in GOOD:
                tally.fail(f"{name} {visitor.name}", repr(error))
            else:
                tally.sessions[name] += 1  # The server has had enough of it.
            await visitor.rest(1)


async def _begin_later(delay: float, visitor: Visitor, name: str, visit: Visit) -> None:
    await asyncio.sleep(delay)
    await _come_and_go(visitor, name, visit)


def _visits(server: str, witness: Witness) -> list[tuple[str, Visit]]:
    """A score of visits with their names."""
    if server == "chat":
        return [(name, partial(_stay, stay, witness)) for name, stay in STAYS]
    return visits_of(server)


async def _stay(stay: Stay, witness: Witness, visitor: Visitor) -> None:
    await stay(visitor, witness)


async def run(server: str, port: int, peers: int, seconds: float) -> Tally:
    """Have the crowd come and go for so many seconds."""
    tally, witness = Tally(), Witness()
    start, spread = asyncio.get_running_loop().time(), min(_SPREAD, seconds / 4)
    visits = _visits(server, witness)
    good: list[asyncio.Task[None]] = []
    bad: list[asyncio.Task[None]] = []
    if server == "chat":
        bad.append(asyncio.create_task(witness.attend(port)))
    for number in range(peers):
        name, visit = visits[number % len(visits)]
        peer, whims = f"{server}{number}", random.Random(number)
        until = start + seconds - whims.uniform(0, spread)
        visitor = Visitor(peer, port, DIALOGUES[server](peer), tally, until, whims)
        task = asyncio.create_task(_begin_later(spread * number / peers, visitor, name, visit))
        (good if name in GOOD else bad).append(task)
    await asyncio.sleep(seconds)
    _, late = await asyncio.wait(good, timeout=_LONGEST_END)
    if late:
        tally.fail(f"{len(late)} well-behaved peers", f"did not come to an end within {_LONGEST_END:g} s")
    for task in (*late, *bad):
        task.cancel()
    for outcome in await asyncio.gather(*good, *bad, return_exceptions=True):
        if isinstance(outcome, Exception):
            tally.fail("a peer", repr(outcome))
    return tally


def main() -> None:
    """Run the crowd that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=DIALOGUES)
    parser.add_argument("port", type=int)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    raise_file_limit()
    tally = asyncio.run(run(options.server, options.port, options.peers, options.seconds))
    print(json.dumps(tally.as_dict()), flush=True)


if __name__ == "__main__":
    main()
