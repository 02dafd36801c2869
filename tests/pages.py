"""README.md and docs/*.md as data: their commands, code blocks and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.project import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = (
    r"(?:[A-Z_]+=\S+ )*(?:(?:nox|python3?|pip|uvx?|bash|docker|git|curl) .+|\.ci/\w+(?: .*)?)"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Return the blocks in these languages, of all pages."""
    return [block for page in PAGES for block in _blocks(page) if block.language in languages]


def commands() -> dict[str, str]:
    """Return each command that a page shows, in a block or between backquotes, and its place."""
    found: dict[str, str] = {}
    for page in PAGES:
        for place, text in _shown(page):
            for part in text.split(" && "):
                if re.fullmatch(PROGRAMS, part):
                    found.setdefault(part, place)
    return found


def links(page: Path) -> list[str]:
    """Return where a page's links lead, those in code left out."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def _shown(page: Path) -> Iterator[tuple[str, str]]:
    for block in _blocks(page):
        if block.language in {"sh", "bash", "shell", "console"}:
            for line in block.text.replace("\\\n", " ").splitlines():
                yield str(block), re.sub(r"\s+", " ", re.sub(r"(^|\s)#.*", "", line)).strip("$ ")
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for span in re.findall(r"`([^`\n]+)`", text):
        yield str(page.relative_to(ROOT)), span
