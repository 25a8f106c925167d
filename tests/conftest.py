"""What goes for all tests."""

import os

# A busy machine would have the loop say that handlers are slow, where a test counts what is logged.
os.environ.setdefault("ANTIPHON_SLOW_CALLBACK", "0")
