"""`import asynchat`, for the module that Python 3.12 removed (PEP 594)."""

import sys

from antiphon import asynchat as _implementation

# The same module object, not a copy of its names: what a program rebinds in it, the channels must see.
sys.modules[__name__] = _implementation
