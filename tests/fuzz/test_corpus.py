"""Every input that is kept passes; and with a fault in what they test, some don't."""

from typing import Any

import pytest
from bench.resp import Channel
from fuzz.harnesses import CORPUS, HARNESSES, Harness

from antiphon.framing.delimiter import Resumed
from antiphon.servers.files import Directory
from antiphon.servers.http_channel import http_request_handler
from fuzz import delimiters


@pytest.mark.parametrize("harness", HARNESSES.values(), ids=HARNESSES)
def test_every_input_of_the_corpus_passes(harness: Harness) -> None:
    tried = [harness.try_one(data) for _, data in harness.inputs()]
    assert tried


@pytest.mark.parametrize("harness", HARNESSES.values(), ids=HARNESSES)
def test_no_input_is_longer_than_its_harness_makes_them(harness: Harness) -> None:
    assert all(len(data) <= harness.longest for _, data in harness.inputs())


def test_every_folder_of_the_corpus_has_its_harness() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(HARNESSES)


@pytest.mark.parametrize("harness", HARNESSES.values(), ids=HARNESSES)
def test_nothing_at_all_is_an_input_too(harness: Harness) -> None:
    harness.try_one(b"")


def fails(harness: str) -> bool:
    """Whether an input of the corpus does."""
    for _, data in HARNESSES[harness].inputs():
        try:
            HARNESSES[harness].try_one(data)
        except AssertionError:
            return True
    return False


def test_a_beginning_that_is_overlooked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimiters, "resume", lambda delimiter, held, data: Resumed(held, 0, 0))
    assert fails("delimiter")


@pytest.mark.parametrize(("harness", "module"), [("messages", "terminators"), ("chat", "incoming")])
def test_a_terminator_that_is_overlooked_where_it_is_cut_is_found(
    monkeypatch: pytest.MonkeyPatch, harness: str, module: str
) -> None:
    path = {"terminators": "antiphon.framing.terminators", "incoming": "antiphon.incoming"}[module]
    monkeypatch.setattr(f"{path}.prefix_at_end", lambda data, delimiter: 0)
    assert fails(harness)


def test_a_head_that_is_read_otherwise_than_by_h11_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = http_request_handler.parse_headers

    def shorten(self: Any, head: bytes) -> None:
        parse(self, head.replace(b"Content-Length: 4", b"Content-Length: 0"))

    monkeypatch.setattr(http_request_handler, "parse_headers", shorten)
    assert fails("requests")


def test_an_answer_that_hangs_on_the_cuts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.servers.http_channel.has_bare_line_feed", lambda data: len(data) == 1)
    assert fails("requests")


def test_a_file_that_is_not_served_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.servers.files._is_served", lambda segment: True)
    assert fails("paths")


def test_a_link_that_leads_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Directory, "_holds", lambda self, path: True)
    assert fails("paths")


def test_a_reply_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "_take_string", lambda self, string, replies: None)
    assert fails("resp")
