"""Notices running cells of which nothing has been heard for long."""

from __future__ import annotations

import time

from study.planning.cells import Cell

MIN_SECONDS = 600.0
FACTOR = 3.0  # by which a silence must be longer than all that its cell has ended so far


class Silence:
    """Which running cells have given no tick for long, and so may hang.

    One thread tells of ticks, another one may ask.
    """

    def __init__(self) -> None:
        # Cell id -> when it was last heard of (s), and its longest silence until then (s).
        self._heard: dict[str, tuple[float, float]] = {}
        self._named = set[str]()  # cells whose present silence has been named

    def hear(self, cell: Cell) -> None:
        """Note that a cell has begun, or has ended a tick."""
        now = time.monotonic()
        then, longest = self._heard.get(cell.id, (now, 0.0))
        self._heard[cell.id] = now, max(longest, now - then)
        self._named.discard(cell.id)

    def forget(self, cell: Cell) -> None:
        """Note that a cell has ended."""
        self._heard.pop(cell.id, None)
        self._named.discard(cell.id)

    def lines(self) -> list[str]:
        """A line for each cell that has been silent for too long; once for each silence."""
        found, now = [], time.monotonic()
        for name, (then, longest) in list(self._heard.items()):
            silent = now - then
            if silent > max(MIN_SECONDS, FACTOR * longest) and name not in self._named:
                self._named.add(name)
                found.append(
                    f"cell {name} has ended no tick for {silent / 60:.0f} minutes: it hangs, its "
                    "ticks take that long, or no worker can be had for it; Ctrl-C ends the run, "
                    "and the same command goes on"
                )
        return found
