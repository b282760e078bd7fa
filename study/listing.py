"""`python -m study.run --list KIND`: what there is to use, from the declarations themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, get_args

import search_spaces

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

KINDS = ("studies", "variants", "metrics", "data")
BETTER = {"minimize": " (lower is better)", "maximize": " (higher is better)"}
BOUNDS = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}


def study_names() -> list[str]:
    """Names of all studies: of this project, and of entry points of installed packages."""
    own = search_spaces.names()
    return own + [e.name for e in entry_points(group="gan_study.studies") if e.name not in own]


def listing(kind: str) -> Iterator[str]:
    """The lines that list all studies, variants, metrics or data sets.

    Raises:
        ValueError: some files of studies cannot be read. It is raised after all others are listed.
    """
    lines = {"studies": _studies, "variants": _variants, "metrics": _metrics, "data": _data}
    return lines[kind]()


def _studies() -> Iterator[str]:
    for entry in entry_points(group="gan_study.studies"):
        yield f"{entry.name:28} {entry.value}{f' of {entry.dist.name}' if entry.dist else ''}"
    broken = []
    for name in search_spaces.names():
        try:
            yield f"{name:28} {search_spaces.load(name).title}"
        except ValueError as error:
            broken.append(str(error))
    if broken:
        raise ValueError("; ".join(broken))


def _variants() -> Iterator[str]:
    """Each variant with its hyperparameters: default, and range or choices."""
    import trainables

    for name in trainables.names():
        variant = trainables.load(name)
        yield f"{name:18} {_first_line(sys.modules[variant.__module__].__doc__)}"
        for key, field in variant.config_type.model_fields.items():
            yield f"    {key}={field.default!r}{_range(field)}"


def _range(field: FieldInfo) -> str:
    choices = [
        c for part in (field.annotation, *get_args(field.annotation)) for c in get_args(part)
    ]
    if choices and all(isinstance(choice, str) for choice in choices):
        return f": {' | '.join(choices)}"
    bounds = [
        f"{word} {getattr(limit, name)!r}"
        for limit in field.metadata
        for name, word in BOUNDS.items()
        if getattr(limit, name, None) is not None
    ]
    return f": {' '.join(bounds)}" if bounds else ""


def _metrics() -> Iterator[str]:
    """Each metric with its columns: what they mean, and which values are better."""
    from study.metrics.core import catalog

    for name in catalog.names():
        metric = catalog.load(name)
        yield f"{name:18} {_first_line(sys.modules[metric.__name__].__doc__)}"
        better = catalog.directions([name])
        for column, meaning in metric.COLUMNS.items():
            yield f"    {column}: {meaning}{BETTER[better[column]] if column in better else ''}"


def _data() -> Iterator[str]:
    from trainables import data

    yield from data.names()
    yield "or a path: a .npz file, or a folder of images"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
