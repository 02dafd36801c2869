"""What the server's log says of a moment: its lines by their own timestamps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

SHOWN = 40
"""Lines of an excerpt."""
BEFORE = 6
"""Lines shown where the moment itself has none."""
SLACK_SECONDS = 0.3
QUARTER_SECONDS = 900
"""Time zones differ by multiples of it."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
REDIS = re.compile(r"\d+:[A-Z] (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d)\.(\d{3}) ")
POSTGRES = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{3}) ")
MEMBER = "==> "
"""Begins the part of one server, in the log of several."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines, and what they are."""

    note: str
    lines: list[str]


class ServerLog:
    """A server's log, or those of several one after another."""

    def __init__(self, text: str, ended: float) -> None:
        """``ended`` is the Unix time of the run's last result: it tells the log's time zone."""
        self._lines: list[tuple[float, str, str]] = []
        member, stamp = "", 0.0
        for line in text.splitlines():
            if line.startswith(MEMBER):
                member, stamp = line, 0.0
                continue
            stamp = _stamp(line) or stamp
            self._lines.append((stamp, member, line))
        last = max((stamp for stamp, _, _ in self._lines), default=0.0)
        self._zone = round((last - ended) / QUARTER_SECONDS) * QUARTER_SECONDS if last else 0

    def around(self, began: float, ended: float) -> Excerpt:
        """Return the lines of a span of Unix time, else the last ones before it."""
        first, last = (moment + self._zone for moment in (began, ended))
        lines = [
            (member, line)
            for stamp, member, line in self._lines
            if first - SLACK_SECONDS <= stamp <= last + SLACK_SECONDS
        ]
        if lines:
            return Excerpt("at that moment", _shortened(lines))
        before = [(member, line) for stamp, member, line in self._lines if stamp < first]
        if before:
            return Excerpt("nothing at that moment; the last lines before it", _tail(before))
        every = [(member, line) for _, member, line in self._lines]
        return Excerpt("its end" if every else "empty", _tail(every))


def _stamp(line: str) -> float | None:
    if found := REDIS.match(line):
        day, month, year, *rest = found.groups()
        if month not in MONTHS:
            return None
        return _unix(int(year), MONTHS.index(month) + 1, int(day), *map(int, rest))
    if found := POSTGRES.match(line):
        return _unix(*map(int, found.groups()))
    return None


def _unix(year: int, month: int, day: int, hour: int, minute: int, second: int, ms: int) -> float:
    try:
        return datetime(year, month, day, hour, minute, second, ms * 1000, UTC).timestamp()
    except ValueError:
        return 0.0


def _shortened(lines: Sequence[tuple[str, str]]) -> list[str]:
    if len(lines) <= SHOWN:
        return _with_members(lines)
    half = SHOWN // 2
    left_out = f"… {len(lines) - 2 * half} lines …"
    return [*_with_members(lines[:half]), left_out, *_with_members(lines[-half:])]


def _tail(lines: Sequence[tuple[str, str]]) -> list[str]:
    return _with_members(lines[-BEFORE:])


def _with_members(lines: Sequence[tuple[str, str]]) -> list[str]:
    found, last = [], ""
    for member, line in lines:
        if member != last:
            found.append(member)
            last = member
        found.append(line)
    return found
