"""Where the Redis stores go with a call: redirects, failovers, listings; without a server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import exceptions
from redis.crc import key_slot

from stores.calls import Page, Pause
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.redis.cluster import ClusterRoute, slot_of
from stores.redis.commands import RedisCall, RedisCommands
from stores.redis.failures import not_sent, refused
from stores.redis.routing import Hop, Leave, Node, Route, SentinelRoute
from stores.sync_store import carry_out

ONE, TWO, THREE = (Node("h", port) for port in (1, 2, 3))
FIRST, SECOND = (Node("h", port, sentinel=True) for port in (11, 12))
COMMANDS = RedisCommands("n")
READ: Any = COMMANDS.history("s", None, None)
SLOT = slot_of(READ.keys[0])
TIMEOUT = 0.4
HALVES = [(0, 8191, "h", 1), (8192, 16383, "h", 2)]

Answer = Callable[[Hop], Any]


class Servers:
    """Answers hops by a script, and notes where they went."""

    def __init__(self, *answers: Any) -> None:
        self.answers = deque(answers)
        self.visits: list[tuple[Node | None, str, bool]] = []
        self.left: list[Node] = []
        self.pauses = 0

    def __call__(self, step: Any) -> Any:
        if isinstance(step, Pause):
            self.pauses += 1
            return sleep(step.seconds)
        if isinstance(step, Leave):
            return self.left.append(step.node)
        call: RedisCall[Any] = step.call
        name = "data" if call.keys else " ".join(map(str, call.arguments[:2]))
        self.visits.append((step.node, name, step.asking))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.popleft()
        if isinstance(answer, exceptions.ConnectionError):
            raise not_sent("s", answer) from answer
        if isinstance(answer, StoreError):
            raise answer
        if isinstance(answer, Exception):
            raise refused("s", answer) from answer
        return answer

    def carry(self, route: Route, call: RedisCall[Any] = READ) -> Any:
        return carry_out(route.carry(call, monotonic() + TIMEOUT), self)

    @property
    def nodes(self) -> list[Node | None]:
        return [node for node, _, _ in self.visits]


def moved(port: int) -> exceptions.MovedError:
    return exceptions.MovedError(f"{SLOT} h:{port}", status_code="MOVED")


def ask(port: int) -> exceptions.AskError:
    return exceptions.AskError(f"{SLOT} h:{port}", status_code="ASK")


GONE = exceptions.ConnectionError("refused")
READONLY = exceptions.ReadOnlyError("You can't write", status_code="READONLY")
IN_SCRIPT = exceptions.ResponseError("Error running script: -READONLY You can't write")
NOREPLICAS = exceptions.ResponseError("NOREPLICAS Not enough good replicas to write.")
TRYAGAIN = exceptions.TryAgainError("Multiple keys", status_code="TRYAGAIN")


@given(st.binary())
def test_slots_are_those_of_the_driver(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)
    assert slot_of(b"a{" + key) == key_slot(b"a{" + key)


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_the_keys_of_a_session_share_a_slot_and_no_other_session_has_them(
    namespace: str, one: str, other: str
) -> None:
    commands = RedisCommands(namespace[:30])
    keys = {commands.session_key(one), commands.lock_key(one)}
    assert len({slot_of(key) for key in keys}) == 1
    assert one == other or keys.isdisjoint({commands.session_key(other), commands.lock_key(other)})


def test_only_calls_that_look_at_the_lock_name_its_key() -> None:
    session, lock = COMMANDS.session_key("s"), COMMANDS.lock_key("s")
    calls: list[tuple[Any, list[bytes]]] = [
        (COMMANDS.append("s", [("id", b"")], 0, None), [session]),
        (COMMANDS.append("s", [("id", b"")], 0, 1), [session, lock]),
        (COMMANDS.save_context("s", b"", None, "w", 0, None), [session]),
        (COMMANDS.delete_session("s", None), [session]),
        (COMMANDS.load_context("s"), [session]),
        (COMMANDS.get_ttl("s"), [session]),
        (COMMANDS.acquire("s", "me", 1), [session, lock]),
        (COMMANDS.release("s", "me"), [lock]),
    ]
    for call, keys in calls:
        assert list(call.keys) == keys


def test_the_first_sentinel_that_answers_says_where_the_primary_is() -> None:
    route = SentinelRoute([FIRST, SECOND], "service", TIMEOUT)
    servers = Servers(GONE, ("h", 1), "reply")
    assert servers.carry(route) == "reply"
    assert servers.nodes == [FIRST, SECOND, ONE]
    assert servers.carry(route) == "reply"
    assert servers.nodes[3:] == [ONE]  # one round trip when the primary is known


@pytest.mark.parametrize("failure", [GONE, READONLY, IN_SCRIPT, NOREPLICAS])
def test_the_call_goes_to_the_new_primary(failure: Exception) -> None:
    route = SentinelRoute([FIRST], "service", TIMEOUT)
    servers = Servers(("h", 1), failure, ("h", 2), "reply")
    assert servers.carry(route) == "reply"
    assert servers.nodes == [FIRST, ONE, FIRST, TWO]
    assert servers.left == [ONE]


def test_a_primary_that_lacks_replicas_is_not_asked_until_the_deadline() -> None:
    route = SentinelRoute([FIRST], "service", TIMEOUT)
    servers = Servers(("h", 1), NOREPLICAS, ("h", 1))
    with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
        servers.carry(route)
    assert servers.nodes == [FIRST, ONE, FIRST]


def test_an_unknown_outcome_is_not_tried_elsewhere_but_remembered() -> None:
    route = SentinelRoute([FIRST], "service", TIMEOUT)
    servers = Servers(("h", 1), OutcomeUnknown("lost"), ("h", 2), "reply")
    with pytest.raises(OutcomeUnknown):
        servers.carry(route)
    assert servers.carry(route) == "reply"
    assert servers.nodes == [FIRST, ONE, FIRST, TWO]


@pytest.mark.parametrize(
    "failure",
    [
        exceptions.AuthenticationError("invalid password", status_code="WRONGPASS"),
        exceptions.NoPermissionError("no permission", status_code="NOPERM"),
        exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        exceptions.ConnectionError("No connection available."),
    ],
)
def test_what_no_other_server_cures_is_said_at_once(failure: Exception) -> None:
    servers = Servers(("h", 1), failure)
    with pytest.raises(StoreUnavailable):
        servers.carry(SentinelRoute([FIRST], "service", TIMEOUT))
    assert servers.nodes == [FIRST, ONE]


def test_tries_end_before_the_deadline() -> None:
    servers = Servers(GONE)
    start = monotonic()
    with pytest.raises(StoreUnavailable):
        servers.carry(SentinelRoute([FIRST], "service", TIMEOUT))
    assert monotonic() - start < TIMEOUT


def test_a_service_that_nobody_knows_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="'service'"):
        Servers(None).carry(SentinelRoute([FIRST], "service", 0.01))


def test_a_listing_begins_anew_at_a_new_primary() -> None:
    route = SentinelRoute([FIRST], "service", TIMEOUT)
    scan: Any = COMMANDS.sessions(None)
    page = Servers(("h", 1), Page(["a"], (None, 7))).carry(route, scan)
    assert page.cursor == (ONE, 7)
    goes_on: Any = COMMANDS.sessions(page.cursor)
    servers = Servers(GONE, ("h", 2), Page(["b"], None))
    assert servers.carry(route, goes_on) == Page(["b"], None)
    assert [name for _, name, _ in servers.visits] == [
        "SCAN 7",
        "SENTINEL GET-MASTER-ADDR-BY-NAME",
        "SCAN 0",
    ]


def test_a_moved_slot_is_followed_at_once_and_the_map_learnt_with_the_next_call() -> None:
    route = ClusterRoute([ONE], TIMEOUT)
    servers = Servers(HALVES, moved(3), "reply", [(0, 16383, "h", 3)], "reply", "reply")
    at = Node("h", 1 if SLOT < 8192 else 2)
    assert servers.carry(route) == "reply"
    assert servers.nodes == [ONE, at, THREE]
    assert not servers.pauses
    assert servers.carry(route) == "reply"
    assert servers.nodes[3:] == [THREE, THREE]  # the map, from the node that must know it
    assert set(servers.left) == {ONE, TWO}
    assert servers.carry(route) == "reply"
    assert servers.nodes[5:] == [THREE]


def test_a_key_that_is_being_moved_is_asked_for_and_the_map_stays() -> None:
    route = ClusterRoute([ONE], TIMEOUT)
    servers = Servers([(0, 16383, "h", 1)], ask(2), "reply", ask(2), "reply")
    assert servers.carry(route) == servers.carry(route) == "reply"
    assert servers.visits[1:] == 2 * [(ONE, "data", False), (TWO, "data", True)]


def test_keys_that_are_parted_are_tried_again_where_the_map_says() -> None:
    route = ClusterRoute([ONE], TIMEOUT)
    servers = Servers([(0, 16383, "h", 1)], ask(2), TRYAGAIN, "reply")
    assert servers.carry(route) == "reply"
    assert servers.nodes == [ONE, ONE, TWO, ONE]
    assert servers.pauses == 1


def test_nodes_that_do_not_agree_are_not_asked_without_a_pause() -> None:
    servers = Servers([(0, 16383, "h", 1)], moved(2), moved(1), moved(2), moved(1))
    with pytest.raises(StoreUnavailable):
        servers.carry(ClusterRoute([ONE], TIMEOUT))
    assert servers.pauses == len(servers.visits) - 4  # the map, two redirects, and the last


def test_a_node_that_is_gone_is_looked_up_at_the_others() -> None:
    route = ClusterRoute([ONE, TWO], TIMEOUT)
    whole = [(0, 16383, "h", 1)]
    servers = Servers(whole, GONE, GONE, [(0, 16383, "h", 2)], "reply")
    assert servers.carry(route) == "reply"
    assert servers.nodes[-1] == TWO


def test_addresses_are_mapped_and_an_empty_one_is_the_node_that_was_asked() -> None:
    route = ClusterRoute([ONE], TIMEOUT, lambda address: ("mapped", address[1]))
    servers = Servers([(0, 16383, "", 1)], "reply")
    servers.carry(route)
    assert servers.nodes == [ONE, Node("mapped", 1)]


def test_a_ping_is_of_every_primary() -> None:
    servers = Servers(HALVES, "PONG")
    servers.carry(ClusterRoute([ONE], TIMEOUT), cast(Any, COMMANDS.ping()))
    assert servers.nodes == [ONE, ONE, TWO]


def test_a_slot_that_nobody_serves_is_named() -> None:
    servers = Servers([(SLOT + 1, SLOT + 1, "h", 1)])
    with pytest.raises(StoreUnavailable, match=f"slot {SLOT}"):
        servers.carry(ClusterRoute([ONE], TIMEOUT))


def listed(route: Route, *answers: Any) -> tuple[list[str], list[tuple[Node | None, str]]]:
    """List to the end, from servers that answer so."""
    servers, cursor, found = Servers(*answers), None, []
    while True:
        call: Any = COMMANDS.sessions(cursor)
        page = servers.carry(route, call)
        found += page.session_ids
        cursor = page.cursor
        if cursor is None:
            return found, [(node, name) for node, name, _ in servers.visits]


def test_a_listing_goes_through_all_primaries() -> None:
    found, visits = listed(
        ClusterRoute([ONE], TIMEOUT),
        *(HALVES, Page(["a"], (None, 5)), Page(["b"], None), Page(["c"], None)),
        *(HALVES, frozenset(), frozenset()),
    )
    assert found == ["a", "b", "c"]
    assert [visit for visit in visits if "SCAN" in visit[1]] == [
        (ONE, "SCAN 0"),
        (ONE, "SCAN 5"),
        (TWO, "SCAN 0"),
    ]


def test_who_imports_slots_is_listed_once_more() -> None:
    """A key may go from a node that is not yet listed to one that was."""
    found, visits = listed(
        ClusterRoute([ONE], TIMEOUT),
        *(HALVES, Page([], None), Page([], None)),
        *(HALVES, frozenset({9000}), frozenset()),
        *(Page(["moved"], None), HALVES, frozenset({9000}), frozenset()),
    )
    assert found == ["moved"]
    assert [node for node, name in visits if "SCAN" in name] == [ONE, TWO, ONE]


def test_who_has_got_slots_meanwhile_is_listed_once_more() -> None:
    grown = [(0, 9000, "h", 1), (9001, 16383, "h", 2)]
    found, visits = listed(
        ClusterRoute([ONE], TIMEOUT),
        *(HALVES, Page([], None), Page([], None)),
        *(grown, frozenset(), frozenset()),
        *(Page(["moved"], None), grown, frozenset(), frozenset()),
    )
    assert found == ["moved"]
    assert [node for node, name in visits if "SCAN" in name] == [ONE, TWO, ONE]


def test_a_listing_begins_anew_when_a_node_is_gone() -> None:
    after = [(0, 8191, "h", 3), (8192, 16383, "h", 2)]
    found, visits = listed(
        ClusterRoute([TWO], TIMEOUT),
        *(HALVES, Page(["a"], (None, 5)), GONE),
        *(after, Page(["a", "b"], None), Page(["c"], None)),
        *(after, frozenset(), frozenset()),
    )
    assert found == ["a", "a", "b", "c"]
    assert [node for node, name in visits if "SCAN" in name] == [ONE, ONE, THREE, TWO]
