"""The memory of large bodies is faulted in once, not body after body."""

import platform
import subprocess
import sys

import pytest

from loop_support import with_sources

of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of the heap of glibc")

#: Two peers upload bodies of 1 MiB, in a process that has freed nothing as large before. It prints how many
#: pages it has faulted in for each body, from the second round on.
UPLOADS = """
import contextlib, resource, socket
from antiphon import asynchat, asyncore

BODY = bytes(1 << 20)

class Upload(asynchat.async_chat):
    def __init__(self, sock):
        super().__init__(sock)
        self.set_terminator(len(BODY))
        self.bodies = 0

    def collect_incoming_data(self, data):
        self.incoming.append(data)

    def found_terminator(self):
        assert self._get_data() == BODY
        self.bodies += 1
        self.set_terminator(len(BODY))

def upload(rounds):
    for _ in range(rounds):
        left = dict.fromkeys(clients, memoryview(BODY))
        wanted = channels[0].bodies + 1
        while any(channel.bodies < wanted for channel in channels):
            for client in clients:
                with contextlib.suppress(BlockingIOError):
                    left[client] = left[client][client.send(left[client]):]
            asyncore.loop(0, count=1)

servers, clients = zip(socket.socketpair(), socket.socketpair())
for client in clients:
    client.setblocking(False)
channels = [Upload(server) for server in servers]
upload(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
upload(20)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 40)
for open_socket in channels + list(clients):
    open_socket.close()
"""


def faults(**variables: str) -> float:
    """Page faults for each body, of a process with these environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", UPLOADS],
        env=with_sources() | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(done.stdout)


@of_glibc
def test_a_body_takes_few_pages_that_are_new() -> None:
    assert faults() < 16, "of 256 in a body"


@of_glibc
def test_what_the_environment_says_of_the_heap_counts() -> None:
    assert faults(MALLOC_TRIM_THRESHOLD_="131072") > 64
