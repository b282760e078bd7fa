"""Shows the verdicts of a study as soon as they are known, while its search goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from study.engine.trial import StopFile
from study.planning.remaining import Remaining

if TYPE_CHECKING:
    from study.console import Display
    from study.planning.cells import Cell
    from study.planning.plan import Plan
    from study.records.records import Records


class EarlyVerdicts:
    """Waits for the last of the cells that decide the claims, and then prints the verdicts.

    Nothing is printed where claims need the search, or where no search goes on: the summary at the
    end of the study has the verdicts.
    """

    def __init__(self, plan: Plan, records: Records, display: Display) -> None:
        self.plan, self.records, self.display = plan, records, display
        self._open = {
            cell.id
            for name in plan.judged
            for cell in plan.confirm_cells(name, plan.hyperparameters(name))
            if records.result(cell.id) is None
        }
        self._waits = bool(self._open)

    def __call__(self, cell: Cell, result: dict[str, Any] | None) -> None:
        """Take note of what happened to a cell: see `Observer` in study/engine/schedule.py."""
        if not self._waits or result is None or result["outcome"] == "again":
            return
        self._open.discard(cell.id)
        if self._open or StopFile(self.records.folder).path.exists():
            return
        self._waits = False
        missing = Remaining(self.plan, self.records).missing()
        if not sum(n for (_, phase), n in missing.items() if phase == "search"):
            return
        from study.report.write import claims_frame

        try:
            claims = claims_frame(self.records)
        except Exception as error:  # whatever it is, the study must go on
            self.display.say(f"the verdicts cannot be shown yet: {error}")
            return
        self.display.say("all cells that the claims need have ended, and the search goes on:")
        self.display.verdicts(claims)
