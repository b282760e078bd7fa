"""Prints what a person sees on the terminal while a study runs, and at its end."""

from __future__ import annotations

import os
import sys
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from study.notebook import in_notebook
from study.planning.cells import Cell
from study.planning.plan import Plan
from study.records.records import Records, Row

# Columns that are shown beside the objective.
SHOWN = ("label_accuracy", "topk_accuracy", "variance_ratio", "class_loss_ratio")
MOST_SHOWN = 5  # columns of metrics in the table of cells
LEAST_WIDTH = 80  # columns of a table; narrower terminals wrap its lines, so that nothing is cut
COLOURS = {"supported": "green", "not supported": "red", "undecided": "yellow"}


class Display:
    """Prints lines about the cells. On a terminal and in a notebook it also shows a progress bar
    with the latest cell.
    """

    def __init__(self, plan: Plan, records: Records) -> None:
        self.plan, self.records = plan, records
        plain = None if sys.stdout.isatty() else 120  # columns; a terminal tells its own width
        self.console = Console(highlight=False, soft_wrap=True, width=plain)
        self.tables = Console(highlight=False, width=max(self.console.width, LEAST_WIDTH))
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not (self.console.is_terminal or in_notebook()),
            transient=True,
        )
        self.task = self.progress.add_task("cells", total=sum(plan.count))
        self._accepted: int | None = None  # number of accepted cells, once it was counted

    def say(self, line: str) -> None:
        self._print(line, markup=False)

    def _print(self, what: Any, **how: Any) -> None:
        """Print, or say nothing from now on if whoever read the output has gone.

        The study goes on, because its records hold everything. Rich raises SystemExit for a broken
        pipe. A terminal that is gone and a full disk raise OSError.
        """
        try:
            if not isinstance(what, Table):
                self.console.print(what, **how)
                return
            # A bar on a terminal knows only of what its own console prints.
            live = self.console.is_terminal and self.progress.live.is_started
            if live:
                self.progress.stop()
            self.tables.print(what, **how)
            if live:
                self.progress.start()
        except (OSError, SystemExit):
            self.console.quiet = self.tables.quiet = True
            # Python flushes its own output at the end of the process, too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def __call__(self, cell: Cell, result: dict[str, Any] | None) -> None:
        """Show what happened to a cell.

        Args:
            result: None where the cell started or has a new tick. The outcome is "again" where the
                cell crashed and goes on; any other outcome means that the cell was accepted.
        """
        if result is None and self.progress.disable:
            return
        rows = self.records.rows(cell.id)
        at = f"{rows[-1]['kimg']} kimg" if rows else "starting"
        if result is None:
            self.progress.update(self.task, description=escape(f"{cell.label}: {at}"))
            return
        error = result["error"].splitlines()[-1] if result["error"] else None
        if result["outcome"] == "again":
            self.say(f"{cell.label}: {error}; it goes on from {at}")
            return
        done = self._accepted = self._done() if self._accepted is None else self._accepted + 1
        total = sum(self.plan.count)
        self.progress.update(self.task, completed=done, total=total)
        figures = error or (self._figures(rows[-1]) if rows else "no row")
        self.say(
            f"[{done:>3}/{total}] {cell.label}: {result['outcome']}, {at}, {figures}"
            f" ({result['seconds']:.0f} s)"
        )

    def _done(self) -> int:
        return sum(
            self.records.result(cell_id) is not None
            and self.records.cell(cell_id)["condition_name"] in self.plan.conditions
            for cell_id in self.records.ids()
        )

    def _figures(self, row: Row) -> str:
        names = [name for name in (self.plan.study.objective, *SHOWN) if name in row]
        return ", ".join(f"{name.replace('_', ' ')} {row[name]:.3g}" for name in names)

    def summary(self, cells: pd.DataFrame, claims: pd.DataFrame, finished: bool) -> None:
        """Print a table of confirm cells by condition and configuration, and one of the verdicts.

        The first has the objective, then columns on which primary claims are judged.
        Below them is a line that counts the cells by outcome.
        """
        study = self.plan.study
        judged = [claim.metric for claim in study.claims if claim.primary and not claim.over]
        shown = dict.fromkeys([study.objective, *judged, *SHOWN])
        names = [name for name in shown if f"last/{name}" in cells][:MOST_SHOWN]
        told = [Column(name, overflow="fold") for name in ("condition", "configuration")]
        heads = [Column(name.replace("_", " "), overflow="fold") for name in names]
        table = Table(*told, "cells", *heads, title="complete confirm cells, last tick")
        confirm = cells[(cells["phase"] == "confirm") & (cells["outcome"] == "complete")]
        for condition in study.conditions:
            part = confirm[confirm["condition"] == condition]
            reference, best = (part[flag].astype(bool) for flag in ("is_reference", "is_best"))
            rows = {
                "reference": reference & ~best,
                "reference, also the best found": reference & best,
                "best found": best & ~reference,
            }
            for name, chosen in rows.items():
                group = part[chosen]
                if len(group):
                    means = [f"{group[f'last/{n}'].mean():.3g}" for n in names]
                    table.add_row(escape(condition), name, str(len(group)), *means)
        if table.row_count:
            self._print(table)
        self.verdicts(claims)
        counts = cells["outcome"].value_counts()
        ends = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
        self.say(f"cells: {ends or 'none yet'}")
        if finished and (fewer := sum(self.plan.count) - self._done()) > 0:
            why = "a best found that equals the reference is not run a second time"
            self.say(f"{fewer} fewer than the most: {why}")

    def verdicts(self, claims: pd.DataFrame) -> None:
        """Print a table of the claims with their verdicts, if there are any."""
        if len(claims):
            told = [Column(name, overflow="fold") for name in ("claim", "verdict")]
            table = Table(*told, "effect [interval]", "n", "text", title="claims")
            for claim in claims.to_dict("records"):
                verdict = str(claim["verdict"])
                colour = COLOURS.get(verdict, "default")
                effect = "-"
                if pd.notna(claim["effect"]):
                    effect = f"{claim['effect']:.3g}"
                if pd.notna(claim["low"]):  # one seed has no interval
                    effect += f" [{claim['low']:.3g}, {claim['high']:.3g}]"
                groups = (claim["n_of"], claim["n_against"])  # None: no effect; 0: no such group
                n = "/".join(str(int(size)) for size in groups if pd.notna(size) and size > 0)
                text = escape(str(claim["text"]))
                row = [str(claim["id"]), f"[{colour}]{verdict}[/]", effect, n, text]
                table.add_row(*row)
            self._print(table)
            reasons: dict[str, list[str]] = {}
            for claim in claims.to_dict("records"):
                if claim["verdict"] != "not run" and (reason := claim.get("reason")):
                    reasons.setdefault(reason, []).append(str(claim["id"]))
            for reason, ids in reasons.items():
                self.say(f"{' | '.join(ids)}: {reason}")
