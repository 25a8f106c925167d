import pytest

from antiphon.aio.streams import body as module
from antiphon.aio.streams.body import LARGEST, Body


@pytest.fixture(autouse=True)
def _no_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POOL", [])


def put(body: Body, data: bytes) -> None:
    body.lend()[: len(data)] = data
    body.fill(len(data))


def test_a_body_is_put_together_where_it_is_received() -> None:
    body = Body(9, b"abc")
    assert body.missing == 6
    put(body, b"def")
    assert len(body.lend()) == 3
    put(body, b"ghi")
    assert (body.missing, body.take()) == (0, b"abcdefghi")


def test_no_more_is_lent_than_is_missing() -> None:
    assert len(Body(LARGEST, b"").lend()) == LARGEST
    assert len(Body(200_000, b"abc").lend()) == 199_997


def test_what_is_lent_stays_the_same_until_it_is_filled() -> None:
    body = Body(9, b"")
    assert body.lend() is body.lend()


def test_buffers_are_used_again_but_not_many_kept() -> None:
    bodies = [Body(9, b"x") for _ in range(6)]
    first = bodies[0].lend().obj
    bodies[0].fill(1)
    for body in bodies:
        body.take()
    assert len(module._POOL) == 4
    assert first in [buffer.obj for buffer in module._POOL]
    Body(9, b"y")
    assert len(module._POOL) == 3


def test_a_buffer_that_a_transport_may_fill_is_not_used_again() -> None:
    body = Body(9, b"abc")
    lent = body.lend()
    assert body.take() == b"abc"
    assert module._POOL == []
    lent[:1] = b"d"
    assert body.lent is lent
