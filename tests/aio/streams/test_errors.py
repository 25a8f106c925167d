import asyncio
import pickle

from antiphon.aio import IncompleteRead
from antiphon.errors import MessageIncomplete


def test_it_is_what_users_of_asyncio_and_of_antiphon_catch() -> None:
    error = IncompleteRead(b"abc", None)
    assert isinstance(error, asyncio.IncompleteReadError)
    assert isinstance(error, MessageIncomplete)
    assert isinstance(error, EOFError)
    assert (error.partial, error.expected) == (b"abc", None)
    assert str(error) == "wanted a terminator, found the end after 3 bytes: b'abc'"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
