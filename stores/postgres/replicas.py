"""Which reads a replica may answer: those that miss nothing the store has seen. No I/O."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

import psycopg

from stores.postgres.failures import connection_lost
from stores.postgres.places import PLACE, REACH, Place, Reach, place_of, promoted, reach_of
from stores.postgres.statements import Answer, PostgresCall, Row, Statement

REST_SECONDS = 1.0
"""How long a replica that could not be reached is left alone."""
SHARE = 4
"""A replica may take this part of the time that a call has left; the rest is the primary's."""

Lending = TypeVar("Lending")


@dataclass(eq=False, slots=True)
class Replica(Generic[Lending]):
    """One server that only answers reads, as far as it is known to be."""

    lender: Lending
    reach: Reach | None = None
    """Of the last read that it answered."""
    rests_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Question(Generic[Lending]):
    """A read that is put to a replica, which must have come to a place to answer it.

    ``batch`` asks for the replica's place first: asked later, or in the same statement, it could
    be one that the read's snapshot has not seen.
    """

    replica: Replica[Lending]
    wanted: Place
    batch: tuple[Statement, ...]
    deadline: float


class Replicas(Generic[Lending]):
    """The replicas of a store, and how far into the log the store has seen. Thread-safe.

    The store's own calls at the primary tell where its log ended just after them. A replica's
    answer is taken if the replica had come that far on the same timeline, and as far as other
    replicas' answers may have been; so no read misses a write, or goes back behind a read.
    One replica is asked at a time, until it cannot answer.
    """

    def __init__(self, lenders: Sequence[Lending]) -> None:
        self._replicas = [Replica(lender) for lender in lenders]
        self._turn = random.randrange(len(lenders)) if lenders else 0
        self._seen: Place | None = None
        self._lock = Lock()
        self._process = os.getpid()

    @property
    def lenders(self) -> list[Lending]:
        """Of all replicas."""
        return [replica.lender for replica in self._replicas]

    def batch(self, call: PostgresCall[Any]) -> tuple[Statement, ...]:
        """Return what to send to the primary: the call, and then how far it has come."""
        return (call.statement, PLACE) if self._replicas else (call.statement,)

    def learn(self, answers: Sequence[Answer]) -> None:
        """Note how far the primary has come, from its answers to a batch."""
        for answer in answers[1:]:
            place = None if isinstance(answer, psycopg.Error) else place_of(answer)
            with self._guarded():
                seen = self._seen
                if place and seen and place.system == seen.system:
                    place = max(place, seen)
                elif place and seen:  # another cluster took the place of the one before
                    for replica in self._replicas:
                        replica.reach = None
                self._seen = place

    def question(self, call: PostgresCall[Any], deadline: float) -> Question[Lending] | None:
        """Return the call as put to a replica; None if it is the primary's."""
        if not self._replicas or not call.reads or call.newest:
            return None
        now = monotonic()
        with self._guarded():
            if self._seen is None:
                return None
            awake = [one for one in self._in_turn() if one.rests_until <= now]
            if not awake:
                return None
            replica = awake[0]
            self._turn = self._replicas.index(replica)
            wanted = self._wanted(replica, self._seen)
        batch = (PLACE, call.statement, REACH)
        return Question(replica, wanted, batch, now + (deadline - now) / SHARE)

    def answered(
        self, question: Question[Lending], answers: Sequence[Answer]
    ) -> Sequence[Row] | None:
        """Return the rows of a replica's answer; None if the primary must be asked."""
        before, rows, after = answers
        replica, wanted = question.replica, question.wanted
        with self._guarded():
            if not (
                isinstance(before, psycopg.Error)
                or isinstance(rows, psycopg.Error)
                or isinstance(after, psycopg.Error)
            ):
                place = place_of(before)
                if place and place.continues(wanted) and not promoted(before, after):
                    reach = reach_of(after, place)
                    replica.reach = max(replica.reach or reach, reach)
                    return rows
            self._pass_on(replica)
        return None

    def failed(self, question: Question[Lending], error: BaseException) -> None:
        """Learn that a replica could not be asked."""
        with self._guarded():
            if not isinstance(error, psycopg.Error) or connection_lost(error):
                question.replica.rests_until = monotonic() + REST_SECONDS
            self._pass_on(question.replica)

    def _wanted(self, replica: Replica[Lending], seen: Place) -> Place:
        """Return how far a replica must have come.

        What another has answered may be ahead of what it said that it had replayed: a commit can
        be seen a moment before it counts as replayed. It cannot be ahead of what was received.
        """
        reached = [
            other.reach.replayed if other is replica else other.reach.received
            for other in self._replicas
            if other.reach
        ]
        return max([seen, *reached])

    def _in_turn(self) -> list[Replica[Lending]]:
        return self._replicas[self._turn :] + self._replicas[: self._turn]

    def _pass_on(self, replica: Replica[Lending]) -> None:
        if self._replicas[self._turn] is replica:
            self._turn = (self._turn + 1) % len(self._replicas)

    def _guarded(self) -> Lock:
        if os.getpid() != self._process:  # after a fork, in which another thread may have held it
            self._lock, self._process = Lock(), os.getpid()
        return self._lock
