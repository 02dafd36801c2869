"""Stores that others wrote, behind the interface of `stores`: each translates calls, no more.

No adapter adds safety (a retry, a lock, a check) or a bug. What a subject does not offer, its row
in matrix.toml leaves out, so that the contracts which need it are not applicable.
"""
