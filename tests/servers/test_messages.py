from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.producers import IterableProducer
from antiphon.servers.messages import (
    MAX_TARGET_SIZE,
    Request,
    RequestError,
    Response,
    encode_head,
    has_bare_line_feed,
    parse_head,
    printable,
    status_page,
)


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: localhost") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *fields])


def parse(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> Request:
    return parse_head(get(*fields, line=line))


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        (b"GET / HTTP/1.1", "/", ""),
        (b"GET /a%20b?c=d?e HTTP/1.1", "/a%20b", "c=d?e"),
        (b"GET //host/path HTTP/1.1", "//host/path", ""),
        (b"GET http://example.org HTTP/1.1", "/", ""),
        (b"GET http://example.org?x HTTP/1.1", "/", "x"),
        (b"GET HTTPS://example.org:8080/a/b?x HTTP/1.1", "/a/b", "x"),
        (b"OPTIONS * HTTP/1.1", "*", ""),
        (b"M-SEARCH /#fragment HTTP/1.1", "/#fragment", ""),
    ],
)
def test_a_target_is_split_into_path_and_query(line: bytes, path: str, query: str) -> None:
    request = parse(line=line)
    assert (request.path, request.query) == (path, query)
    assert request.target == line.split()[1].decode()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        # the request line
        pytest.param(get(line=b""), 400, id="empty line"),
        pytest.param(get(line=b"GET /"), 400, id="HTTP/0.9"),
        pytest.param(get(line=b"GET  / HTTP/1.1"), 400, id="two spaces"),
        pytest.param(get(line=b" GET / HTTP/1.1"), 400, id="leading space"),
        pytest.param(get(line=b"GET / HTTP/1.1 "), 400, id="trailing space"),
        pytest.param(get(line=b"GET\t/ HTTP/1.1"), 400, id="tab"),
        pytest.param(get(line=b"GET /a b HTTP/1.1"), 400, id="space in target"),
        pytest.param(get(line=b"GET /\x7f HTTP/1.1"), 400, id="control in target"),
        pytest.param(get(line=b"GET /\xc3\xa9 HTTP/1.1"), 400, id="unencoded target"),
        pytest.param(get(line=b"G@T / HTTP/1.1"), 400, id="method no token"),
        pytest.param(get(line=b"GET / http/1.1"), 400, id="lower-case version"),
        pytest.param(get(line=b"GET / HTTP/1.10"), 400, id="two digits"),
        pytest.param(get(line=b"GET / HTTP/1.1\rX"), 400, id="bare CR"),
        pytest.param(get(line=b"GET / HTTP/2.0"), 505, id="HTTP/2.0"),
        pytest.param(get(line=b"GET / HTTP/0.9"), 505, id="HTTP/0.9 named"),
        pytest.param(get(line=b"GET /" + b"a" * MAX_TARGET_SIZE + b" HTTP/1.1"), 414, id="long target"),
        pytest.param(get(line=b"GET * HTTP/1.1"), 400, id="asterisk with GET"),
        pytest.param(get(line=b"GET a HTTP/1.1"), 400, id="relative target"),
        pytest.param(get(line=b"GET http:///a HTTP/1.1"), 400, id="no authority"),
        pytest.param(get(line=b"GET http://u@ser/a HTTP/1.1"), 400, id="user in authority"),
        pytest.param(get(line=b"GET ftp://host/a HTTP/1.1"), 400, id="other scheme"),
        pytest.param(get(line=b"GET http:/a HTTP/1.1"), 400, id="one slash"),
        # fields
        pytest.param(get(b"A : b"), 400, id="space before colon"),
        pytest.param(get(b"A\t: b"), 400, id="tab before colon"),
        pytest.param(get(b" A: b"), 400, id="obs-fold"),
        pytest.param(get(b"A: b", b"\tc"), 400, id="obs-fold with tab"),
        pytest.param(get(b": b"), 400, id="no name"),
        pytest.param(get(b"A b: c"), 400, id="space in name"),
        pytest.param(get(b"A\xe9: c"), 400, id="name not ASCII"),
        pytest.param(get(b"no colon"), 400, id="no colon"),
        pytest.param(get(b"A: b\0c"), 400, id="NUL"),
        pytest.param(get(b"A: b\rc"), 400, id="bare CR in value"),
        pytest.param(get(b"A: b\nContent-Length: 5"), 400, id="bare LF"),
        pytest.param(get(b"A: b\x0bc"), 400, id="vertical tab"),
        pytest.param(get(b""), 400, id="empty line in head"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: localhost", 400, id="space before the first field"),
        pytest.param(get(*[b"A: b"] * 101), 431, id="many fields"),
        pytest.param(get(b"A: " + b"b" * 66_000), 431, id="long field"),
        # Host
        pytest.param(get(host=b""), 400, id="no Host"),
        pytest.param(get(b"host: localhost"), 400, id="two Hosts"),
        pytest.param(get(b"Host: b", line=b"GET / HTTP/1.0"), 400, id="two Hosts in HTTP/1.0"),
        pytest.param(get(host=b"Host: a/b"), 400, id="slash in Host"),
        pytest.param(get(host=b"Host: a, b"), 400, id="list of Hosts"),
        pytest.param(get(host=b"Host: a:b"), 400, id="port no number"),
        pytest.param(get(host=b"Host: [::1"), 400, id="half an address"),
        # the length of the body
        pytest.param(get(b"Content-Length: 5", b"Content-Length: 6"), 400, id="conflicting lengths"),
        pytest.param(get(b"Content-Length: 5", b"content-length: 5"), 400, id="repeated length"),
        pytest.param(get(b"Content-Length: 5, 5"), 400, id="list of lengths"),
        pytest.param(get(b"Content-Length: +5"), 400, id="plus"),
        pytest.param(get(b"Content-Length: -5"), 400, id="minus"),
        pytest.param(get(b"Content-Length: 1_0"), 400, id="underscore"),
        pytest.param(get(b"Content-Length: 1 0"), 400, id="space in number"),
        pytest.param(get(b"Content-Length: 0x10"), 400, id="hexadecimal"),
        pytest.param(get(b"Content-Length: 5.0"), 400, id="fraction"),
        pytest.param(get(b"Content-Length: \xb2"), 400, id="superscript two"),
        pytest.param(get(b"Content-Length: 5\xa0"), 400, id="no-break space"),
        pytest.param(get(b"Content-Length: 5\x85"), 400, id="next line"),
        pytest.param(get(b"Content-Length:"), 400, id="empty length"),
        pytest.param(get(b"Transfer-Encoding: chunked"), 501, id="chunked"),
        pytest.param(get(b"Transfer-Encoding: identity"), 501, id="identity"),
        pytest.param(get(b"Transfer-Encoding:"), 501, id="empty coding"),
        pytest.param(get(b"Transfer-Encoding: chunked", line=b"GET / HTTP/1.0"), 501, id="chunked in 1.0"),
        pytest.param(get(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400, id="coding and length"),
    ],
)
def test_a_head_that_readers_may_understand_differently_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        parse_head(head)
    assert caught.value.status == status
    assert "wanted" in caught.value.reason
    assert "found" in caught.value.reason


