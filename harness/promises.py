"""What a configuration promises to keep in each event, and whether a measured loss is within it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.tables import MatrixError

EVENTS = {
    "restart": ("keeps_all", "loses_tail", "loses_since_snapshot", "loses_all", "none"),
    "kill": ("keeps_all", "loses_tail", "loses_since_snapshot", "loses_all", "none"),
    "power_cut": ("keeps_all", "loses_tail", "loses_since_snapshot", "loses_all", "none"),
    "failover": ("keeps_all", "loses_tail", "none"),
    "pressure": ("refuses_writes", "forgets_any_session", "forgets_expiring_sessions"),
}
"""Each event with the promises that can be made for it."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise for one event. ``seconds`` bounds the tail that ``loses_tail`` may lose."""

    kind: str
    seconds: float | None = None

    def __str__(self) -> str:
        return self.kind if self.seconds is None else f"{self.kind} {self.seconds:g}"

    def broken_by(self, lost: int, lost_seconds: float, older_lost: int = 0) -> bool:
        """Tell whether losing ``lost`` acknowledged writes, over so many seconds, is too much.

        ``lost_seconds`` is the age, at the moment of the event, of the oldest lost write.
        ``older_lost`` counts writes that an earlier clean stop had left: it synced them, and
        took the snapshot of a row that has any. The other promises allow any loss; they are
        kept by losing no more than a suffix.
        """
        if self.kind not in {"loses_all", "none"} and older_lost:
            return True
        if self.kind == "keeps_all":
            return lost > 0
        if self.kind == "loses_tail" and self.seconds is not None:
            return lost > 0 and lost_seconds > self.seconds
        return False


def parse_promise(event: str, text: str, path: str) -> Promise:
    """Return the promise; raise MatrixError naming what the event allows."""
    kind, _, seconds = text.partition(" ")
    wanted = f"[{path}] {event}: must be one of {', '.join(EVENTS[event])}"
    if kind not in EVENTS[event]:
        raise MatrixError(f"{wanted}, not {text!r}")
    if (kind == "loses_tail") != bool(seconds):
        raise MatrixError(
            f"{wanted} (loses_tail with its seconds, as in 'loses_tail 2'), not {text!r}"
        )
    if not seconds:
        return Promise(kind)
    try:
        bound = float(seconds)
    except ValueError:
        bound = 0.0
    if not 0 < bound < float("inf"):
        raise MatrixError(f"[{path}] {event}: {seconds!r} is not a positive number of seconds")
    return Promise(kind, bound)
