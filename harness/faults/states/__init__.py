"""Real states of a server in which it refuses calls: made for real, and ended with the block."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class States(Protocol):
    """What can be done to one running server so that it refuses. All of it is undone."""

    def rounds(self) -> Iterator[Generator[str, None, None]]:
        """Yield rounds: each brings a serving server into states, and yields the name of each.

        States that need a restart share it, one after the other, in one round. When a round is
        exhausted or closed the server serves as before.
        """

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Keep the server in the state of this name, in the block."""

    def memory_limit(self, room: int) -> AbstractContextManager[None]:
        """Let the server take so many more bytes of memory than it has now, in the block.

        What it does when they are used up is up to its configuration. With a negative number
        it is full already.
        """

    def age(self, namespace: str, seconds: int) -> None:
        """Let all that a namespace holds have been out of use for so many seconds.

        What would have expired meanwhile has a second left.
        """

    def use_disk(self) -> None:
        """Make the server need its disk now, and not when it comes to it by itself.

        It may end of it, where the disk is full.
        """

    def after_full_disk(self) -> None:
        """Do what an operator does once the disk has space again, if the server still runs."""
