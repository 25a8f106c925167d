"""What the system knows of a process; by Linux' proc(5)."""

import os
import sys
from pathlib import Path

__all__ = ["cpu_seconds", "descriptors", "resident"]


def resident(pid: int) -> int:
    """Bytes that are in memory; 0 if the process has ended (proc_pid_statm(5))."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _system("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def cpu_seconds(pid: int) -> float:
    """CPU time so far; 0.0 if the process has ended (proc_pid_stat(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _system("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """How many files are open; 0 if the process has ended (proc_pid_fd(5))."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _system(name: str) -> int:
    if sys.platform == "win32":
        raise OSError("wanted Linux, found Windows")
    return os.sysconf(name)
