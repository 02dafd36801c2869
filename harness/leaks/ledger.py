"""The ledger: what each contract can show in a mock, in fakeredis and on each real server.

Found by running: a contract that turned red on a mutant can show it there, one that stayed
green on a mutant cannot, and the unmutated adapters tell where the lanes disagree.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.leaks.verdicts import Verdict
from harness.matrix import Matrix
from mutants import Mutant

Ledger = dict[str, dict[str, dict[str, str]]]
"""By contract, then by kind of server, then by mutant or adapter: what became of it."""
SIGNS = {"shows": "shows", "blind": "**blind**", "partly": "partly", "-": "–"}


def ledger(found: Iterable[Verdict], mutants: Mapping[str, Mutant], matrix: Matrix) -> Ledger:
    """Return the ledger of what was found."""
    made: Ledger = {}
    for one in sorted(found, key=lambda verdict: (verdict.rule, verdict.test, verdict.store)):
        image = matrix.cell(one.cell).image.name
        place = made.setdefault(f"{one.rule} {one.test}", {}).setdefault(image, {})
        if one.outcome == "not run":
            continue
        said = one.outcome if one.outcome != "not applicable" else f"{one.outcome}: {one.reason}"
        mixed = place.get(one.store, said) != said
        place[one.store] = "caught in some cells" if mixed and one.store in mutants else said
    return dict(sorted(made.items()))


def verdict_of(entries: Mapping[str, str], mutants: Mapping[str, Mutant]) -> str:
    """Return in a word what a contract can show in one place."""
    own = [said for name, said in entries.items() if name in mutants]
    if not own:
        return "-"
    caught = sum(said.startswith("caught") for said in own)
    if caught == len(own):
        return "shows"
    return "partly" if caught else "blind"


def disagreements(made: Ledger, mutants: Mapping[str, Mutant]) -> list[str]:
    """Return where an unmutated adapter passes in one place and fails in another."""
    told = []
    for contract, places in made.items():
        of_adapters: dict[str, dict[str, str]] = {}
        for place, entries in places.items():
            for store, said in entries.items():
                if store not in mutants and said in {"pass", "fail"}:
                    of_adapters.setdefault(store, {})[place] = said
        told += [
            f"{contract}: {store} " + ", ".join(f"{one}: {said}" for one, said in found.items())
            for store, found in of_adapters.items()
            if len(set(found.values())) > 1
        ]
    return told


def changes(old: Path, made: Ledger) -> list[str]:
    """Return a diff from the ledger that is kept to the one just made, nothing if there is none."""
    before = old.read_text(encoding="utf-8") if old.exists() else "{}\n"
    return list(
        difflib.unified_diff(
            before.splitlines(), text(made).splitlines(), "the kept ledger", "this run", n=2
        )
    )


def text(made: Ledger) -> str:
    """Return the ledger as it is kept."""
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def table(made: Ledger, mutants: Mapping[str, Mutant], places: Sequence[str]) -> list[str]:
    """Return the ledger as lines of a page."""
    lines = [
        f"| contract | {' | '.join(places)} |",
        f"|---|{'---|' * len(places)}",
    ]
    for contract, found in made.items():
        signs = [SIGNS[verdict_of(found.get(place, {}), mutants)] for place in places]
        rule, _, test = contract.partition(" ")
        lines.append(f"| {rule} `{test}` | {' | '.join(signs)} |")
    return lines
