"""What antiphon survives, shown: crowds of peers, attacks of a single one, servers that are slow on purpose.

Every server is a process of its own, and so is every crowd.  docs/robustness.md has what came of it.
"""
