"""Writes the generated parts of the README files: `python -m tests.readmes`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import trainables
from study.metrics.core import catalog

ROOT = Path(__file__).parents[1]


def variants() -> Iterator[str]:
    """A table of all variants with their papers."""
    yield "| variant | what it is |\n|---|---|"
    for name in trainables.names():
        yield f"| `{name}` | {first_line(sys.modules[trainables.load(name).__module__].__doc__)} |"


def metrics() -> Iterator[str]:
    """A table of all columns of all metrics."""
    yield "| metric | column | meaning | better |\n|---|---|---|---|"
    for name in catalog.names():
        better = catalog.directions([name])
        for column, meaning in catalog.load(name).COLUMNS.items():
            end = {"minimize": "low", "maximize": "high"}.get(better.get(column, ""), "")
            yield f"| `{name}` | `{column}` | {meaning.replace('|', chr(92) + '|')} | {end} |"


def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


PARTS = {
    "trainables/README.md": ("variants", variants),
    "study/metrics/README.md": ("metrics", metrics),
}


def renewed(path: str) -> str:
    """A README with its generated part as it should be."""
    name, lines = PARTS[path]
    start, end = f"<!-- generated: {name} -->", "<!-- end -->"
    part = "\n".join((start, *lines(), end))
    whole = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    return whole.sub(lambda _: part, (ROOT / path).read_text(), count=1)


if __name__ == "__main__":
    for path in PARTS:
        (ROOT / path).write_text(renewed(path))
