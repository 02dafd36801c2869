"""The history checker passes a correct concurrent store, and finds one defect in what it did."""

import copy
import itertools
import random
import time
from collections.abc import Callable, Iterator

import pytest

from harness.contracts import contract
from harness.histories import History, HistoryRecord, check, explain, loss_of
from harness.histories.record import OperationRecord

SEEDS = (*range(12), random.SystemRandom().randrange(2**32))


class Simulation:
    """A correct store, and workers whose steps a seed interleaves: one thread, no sleeps."""

    def __init__(
        self, seed: int, *, writers: int = 5, appends: int = 8, readers: int = 3, reads: int = 8
    ) -> None:
        self.random = random.Random(seed)
        self.history = History(seed, clock=itertools.count(1).__next__)
        self.log: list[str] = []
        self.afterwards: list[Iterator[None]] = []
        workers = [self.writer(f"w{n}", appends) for n in range(writers)]
        workers += [self.reader(f"r{n}", reads) for n in range(readers)]
        while workers:
            worker = self.random.choice(workers + self.afterwards)
            if next(worker, worker) is worker:
                (workers if worker in workers else self.afterwards).remove(worker)
        self.history.final(enumerate(self.log, start=1))

    def store(self, ids: list[str]) -> list[int]:
        """Append once, whoever asks how often."""
        if ids[0] not in self.log:
            self.log += ids
        return [self.log.index(message) + 1 for message in ids]

    def writer(self, name: str, appends: int) -> Iterator[None]:
        """Append batches of one to three, with all that a network does to them."""
        for number in range(appends):
            ids = [f"{name}-{number}-{part}" for part in range(self.random.choice([1, 1, 1, 2, 3]))]
            yield
            fates = [*[self.reply] * 5, self.lose_reply, self.lose_request, self.delay]
            yield from self.random.choice([*fates, self.refuse])(name, ids)

    def reply(self, name: str, ids: list[str]) -> Iterator[None]:
        """All goes well."""
        call = self.history.append(name, ids)
        yield
        positions = self.store(ids)
        yield
        call.acknowledged(positions)

    def lose_reply(self, name: str, ids: list[str]) -> Iterator[None]:
        """It is applied, the worker does not hear of it, and asks again."""
        call = self.history.append(name, ids)
        yield
        self.store(ids)
        yield
        call.unknown("no reply")
        yield from self.reply(name, ids)

    def lose_request(self, name: str, ids: list[str]) -> Iterator[None]:
        """It is never applied, and the worker does not hear of that either."""
        call = self.history.append(name, ids)
        yield
        call.unknown("no reply")

    def delay(self, name: str, ids: list[str]) -> Iterator[None]:
        """It is applied when the worker has long given up, or after the end."""
        call = self.history.append(name, ids)
        self.afterwards.append(self.late(ids))
        yield
        call.unknown("no reply")

    def late(self, ids: list[str]) -> Iterator[None]:
        """Apply what was delayed."""
        yield
        self.store(ids)

    def refuse(self, name: str, ids: list[str]) -> Iterator[None]:
        """It is refused, and sent again."""
        call = self.history.append(name, ids)
        yield
        call.failed("refused")
        yield from self.reply(name, ids)

    def reader(self, name: str, reads: int) -> Iterator[None]:
        """Read all, or the newest few."""
        for _ in range(reads):
            yield
            limit = self.random.choice([None, None, 4])
            call = self.history.read(name, limit=limit)
            yield
            seen = list(enumerate(self.log, start=1))[-(limit or 0) :]
            yield
            call.acknowledged(seen)


