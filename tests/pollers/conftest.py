"""Descriptors to wait for."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    here, there = socket.socketpair()
    with closing(here), closing(there):
        yield here, there
