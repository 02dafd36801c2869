"""con: random programs of operations, against a plain model."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contract_tests.fix_cell import SEED
from contract_tests.model import Model
from harness.contracts import contract, needs
from stores.errors import StoreError
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("history", "context", "sessions", "ttl")

PROGRAMS = 8
STEPS = 25

SESSIONS = st.sampled_from(["a", "a", "b"])
MESSAGES = st.builds(
    Message,
    role=st.just("user"),
    content=st.sampled_from(["one", "other"]),  # few, so that ids and contents often meet again
    id=st.sampled_from([f"id {number}" for number in range(8)]),
)
VALUES = st.sampled_from([0, -1, 2**70, "", "text", "2024-01-01", None])
CONTEXTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=2)
TTLS = st.sampled_from([None, 3600.0, 86_400.5])
Outcome = Any


class Programs(RuleBasedStateMachine):
    """Does the same with a store and with the model, and compares after each step."""

    def __init__(self, store: MemoryStore, number: int) -> None:
        super().__init__()
        self.store = store
        self.prefix = f"{number}: "
        self.model = Model()
        self.versions: dict[str, int] = {}
        self.touched = self.prefix + "a"

    @rule(session=SESSIONS, turn=st.lists(MESSAGES, max_size=3))
    def append(self, session: str, turn: list[Message]) -> None:
        session_id = self._id(session)

        def given() -> list[StoredMessage]:
            if len(turn) == 1:
                return [self.store.append_message(session_id, turn[0])]
            return self.store.append_messages(session_id, turn)

        assert _outcome(lambda: _placed(given())) == (
            _outcome(lambda: self.model.append(session_id, turn))
        )

    @rule(
        session=SESSIONS,
        limit=st.sampled_from([None, 0, 1, 2, 3, 50]),
        before=st.sampled_from([None, 1, 2, 3, 4, 50]),
    )
    def get_history(self, session: str, limit: int | None, before: int | None) -> None:
        session_id = self._id(session)
        found = _placed(self.store.get_history(session_id, limit, before))
        assert found == self.model.history(session_id, limit, before)

    @rule(session=SESSIONS, context=CONTEXTS, guard=st.sampled_from(["none", "fresh", "stale"]))
    def save_context(self, session: str, context: dict[str, Any], guard: str) -> None:
        session_id = self._id(session)
        version = self.model.version(session_id)
        guards = {"none": None, "fresh": version, "stale": version + 1}
        expected = _outcome(lambda: self.model.check_version(session_id, guards[guard]))
        given = _outcome(
            lambda: self.store.save_context(session_id, context, if_version=guards[guard])
        )
        if expected is None:
            self._saved(session_id, context, given)
        else:
            assert given == expected

    @rule(session=SESSIONS, key=st.sampled_from("xyz"), value=VALUES)
    def update_context(self, session: str, key: str, value: object) -> None:
        session_id = self._id(session)
        before = self.model.context(session_id)
        expected = {**(before[0] if before else {}), key: value}
        context = self.store.update_context(session_id, lambda found: {**found, key: value})
        assert context.value == expected
        self._saved(session_id, expected, context.version)

    @precondition(lambda self: any(len(one.messages) > 1 for one in self.model.sessions.values()))
    @rule(session=SESSIONS)
    def delete_session(self, session: str) -> None:
        session_id = self._id(session)
        assert self.store.delete_session(session_id) == self.model.delete(session_id)

    @rule(session=SESSIONS, ttl=TTLS)
    def set_ttl(self, session: str, ttl: float | None) -> None:
        session_id = self._id(session)
        assert _outcome(lambda: self.store.set_ttl(session_id, ttl)) == (
            _outcome(lambda: self.model.set_ttl(session_id, ttl))
        )

    @rule(session=SESSIONS)
    def get_ttl(self, session: str) -> None:
        session_id = self._id(session)
        given = _outcome(lambda: self.store.get_ttl(session_id))
        expected = _outcome(lambda: self.model.ttl(session_id))
        if isinstance(expected, float) and isinstance(given, timedelta):
            assert timedelta(0) <= timedelta(seconds=expected) - given < timedelta(seconds=60)
        else:
            assert given == expected

    @rule()
    def iter_sessions(self) -> None:
        found = [one for one in self.store.iter_sessions() if one.startswith(self.prefix)]
        assert sorted(found) == sorted(self.model.sessions)

    @invariant()
    def load_session(self) -> None:
        session = self.store.load_session(self.touched, None)
        assert (session is not None) == (self.touched in self.model.sessions)
        if session:
            assert _placed(session.history) == self.model.history(self.touched, None, None)
            context = session.context and (session.context.value, session.context.version)
            assert context == self.model.context(self.touched)

    def _id(self, session: str) -> str:
        """Return a session id of this program, and have it looked at after this step."""
        self.touched = self.prefix + session
        return self.touched

    def _saved(self, session_id: str, context: dict[str, Any], version: Outcome) -> None:
        assert version > self.versions.get(session_id, 0), "a version came back"
        self.versions[session_id] = version
        self.model.save(session_id, context, version)


@contract("con-5")
def test_random_programs_agree_with_a_plain_model(
    store: MemoryStore, request: pytest.FixtureRequest
) -> None:
    """A random program of operations gives what a plain in-memory model gives, step by step.

    The failing program is printed as Python: its last step gave something else than
    contract_tests/model.py, which says what should have come out.
    """
    numbers = itertools.count(1)

    @seed(request.config.stash[SEED])
    class ProgramsOfThisStore(Programs):
        def __init__(self) -> None:
            super().__init__(store, next(numbers))

    run_state_machine_as_test(
        ProgramsOfThisStore,
        settings=settings(
            max_examples=PROGRAMS,
            stateful_step_count=STEPS,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def _outcome(call: Callable[[], Outcome]) -> Outcome:
    """Return what a call gives, or the kind of error that it raises."""
    try:
        return call()
    except (StoreError, ValueError) as error:
        return type(error)


def _placed(stored: list[StoredMessage]) -> list[tuple[int, Message]]:
    return [(message.position, message.message) for message in stored]
