"""What a channel tells: log lines, errors that nobody dealt with, events that nobody handles."""

import errno
import logging
import re
import sys
from typing import Any

import pytest

import loop_support
from antiphon import asyncore, reporting
from antiphon.logs import LimitedLog
from antiphon.reporting import Reporting, compact_traceback
from antiphon.testing import FakeClock
from loop_support import Failing, Wires, spin

wires = loop_support.wires
use_poll = loop_support.use_poll


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Everything that is said to the logger `antiphon` and its children; nothing counts as said before."""
    caplog.set_level(logging.INFO, "antiphon")
    monkeypatch.setattr(reporting, "_warned", set())
    monkeypatch.setattr(reporting, "_limited", LimitedLog(logging.getLogger("antiphon.channels"), burst=10))
    return caplog


class Plain(asyncore.dispatcher):
    """Overrides nothing."""


class Telling(asyncore.dispatcher):
    """Has a log of its own."""

    def __init__(self, *arguments: Any) -> None:
        self.told: list[tuple[str, str]] = []
        super().__init__(*arguments)

    def log_info(self, message: object, type: str = "info") -> None:
        self.told.append((str(message), type))


def failing(channel: Any, error: BaseException) -> None:
    """Have `channel` handle `error` as the loop would."""
    try:
        raise error
    except type(error):
        channel.handle_error()


# -- the formats -------------------------------------------------------------------------------------------


def test_log_goes_to_standard_error_and_log_info_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    channel = asyncore.dispatcher(map={})
    channel.log("word")
    channel.log(7)
    channel.log_info("word")
    channel.log_info(7, "error")
    channel.log_info("unseen", "warning")
    assert capsys.readouterr() == ("info: word\nerror: 7\n", "log: word\nlog: 7\n")


def test_what_is_not_ignored_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    channel = asyncore.dispatcher(map={})
    channel.ignore_log_types = ("info",)
    channel.log_info("unseen")
    channel.log_info("word", "warning")
    assert capsys.readouterr().out == "warning: word\n"


# -- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ConnectionResetError(errno.ECONNRESET, "reset"), OSError(errno.ETIMEDOUT, "late")]
)
def test_what_the_network_does_is_noted_without_a_traceback(
    wires: Wires, heard: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    channel, _ = wires.channel(Plain, {})
    failing(channel, error)
    record = heard.records[0]
    assert (record.name, record.levelno, record.exc_info) == ("antiphon.channels", logging.INFO, None)
    assert str(error) in record.message
    assert "test_reporting" in record.message
    assert channel.closing
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [LookupError("a defect"), OSError(errno.EBADF, "a defect")])
def test_any_other_error_is_reported_with_its_traceback(
    wires: Wires, heard: pytest.LogCaptureFixture, error: Exception
) -> None:
    channel, _ = wires.channel(Plain, {})
    failing(channel, error)
    record = heard.records[0]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert "in failing" in heard.text
    assert channel.closing


def test_of_one_kind_of_error_ten_are_reported_and_the_others_counted(
    wires: Wires, heard: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    limited = LimitedLog(logging.getLogger("antiphon.channels"), burst=10, now=clock)
    monkeypatch.setattr(reporting, "_limited", limited)
    errors: list[Exception] = [LookupError("a defect"), ConnectionResetError(errno.ECONNRESET, "reset")]
    for error in errors:
        for _ in range(30):
            channel, _far = wires.channel(Plain, {})
            failing(channel, error)
            assert channel.closing
    told = [record for record in heard.records if "unhandled" not in record.message]
    assert [record.levelno for record in told] == [logging.ERROR] * 10 + [logging.INFO] * 10
    limited.flush()
    for words, message in zip(["uncaught", "reset"], heard.messages[-2:], strict=True):
        assert message.startswith("20 more like this were left out in 0.0 s: ")
        assert words in message


@pytest.mark.parametrize("method", ["recv", "send"])
def test_a_connection_that_is_lost_is_told_to_whoever_wants_to_know_it_all(
    wires: Wires, heard: pytest.LogCaptureFixture, method: str
) -> None:
    for level in logging.INFO, logging.DEBUG:
        heard.set_level(level, "antiphon")
        channel, _ = wires.channel(Plain, {})
        channel.socket.close()
        channel.socket = Failing(errno.ECONNRESET, closes=True)
        channel.addr = "192.0.2.7", 7
        getattr(channel, method)(b"x" if method == "send" else 1)
        assert channel.closing
    told = [record for record in heard.records if "unhandled" not in record.message]
    assert [(record.name, record.levelno, record.exc_info) for record in told] == [
        ("antiphon.channels", logging.DEBUG, None)
    ]
    assert "192.0.2.7:7" in told[0].message
    assert "reset" in told[0].message.lower()


def test_a_log_of_ones_own_gets_the_message_as_ever(wires: Wires, heard: pytest.LogCaptureFixture) -> None:
    channel, _ = wires.channel(Telling, {})
    name = repr(channel)
    failing(channel, LookupError("a defect"))
    message, kind = channel.told[0]
    assert kind == "error"
    what = "<class 'LookupError'>:a defect"
    assert message.startswith(
        f"uncaptured python exception, closing channel {name} ({what} [{__file__}|failing|"
    )
    assert message.endswith("])")
    assert heard.records == []


def test_a_log_on_the_instance_is_ones_own_too(wires: Wires, heard: pytest.LogCaptureFixture) -> None:
    channel, _ = wires.channel(Plain, {})
    told: list[Any] = []
    channel.log_info = lambda message, type="info": told.append(type)
    failing(channel, LookupError())
    assert told[0] == "error"
    assert heard.records == []


def test_a_channel_without_a_usable_representation_is_reported_all_the_same(
    wires: Wires, heard: pytest.LogCaptureFixture
) -> None:
    class Nameless(asyncore.dispatcher):
        def __repr__(self) -> str:
            raise LookupError("no name")

    channel, _ = wires.channel(Nameless, {})
    failing(channel, ValueError())
    assert f"<__repr__(self) failed for object at {id(channel):#x}>" in heard.records[0].message


def test_an_error_ends_in_handle_close_once_and_in_close_after_that(
    wires: Wires, heard: pytest.LogCaptureFixture
) -> None:
    closed: list[str] = []

    class Lasting(asyncore.dispatcher):
        def handle_close(self) -> None:
            closed.append("handle_close")

        def close(self) -> None:
            closed.append("close")
            super().close()

    channel, _ = wires.channel(Lasting, wires.map())
    failing(channel, LookupError())
    assert closed == ["handle_close"]
    failing(channel, LookupError())
    assert closed == ["handle_close", "close"]
    assert channel.closing


@pytest.mark.parametrize("survives", [True, False])
def test_a_listener_goes_on_after_an_error_of_its_program(
    wires: Wires, heard: pytest.LogCaptureFixture, survives: bool
) -> None:
    listener = wires.listener(Plain, {})
    listener.survives_errors = survives
    failing(listener, LookupError())
    assert listener.closing is not survives
    assert heard.records[0].levelno == logging.ERROR


def test_an_overridden_error_handler_hears_of_everything_and_nothing_is_logged(
    wires: Wires, heard: pytest.LogCaptureFixture, use_poll: bool
) -> None:
    class Handling(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise LookupError("a defect")

        def handle_error(self) -> None:
            self.error = sys.exc_info()[1]
            self.close()

    channels: dict[int, Any] = {}
    channel, far = wires.channel(Handling, channels)
    far.send(b"x")
    spin(channels, use_poll=use_poll)
    assert repr(channel.error) == "LookupError('a defect')"
    assert heard.records == []


def test_what_is_raised_to_leave_the_loop_is_no_matter_of_handle_error(wires: Wires) -> None:
    class Leaving(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise asyncore.ExitNow("enough")

    channels: dict[int, Any] = {}
    _, far = wires.channel(Leaving, channels)
    far.send(b"x")
    with pytest.raises(asyncore.ExitNow, match="enough"):
        spin(channels)


# -- events that nobody handles ----------------------------------------------------------------------------

UNHANDLED = [
    ("handle_read", "read"),
    ("handle_write", "write"),
    ("handle_expt", "incoming priority"),
    ("handle_connect", "connect"),
    ("handle_close", "close"),
]


@pytest.mark.parametrize(("handler", "event"), UNHANDLED)
def test_an_event_that_nobody_handles_is_told_once_for_its_class(
    wires: Wires,
    heard: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    handler: str,
    event: str,
) -> None:
    for _ in range(3):
        channel, _far = wires.channel(Plain, {})
        getattr(channel, handler)()
        getattr(channel, handler)()
    assert len(heard.records) == 1
    assert f"unhandled {event} event" in heard.records[0].message
    assert "once" in heard.records[0].message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("handler", "event"), UNHANDLED)
def test_it_goes_to_the_log_of_ones_own_each_time(wires: Wires, handler: str, event: str) -> None:
    channel, _ = wires.channel(Telling, {})
    getattr(channel, handler)()
    getattr(channel, handler)()
    assert channel.told == [(f"unhandled {event} event", "warning")] * 2


def test_it_is_printed_where_warnings_are_not_ignored(
    wires: Wires, capsys: pytest.CaptureFixture[str]
) -> None:
    channel, _ = wires.channel(Plain, {})
    channel.ignore_log_types = frozenset()
    channel.handle_read()
    assert capsys.readouterr().out == "warning: unhandled read event\n"


def test_the_default_of_handle_close_closes(wires: Wires, heard: pytest.LogCaptureFixture) -> None:
    channel, _ = wires.channel(Plain, {})
    channel.handle_close()
    assert channel.closing


def test_a_connection_that_nobody_takes_is_closed(wires: Wires, heard: pytest.LogCaptureFixture) -> None:
    channels: dict[int, Any] = {}
    listener = wires.listener(Plain, channels)
    client = wires.client(listener.socket.getsockname())
    asyncore.loop(10, map=channels, count=1)
    assert client.recv(1) == b""
    assert "unhandled accepted event" in heard.text


# -- compact_traceback -------------------------------------------------------------------------------------


def test_a_traceback_is_told_in_one_line() -> None:
    def inner() -> None:
        raise LookupError("lost")

    def told() -> Any:
        try:
            inner()
        except LookupError:
            return compact_traceback()

    (file, function, line), kind, error, frames = told()
    assert (file, function, kind, repr(error)) == (__file__, "inner", LookupError, "LookupError('lost')")
    assert re.fullmatch(rf"\[{re.escape(file)}\|told\|\d+\] \[{re.escape(file)}\|inner\|{line}\]", frames)


def test_there_must_be_an_exception_to_tell_of() -> None:
    with pytest.raises(AssertionError, match="found none"):
        compact_traceback()


def test_the_parts_that_only_a_channel_can_do_are_left_to_it() -> None:
    bare = Reporting()
    with pytest.raises(NotImplementedError):
        bare.close()
    with pytest.raises(NotImplementedError):
        bare._ac_state_changed()
