"""The Python interface: run a study or one cell, read results, measure images.

```
from study import run_study

results = run_study("acgan_kmnist_classes", scale="smoke", data="kana")
results.claims  # a frame: each claim with its verdict, effect and interval
```

A function does what the command of the same name does, in the same folders: see README.md.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from search_spaces.core import Budget, Study
from study.arguments import Parser, parser
from study.errors import BadInputError
from study.planning import sources
from study.records.folders import study_folder
from study.records.frames import Frames
from study.records.records import Records
from study.report.write import claims_frame, write_report
from study.run import COMPLETE, INTERRUPTED, perform

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from matplotlib.figure import Figure

    from study.planning.sources import Declared
    from study.tracking.generators import Generator


class Results:
    """The results of a study, read from its folder when they are asked for."""

    def __init__(self, folder: Path | str, declared: Declared | None = None) -> None:
        """Args:
            folder: of the study, such as runs/acgan_kmnist_classes.
            declared: the study, where no command names it: see `run_cell`.

        Raises:
            ValueError: the folder holds no study, or study.json is damaged.
        """
        self.records, self._declared = Records(folder), declared
        try:
            self.records.study()
        except (FileNotFoundError, NotADirectoryError) as error:
            near = sorted(path.parent.name for path in Path(folder).parent.glob("*/study.json"))
            line = f"{folder} holds no study ({error.strerror}): beside it are"
            raise ValueError(f"{line} {', '.join(near) or 'none'}") from None

    def __repr__(self) -> str:
        state = "finished" if self.finished else "not finished"
        return f"Results({str(self.folder)!r}): {len(self.cells)} ended cells, {state}"

    @property
    def folder(self) -> Path:
        return self.records.folder

    @property
    def finished(self) -> bool:
        """Whether every cell of the last command has ended."""
        runs = self.records.study()["runs"]
        return bool(runs and runs[-1].get("finished"))

    @property
    def cells(self) -> pd.DataFrame:
        """One row for each ended cell: what it was, how it ended, its best and last values."""
        return self.records.cells()

    @property
    def ticks(self) -> pd.DataFrame:
        """One row for each cell and tick: kimg, and every metric, loss and time."""
        return self.records.ticks()

    @property
    def claims(self) -> pd.DataFrame:
        """One row for each claim: verdict, effect, interval, number of seeds, reason."""
        return claims_frame(self.records)

    @property
    def best(self) -> pd.DataFrame:
        """The confirm cells that ran to their end, the best objective at the last tick first."""
        return self.records.confirmed()

    def report(self) -> Path:
        """Write report.html, cells.csv, ticks.csv and claims.csv. Returns the page's path."""
        return write_report(self.records).page

    def plot(self, metric: str, log: bool = False) -> Figure:
        """A metric over training, with a panel for each configuration and a line per condition.

        Args:
            metric: a column of `ticks`.
            log: a logarithmic axis, and geometric means over the seeds.

        Raises:
            ValueError: no confirm cell has such a column.
        """
        from study.report import curves

        frames = Frames.read(self.records)
        shown = {name: t for name, t in frames.by_configuration().items() if len(t)}
        figure = curves.figure(shown, [metric], frames.conditions, frames.directions, log=log)
        if figure is None:
            columns = self.ticks.select_dtypes("number").columns
            raise ValueError(f"no confirm cell has {metric!r}: choose from {', '.join(columns)}")
        return figure

    def generator(self, condition: str, code: str | Path | None = None) -> Generator:
        """The generator of the best confirm cell of a condition. Call it for images.

        Args:
            code: see `load_generator`.

        Raises:
            ValueError: no such condition has a confirm cell that ran to its end.
        """
        from study.tracking.generators import Generator
        from study.tracking.register import manifest_of

        best = self.best
        if not len(mine := best[best["condition"].eq(condition)]):
            there = " | ".join(best["condition"].unique()) or "none"
            raise ValueError(f"condition {condition!r} has no confirmed cell: there are {there}")
        return Generator(*manifest_of(self.records, mine["id"].iloc[0]), code=code)

    def optuna(self, condition: str, search: int = 0) -> optuna.Study:
        """The search of a condition as an Optuna study in memory, for Optuna's own plots.

        Raises:
            ValueError: the condition has no search cell that has ended.
        """
        from study.report.optuna_studies import study_of

        return study_of(self.records, condition, search)

    def verify(self, cell: str) -> bool:
        """Run an ended cell again, as it ran then. Returns whether every value is the same.

        What differs is printed.

        Args:
            cell: its id, as in `cells`.

        Raises:
            BadInputError: there is no such cell, or it cannot be repeated. What `run_cell` has
                trained is repeated by the results that it returned, not by `load_results`.
        """
        words = shlex.split(self.records.study()["command"])[3:]  # after "python -m study.run"
        words = [word for word in words if word != "--fresh"]
        words += ["--storage", str(self.folder.parent), "--verify", cell]
        args = parser(_Raising).parse_args(words)
        declared = self._declared or sources.declared(args.name)
        if study_folder(args.storage, declared.name) != self.folder:
            raise BadInputError(f"{self.folder}: a newer folder of {declared.name} is beside it")
        return _perform(args, "", declared) == COMPLETE


