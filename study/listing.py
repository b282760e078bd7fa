"""What there is to use, from the declarations themselves.

`python -m study.run --list KIND`, and what `python -m study.run NAME --help` says of a study.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, get_args

import search_spaces
from search_spaces.core import IMPORTANCE

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from search_spaces.core import Group
    from trainables.core.config import Config

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
    for entry in entry_points(group=f"gan_study.{kind}"):
        yield f"{entry.name:28} {entry.value}{f' of {entry.dist.name}' if entry.dist else ''}"
    yield from lines[kind]()


def _studies() -> Iterator[str]:
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
        yield from _variant(name)


def _variant(name: str) -> Iterator[str]:
    import trainables

    variant = trainables.load(name)
    yield f"{name:18} {_first_line(sys.modules[variant.__module__].__doc__)}"
    meanings = _meanings(variant.config_type)
    for key, field in variant.config_type.model_fields.items():
        meaning = f"  # {meanings[key]}" if key in meanings else ""
        yield f"    {key}={field.default!r}{_range(field)}{meaning}"


def _meanings(config: type[Config]) -> dict[str, str]:
    """What the comments in a Config's source say of its fields: behind them, or on lines before."""
    from trainables.core.config import Config

    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        if not issubclass(kind, Config):
            continue
        try:
            lines = inspect.getsource(kind).splitlines()
        except (OSError, TypeError):  # it was typed into a session
            continue
        above: list[str] = []
        for line in lines:
            if comment := re.fullmatch(r"    # (.*)", line):
                above.append(comment[1])
                continue
            field = re.match(r"    (\w+): [^#]*(?:# (.*))?$", line)
            if field and (text := field[2] or " ".join(above)):
                found[field[1]] = text
            above = []
    return found


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
        yield from _metric(name)


def _metric(name: str) -> Iterator[str]:
    from study.metrics.core import catalog

    metric = catalog.load(name)
    yield f"{name:18} {_first_line(metric.__doc__)}"
    better = catalog.directions([name])
    for column, meaning in metric.COLUMNS.items():
        yield f"    {column}: {meaning}{BETTER[better[column]] if column in better else ''}"


def about(name: str) -> Iterator[str]:
    """The lines that describe a study: conditions, claims, hyperparameters, columns.

    Raises:
        BadInputError: there is no such study.
    """
    from study.planning import sources

    study = sources.declared(name).study
    yield f"{name}: {study.title}"
    yield f"data: {study.data}" + (f", or {study.stand_in}" if study.stand_in != study.data else "")
    yield "conditions:"
    for condition, factors in study.conditions.items():
        yield f"    {condition}: {_assigned(factors) or 'as it is'}"
    yield f"reference: {_assigned(study.reference) or 'defaults'}"
    yield "claims (* primary):"
    for claim in study.claims:
        low, high = claim.region
        yield f"    {claim.id}{'*' if claim.primary else ''}: {claim.text}"
        source, groups = f"; {claim.source}" if claim.source else "", _group(claim.of)
        if claim.metric.startswith(IMPORTANCE):  # it is about search cells
            groups = f"search of {claim.of.condition}"
        if claim.against is not None:
            groups += f" {'/' if claim.log else '-'} {_group(claim.against)}"
        yield f"        {claim.quantity}, {groups}, in [{low:g}, {high:g}]{source}"
    yield "variants and their hyperparameters:"
    for variant in study.variants:
        yield from (f"    {line}" for line in _variant(variant))
    yield "metrics and their columns:"
    for metric in (*study.metrics, *(["fid"] if study.fid else [])):
        yield from (f"    {line}" for line in _metric(metric))


def _group(group: Group) -> str:
    return f"{group.condition} ({group.config}, {group.at})"


def _assigned(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in values.items())


def _data() -> Iterator[str]:
    from trainables import data

    yield from data.names()
    yield "or a path: a file of arrays, a folder or zip file of images, or a Python file"
    yield "or torchvision:NAME, of torchvision.datasets, or hf:NAME, of Hugging Face's cache"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
