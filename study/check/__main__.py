"""Check studies, variants, metrics and data: do they hold what the rest relies on?

    python -m study.check NAME|FILE.py|PACKAGE.MODULE[:ATTRIBUTE] ... [--data NAME|PATH]

A file may define several of them. Of a study, all that it names and that is not this project's is
checked, too. A line says what does not hold. Everything is tried in fp32, and in bfloat16 where
trials on this machine would compute in it.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import search_spaces
import trainables
from search_spaces.core import Study
from study.check import BrokenError, datasets, metrics, studies, variants
from study.check.example import stripes
from study.errors import BadInputError
from study.metrics.core import catalog
from study.metrics.core.judge import bf16_pays
from study.metrics.core.train_judges import train_judges
from study.metrics.core.view import View
from study.planning import source_files, sources
from study.planning.places import CACHE
from study.planning.sources import ATTRIBUTES, Kind
from trainables import data
from trainables.core.gan import Gan
from trainables.data import DataError, Dataset
from trainables.data.base import DataSpec

BROKEN = 1  # exit code: something does not hold
JUDGES_SHARE = 0.02  # of the images that judges are trained on: values need not mean anything


@dataclass(frozen=True)
class Check:
    """One thing to try."""

    what: str  # "variant lsgan.py"
    says: str  # what should hold
    where: str  # "28x28, bf16", or ""
    run: Callable[[], None]


def main(arguments: Sequence[str] | None = None) -> int:
    about = "Check studies, variants, metrics and data."
    parser = argparse.ArgumentParser(prog="python -m study.check", description=about)
    parser.add_argument("refs", nargs="+", metavar="NAME|FILE|MODULE")
    parser.add_argument("--data", metavar="NAME|PATH", help="that variants and metrics are for")
    asked = parser.parse_args(arguments)
    count, broken, told = 0, 0, Counter[tuple[str, str]]()
    try:
        dataset = sources.read_data(asked.data, CACHE) if asked.data else None
        for check in [check for ref in asked.refs for check in _of(ref, dataset)]:
            count += 1
            try:
                check.run()
            except Exception as error:  # a stranger's code may raise anything
                broken += 1
                where = f" ({check.where})" if check.where else ""
                known = isinstance(error, BrokenError)
                why = str(error) if known else source_files.explain(error)
                told[check.what, why] += 1
                if told[check.what, why] == 1:
                    print(f"{check.what}: {check.says}{where}: NO, {why}")
    except (BadInputError, DataError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for (what, why), times in told.items():
        if times > 1:
            print(f"{what}: {times - 1} more for the same reason: {why}")
    print(f"{count} checks, {broken or 'none'} broken")
    return BROKEN if broken else 0


def _of(ref: str, dataset: Dataset | None) -> Iterator[Check]:
    """The checks of all that a name, a file or a module is.

    Raises:
        BadInputError: it is none of the four kinds, or cannot be imported.
    """
    found = list(_kinds(ref))
    if not found:
        raise BadInputError(f"{ref}: no study, variant, metric or function `load` for data")
    for kind in found:
        if kind == "study":
            yield from _study(ref, dataset)
        else:
            sources.find_and_load(kind, ref)
            yield from _part(kind, ref, dataset, None)


def _kinds(ref: str) -> Iterator[Kind]:
    ours: dict[Kind, list[str]] = {
        "study": search_spaces.names(),
        "variant": trainables.names(),
        "metric": catalog.names(),
        "data": data.names(),
    }
    named = [kind for kind, names in ours.items() if ref in names]
    if named:
        yield from named
        return
    for kind in ours:
        if (source := sources.find(kind, ref)) is None:
            continue
        source_files.install(source.files)
        module = source_files.run(source.module)
        thing = getattr(module, source.attribute, None) if source.attribute else module
        if kind == "metric":
            fits = hasattr(thing, "COLUMNS") and hasattr(thing, "measure")
        elif kind == "data":  # a variant is callable, too
            fits = callable(thing) and not isinstance(thing, type)
        elif kind == "variant":
            fits = isinstance(thing, type) and issubclass(thing, Gan)
        else:
            fits = isinstance(thing, Study)
        # What is called so and is something else is refused where it is loaded.
        called = thing is not None and kind in ("study", "variant")
        if fits or (called and source.attribute == ATTRIBUTES[kind]):
            yield kind


def _study(ref: str, dataset: Dataset | None) -> Iterator[Check]:
    declared = sources.declared(ref)
    study, what = declared.study, f"study {declared.name}"
    for check in studies.CHECKS:
        yield _check(what, check, "", study)
    for at_scale in studies.AT_EACH_SCALE:
        for scale in studies.SCALES:
            yield _check(what, at_scale, f"scale {scale}", study, scale)
    if dataset is None:
        chosen, _ = data.choose("auto", study.data, study.stand_in)
        dataset = data.load(chosen, cache=CACHE.expanduser())
    for source in declared.sources:
        if source.kind != "study":
            yield from _part(source.kind, source.name, dataset, study.variants)


def _part(
    kind: Kind, name: str, dataset: Dataset | None, among: Sequence[str] | None
) -> Iterator[Check]:
    """The checks of a variant, a metric or data.

    Args:
        among: the variants that a metric is tried with; None: those of this project.
    """
    if kind == "variant":
        yield from _variant(name, dataset)
    elif kind == "metric":
        yield from _metric(name, dataset or stripes(), among or trainables.names())
    else:
        made = data.load(name, cache=CACHE.expanduser())
        make = data.maker(name) or (lambda: made)
        for check in datasets.CHECKS:
            yield _check(f"data {name}", check, "", name, make)


def _variant(name: str, dataset: Dataset | None) -> Iterator[Check]:
    variant = trainables.load(name)
    shapes: list[DataSpec] = [*variants.SHAPES]
    if variant.multilabel:
        shapes.append(variants.SEVERAL)
    if dataset is not None:
        shapes = [dataset.spec]
    for bf16 in (False, True) if bf16_pays(variants.CPU) else (False,):
        for place, images in enumerate(shapes):
            where = f"{images.channels}x{images.size[0]}x{images.size[1]}, " + (
                "bf16" if bf16 else "fp32"
            )
            once = (*variants.ONCE, *variants.SLOW) if place == 0 else ()
            for check in (*variants.ON_ALL_IMAGES, *once):
                yield _check(f"variant {name}", check, where, name, images, bf16)


def _metric(name: str, dataset: Dataset, among: Sequence[str]) -> Iterator[Check]:
    what = f"metric {name}"
    for check in metrics.DECLARED:
        yield _check(what, check, "", name)
    able = [v for v in among if catalog.suited([name], trainables.load(v), dataset.spec)]
    if name == "fid" or not able:
        why = "it needs Inception's weights" if name == "fid" else "no variant at hand suits it"
        print(f"{what}: not measured, {why} (check its study, or give --data)")
        return

    @functools.cache
    def views() -> Callable[[], list[View]]:
        gan = variants.make(able[0], dataset.spec).gan
        with tempfile.TemporaryDirectory() as scratch:
            judges = train_judges(dataset, Path(scratch), share=JUDGES_SHARE)
        return metrics.views(gan, dataset, judges, name)

    for measured in metrics.MEASURED:
        yield _check(what, measured, f"with {able[0]}", name, lambda: views()())


def _check(what: str, check: Callable[..., None], where: str, *arguments: Any) -> Check:
    says = check.__name__.replace("_", " ")
    return Check(what, says, where, lambda: check(*arguments))


if __name__ == "__main__":
    sys.exit(main())
