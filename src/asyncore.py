"""`import asyncore`, for the module that Python 3.12 removed (PEP 594)."""

import sys

from antiphon import asyncore as _implementation

# The same module object, not a copy of its names: what a program rebinds (socket_map), loop() must see.
sys.modules[__name__] = _implementation
