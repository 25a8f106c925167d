from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.producers import IterableProducer
from antiphon.servers.http_channel import http_request_handler
from antiphon.servers.messages import Request, Response
from servers.site import Answer, Site, answers, serving

CONTENT = bytes(range(256)) * 16
LARGE = 8 * 1024 * 1024
END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SECRET = b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n"


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *fields, "", ""]).encode() + body


def post(body: bytes, *fields: str) -> bytes:
    return get("/post", f"Content-Length: {len(body)}", *fields, method="POST", body=body)


def statuses(received: bytes, *methods: str) -> list[int]:
    return [answer.status for answer in answers(received, methods)]


def echo(request: Request) -> bytes:
    return b"<" + request.body + b">"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "end").write_bytes(b"end")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "file.bin").write_bytes(CONTENT)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
    return tmp_path


@pytest.fixture
def site(root: Path) -> Iterator[Site]:
    with serving(root, echo) as site:
        yield site


def test_a_file_is_sent(site: Site) -> None:
    [answer] = answers(site.exchange(get("/file.bin", "Connection: close")))
    assert answer.status == 200
    assert answer.body == CONTENT
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Server"].startswith("antiphon/")
    assert answer.headers["Connection"] == "close"


def test_head_has_the_headers_of_get_and_no_body(site: Site) -> None:
    received = site.exchange(get("/file.bin", method="HEAD") + get("/file.bin", "Connection: close"))
    head, full = answers(received, ["HEAD"])
    assert head.body == b""
    assert full.body == CONTENT
    kept = [
        {name: value for name, value in answer.headers.items() if name not in ("Date", "Connection")}
        for answer in (head, full)
    ]
    assert kept[0] == kept[1]


def test_what_is_posted_reaches_the_handler(site: Site) -> None:
    first, second, _ = answers(site.exchange(post(b"ping") + post(b"") + END))
    assert (first.status, first.body) == (200, b"<ping>")
    assert second.body == b"<>"


