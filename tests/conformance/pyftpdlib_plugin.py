"""A pytest plugin for pyftpdlib's own suite: it meets our modules, also where it brings copies of its own."""

import asynchat
import asyncore
import multiprocessing
import sys

import pytest

from antiphon import asynchat as our_asynchat
from antiphon import asyncore as our_asyncore

# pyftpdlib 1.5 imports these copies of its own on Python 3.12 and later.
sys.modules["pyftpdlib._asyncore"] = asyncore
sys.modules["pyftpdlib._asynchat"] = asynchat

# pyftpdlib 1.5 hands its servers to a child by fork; Python 3.14 no longer does so by default, and its suite
# fails there on the originals too.
if "fork" in multiprocessing.get_all_start_methods():
    multiprocessing.set_start_method("fork")


def pytest_collection_finish() -> None:
    """Refuse to run pyftpdlib on anybody else's modules."""
    ioloop = sys.modules["pyftpdlib.ioloop"]
    if (ioloop.asyncore, ioloop.asynchat) != (our_asyncore, our_asynchat):
        raise pytest.UsageError(f"pyftpdlib runs on {ioloop.asyncore} and {ioloop.asynchat}")