def load_results(folder: Path | str) -> Results:
    """The results in a study's folder, such as runs/acgan_kmnist_classes.

    Raises:
        ValueError: the folder holds no study.
    """
    return Results(folder)


def run_study(
    ref: str,
    *,
    scale: str | None = None,
    data: str | None = None,
    image_size: int | None = None,
    trials: int | None = None,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    only: str | None = None,
    fresh: bool = False,
    storage: Path | str = "runs",
    address: str | None = None,
) -> Results:
    """Run a study, or what is missing of it, as `python -m study.run` does.

    Args:
        ref: a name of this project, a Python file, or PACKAGE.MODULE:STUDY.
        scale: "smoke", "quick" or "full"; None: quick, or full with a GPU.
        data: a name or a path; None: what the study asks for, or its stand-in.
        image_size: of images in a folder or zip file: resize their middle to a square.
        trials: search cells of each condition.
        seeds: of each confirmed configuration.
        settings: hyperparameters to fix, and lengths such as kimg.
        only: the one condition to run.
        fresh: begin anew in a folder of its own, which the study's name then means.
        storage: the folder of all records.
        address: of a Ray cluster; None: this machine.

    Raises:
        BadInputError: something of it cannot be done. Nothing was started.
        KeyboardInterrupt: it was interrupted. The same call goes on.
    """
    options: dict[str, object] = {"scale": scale, "data": data, "image_size": image_size}
    options |= {"trials": trials, "seeds": seeds, "only": only, "fresh": fresh or None}
    options |= {"storage": storage, "address": address}
    return _run(sources.declared(ref), ref, options, settings or {})


def run_cell(
    variant: str,
    data: str,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    kimg: int,
    seed: int = 0,
    tick_kimg: int | None = None,
    samples: int = 1000,
    metrics: Sequence[str] = ("fcd",),
    storage: Path | str = "runs",
) -> Results:
    """Train one GAN. The records are a study of one cell, so the same call trains it once only.

    Args:
        variant: a name of this project, a Python file, or PACKAGE.MODULE:VARIANT.
        data: a name, a Python file, an .npz file or a folder of images.
        hyperparameters: those that differ from the variant's defaults.
        kimg: length of the training, in 1,000 images seen.
        tick_kimg: measure once per so many kimg; None: ten times.
        samples: fakes per measurement.
        metrics: named like variants; the first column that has a better end is the objective.

    Raises:
        BadInputError: something of it cannot be done. Nothing was started.
        KeyboardInterrupt: it was interrupted. The same call goes on.
    """
    length = tick_kimg or max(1, kimg // 10)
    try:
        budget = Budget(kimg=kimg, tick_kimg=length, seeds=1, samples=samples)
        study = Study(
            title=f"{variant} on {data}",
            variant=variant,
            data=data,
            conditions={"cell": {}},
            reference=hyperparameters or {},
            metrics=tuple(metrics),
            objective=sources.first_objective(metrics),
            scales=dict.fromkeys(("smoke", "quick", "full"), budget),
        )
    except ValueError as error:
        raise BadInputError(str(error)) from None
    loaded = sources.of_study(study, None)
    # Other code makes another cell, in a folder of its own.
    code = [source.digest for source in loaded]
    asked = [variant, data, hyperparameters, kimg, seed, length, samples, [*metrics], code]
    name = f"cell_{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]}"
    declared = sources.Declared(name, study, loaded)
    options = {"storage": storage, "data": data, "first_seed": seed}
    return Results(_run(declared, name, options, {}).folder, declared)


class _Raising(Parser):
    def error(self, message: str) -> NoReturn:
        raise BadInputError(message)


def _run(
    declared: Declared, ref: str, options: Mapping[str, object], settings: Mapping[str, Any]
) -> Results:
    """Run the command that has these options: those that are not None, without a value if True."""
    words = [ref]
    for key, value in options.items():
        if value is not None:
            words += [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]
    for key, value in settings.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    args = parser(_Raising).parse_args(words)
    if _perform(args, "python -m study.run " + shlex.join(words), declared) == INTERRUPTED:
        raise KeyboardInterrupt
    return Results(study_folder(args.storage, declared.name))


def _perform(args: Any, command: str, declared: Declared) -> int:
    """Run it, and end the Ray that it started or joined: the next call may want another one."""
    import ray

    before = ray.is_initialized()
    try:
        return perform(args, command, declared)
    finally:
        if not before:
            ray.shutdown()