class Damage:
    """One defect, done to a good history."""

    def __init__(self, record: HistoryRecord) -> None:
        self.record = copy.deepcopy(record)
        self.random = random.Random(record["seed"])
        operations = self.record["operations"]
        done = [op for op in operations if op["outcome"] == "acknowledged"]
        self.appends = [op for op in done if op["kind"] == "append"]
        self.reads = [op for op in done if op["kind"] == "read"]
        self.whole_reads = [op for op in self.reads if op.get("limit") is None]
        sent = [message for op in operations for message in op.get("ids", ())]
        # Those that one append alone speaks of.
        self.plain = [op for op in self.appends if sent.count(op["ids"][0]) == 1]

    @property
    def final(self) -> list[tuple[int, str]]:
        """The final sequence."""
        assert self.record["final"] is not None
        return self.record["final"]

    def become(self, messages: list[str]) -> None:
        """Let the final history be these messages."""
        self.record["final"] = list(enumerate(messages, start=1))

    def lost(self) -> None:
        """Drop an acknowledged message."""
        gone = self.random.choice([op for op in self.appends if len(op["ids"]) == 1])["ids"][0]
        self.become([message for _, message in self.final if message != gone])

    def doubled(self) -> None:
        """Store a message again at the end."""
        messages = [message for _, message in self.final]
        self.become([*messages, self.random.choice(messages)])

    def invented(self) -> None:
        """Say of a stored append that it certainly failed."""
        append = self.random.choice(self.plain)
        append["outcome"], append["positions"] = "failed", []

    def torn(self) -> None:
        """Take one message of a batch away."""
        batch = self.random.choice([op for op in self.appends if len(op["ids"]) > 1])
        gone = self.random.choice(batch["ids"])
        self.become([message for _, message in self.final if message != gone])

    def holes(self) -> None:
        """Leave a position out."""
        place = self.random.randrange(len(self.final))
        behind = [(position + 1, message) for position, message in self.final[place:]]
        self.record["final"] = self.final[:place] + behind

    def unsorted(self) -> None:
        """Answer a read in another order."""
        self.random.choice([op for op in self.reads if len(op["sequence"]) > 1])[
            "sequence"
        ].reverse()

    def reordered(self) -> None:
        """Exchange two neighbours of which one writer was told the position."""
        told = {message for op in self.appends for message in op["ids"]}
        messages = [message for _, message in self.final]
        places = [n for n in range(1, len(messages)) if messages[n] in told]
        place = self.random.choice(places)
        messages[place - 1 : place + 1] = reversed(messages[place - 1 : place + 1])
        self.become(messages)

    def skipped(self) -> None:
        """Leave a message out of the middle of a read."""
        read = self.random.choice([op for op in self.whole_reads if len(op["sequence"]) > 1])
        del read["sequence"][self.random.randrange(len(read["sequence"]) - 1)]

    def vanished(self) -> None:
        """Show a reader what is never committed."""
        read = self.random.choice(self.whole_reads)
        ghost: OperationRecord = {
            "kind": "append",
            "worker": "ghost",
            "invoked": 0,
            "outcome": "unknown",
            "ids": ["ghost"],
        }
        self.record["operations"].append(ghost)
        read["sequence"].append((len(read["sequence"]) + 1, "ghost"))

    def overtaken(self) -> None:
        """Exchange two appends that were not concurrent, wherever anyone saw them."""
        single = [op for op in self.plain if len(op["ids"]) == 1]
        pairs = [
            (one, other)
            for one, other in itertools.combinations(single, 2)
            if (one.get("completed") or 0) < other["invoked"]
        ]
        one, other = self.random.choice(pairs)
        one["positions"], other["positions"] = other["positions"], one["positions"]
        names = {one["ids"][0]: other["ids"][0], other["ids"][0]: one["ids"][0]}
        self.become([names.get(message, message) for _, message in self.final])
        for read in self.reads:
            read["sequence"] = [(place, names.get(name, name)) for place, name in read["sequence"]]

    def stale(self) -> None:
        """Answer a late read with nothing."""
        first = min(op.get("completed") or 0 for op in self.appends)
        self.random.choice([op for op in self.reads if op["invoked"] > first])["sequence"] = []

    def backwards(self) -> None:
        """Answer a read with less than the one before it."""
        pairs = [
            (one, other)
            for one, other in itertools.combinations(self.whole_reads, 2)
            if one["sequence"] and (one.get("completed") or 0) < other["invoked"]
        ]
        one, other = self.random.choice(pairs)
        other["sequence"] = one["sequence"][:-1]

    def premature(self) -> None:
        """Answer a read before the message it shows was sent."""
        read = self.random.choice([op for op in self.whole_reads if op["sequence"]])
        newest = read["sequence"][-1][1]
        for op in self.record["operations"]:
            if newest in op.get("ids", ()):
                op["invoked"] = (read.get("completed") or 0) + 1