@pytest.mark.parametrize(
    "host", [b"", b"localhost:", b"localhost:8000", b"[::1]:8000", b"192.0.2.1", b"a_b.example", b"xn--4ca"]
)
def test_every_kind_of_host_is_accepted(host: bytes) -> None:
    assert parse_head(get(host=b"Host:" + host)).headers["Host"] == host.decode()


def test_http_1_0_needs_no_host() -> None:
    assert parse_head(b"GET / HTTP/1.0").version == (1, 0)


def test_a_later_minor_version_is_served_as_1_1() -> None:
    assert parse(line=b"GET / HTTP/1.7").version == (1, 1)


def test_space_around_a_value_is_not_part_of_it() -> None:
    request = parse(b"Content-Length: \t 12 \t ", b"A:", b"B:\xe9\t")
    assert request.length == 12
    assert (request.headers["a"], request.headers["b"]) == ("", "\xe9")


@pytest.mark.parametrize("digits", [b"9" * 19, b"9" * 5000])
def test_a_length_that_python_would_not_convert_is_still_too_long_for_every_limit(digits: bytes) -> None:
    assert parse(b"Content-Length: " + digits).length >= 10**18


def test_leading_zeros_do_not_count() -> None:
    assert parse(b"Content-Length: " + b"0" * 5000 + b"12").length == 12
    assert parse(b"Content-Length: 000").length == 0


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"Keep-Alive, CLOSE"], False),
        (b"1.1", [b"x", b" close ,"], False),
        (b"1.1", [b"closed"], True),
        (b"1.0", [], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
    ],
)
def test_persistence_follows_version_and_connection(
    version: bytes, connection: list[bytes], expected: bool
) -> None:
    request = parse(*[b"Connection: " + value for value in connection], line=b"GET / HTTP/" + version)
    assert request.keep_alive is expected


