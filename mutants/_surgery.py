"""The cuts that mutants are made with: one method, one line of Lua or SQL, one reply.

A cut into a script or a statement changes what is sent to the server. Where a store has no
real commands, as behind a mock, there is nothing to cut, and the bug stays unseen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql as composing

from stores.async_store import AsyncStore
from stores.postgres.statements import PostgresStatements, Statement
from stores.redis.commands import RedisCall, RedisCommands, Script

Method = Callable[..., Any]


def wrap(target: Any, name: str, make: Callable[[Method], Method]) -> None:
    """Replace a method of one object by what ``make`` makes of it."""
    setattr(target, name, make(getattr(target, name)))


def plan(store: Any, name: str, make: Callable[[Method], Method]) -> None:
    """Replace a plan of the store: the same for both faces and all backends."""
    wrap(store._plans, name, make)


def command(store: Any, name: str, make: Callable[[Method], Method]) -> None:
    """Replace what builds a call of the store."""
    wrap(store._plans.commands, name, make)


def reply(store: Any, name: str, change: Callable[[Any], Any]) -> None:
    """Change the parsed reply of a call."""

    def make(original: Method) -> Method:
        def build(*args: Any, **kwargs: Any) -> Any:
            call = original(*args, **kwargs)
            return replace(call, parse=lambda raw: change(call.parse(raw)))

        return build

    command(store, name, make)


def lua(store: Any, name: str, *cuts: tuple[str, str]) -> None:
    """Replace parts of a script; of its prelude where the script itself has no such part."""
    commands = store._plans.commands
    if not isinstance(commands, RedisCommands):
        return
    folder = files("stores.redis")
    prelude, own = (folder.joinpath(f"{part}.lua").read_text() for part in ("prelude", name))
    for old, new in cuts:
        if old in own:
            own = own.replace(old, new)
        elif old in prelude:
            prelude = prelude.replace(old, new)
        else:
            raise ValueError(f"{name}.lua has no {old!r}")
    source = f"{prelude}\n{own}".encode()
    cut = Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())

    def make(original: Method) -> Method:
        def build(named: str, *args: Any, **kwargs: Any) -> Any:
            call = original(named, *args, **kwargs)
            return replace(call, script=cut) if named == name else call

        return build

    wrap(commands, "_script", make)


def redis_call(
    session_id: str, arguments: Sequence[Any], parse: Callable[[Any], Any] = lambda raw: raw
) -> RedisCall[Any]:
    """Return a plain command, as stores send that have no scripts."""
    return RedisCall(session_id=session_id, repeatable=False, parse=parse, arguments=arguments)


def sql(store: Any, function: str, *cuts: tuple[str, str]) -> None:
    """Replace parts of a function of the schema, under a name of its own beside it."""
    statements = store._plans.commands
    if not isinstance(statements, PostgresStatements):
        return
    folder = files("stores.postgres").joinpath("schema")
    text = "\n".join(
        folder.joinpath(f"{part}.sql").read_text() for part in ("writes", "reads", "locks")
    )
    found = re.search(
        rf"CREATE OR REPLACE FUNCTION {{schema}}\.{function}\(.*?^END \$\$;",
        text,
        re.DOTALL | re.MULTILINE,
    )
    if not found:
        raise ValueError(f"the schema has no function {function}")
    body = found[0]
    for old, new in cuts:
        if old not in body:
            raise ValueError(f"{function} has no {old!r}")
        body = body.replace(old, new)
    name = f"{function}_{hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()[:12]}"
    body = body.replace(f"{{schema}}.{function}(", f"{{schema}}.{name}(")

    def make(original: Method) -> Method:
        def build(*args: Any, **kwargs: Any) -> Any:
            call = original(*args, **kwargs)
            text = call.statement.text.replace(f".{function}(".encode(), f".{name}(".encode())
            return replace(call, statement=replace(call.statement, text=text))

        return build

    for builder in ("_call", "sessions"):
        wrap(statements, builder, make)
    _install(store, name, body)


def _install(store: Any, name: str, body: str) -> None:
    """Create the function when a call finds it missing, one process after the other."""
    created = composing.SQL(body).format(schema=composing.Identifier(store._schema)).as_bytes(None)
    locked = b"BEGIN; SELECT pg_advisory_xact_lock(4711); %s COMMIT" % created
    create = (Statement(locked),)

    def make(original: Method) -> Method:
        def talk(pgconn: Any, batch: Any, deadline: float) -> Any:
            try:
                return original(pgconn, batch, deadline)
            except psycopg.errors.UndefinedFunction as error:
                if name not in str(error):
                    raise
                original(pgconn, create, deadline)
                return original(pgconn, batch, deadline)

        async def talk_async(pgconn: Any, batch: Any, deadline: float) -> Any:
            try:
                return await original(pgconn, batch, deadline)
            except psycopg.errors.UndefinedFunction as error:
                if name not in str(error):
                    raise
                await original(pgconn, create, deadline)
                return await original(pgconn, batch, deadline)

        return talk_async if isinstance(store, AsyncStore) else talk

    wrap(store, "_talk", make)