def test_posting_where_nothing_may_be_posted_is_not_allowed(root: Path) -> None:
    with serving(root) as site:
        first, second = answers(site.exchange(post(b"GET /secret HTTP/1.1\r\n\r\n") + END))
    assert (first.status, first.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert second.body == b"end"


@pytest.mark.parametrize("target", ["*", "/"])
def test_options_names_the_methods(site: Site, target: str) -> None:
    first, second = answers(site.exchange(get(target, method="OPTIONS") + END))
    assert (first.status, first.headers["Allow"], first.body) == (204, "GET, HEAD, OPTIONS, POST", b"")
    assert second.body == b"end"


@pytest.mark.parametrize(
    ("request_bytes", "kept"),
    [
        (get("/end"), True),
        (get("/end", "Connection: close"), False),
        (get("/end", version="1.0"), False),
        (get("/end", "Connection: keep-alive", version="1.0"), True),
        (get("/missing"), True),
    ],
)
def test_the_connection_stands_as_long_as_the_client_wants_it(
    site: Site, request_bytes: bytes, kept: bool
) -> None:
    client = site.client()
    client.send(request_bytes)
    client.receive_until(b"\r\n\r\n")
    assert (b"Connection: keep-alive" in client.received) is kept
    if kept:
        client.send(END)
    _, *rest = answers(client.receive_all())
    assert len(rest) == kept


def test_empty_lines_before_a_request_are_passed_over(site: Site) -> None:
    assert (
        statuses(site.exchange(b"\r\n" + get("/end") + b"\r\n\r\n" + get("/end") + b"\r\n\r\n\r\n" + END))
        == [200] * 3
    )


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(get("/end", "Content-Length: 5", "Content-Length: 6"), 400, id="conflicting lengths"),
        pytest.param(get("/end", "Content-Length: +5"), 400, id="signed length"),
        pytest.param(get("/end", "Content-Length: 1_0"), 400, id="underscore in length"),
        pytest.param(get("/end", "Transfer-Encoding: chunked", "Content-Length: 5"), 400, id="both lengths"),
        pytest.param(get("/end", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 501, id="chunked"),
        pytest.param(get("/end", "Transfer-Encoding : chunked"), 400, id="space before colon"),
        pytest.param(get("/end", "A: b", " Content-Length: 5"), 400, id="obs-fold"),
        pytest.param(get("/end", "Host: b"), 400, id="two hosts"),
        pytest.param(b"GET /end HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET /end HTTP/1.1\nHost: a\n\n", 400, id="bare LF everywhere"),
        pytest.param(b"GET /end HTTP/1.1\r\nHost: a\n\r\n", 400, id="bare LF"),
        pytest.param(b"GET /end HTTP/1.1\r\nHost: a\r\n\n", 400, id="bare LF at the end"),
        pytest.param(b"\n" + get("/end"), 400, id="bare LF at the start"),
        pytest.param(b"GET /end HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, id="bare CR"),
        pytest.param(get("/end", "A: \0"), 400, id="NUL"),
        pytest.param(get("/end", version="2.0"), 505, id="version"),
        pytest.param(get("/end", method="BREW"), 501, id="method"),
        pytest.param(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="authority as target"),
        pytest.param(get("/end", method="PUT"), 501, id="PUT"),
        pytest.param(get("/" + "a" * 9000), 414, id="target"),
        pytest.param(get("/end", "A: " + "a" * 40_000), 431, id="head"),
        pytest.param(get("/end", *["A: b"] * 101), 431, id="fields"),
        pytest.param(get("/end", "Content-Length: 1048577"), 413, id="body"),
        pytest.param(get("/end", "Content-Length: " + "9" * 5000), 413, id="huge body"),
        pytest.param(get("/end", "Expect: a miracle"), 417, id="expectation"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS"),
    ],
)
def test_after_a_refusal_nothing_else_is_handled(site: Site, data: bytes, status: int) -> None:
    received = site.exchange(data + SECRET)
    [answer] = answers(received)
    assert answer.status == status
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"secret" not in received
    assert site.closed


def test_a_refusal_comes_after_the_answers_before_it(site: Site) -> None:
    received = site.exchange(get("/file.bin") + get("/end", method="BREW") + SECRET)
    assert statuses(received) == [200, 501]


def test_what_comes_after_the_last_request_is_ignored(site: Site) -> None:
    received = site.exchange(END + SECRET + b"\n\n")
    assert statuses(received) == [200]


def test_what_is_delivered_after_the_last_request_is_neither_kept_nor_answered(site: Site) -> None:
    site.client().send(get("/large", "Connection: close"))
    [connection] = site.connections
    while not connection.handling:
        site.turn()
    connection.collect_incoming_data(SECRET)
    connection.found_terminator()
    assert connection.unanswered == 1
    assert SECRET not in connection.ibuffer


def test_a_head_that_never_ends_is_refused(site: Site) -> None:
    client = site.client()
    client.send(b"GET /end HTTP/1.1\r\n")
    for number in range(2000):
        client.send(b"A%d: %s\r\n" % (number, b"a" * 100))
        site.turn(0)
        if not client.receive():
            break
    assert statuses(client.received) == [431]
    assert number < 400


def test_of_two_faults_of_a_head_the_first_counts_however_it_is_cut(site: Site) -> None:
    for fault, status in (b"\n", 400), (b"aaa\n", 431):
        data = b"GET / HTTP/1.1\r\nA: ".ljust(http_request_handler.max_head_size - 1, b"a") + fault
        for pieces in [data + b"a" * 100], [data[:-1], data[-1:], b"a" * 100]:
            assert statuses(site.exchange(b"", pieces)) == [status]


def test_the_body_of_a_get_is_no_request(site: Site) -> None:
    first, second = answers(site.exchange(get("/end", f"Content-Length: {len(SECRET)}", body=SECRET) + END))
    assert (first.body, second.body) == (b"end", b"end")


# -- expectations ------------------------------------------------------------------------------------------


def test_a_client_that_waits_is_told_to_go_on(site: Site) -> None:
    client = site.client()
    client.send(get("/post", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    client.receive_until(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"ping" + END)
    assert [answer.body for answer in answers(client.receive_all())] == [b"<ping>", b"end"]


@pytest.mark.parametrize(("version", "length"), [("1.0", 4), ("1.1", 0)])
def test_a_client_that_does_not_wait_is_not(site: Site, version: str, length: int) -> None:
    data = get(
        "/post",
        f"Content-Length: {length}",
        "Expect: 100-continue",
        "Connection: close",
        method="POST",
        version=version,
    )
    assert site.exchange(data + b"ping"[:length]).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_waits_with_too_much_is_refused(site: Site) -> None:
    data = get("/post", "Content-Length: 9999999", "Expect: 100-continue", method="POST")
    assert site.exchange(data).startswith(b"HTTP/1.1 413 ")


# -- pipelining --------------------------------------------------------------------------------------------

PIPELINE = b"".join(
    [
        get("/file.bin"),
        get("/file.bin", "Range: bytes=10-19"),
        post(b"one\r\n\r\ntwo"),
        get("/file.bin", method="HEAD"),
        b"\r\n",
        get("/missing"),
        post(SECRET),
        get("/", "Content-Length: 3", body=b"\n\n\n"),
        get("*", method="OPTIONS"),
        END,
    ]
)
METHODS = ["GET", "GET", "POST", "HEAD", "GET", "POST", "GET", "OPTIONS", "GET"]


def comparable(received: bytes) -> list[tuple[int, list[tuple[str, str]], bytes]]:
    return [
        (answer.status, [item for item in answer.headers.items() if item[0] != "Date"], answer.body)
        for answer in answers(received, METHODS)
    ]


def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    found: list[Answer] = answers(site.exchange(PIPELINE), METHODS)
    assert [answer.status for answer in found] == [200, 206, 200, 200, 404, 200, 200, 204, 200]
    assert found[1].body == CONTENT[10:20]
    assert found[2].body == b"<one\r\n\r\ntwo>"
    assert found[5].body == b"<" + SECRET + b">"
    assert found[8].body == b"end"


def test_byte_by_byte_the_answers_are_the_same(site: Site) -> None:
    whole = comparable(site.exchange(PIPELINE))
    pieces = [PIPELINE[at : at + 1] for at in range(len(PIPELINE))]
    assert comparable(site.exchange(PIPELINE, pieces)) == whole


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, len(PIPELINE) - 1), max_size=12))
def test_however_it_is_cut_the_answers_are_the_same(site: Site, cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(PIPELINE)]
    pieces = [PIPELINE[start:stop] for start, stop in pairwise(edges)]
    assert comparable(site.exchange(PIPELINE, pieces)) == comparable(site.exchange(PIPELINE))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.integers(0, len(CONTENT) + 10),
    length=st.integers(1, 5000),
    cut=st.sampled_from(["bytes={first}-{last}", "bytes={first}-", "bytes=-{length}"]),
)
def test_a_range_is_the_slice_of_the_file(site: Site, first: int, length: int, cut: str) -> None:
    last = first + length - 1
    value = cut.format(first=first, last=last, length=length)
    expected = {"bytes={first}-{last}": CONTENT[first : last + 1], "bytes={first}-": CONTENT[first:]}.get(
        cut, CONTENT[-length:]
    )
    [answer] = answers(site.exchange(get("/file.bin", f"Range: {value}", "Connection: close")))
    assert (answer.status, answer.body) == ((206, expected) if expected else (416, b""))


