"""matrix.toml as data: images, cells, stores and lanes. Standard library only.

The noxfile imports this at every start, so it stays cheap.
"""

from __future__ import annotations

import itertools
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from harness.capabilities import CAPABILITIES, PROMISED
from harness.changes import Change, Fates, changes
from harness.clients import Client, client_of
from harness.pairwise import pairwise
from harness.promises import EVENTS, Promise, parse_promise
from harness.tables import NAME, NAME_MEANING, MatrixError, Table, listed

Named = TypeVar("Named")

PATH = Path(__file__).resolve().parent.parent / "matrix.toml"
FACTORY, FACTORY_MEANING = r"[\w.]+:[\w.]+", "package.module:callable"


@dataclass(frozen=True, slots=True)
class Image:
    """A server image. ``version`` is a prefix of what the server must say of itself.

    ``settings`` are what servers of this image alone are started with.
    """

    name: str
    backend: str
    version: str
    image: str | None
    digest: str | None = None
    fake: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def reference(self, registry: str) -> str:
        """Return the image to run, from the registry given (MATRIX_REGISTRY goes before it)."""
        if self.image is None:
            raise MatrixError(f"[images] {self.name}: a fake has no image to run")
        registry = os.environ.get("MATRIX_REGISTRY", registry).rstrip("/")
        return f"{registry}/{self.image}" if registry else self.image


@dataclass(frozen=True, slots=True)
class Store:
    """A store under test. ``factory`` is ``package.module:callable``.

    ``ways`` are factories of the same store that construct it in other ways, by their names. One
    that is named for a capability is a way only where the cell has that. ``raw_records`` says that
    the inspectors know how it lays out its records.
    """

    name: str
    factory: str
    backend: str
    features: frozenset[str] | None = None
    requires: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    raw_records: bool = False

    def ways_in(self, cell: Cell) -> dict[str, str]:
        """Return the ways to construct it in a cell."""
        return {name: factory for name, factory in self.ways.items() if name not in cell.lacks}


@dataclass(frozen=True, slots=True)
class Cell:
    """One server configuration, and what it promises."""

    id: str
    image: Image
    values: Mapping[str, str]
    settings: Mapping[str, str]
    promises: Mapping[str, Promise]
    lacks: Mapping[str, str]
    store_options: Mapping[str, Any] = field(default_factory=dict)
    sweep_every: float | None = None

    @property
    def backend(self) -> str:
        """The backend whose adapters run here."""
        return self.image.backend

    def lacking(self, capability: str) -> str | None:
        """Return why the cell has not this capability, None if it has."""
        promise = self.promises.get("pressure")
        if promise and promise.kind not in PROMISED.get(capability, {promise.kind}):
            return f"promised under pressure is {promise}"
        return self.lacks.get(capability)

    @property
    def topology(self) -> str:
        """How the cell's servers work together: `STANDALONE` is one that has no others."""
        return self.values.get("topology", STANDALONE)

    @property
    def tags(self) -> list[str]:
        """The names under which the cell can be selected."""
        return [self.backend, self.image.name, *self.values.values()]


@dataclass(frozen=True, slots=True)
class Matrix:
    """All of matrix.toml."""

    registry: str
    parallel: int
    cells: Mapping[str, Cell]
    stores: Mapping[str, Store]
    lanes: Mapping[str, tuple[str, ...]]
    changes: tuple[Change, ...] = ()
    clients: Mapping[str, Client] = field(default_factory=dict)
    subjects: Mapping[str, Store] = field(default_factory=dict)
    """Stores that others wrote: they run only where they are asked for by name."""

    def cells_with(
        self, client_id: str, lane: str | None, stores: Sequence[str] = ()
    ) -> list[Cell]:
        """Return the cells of a lane that a client runs, without one those of its own.

        Raises MatrixError naming the clients, the lanes, or the stores.
        """
        client = _named(self.clients, "client", client_id)
        cells = self.cells_of(lane or client.lane, stores)
        return [cell for cell in cells if client.backend in {None, cell.backend}]

    def cell(self, cell_id: str) -> Cell:
        """Return a cell by id; raise MatrixError naming near ones."""
        return _named(self.cells, "cell", cell_id)

    def lane(self, name: str) -> list[Cell]:
        """Return a lane's cells; raise MatrixError naming the lanes."""
        return [self.cells[cell_id] for cell_id in _named(self.lanes, "lane", name)]

    def cells_of(self, lane: str, stores: Sequence[str]) -> list[Cell]:
        """Return a lane's cells in which any of the stores run, all without stores.

        Raises MatrixError naming the lanes, or the stores.
        """
        backends = {_named(self.stores, "store", name).backend for name in stores}
        return [cell for cell in self.lane(lane) if not stores or cell.backend in backends]

    def stores_of(self, cell: Cell) -> list[Store]:
        """Return the stores that run in a cell."""
        return [store for store in self.stores.values() if store.backend == cell.backend]

    def require(self, cell: Cell, stores: Sequence[str]) -> None:
        """Raise MatrixError if none of the stores, or none at all, runs in a cell."""
        chosen = [_named(self.stores, "store", name) for name in stores or self.stores]
        if not any(store.backend == cell.backend for store in chosen):
            names = ", ".join(store.name for store in chosen)
            raise MatrixError(f"{cell.id} runs stores of {cell.backend}, and so none of: {names}")


