"""Shows the verdicts of a study as soon as they are known, while its search goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.planning.remaining import Remaining

if TYPE_CHECKING:
    from study.console import Display
    from study.planning.plan import Plan
    from study.records.records import Records


class EarlyVerdicts:
    """Waits for the last of the cells on which claims are judged, and then prints the verdicts.

    This is of use only where claims are judged on the reference recipe alone, and other cells
    follow.
    """

    def __init__(self, plan: Plan, records: Records, display: Display) -> None:
        self.plan, self.records, self.display = plan, records, display
        claims = plan.study.claims if plan.references_decide else ()
        groups = [group for claim in claims for group in (claim.of, claim.against) if group]
        judged = {group.condition for group in groups}
        self._open = {
            cell.id
            for cell in Remaining(plan, records).confirmations()
            if cell.configuration == "reference" and cell.condition_name in judged
        }
        self._open = {cell_id for cell_id in self._open if records.result(cell_id) is None}

    def ended(self, cell_id: str) -> None:
        """Take note that a cell was accepted."""
        if cell_id not in self._open:
            return
        self._open.remove(cell_id)
        if self._open or Remaining(self.plan, self.records).is_finished:
            return
        from study.report.write import claims_frame

        self.display.say("all cells on which the claims are judged have ended; the others go on")
        self.display.verdicts(claims_frame(self.records))
