"""The small parts of the modules answer the same with the old modules as with ours."""

import contextlib
import errno
import io
import os
import re
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from differential.traces import DIFFERENTIAL, connected_pair
from faults.originals import Modules, ours, the_originals

letters = st.text("ab", max_size=12)


@DIFFERENTIAL
@given(letters, letters.filter(bool), st.booleans())
def test_find_prefix_at_end(haystack: str, needle: str, as_bytes: bool) -> None:
    arguments: tuple[Any, ...] = (haystack, needle)
    if as_bytes:
        arguments = haystack.encode(), needle.encode()
    answers = [modules.asynchat.find_prefix_at_end(*arguments) for modules in (ours(), the_originals())]
    assert answers[0] == answers[1]


def all_pieces(modules: Modules, data: Any, size: int) -> list[Any]:
    """What a simple_producer yields before an empty piece ends it."""
    producer = modules.asynchat.simple_producer(data, size)
    pieces = []
    while piece := producer.more():
        pieces.append(piece)
    return [*pieces, len(producer.more())]


@DIFFERENTIAL
@given(st.one_of(st.binary(max_size=50), st.text(max_size=50)), st.integers(1, 20))
def test_simple_producer(data: Any, size: int) -> None:
    assert all_pieces(ours(), data, size) == all_pieces(the_originals(), data, size)


def failure(modules: Modules) -> Any:
    """What compact_traceback() tells of an exception two calls deep, and of none at all."""

    def inner() -> None:
        raise LookupError("as asked")

    try:
        inner()
    except LookupError:
        told = modules.asyncore.compact_traceback()
    with pytest.raises(AssertionError):
        modules.asyncore.compact_traceback()
    place, kind, value, frames = told
    return place, kind, str(value), frames


def test_compact_traceback() -> None:
    assert failure(ours()) == failure(the_originals())


