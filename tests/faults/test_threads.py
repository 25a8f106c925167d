"""Eight threads push, call, open, close and set timers while the loop runs: all arrives, once, in order."""

import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

import loop_support
from antiphon import asyncore
from antiphon.asynchat import async_chat
from antiphon.maps import ChannelMap
from effort import effort
from faults.stage import open_descriptors
from loop_support import Wires

wires = loop_support.wires
each_poller = loop_support.each_poller

THREADS: Final = 8
OPERATIONS: Final = effort(400, 3000)
#: Seconds: a round is made at least.
LASTS: Final = effort(0.0, 15.0)
#: Seconds after which something that should have happened is taken to hang.
PATIENCE: Final = 30.0


class Shared(async_chat):
    """What all threads push to."""

    def collect_incoming_data(self, data: bytes) -> None:
        raise AssertionError("nobody speaks")


class Echo(async_chat):
    """What a single thread opens and talks to."""

    def __init__(self, sock: socket.socket, map: Any, closes: list[int]) -> None:
        super().__init__(sock, map)
        self.closes = closes
        self.set_terminator(b"\n")

    def collect_incoming_data(self, data: bytes) -> None:
        assert not self.closing
        self._collect_incoming_data(data)

    def found_terminator(self) -> None:
        assert not self.closing
        self.push(self._get_data() + b"\n")

    def handle_close(self) -> None:
        self.closes.append(1)
        self.close()

    def handle_error(self) -> None:
        raise asyncore.ExitNow("a handler failed")


class Words:
    """A producer of a few numbered words."""

    def __init__(self, words: list[bytes]) -> None:
        self.words = words

    def more(self) -> bytes:
        return self.words.pop(0) if self.words else b""


class Round:
    """One map, one thread in its loop, and many that disturb it."""

    def __init__(self, channels: Any, seed: int) -> None:
        self.channels = channels
        self.seed = seed
        self.loop = asyncore.get_loop(channels)
        self.pairs = [socket.socketpair() for _ in range(4)]
        self.shared = [Shared(near, channels) for near, _ in self.pairs]
        #: By thread and channel, what must arrive there; by thread and kind, what must be called.
        self.promised: dict[tuple[int, object], list[int]] = defaultdict(list)
        self.called: dict[tuple[int, object], list[int]] = defaultdict(list)

    def play(self) -> None:
        with ThreadPoolExecutor(THREADS + len(self.pairs) + 1) as pool:
            looping = pool.submit(asyncore.loop, 60, map=self.channels)
            reading = [pool.submit(self.read, far) for _, far in self.pairs]
            working = [pool.submit(self.work, thread) for thread in range(THREADS)]
            try:
                for work in working:
                    work.result(PATIENCE)
            finally:
                for channel in self.shared:
                    self.loop.call_soon_threadsafe(channel.close_when_done)
            looping.result(PATIENCE)
            received = [read.result(PATIENCE) for read in reading]
        for place, words in enumerate(received):
            for thread, number in words:
                self.called[thread, place].append(number)

    def read(self, far: socket.socket) -> list[tuple[int, int]]:
        with far:
            data = b"".join(iter(lambda: far.recv(65536), b""))
        words = data.split(b";")
        assert words.pop() == b""
        return [(int(word.split(b"-")[0]), int(word.split(b"-")[1])) for word in words]

    def work(self, thread: int) -> None:
        chance = random.Random(self.seed * THREADS + thread)
        actions = [self.push, self.push, self.produce, self.call, self.call_through_a_channel, self.time]
        for number in range(OPERATIONS):
            chance.choice(actions)(thread, number, chance)
            if number % 8 == 0:
                self.converse(thread, number, chance)

    # -- what the threads do -------------------------------------------------------------------------

    def promise(self, thread: int, kind: object, number: int) -> Callable[[], None]:
        self.promised[thread, kind].append(number)
        return lambda: self.called[thread, kind].append(number)

    def push(self, thread: int, number: int, chance: random.Random) -> None:
        place = chance.randrange(len(self.shared))
        self.promised[thread, place].append(number)
        self.shared[place].push(b"%d-%d;" % (thread, number))

    def produce(self, thread: int, number: int, chance: random.Random) -> None:
        place = chance.randrange(len(self.shared))
        self.promised[thread, place] += [number] * 3
        self.shared[place].push_with_producer(Words([b"%d-%d;" % (thread, number)] * 3))

    def call(self, thread: int, number: int, chance: random.Random) -> None:
        self.loop.call_soon_threadsafe(self.promise(thread, "call", number))

    def call_through_a_channel(self, thread: int, number: int, chance: random.Random) -> None:
        self.shared[0].call_soon_threadsafe(self.promise(thread, "call", number))

    def time(self, thread: int, number: int, chance: random.Random) -> None:
        self.loop.call_later(0, self.promise(thread, "timer", number))
        cancelled = self.loop.call_later(3600, lambda: self.called[thread, "cancelled"].append(number))
        self.loop.call_soon_threadsafe(cancelled.cancel)

    def converse(self, thread: int, number: int, chance: random.Random) -> None:
        """Open a channel, have a word echoed, and end it from one side or the other."""
        near, far = socket.socketpair()
        closes: list[int] = []
        with far:
            far.settimeout(PATIENCE)
            channel = Echo(near, self.channels, closes)
            word = b"%d and %d\n" % (thread, number)
            far.sendall(word)
            got = b""
            while len(got) < len(word):
                got += far.recv(100)
            assert got == word
            if chance.random() < 0.5:
                channel.close()
                assert far.recv(1) == b""
                assert closes == []


@pytest.mark.parametrize("make", [ChannelMap, dict], ids=["telling", "plain"])
def test_what_eight_threads_ask_for_is_done_once_and_in_the_order_of_each(
    wires: Wires, make: type, each_poller: str
) -> None:
    until = time.monotonic() + LASTS
    seed = 0
    while seed == 0 or time.monotonic() < until:
        seed += 1
        channels = wires.map() if make is ChannelMap else wires.plain_map()
        before = open_descriptors()
        playing = Round(channels, seed)
        playing.play()
        assert playing.called == playing.promised, f"seed {seed}"
        assert len(channels) == 0
        playing.loop.close()
        assert open_descriptors() == before
