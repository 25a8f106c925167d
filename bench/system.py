"""What the benchmark asks of the machine: cores, CPU time, limits, a description.

The calls are Linux's; elsewhere the benchmark does not run.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "busy_seconds",
    "cores",
    "cpu_seconds",
    "describe",
    "pinned",
    "raise_file_limit",
    "versions",
]

PEERS = ("uvloop", "rloop", "twisted", "tornado", "gevent", "pyasyncore", "pyasynchat")


def cores() -> tuple[int, int]:
    """The server's core and the load generator's; the same one twice if there is no other."""
    if sys.platform != "linux":
        raise OSError("the benchmark needs Linux")
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Stay on a core, as every process does that is started meanwhile, to its end."""
    if sys.platform != "linux":
        raise OSError("the benchmark needs Linux")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit() -> int:
    """Allow as many open files as the hard limit allows; returns that, for the children have it too."""
    if sys.platform != "linux":
        raise OSError("the benchmark needs Linux")
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _ticks() -> int:
    """Of the clock of /proc, in a second."""
    if sys.platform != "linux":
        raise OSError("the benchmark needs Linux")
    return os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started; interrupts are nobody's (proc_stat(5))."""
    user, nice, kernel = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(kernel)) / _ticks()


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process; 0.0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _ticks()


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def describe() -> dict[str, str]:
    """The machine, for the report."""
    count = os.cpu_count()
    server, generator = cores()
    return {
        "processor": _processor(),
        "cores": f"{count}; server on {server}, load generator on {generator}",
        "kernel": f"{platform.system()} {platform.release()}",
        "C library": " ".join(platform.libc_ver()),
    }


def versions(python: str) -> dict[str, str]:
    """The version of an interpreter, and those of the peers that are installed for it."""
    program = (
        "import sys, platform\n"
        "from importlib.metadata import PackageNotFoundError, version\n"
        "print('Python', platform.python_version())\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, version(name))\n"
        "    except PackageNotFoundError: pass\n"
    )
    done = subprocess.run([python, "-c", program, *PEERS], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