def test_while_a_response_is_sent_the_requests_after_it_do_not_pile_up(root: Path) -> None:
    asked = []

    def count(request: Request) -> bytes:
        asked.append(request.body)
        return request.body

    with serving(root, count) as site:
        request = post(b"1")
        client = site.client()
        client.send(get("/large") + request * 2000 + END)
        for _ in range(200):
            site.turn(0)
        [connection] = site.connections
        one_read = connection.ac_in_buffer_size // len(request) + 1
        assert connection.max_unanswered <= connection.unanswered <= connection.max_unanswered + one_read
        assert asked == []
        found = answers(client.receive_all())
        assert [answer.body for answer in found[1:]] == [b"1"] * 2000 + [b"end"]
        assert connection.unanswered == 0


# -- what goes wrong ---------------------------------------------------------------------------------------


def broken(request: Request) -> bytes:
    raise LookupError("the handler is broken")


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (broken, "the handler is broken"),
        (lambda request: "text", "wanted bytes or a producer as the body, found str"),
        (lambda request: Response(headers={"A": "b\r\nC: d"}), "wanted 'name: value' as a header"),
        (lambda request: Response(status=299), "299"),
    ],
)
def test_a_handler_that_fails_is_logged_and_ends_the_connection(
    root: Path, handler: Callable[[Request], bytes], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(root, handler) as site:
        received = site.exchange(get("/end") + post(b"") + SECRET + END)
        assert site.closed
    assert statuses(received) == [200, 500]
    assert b"Connection: close" in received
    assert b"secret" not in received
    [record] = [record for record in caplog.records if record.name == "antiphon.http"]
    assert record.exc_info is not None
    assert message in str(record.exc_info[1])


def test_the_body_of_a_response_that_fails_is_closed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = IterableProducer([b"a"])
    with serving(
        root, lambda request: Response(headers={"Content-Length": "1", "A": "\n"}, body=body)
    ) as site:
        assert statuses(site.exchange(post(b""))) == [500]
    assert body.more() == b""


def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    site: Site, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = site.client()
    client.send(get("/large") + get("/end"))
    client.receive_until(b"Content-Length: %d" % LARGE)
    os.truncate(root / "large", 100_000)
    received = client.receive_all()
    assert len(received) < LARGE
    assert b"end" not in received.split(b"\r\n\r\n", 1)[1]
    assert "were promised" in caplog.text


def test_a_client_that_goes_away_leaves_no_file_open(
    site: Site, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "antiphon.http.access")
    client = site.client()
    client.send(get("/large"))
    client.receive_until(b"Content-Length")
    client.socket.close()
    while site.connections:
        site.turn()
    [message] = caplog.messages
    assert message.startswith('127.0.0.1 "GET /large HTTP/1.1" 200 ')
    assert int(message.split()[5]) < LARGE


def test_a_large_file_arrives_whole(site: Site) -> None:
    [answer] = answers(site.exchange(get("/large", "Connection: close")))
    assert answer.body == bytes(LARGE)


# -- the access log ----------------------------------------------------------------------------------------


def test_each_request_is_a_line_in_the_access_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "antiphon.http.access")
    site.exchange(get("/file.bin?a=b") + get("/file.bin", method="HEAD") + b'G"T / \x1b\r\n\r\n')
    assert [message.rpartition(" ")[0] for message in caplog.messages] == [
        '127.0.0.1 "GET /file.bin?a=b HTTP/1.1" 200 4096',
        '127.0.0.1 "HEAD /file.bin HTTP/1.1" 200 0',
        r'127.0.0.1 "G\x22T / \x1b" 400 89',
    ]
    assert all(message.endswith("ms") for message in caplog.messages)


# -- clients that have finished sending --------------------------------------------------------------------


def test_a_client_that_has_finished_sending_gets_its_whole_answers(site: Site) -> None:
    client = site.client()
    client.send(get("/end") + get("/large"))
    client.socket.shutdown(socket.SHUT_WR)
    first, second = answers(client.receive_all())
    assert (first.body, second.body) == (b"end", bytes(LARGE))
    assert site.closed


def test_a_client_that_ends_in_the_middle_of_a_request_is_forgotten(site: Site) -> None:
    client = site.client()
    client.send(get("/end")[:-2])
    client.socket.shutdown(socket.SHUT_WR)
    assert client.receive_all() == b""
    assert site.closed
