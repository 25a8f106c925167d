"""The benchmark: antiphon beside what a user would pick instead, and beside a server in C.

`scripts/bench` runs it; README.md says how to read it.
"""