DEFECTS: tuple[Callable[[Damage], None], ...] = (
    Damage.lost,
    Damage.doubled,
    Damage.invented,
    Damage.torn,
    Damage.holes,
    Damage.unsorted,
    Damage.reordered,
    Damage.skipped,
    Damage.vanished,
    Damage.overtaken,
    Damage.stale,
    Damage.backwards,
    Damage.premature,
)


@contract("hyg-5")
@pytest.mark.parametrize("seed", SEEDS)
def test_correct_store_has_no_violation(seed: int) -> None:
    """No interleaving of a correct store breaks a rule, and nothing that it kept is lost."""
    history = Simulation(seed).history
    violations = check(history)
    assert not violations, f"seed {seed}\n{explain(violations)}"
    loss = loss_of(history)
    assert not loss.lost, f"seed {seed}: {loss}"
    assert not loss.violations, f"seed {seed}\n{explain(loss.violations)}"
    assert History.from_dict(history.to_dict()).to_dict() == history.to_dict()


@contract("hyg-5")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_one_defect_is_flagged_by_its_rule(defect: Callable[[Damage], None], seed: int) -> None:
    """One defect in a good history breaks the rule that is named after it."""
    damage = Damage(Simulation(seed).history.to_dict())
    defect(damage)
    violations = check(History.from_dict(damage.record))
    rules = {violation.rule for violation in violations}
    assert defect.__name__ in rules, f"seed {seed}\n{explain(violations)}"


@pytest.mark.parametrize("seed", SEEDS)
def test_any_lost_tail_is_allowed_where_a_tail_may_be_lost(seed: int) -> None:
    """A power cut takes what it wants, as long as it takes it from the end and whole."""
    record = Simulation(seed).history.to_dict()
    final = record["final"] or []
    batches = {message: op["ids"] for op in record["operations"] for message in op.get("ids", ())}
    ends = [0] + [place for place, message in final if batches[message][-1] == message]
    kept = random.Random(seed).choice(ends)
    cut = History.from_dict({**record, "final": final[:kept], "tail_may_be_lost": True})
    loss = loss_of(cut)
    violations = [*check(cut), *loss.violations]
    assert not violations, f"seed {seed}, kept {kept}\n{explain(violations)}"
    told = {message for append in cut.appends if append.positions for message in append.ids}
    assert set(loss.lost) == told - {message for _, message in final[:kept]}, f"seed {seed}"


def test_large_history_is_checked_in_time() -> None:
    """20 writers x 100 appends with 200 whole reads take well under a second."""
    clock = itertools.count(1).__next__
    history = History(1, clock=clock)
    log: list[tuple[int, str]] = []
    for turn in range(100):
        calls = [(f"w{n}-{turn}", history.append(f"w{n}", [f"w{n}-{turn}"])) for n in range(20)]
        for message, call in calls:
            log.append((len(log) + 1, message))
            call.acknowledged([len(log)])
        for reader in ("r1", "r2"):
            history.read(reader).acknowledged(log)
    history.final(log)
    start = time.process_time()
    violations = check(history)
    assert time.process_time() - start < 1
    assert not violations, explain(violations)
