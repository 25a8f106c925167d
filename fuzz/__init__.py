"""Coverage-guided tests of what reads bytes from strangers; `scripts/fuzz` runs them.

A harness is a function of bytes.  It does with them what a program would, and raises AssertionError if what
comes of it is not what a plain, slow model says.  `harnesses.py` has the list, and `corpus` has inputs for
each, which the tests try too.
"""
