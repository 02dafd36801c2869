"""What contracts may need of a cell, in the words of matrix.toml."""

from __future__ import annotations

CAPABILITIES = {
    "raw_records": "the harness reads and plants the store's records without the store",
    "message_ids": "an append that is repeated is known by the ids of its messages",
    "limits": "a read can ask for the newest messages, or for those before a position",
    "server_times": "the store tells when the server stored a message",
    "certainty": "errors tell whether a write was applied",
    "own_connections": "the store itself makes, limits and closes its connections",
    "tasks": "the store is awaited, on an event loop, by tasks that may be cancelled",
    "open_transactions": "one client's half-done work can meet another's",
    "isolation_levels": "the server has transaction isolation levels to choose from",
    "sweeper": "expired sessions are deleted by a sweeper",
    "active_expiry": "expired sessions go although nobody touches them",
    "restart": "the server can be stopped and started again with its data",
    "power_cut": "the server can lose its power, and what it had not synced with it",
    "changes": "another server can be started with a copy of the server's data",
    "kill": "the server can be killed with SIGKILL and started again with its data",
    "record_limit": "the server can be told to refuse long values",
    "accounts": "the server has accounts whose rights can be limited",
    "network": "between clients and server is a network, which can fail",
    "poolers": "clients may reach the server through a proxy that pools transactions",
    "connections": "clients have connections that the server can close",
    "forgetting": "the server can be made to forget what clients have prepared on it",
    "monitor": "the server tells which commands it ran",
    "work_counters": "the server counts what a call makes it touch",
    "bulk": "ten thousand messages or a thousand sessions cost milliseconds",
    "processes": "stores of several processes meet on one server",
    "crowds": "the server serves dozens of clients at once, at a pace of its own",
    "failover": "another server takes over where the one that takes writes is gone",
    "split_brain": "a server can be cut off from its group while clients still reach it",
    "replica_lag": "servers that only answer reads can fall behind",
    "replica_reads": "the store's reads may be answered by servers that only answer reads",
    "resharding": "sessions can move from one server to another while they are used",
    "foreign_values": "the place of a session can hold a value of quite another type",
    "memory_pressure": "the server's memory can run full",
    "disk_pressure": "the server's disk can run full, and it needs its disk for sessions",
    "refusal": "the server refuses writes when its memory is full",
    "eviction": "the server forgets sessions when its memory is full",
    "lasting_sessions": "sessions without a TTL are never forgotten",
    "recency": "the sessions that are forgotten first are those out of use the longest",
    "server_states": "the server can be brought into the states in which it refuses calls",
    "pause": "the server can be frozen, and go on later",
    "log_tail": "the server has a log whose last bytes a crash can cost",
}
"""What a contract may need of a cell (`needs`), and a row may say that it lacks."""
PROMISED = {
    "refusal": {"refuses_writes"},
    "eviction": {"forgets_any_session", "forgets_expiring_sessions"},
    "lasting_sessions": {"forgets_expiring_sessions"},
}
"""The capabilities that a cell has by one of these promises for ``pressure``."""
