from antiphon import aio, errors
from antiphon.aio import streams


def test_the_package_offers_what_its_modules_have() -> None:
    for name in streams.__all__:
        assert getattr(aio, name) is getattr(streams, name)
    assert {"ChatServer", "ChatStream", "open_connection", "start_server"} < set(aio.__all__)
    assert aio.MessageTooLong is errors.MessageTooLong