def load(path: Path = PATH) -> Matrix:
    """Read matrix.toml. Raises MatrixError: one line with file, key, fault, what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
        return _matrix(Table(tomllib.loads(text), ""))
    except OSError as error:
        raise MatrixError(f"{path.name}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path.name}: not TOML: {error}") from error
    except MatrixError as error:
        raise MatrixError(f"{path.name}: {error}") from error


def _matrix(root: Table) -> Matrix:
    run = root.table("run")
    registry, parallel = run.text("registry", ""), run.integer("parallel", 1)
    run.done()
    images = {name: _image(name, table) for name, table in root.table("images").named_tables()}
    cells: dict[str, Cell] = {}
    changed: list[Change] = []
    for name, table in root.table("backends").tables():
        changed += _add_cells(cells, name, table, images)
    used = {cell.image.name for cell in cells.values()}
    for name in images:
        if name not in used:
            raise MatrixError(f"[images] {name}: no cell has it; put it in a backend's images")
    backends = sorted({cell.backend for cell in cells.values()})
    stores = {name: _store(name, table, backends) for name, table in root.table("stores").tables()}
    of_others = root.optional_tables("subjects")
    subjects = {name: _store(name, table, backends) for name, table in of_others}
    for name in subjects:
        if name in stores:
            raise MatrixError(f"[subjects.{name}]: a store has that name; give it another")
    lane_tables = root.table("lanes")
    for name in LANES:
        lane_tables.table(name)
    lanes = {name: _lane(table, cells, images) for name, table in lane_tables.tables()}
    clients = {}
    if root.has("clients"):
        for name, table in root.table("clients").named_tables():
            clients[name] = client_of(name, table, lanes, backends)
    root.done()
    return Matrix(registry, parallel, cells, stores, lanes, tuple(changed), clients, subjects)


def _image(name: str, table: Table) -> Image:
    fake = table.flag("fake", default=False)
    image = Image(
        name=name,
        backend=table.choice("backend", BACKENDS),
        version=table.matching("version", r"\d+(\.\d+)*", "numbers with dots, such as '7.0'"),
        image=None if fake else table.matching("image", r"\S+", "an image, such as 'redis:7.0'"),
        digest=table.optional_matching("digest", r"sha256:[0-9a-f]{64}", "sha256:, 64 hex digits"),
        fake=fake,
        settings=table.text_table("settings"),
    )
    table.done()
    return image


def _store(name: str, table: Table, backends: list[str]) -> Store:
    store = Store(
        name=name,
        factory=table.matching("factory", FACTORY, FACTORY_MEANING),
        backend=table.choice("backend", backends),
        features=table.optional_texts("features", FEATURES),
        requires=tuple(table.texts("requires", ())),
        lacks=table.text_table("lacks", CAPABILITIES),
        ways=table.matching_table("ways", FACTORY, FACTORY_MEANING),
        raw_records=table.flag("raw_records", default=False),
    )
    table.done()
    return store


def _lane(table: Table, cells: Mapping[str, Cell], images: Mapping[str, Image]) -> tuple[str, ...]:
    of_images = table.texts("images", (), allowed=images)
    named = table.texts("cells", (), allowed=cells)
    pairs = table.flag("pairs", default=False)
    table.done()
    real = {c.id: {"image": c.image.name, **c.values} for c in cells.values() if not c.image.fake}
    paired = pairwise(real) if pairs else []
    chosen = [
        cell.id
        for cell in cells.values()
        if cell.image.name in of_images or cell.id in named or cell.id in paired
    ]
    if not chosen:
        raise MatrixError(f"[{table.path}]: has no cell; give it images, cells or pairs = true")
    return tuple(chosen)


def _add_cells(
    cells: dict[str, Cell], name: str, table: Table, images: Mapping[str, Image]
) -> list[Change]:
    """Multiply a backend's images and axes; exclude and include; return its rows' changes."""
    backend = table.choice("backend", BACKENDS) if name not in BACKENDS else name
    chosen = table.some_texts("images", [n for n, im in images.items() if im.backend == backend])
    axes = table.texts("axes")
    common = _Row.read(table, keep=True)
    rows = {axis: dict(table.table(axis).named_tables()) for axis in axes}
    fates = {
        (axis, value): Fates.read(row, [one for one in of_axis if one != value], chosen)
        for axis, of_axis in rows.items()
        for value, row in of_axis.items()
    }
    values = {
        axis: {value: _Row.read(row) for value, row in of_axis.items()}
        for axis, of_axis in rows.items()
    }
    allowed: dict[str, Iterable[str]] = {"image": chosen, **values}
    every = [
        dict(zip(allowed, combination, strict=True))
        for combination in itertools.product(chosen, *(values[axis] for axis in axes))
    ]
    for entry in table.rows("exclude"):
        rule = entry.text_lists(allowed)
        kept = [one for one in every if not all(one[key] in rule[key] for key in rule)]
        if len(kept) == len(every):
            raise MatrixError(f"[{entry.path}]: takes no cell out; every rule must")
        every = kept
    own: dict[str, Cell] = {}
    for one in every:
        cell = _cell(common, values, images, one)
        if cell.id in cells:
            raise MatrixError(f"[{table.path}]: two cells have the id {cell.id!r}")
        cells[cell.id] = own[cell.id] = _promising(cell, table)
    for entry in table.rows("include"):
        cell_id = entry.matching("id", NAME, NAME_MEANING)
        if cell_id in cells:
            entry.refuse("id", "an id that no other cell has", cell_id)
        one = {key: entry.choice(key, allowed[key]) for key in allowed}
        cell = replace(_cell(common, values, images, one, _Row.read(entry)), id=cell_id)
        cells[cell_id] = _promising(cell, entry)
    table.done()
    multiplied = {cell.id: (cell.image.name, cell.values) for cell in own.values()}
    return changes(multiplied, fates, table.path)


def _cell(
    common: _Row,
    values: Mapping[str, Mapping[str, _Row]],
    images: Mapping[str, Image],
    chosen: Mapping[str, str],
    *last: _Row,
) -> Cell:
    """Return the cell of an image and one value of each axis; later rows win."""
    picked = {axis: chosen[axis] for axis in values}
    of_axes = [values[axis][value] for axis, value in picked.items()]
    return _Row.merged([common, *of_axes, *last]).cell(images[chosen["image"]], picked)


def _promising(cell: Cell, table: Table) -> Cell:
    """Return the cell; refuse a real server's that leaves an event without a promise."""
    events = [one for one in EVENTS if one != "failover" or cell.topology != STANDALONE]
    silent = [event for event in events if event not in cell.promises]
    if silent and not cell.image.fake:
        raise MatrixError(
            f"[{table.path}] promises: {cell.id} promises nothing for {', '.join(silent)}; "
            f"every cell needs a promise for {', '.join(events)}"
        )
    return cell


