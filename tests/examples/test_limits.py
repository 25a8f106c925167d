"""The programs of docs/limits.md run, and print what stands below them."""

import re

import pytest

from antiphon import MessageChannel
from antiphon.asynchat import async_chat
from document_support import each_program, output_of, programs_of, text_of

TEXT = text_of("limits.md")
PROGRAMS = programs_of(TEXT)
#: (attribute, its value in async_chat, its value in MessageChannel), as the table has them
DEFAULTS = re.findall(r"^\| `(\w+)` \|[^|]*\| `?([^|`]+)`? \| `?([^|`]+)`? \|", TEXT, flags=re.MULTILINE)


@each_program(PROGRAMS)
def test_a_program_prints_what_stands_below_it(program: str, printed: str) -> None:
    assert output_of(program) == printed


def test_all_programs_say_what_they_print() -> None:
    assert len(PROGRAMS) == TEXT.count("```python") >= 3
    assert all(printed for _, printed in PROGRAMS)


@pytest.mark.parametrize(("name", "of_chats", "of_messages"), DEFAULTS)
def test_the_table_has_the_defaults(name: str, of_chats: str, of_messages: str) -> None:
    for cls, said in (async_chat, of_chats), (MessageChannel, of_messages):
        value = getattr(cls, name)
        shown = (
            f'"{value}"' if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else str(value)
        )
        assert shown == said


def test_there_are_limits_in_the_table() -> None:
    assert len(DEFAULTS) >= 2
