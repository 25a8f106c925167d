"""Counts what some work consists of: system calls, calls, steps of the interpreter, memory.

Counts are the same on every machine and in every run, which seconds are not.
"""

import gc
import itertools
import os
import socket
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import antiphon

Action = Callable[[], object]

#: The files whose functions are counted as the project's; those of its test kit are not.
_PACKAGE: Final = os.path.join(Path(antiphon.__file__).parent, "")
_TEST_KIT: Final = os.path.join(_PACKAGE, "testing", "")

#: What looks like a system call and asks the interpreter's own memory.
_NOT_THE_KERNEL: Final = frozenset(
    {"fileno", "fspath", "detach", "gettimeout", "getblocking", "getdefaulttimeout"}
)
#: The modules in which CPython keeps the functions and types that are system calls.
_KERNEL: Final = frozenset({"_socket", "select", "posix", "nt"})

#: Different ways to do the same, which the tests have no preference for.
_ALIASES: Final = {"sendmsg": "send", "sendfile": "send", "recv_into": "recv", "_accept": "accept"}


@contextmanager
def _without_collections() -> Iterator[None]:
    """Have no garbage collected meanwhile: it may call anything, at any moment."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def system_calls(action: Action) -> Counter[str]:
    """How often `action` calls each function that enters the kernel, whoever calls it.

    These are the methods of sockets and pollers and the functions of `os`, as the interpreter reports its
    calls of them: nothing stands between them and their caller.  A method of a socket that does not block is
    one system call.  Whatever sends is `send`, and whatever receives `recv`.
    """
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and _enters_the_kernel(argument):
            name = argument.__name__
            calls[_ALIASES.get(name, name)] += 1

    _profiled(action, note)
    return calls


def _enters_the_kernel(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    where = {getattr(function, "__module__", None), type(owner).__module__}
    if isinstance(owner, socket.SocketType):
        where.add("_socket")
    return not where.isdisjoint(_KERNEL) and function.__name__ not in _NOT_THE_KERNEL


def _is_own(code: CodeType) -> bool:
    return code.co_filename.startswith(_PACKAGE) and not code.co_filename.startswith(_TEST_KIT)


def functions_entered(action: Action) -> list[str]:
    """The names of the project's own functions that `action` enters, each as often as it is entered."""
    names: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and _is_own(frame.f_code):
            names.append(frame.f_code.co_name)

    _profiled(action, note)
    return names


def calls_made(action: Action) -> int:
    """How many functions, of Python and of C, `action` calls."""
    counter = itertools.count()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event in {"call", "c_call"}:
            next(counter)

    _profiled(action, note)
    return next(counter)


def _profiled(action: Action, note: Callable[[FrameType, str, Any], object]) -> None:
    before = sys.getprofile()
    with _without_collections():
        sys.setprofile(note)
        try:
            action()
        finally:
            sys.setprofile(before)


def steps(action: Action) -> int:
    """How many lines of Python, and calls of C functions, `action` takes; finalizers of others apart."""
    counter = itertools.count()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        next(counter)
        return trace

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            next(counter)

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        _profiled(action, note)
    finally:
        sys.settrace(before)
        gc.enable()
    return next(counter)


if sys.version_info >= (3, 12):

    def instructions(action: Action) -> int:
        """How many instructions of the interpreter `action` takes in the project's own functions."""
        monitoring = sys.monitoring
        counter = itertools.count()

        def note(code: CodeType, offset: int) -> None:
            if _is_own(code):
                next(counter)

        tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
        monitoring.use_tool_id(tool, "counters")
        try:
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, note)
            with _without_collections():
                monitoring.set_events(tool, monitoring.events.INSTRUCTION)
                action()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)
        return next(counter)


def peak_memory(action: Action) -> int:
    """How many bytes more than before are allocated at most while `action` runs."""
    return _memory(action)[1]


def memory_kept(action: Action) -> int:
    """How many bytes more than before are allocated when `action` is through."""
    return _memory(action)[0]


def _memory(action: Action) -> tuple[int, int]:
    with _without_collections():
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            action()
            now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    return now - before, peak - before


class Copies:
    """Adds up the bytes that are allocated between its looks, also those that are released again meanwhile.

    Where nothing but bytes objects of some size is made, that is how much is copied.

    Attributes:
        total: bytes.
    """

    def __init__(self) -> None:
        self.total = 0
        self._before = 0

    def of(self, action: Action) -> int:
        """What `action` allocates, if it has this look often enough."""
        tracemalloc.start()
        try:
            self._before = tracemalloc.get_traced_memory()[0]
            action()
            self.look()
        finally:
            tracemalloc.stop()
        return self.total

    def look(self) -> None:
        """Add what was allocated since the last time."""
        now, peak = tracemalloc.get_traced_memory()
        self.total += peak - self._before
        self._before = now
        tracemalloc.reset_peak()
