"""Where the exceptions of handlers end."""

import logging

import pytest

import loop_support
from antiphon import asyncore
from antiphon.failures import ESCAPING, ExitNow, contain

wires = loop_support.wires


class Channel:
    """Anything with a handle_error() and a close()."""

    def __init__(self, error: BaseException | None = None, closing: BaseException | None = None) -> None:
        self.error, self.closing = error, closing
        self.calls: list[str] = []

    def handle_error(self) -> None:
        self.calls.append("handle_error")
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.calls.append("close")
        if self.closing is not None:
            raise self.closing


def test_an_exception_goes_to_the_channel() -> None:
    channel = Channel()
    contain(channel)
    assert channel.calls == ["handle_error"]


def test_a_channel_that_fails_to_handle_its_error_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    channel = Channel(error=LookupError("as asked"))
    contain(channel)
    assert channel.calls == ["handle_error", "close"]
    [record] = caplog.records
    assert (record.name, record.levelno) == ("antiphon.channels", logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


@pytest.mark.parametrize("escaping", [ExitNow(), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_what_leaves_the_loop_leaves_handle_error_too(escaping: BaseException) -> None:
    channel = Channel(error=escaping)
    with pytest.raises(type(escaping)):
        contain(channel)
    assert channel.calls == ["handle_error"]


def test_what_leaves_the_loop_is_named() -> None:
    assert (ExitNow, KeyboardInterrupt, SystemExit) == ESCAPING
    assert asyncore.ExitNow is ExitNow


def test_a_channel_that_can_t_be_closed_either_is_taken_out_of_its_map(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channels: dict[int, object] = {}

    class Stuck(Channel):
        _fileno = 7
        _ac_loop = asyncore.get_loop(channels)

    channel = Stuck(error=LookupError("one"), closing=LookupError("two"))
    channels[7] = channel
    contain(channel)
    assert channels == {}
    assert len(caplog.records) == 2


def test_a_foreign_object_that_can_t_be_closed_is_left_to_its_map(caplog: pytest.LogCaptureFixture) -> None:
    channel = Channel(error=LookupError("one"), closing=LookupError("two"))
    contain(channel)
    assert [record.getMessage().split(" of ")[0] for record in caplog.records] == ["handle_error", "close"]


@pytest.mark.parametrize("escaping", ESCAPING)
def test_what_leaves_the_loop_leaves_it_also_while_a_channel_is_closed(escaping: type[BaseException]) -> None:
    with pytest.raises(escaping, match="leaving"):
        contain(Channel(error=LookupError("one"), closing=escaping("leaving")))


def test_a_channel_that_fails_in_everything_neither_ends_nor_floods_the_loop(
    wires: loop_support.Wires, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(asyncore.dispatcher):
        def handle_read(self) -> None:
            raise ValueError("in handle_read")

        def handle_error(self) -> None:
            raise ValueError("in handle_error")

        def close(self) -> None:
            raise ValueError("in close")

    channels: dict[int, object] = {}
    healthy, heard = wires.channel(loop_support.Noting, channels)
    _, far = wires.channel(Stuck, channels)
    far.send(b"x")
    heard.send(b"x")
    loop_support.spin(channels, turns=5)
    assert healthy.received == b"x"
    assert list(channels.values()) == [healthy]
    assert len(caplog.records) == 2