def representations(modules: Modules) -> list[str]:
    """How channels in different states show themselves, without their addresses in memory."""

    class Named(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        pass

    Named.__module__, Named.__qualname__ = "program", "Program.Named"
    shown = []
    for cls in (modules.asyncore.dispatcher, modules.asynchat.async_chat, Named):
        with connected_pair() as (near, _):
            fresh, connected, listening = cls(map={}), cls(near, map={}), cls(map={})
            listening.create_socket()
            listening.accepting, listening.addr = True, ("127.0.0.1", 80)
            fresh.addr = ("::1", 80, 0, 0)
            shown += [repr(channel) for channel in (fresh, connected, listening)]
            fresh.addr = "/run/socket"
            connected.addr = ("host", "port")
            shown += [repr(channel) for channel in (fresh, connected)]
            listening.close()
    return [re.sub(r"0x[0-9a-f]+", "0x…", text) for text in shown]


def test_repr() -> None:
    assert representations(ours()) == representations(the_originals())


def logged(modules: Modules) -> tuple[str, str]:
    """What log() and log_info() write to standard output and to standard error."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        channel = modules.asyncore.dispatcher(map={})
        channel.log("a message")
        channel.log(17)
        for kind in ("info", "error", "warning", "debug"):
            channel.log_info("a message", kind)
        channel.log_info("a message")
        channel.ignore_log_types = ()
        channel.log_info("a message", "warning")
    return output.getvalue(), errors.getvalue()


def test_log_and_log_info() -> None:
    assert logged(ours()) == logged(the_originals())


def unhandled(modules: Modules) -> list[tuple[Any, ...]]:
    """What an overridden log_info is told by the default handlers."""
    told: list[tuple[Any, ...]] = []

    class Telling(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def log_info(self, message: str, type: str = "info") -> None:
            told.append((message, type))

    channel = Telling(map={})
    for event in ("read", "write", "connect", "expt", "close"):
        getattr(channel, f"handle_{event}")()
    with connected_pair() as (near, _):
        channel.handle_accepted(near, None)
        told.append(("closed", near.fileno() == -1))
    return told


def test_unhandled_events() -> None:
    assert unhandled(ours()) == unhandled(the_originals())


def error_report(modules: Modules) -> list[tuple[str, str]]:
    """What an overridden log_info is told by the default handle_error."""
    told: list[tuple[str, str]] = []

    class Telling(modules.asyncore.dispatcher):  # type: ignore[misc, name-defined]
        def log_info(self, message: str, type: str = "info") -> None:
            told.append((message, type))

        def handle_close(self) -> None:
            told.append(("handle_close", ""))
            self.close()

    with connected_pair() as (near, _):
        channel = Telling(near, {})
        try:
            raise LookupError("as asked")
        except LookupError:
            channel.handle_error()
    return [(re.sub(r"0x[0-9a-f]+|\|\d+\]", "…", message), kind) for message, kind in told]


def test_handle_error_with_an_overridden_log_info() -> None:
    assert error_report(ours()) == error_report(the_originals())


class Closing:
    """Something in a map that raises when it is closed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


ERRORS = [None, OSError(errno.EBADF, "bad"), OSError(errno.EIO, "other"), LookupError("x"), SystemExit("x")]


def closed_all(modules: Modules, ignore_all: bool, error: BaseException | None) -> Any:
    """How close_all() ends, and what it leaves."""
    objects = {index: Closing(error if index == 1 else None) for index in range(3)}
    channels: dict[int, Any] = dict(objects)
    escaped = None
    try:
        modules.asyncore.close_all(channels, ignore_all)
    except BaseException as raised:
        escaped = raised
    return escaped, [made.closed for made in objects.values()], sorted(channels)


@pytest.mark.parametrize("ignore_all", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_close_all(error: BaseException | None, ignore_all: bool) -> None:
    assert closed_all(ours(), ignore_all, error) == closed_all(the_originals(), ignore_all, error)


class Recorded:
    """Something that readwrite() can handle, which fails at the events it is told to."""

    def __init__(self, failing: dict[str, BaseException]) -> None:
        self.failing, self.calls = failing, list[str]()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("handle_"):
            raise AttributeError(name)

        def handler() -> None:
            self.calls.append(name)
            if name in self.failing:
                raise self.failing[name]

        return handler


EVENTS = ("handle_read_event", "handle_write_event", "handle_expt_event")
failures = st.sampled_from(
    [OSError(number, "as asked") for number in (errno.ECONNRESET, errno.EBADF, errno.EIO)]
)
failing_events = st.dictionaries(
    st.sampled_from(EVENTS), st.one_of(failures, st.just(LookupError("as asked")))
)


def handled(modules: Modules, function: str, failing: dict[str, BaseException], *arguments: int) -> Any:
    """Which handlers a module function calls."""
    recorded = Recorded(failing)
    getattr(modules.asyncore, function)(recorded, *arguments)
    return recorded.calls


@DIFFERENTIAL
@given(st.sampled_from(["read", "write", "_exception"]), failing_events)
def test_read_write_and_exception(function: str, failing: dict[str, BaseException]) -> None:
    assert handled(ours(), function, failing) == handled(the_originals(), function, failing)


@DIFFERENTIAL
@given(st.integers(0, 63), failing_events)
def test_readwrite(flags: int, failing: dict[str, BaseException]) -> None:
    old = handled(the_originals(), "readwrite", failing, flags)
    assert handled(ours(), "readwrite", failing, flags) == old


def file_wrapped(modules: Modules) -> Any:
    """What a file_wrapper around a pipe answers, before and after it is closed."""
    reading, writing = os.pipe()
    try:
        near, far = modules.asyncore.file_wrapper(reading), modules.asyncore.file_wrapper(writing)
        answers: list[Any] = [near.fileno() not in (reading, writing), far.send(b"one"), far.write(b"two")]
        answers += [near.recv(3), near.read(3), near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
        with pytest.raises(NotImplementedError):
            near.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        for wrapper in (near, far, near):
            wrapper.close()
        return [*answers, near.fileno(), near.fd]
    finally:
        os.close(reading)
        os.close(writing)


def test_file_wrapper() -> None:
    assert file_wrapped(ours()) == file_wrapped(the_originals())


def through_a_pipe(modules: Modules) -> Any:
    """What file_dispatchers on both ends of a pipe pass on, and how they end."""
    channels: dict[int, Any] = {}
    events: list[Any] = []

    class Reading(modules.asyncore.file_dispatcher):  # type: ignore[misc, name-defined]
        def handle_read(self) -> None:
            events.append(("read", self.recv(64)))

        def writable(self) -> bool:
            return False

        def handle_close(self) -> None:
            events.append("close")
            self.close()

    reading, writing = os.pipe()
    with open(reading, "rb") as near, open(writing, "wb", buffering=0) as far:
        channel = Reading(near, map=channels)
        blocking = os.get_blocking(channel.socket.fileno())  # type: ignore[attr-defined,unused-ignore] # POSIX
        events.append((channel.connected, blocking, len(channels)))
        far.write(b"some text")
        modules.asyncore.loop(0, map=channels, count=2)
        far.close()
        modules.asyncore.loop(0, map=channels, count=2)
    return events, len(channels)


def test_file_dispatcher() -> None:
    assert through_a_pipe(ours()) == through_a_pipe(the_originals())


def wrong(modules: Modules, method: str, argument: Any) -> Any:
    """The type of the exception that a wrong argument raises at the call, if it does."""
    with connected_pair() as (near, _):
        channel = modules.asynchat.async_chat(near, {})
        try:
            getattr(channel, method)(argument)
        except Exception as error:
            return type(error)
        finally:
            channel.close()
    return None


@pytest.mark.parametrize(
    ("method", "argument"),
    [("set_terminator", -1), ("push", "text"), ("push", 17), ("push", None)],
)
def test_wrong_arguments_that_the_old_modules_refuse(method: str, argument: Any) -> None:
    assert wrong(ours(), method, argument) == wrong(the_originals(), method, argument) is not None


def test_abstract_methods() -> None:
    for modules in ours(), the_originals():
        channel = modules.asynchat.async_chat(map={})
        with pytest.raises(NotImplementedError):
            channel.collect_incoming_data(b"")
        with pytest.raises(NotImplementedError):
            channel.found_terminator()


def test_public_names() -> None:
    new, old = ours(), the_originals()
    for now, before in zip(new, old, strict=True):
        theirs = {name for name, value in vars(before).items() if made_in(before, value)}
        assert theirs - set(dir(now)) == set()


def made_in(module: Any, value: object) -> bool:
    """Whether a class or function is the module's own."""
    return str(getattr(value, "__module__", None)) == str(module.__name__)


@pytest.mark.parametrize("name", ["dispatcher", "dispatcher_with_send", "file_dispatcher", "file_wrapper"])
def test_names_of_the_classes_of_asyncore(name: str) -> None:
    assert public(the_originals().asyncore, name) - set(dir(getattr(ours().asyncore, name))) == set()


@pytest.mark.parametrize("name", ["async_chat", "simple_producer"])
def test_names_of_the_classes_of_asynchat(name: str) -> None:
    assert public(the_originals().asynchat, name) - set(dir(getattr(ours().asynchat, name))) == set()


def public(module: Any, name: str) -> set[str]:
    """The names that a class has, except for those that every class has."""
    return {attribute for attribute in dir(getattr(module, name)) if not attribute.startswith("__")}
