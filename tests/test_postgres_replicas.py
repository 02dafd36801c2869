"""Which reads a replica may answer: judged without servers."""

from __future__ import annotations

import os
from time import monotonic
from typing import Any

import psycopg
import pytest

from stores.calls import Call
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.places import end_of_record
from stores.postgres.replicas import REST_SECONDS, Replicas
from stores.postgres.statements import Answer, PostgresCall, PostgresStatements

PAGE, SEGMENT = 8192, 16 * 1024**2
SYSTEM = 7
DEADLINE = 10.0
LOST = psycopg.OperationalError("gone")


def read(name: str = "s") -> PostgresCall[Any]:
    return _postgres(PostgresStatements("n").history(name, None, None))


def _postgres(call: Call[Any]) -> PostgresCall[Any]:
    assert isinstance(call, PostgresCall)
    return call


def at(lsn: int | None, timeline: int = 1, system: int = SYSTEM) -> Answer:
    """Return what a server answers that was asked for its place."""
    return [(True, system, timeline, lsn, PAGE, SEGMENT)]


def reach(replayed: int, received: int | None = None, *, standby: bool = True) -> Answer:
    return [(standby, replayed, replayed if received is None else received)]


ROWS: Answer = [("row",)]


def learned(replicas: Replicas[str], *answers: Answer) -> Replicas[str]:
    for answer in answers:
        replicas.learn([[], answer])
    return replicas


def accepts(replicas: Replicas[str], place: Answer, after: Answer | None = None) -> bool:
    question = replicas.question(read(), monotonic() + DEADLINE)
    assert question
    return replicas.answered(question, [place, ROWS, after or reach(0)]) == ROWS


def asked(replicas: Replicas[str]) -> str | None:
    question = replicas.question(read(), monotonic() + DEADLINE)
    return question.replica.lender if question else None


def test_the_end_of_a_page_is_the_same_place_before_and_after_its_header() -> None:
    assert end_of_record(5 * PAGE + 24, PAGE, SEGMENT) == 5 * PAGE
    assert end_of_record(5 * SEGMENT + 40, PAGE, SEGMENT) == 5 * SEGMENT
    # Within a page a record may end there.
    assert end_of_record(5 * PAGE + 40, PAGE, SEGMENT) == 5 * PAGE + 40
    assert end_of_record(5 * PAGE, PAGE, SEGMENT) == 5 * PAGE


def test_the_primary_is_asked_until_it_has_told_its_place() -> None:
    replicas = Replicas(["a"])
    assert asked(replicas) is None
    assert asked(learned(replicas, at(100))) == "a"


def test_without_replicas_nothing_more_is_sent_to_the_primary() -> None:
    replicas: Replicas[str] = Replicas([])
    assert replicas.batch(read()) == (read().statement,)
    assert replicas.question(read(), monotonic() + DEADLINE) is None


def test_writes_locks_pings_and_reads_to_write_on_are_the_primarys() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    calls = PostgresStatements("n")
    for call in (
        calls.append("s", [("id", b"")], 0, None),
        calls.acquire("s", "me", 1000),
        calls.release("s", "me"),
        calls.ping(),
    ):
        assert replicas.question(_postgres(call), monotonic() + DEADLINE) is None


def test_a_replica_answers_from_the_place_that_the_store_has_seen() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    assert not accepts(replicas, at(99))
    assert accepts(replicas, at(100))
    learned(replicas, at(200), at(150))  # a slower call's answer
    assert not accepts(replicas, at(199))
    assert accepts(replicas, at(200))


def test_a_replica_whose_place_is_unknown_does_not_answer() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    assert not accepts(replicas, at(None))
    assert not accepts(replicas, LOST)


def test_a_primary_that_cannot_tell_its_place_is_asked_itself() -> None:
    replicas = learned(Replicas(["a"]), at(100), psycopg.errors.InsufficientPrivilege("no"))
    assert asked(replicas) is None


