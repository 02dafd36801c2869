"""Small pictures as inline SVG: bars with marks, in the colours of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, ROW = 760, 300, 20
VALUE = 130
"""Room for the figure behind the longest bar."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a picture: parts laid end to end, and what is written behind them."""

    label: str
    parts: tuple[tuple[str, float], ...]
    """Each with the class of its colour."""
    said: str

    @property
    def length(self) -> float:
        """The whole."""
        return sum(length for _, length in self.parts)


def bars(rows: Sequence[Bar], *, marks: Sequence[float] = (), most: float | None = None) -> str:
    """Return bars; ``marks`` are vertical lines, ``most`` is where longer ones are cut."""
    if not rows:
        return ""
    longest = max([*(row.length for row in rows), *marks]) or 1.0
    longest = min(longest, most) if most else longest
    scale = (WIDTH - LABEL - VALUE) / longest
    height = ROW * len(rows) + 16
    lines = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="bars, as in the table below">'
    ]
    for mark in marks:
        x = LABEL + mark * scale
        lines.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 14}"/>'
            f'<text class="said" x="{x:.1f}" y="{height - 2}" text-anchor="middle">{mark:g}</text>'
        )
    for number, row in enumerate(rows):
        y = number * ROW
        lines.append(
            f'<text x="{LABEL - 6}" y="{y + 14}" text-anchor="end">{escape(row.label)}</text>'
        )
        x = float(LABEL)
        for colour, length in row.parts:
            width = max(0.0, min(length * scale, LABEL + longest * scale - x))
            lines.append(
                f'<rect class="{colour}" x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="14"/>'
            )
            x += width
        lines.append(f'<text class="said" x="{x + 5:.1f}" y="{y + 14}">{escape(row.said)}</text>')
    return "\n".join([*lines, "</svg>"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; its first column is text, the others are figures."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["<div class=wide><table><tr>" + cells + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(one)}</td>" for one in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table></div>"])
