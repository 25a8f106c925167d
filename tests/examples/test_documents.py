"""What the documents say in code runs, and what they point at exists."""

import re
from pathlib import Path

import pytest

from document_support import lines_of_code, output_of, programs_of
from examples.program import PROJECT, running

DOCUMENTS = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
#: `path::name` or `path::name[parameter]`
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:\[(\w+)\])?`")
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([\w-]+))?\)")


def python_blocks(document: Path) -> list[str]:
    """The Python programs of a document, without the space that they are indented by."""
    return [program for program, _ in programs_of(document.read_text())]


def anchors(document: Path) -> set[str]:
    """What its headings can be linked to by."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_echo_server_of_the_readme_runs_as_it_stands_there() -> None:
    [program] = python_blocks(PROJECT / "README.md")
    assert lines_of_code(program) <= 15

    with running("-c", program) as server, server.client() as client:
        client.send("one", "two")

        assert [client.line(), client.line()] == ["one", "two"]


PORTING = python_blocks(PROJECT / "docs" / "porting.md")
LISTENING = python_blocks(PROJECT / "docs" / "listening.md")


def test_there_are_programs_in_the_porting_guide() -> None:
    assert len(PORTING) >= 6


@pytest.mark.parametrize("program", PORTING, ids=range(len(PORTING)))
def test_a_program_of_the_porting_guide_runs(program: str) -> None:
    assert output_of(program) == ""


def test_the_first_program_about_listening_is_a_server() -> None:
    with running("-c", LISTENING[0]) as server, server.client() as client:
        client.send("one", "two")

        assert [client.line(), client.line()] == ["one", "two"]


@pytest.mark.parametrize("program", LISTENING[1:], ids=range(1, len(LISTENING)))
def test_another_program_about_listening_runs(program: str) -> None:
    assert output_of(program) == ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in LINK.findall(document.read_text()):
        if "://" not in path:
            target = document.parent / path if path else document
            assert target.exists(), path
            assert not anchor or anchor in anchors(target), anchor


def entries() -> list[str]:
    """The entries of the list of differences."""
    text = (PROJECT / "docs" / "differences.md").read_text()
    return re.findall(r"^\d+\. \*\*.*?(?=^\d+\. |^## )", text, flags=re.DOTALL | re.MULTILINE)


def test_each_difference_has_its_number_and_its_test() -> None:
    numbers = [int(entry.split(".", 1)[0]) for entry in entries()]

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 40
    assert [entry for entry in entries() if not NAMED_TEST.search(entry)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    for path, name, parameter in NAMED_TEST.findall(document.read_text()):
        source = (PROJECT / path).read_text()
        assert re.search(rf"^def {name}\(", source, flags=re.MULTILINE), (path, name)
        assert not parameter or re.search(rf"\b{parameter}\b", source), (path, parameter)


def test_each_deliberate_difference_that_is_tested_is_in_the_list() -> None:
    modules = (PROJECT / "tests" / "wild").glob("test_differences_*.py")
    sources = "".join(module.read_text() for module in modules)
    scenes = set(re.findall(r"^    defect\(\s*(\w+)", sources, flags=re.MULTILINE))
    assert scenes
    listed = {parameter for _, _, parameter in NAMED_TEST.findall("".join(entries()))}

    assert scenes - listed == set()