def test_another_timeline_never_answers_however_far_it_is() -> None:
    replicas = learned(Replicas(["a"]), at(100, timeline=2))
    assert not accepts(replicas, at(5000, timeline=1))
    assert not accepts(replicas, at(5000, timeline=3))
    assert accepts(replicas, at(100, timeline=2))


def test_a_replica_that_is_promoted_meanwhile_does_not_answer() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    assert not accepts(replicas, at(100), reach(300, standby=False))
    assert accepts(replicas, at(100), reach(100)), "and what it said is forgotten"


def test_a_promotion_is_learned_although_the_log_was_longer_before() -> None:
    replicas = learned(Replicas(["a"]), at(5000), at(100, timeline=2))
    assert not accepts(replicas, at(5000))
    assert accepts(replicas, at(100, timeline=2))
    learned(replicas, at(6000))  # the old primary's late answer
    assert accepts(replicas, at(100, timeline=2))


def test_another_cluster_never_answers() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    assert not accepts(replicas, at(5000, system=8))
    assert accepts(replicas, at(100), reach(300))
    learned(replicas, at(50, system=8))
    assert not accepts(replicas, at(5000))
    assert accepts(replicas, at(50, system=8), reach(60))
    assert not accepts(replicas, at(59, system=8))


def test_no_replica_goes_back_behind_an_answer() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    assert accepts(replicas, at(100), reach(300, 400))
    assert not accepts(replicas, at(299)), "restarted"
    assert accepts(replicas, at(300), reach(300, 400)), "received is more than it has shown"


def test_another_replica_must_have_all_that_the_first_may_have_shown() -> None:
    replicas = learned(Replicas(["a", "b"]), at(100))
    first = asked(replicas)
    assert accepts(replicas, at(100), reach(300, 400))
    assert not accepts(replicas, at(299))
    assert asked(replicas) != first
    assert not accepts(replicas, at(399))
    assert asked(replicas) == first
    assert not accepts(replicas, at(299))
    assert accepts(replicas, at(400), reach(400))


def test_a_replica_that_fails_is_left_alone_for_a_while() -> None:
    replicas = learned(Replicas(["a", "b"]), at(100))
    for _ in range(2):
        question = replicas.question(read(), monotonic() + DEADLINE)
        assert question
        replicas.failed(question, LOST)
    assert asked(replicas) is None
    for replica in replicas._replicas:
        assert replica.rests_until <= monotonic() + REST_SECONDS
        replica.rests_until = 0
    assert asked(replicas) is not None


def test_a_read_that_recovery_cancels_is_the_primarys_and_the_replica_is_asked_on() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    question = replicas.question(read(), monotonic() + DEADLINE)
    assert question
    cancelled = psycopg.errors.SerializationFailure("conflict with recovery")
    assert replicas.answered(question, [at(100), cancelled, reach(100)]) is None
    assert asked(replicas) == "a"


def test_a_replica_may_take_a_part_of_the_time_only() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    now = monotonic()
    question = replicas.question(read(), now + DEADLINE)
    assert question
    assert question.deadline - now < DEADLINE / 3


def test_a_child_process_goes_on_from_where_its_parent_was() -> None:
    replicas = learned(Replicas(["a"]), at(100))
    with replicas._guarded():  # as another thread may, just when the process forks
        child = os.fork()
        if not child:
            os._exit(0 if accepts(replicas, at(100)) and not accepts(replicas, at(99)) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("store", [PostgresStore, AsyncPostgresStore])
def test_unlogged_tables_have_no_replicas(store: type[PostgresStore]) -> None:
    url = "postgresql://agent:secret@127.0.0.1:1/memory"
    with pytest.raises(ValueError, match="unlogged") as raised:
        store.from_url(url, namespace="n", replicas=url, unlogged=True)
    assert "secret" not in str(raised.value)


def test_every_host_of_every_url_is_a_replica() -> None:
    url = "postgresql://agent:secret@{}/memory?target_session_attrs=read-write"
    store = PostgresStore.from_url(
        url.format("p"), namespace="n", replicas=[url.format("a:1,b:2"), url.format("c")]
    )
    assert len(store._replicas.lenders) == 3