def test_http_1_0_has_no_expectations() -> None:
    assert parse(b"Expect: 100-Continue").expectations == {"100-continue"}
    assert parse(b"Expect: 100-continue", line=b"GET / HTTP/1.0").expectations == set()


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    for head in (data, get(data), get(b"A: " + data), get(line=b"GET " + data + b" HTTP/1.1")):
        try:
            request = parse_head(head)
        except RequestError as error:
            assert error.status in (400, 414, 431, 501, 505)  # noqa: PT017 (both outcomes are right)
        else:
            assert request.path.startswith("/")
            assert request.length >= 0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\nb", False),
        (b"\r\n", False),
        (b"a\nb", True),
        (b"\n", True),
        (b"\r\n\n", True),
        (b"\r\r\n", False),
    ],
)
def test_a_line_feed_without_its_carriage_return_is_noticed(data: bytes, expected: bool) -> None:
    assert has_bare_line_feed(data) is expected


def test_bytes_bring_their_length() -> None:
    head = encode_head(Response(200, {"Content-Type": "text/plain"}, b"12345"), keep_alive=True)
    assert head.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert head.endswith(
        b"\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_that_has_no_body_has_no_length(status: int) -> None:
    assert b"Content-Length" not in encode_head(Response(status), keep_alive=True)


@pytest.mark.parametrize("status", [500, 503])
def test_the_connection_ends_after_an_error_of_the_server(status: int) -> None:
    assert b"\r\nConnection: close\r\n" in encode_head(Response(status), keep_alive=True)


def test_the_connection_ends_when_the_client_wants_it() -> None:
    assert b"\r\nConnection: close\r\n" in encode_head(Response(), keep_alive=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("A", "b\r\nSet-Cookie: c"), ("A", "b\nc"), ("A: b\r\nC", "d"), ("A ", "b"), ("", "b")],
)
def test_a_header_can_not_end_the_head(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="wanted 'name: value' as a header, found"):
        encode_head(Response(200, {name: value}), keep_alive=True)


def test_a_producer_needs_a_length() -> None:
    with pytest.raises(ValueError, match="wanted a Content-Length"):
        Response(body=IterableProducer([b"a"]))
    response = Response(headers={"Content-Length": "2"}, body=IterableProducer([b"a", b"b"]))
    assert list(response.chunks()) == [b"a", b"b"]


def test_a_body_that_can_not_be_sent_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="wanted bytes or a producer as the body, found str"):
        Response(body="text")  # type: ignore[arg-type] # what the test is about


def test_closing_a_response_closes_what_it_sends() -> None:
    producer = IterableProducer([b"a"])
    Response(headers={"Content-Length": "1"}, body=producer).close()
    assert producer.more() == b""
    Response(body=b"a").close()


def test_a_status_page_says_its_status_and_reason() -> None:
    page = status_page(405, "not here", Allow="GET", Retry_After="1")
    assert page.body == b"405 Method Not Allowed\nnot here\n"
    assert page.headers["Allow"] == "GET"
    assert page.headers["Retry-After"] == "1"
    assert status_page(404).body == b"404 Not Found\n"


def test_a_logged_line_is_one_line_of_bounded_length() -> None:
    assert printable('GET /\r\n127.0.0.1 "\\\x1b\x85') == r"GET /\x0d\x0a127.0.0.1 \x22\x5c\x1b\x85"
    assert len(printable("a" * 10_000)) == 2048
