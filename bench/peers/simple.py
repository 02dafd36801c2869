"""The work of one simple test: two messages go in, and come out in their order."""

from __future__ import annotations

from typing import Any

COUNT = 20
CREATE = "CREATE TABLE IF NOT EXISTS messages (id serial PRIMARY KEY, session text, content text)"


def in_redis(client: Any, number: int) -> None:
    """Do it with redis-py."""
    session = f"session:{number}"
    client.rpush(session, "hello", "hi")
    client.expire(session, 60)
    assert client.lrange(session, 0, -1) == [b"hello", b"hi"]


def in_postgres(connection: Any, number: int) -> None:
    """Do it with psycopg."""
    session = f"session:{number}"
    connection.execute(CREATE)
    for content in ("hello", "hi"):
        connection.execute(
            "INSERT INTO messages (session, content) VALUES (%s, %s)", [session, content]
        )
    connection.commit()
    found = connection.execute(
        "SELECT content FROM messages WHERE session = %s ORDER BY id", [session]
    )
    assert found.fetchall() == [("hello",), ("hi",)]