@dataclass(frozen=True, slots=True)
class _Row:
    """What one axis value, one backend or one included cell adds to a cell."""

    settings: dict[str, str]
    promises: dict[str, Promise]
    lacks: dict[str, str]
    store_options: dict[str, Any]
    sweep_every: float | None

    @staticmethod
    def read(table: Table, *, keep: bool = False) -> _Row:
        row = _Row(
            settings=table.text_table("settings"),
            promises={
                event: parse_promise(event, text, f"{table.path}.promises")
                for event, text in table.text_table("promises", EVENTS).items()
            },
            lacks=table.text_table("lacks", CAPABILITIES),
            store_options=table.plain_table("store_options"),
            sweep_every=table.seconds("sweep_every"),
        )
        if not keep:
            table.done()
        return row

    @staticmethod
    def merged(rows: list[_Row]) -> _Row:
        merged = _Row({}, {}, {}, {}, None)
        for row in rows:
            merged.settings.update(row.settings)
            merged.promises.update(row.promises)
            merged.lacks.update(row.lacks)
            merged.store_options.update(row.store_options)
        every = [row.sweep_every for row in rows if row.sweep_every is not None]
        return replace(merged, sweep_every=every[-1] if every else None)

    def cell(self, image: Image, values: dict[str, str]) -> Cell:
        return Cell(
            id="_".join([image.name, *values.values()]),
            image=image,
            values=values,
            settings={**image.settings, **self.settings},
            promises=self.promises,
            lacks=self.lacks,
            store_options=self.store_options,
            sweep_every=self.sweep_every,
        )


def _named(known: Mapping[str, Named], kind: str, name: str) -> Named:
    if name in known:
        return known[name]
    raise MatrixError(f"there is no {kind} {name!r}; there are {listed(known, name)}")


STANDALONE = "standalone"
LANES = ("fast", "smoke", "matrix")
"""The lanes that the noxfile has sessions for; there may be more."""
BACKENDS = ("redis", "postgres", "mock")
FEATURES = ("history", "context", "sessions", "ttl", "lock")
