"""The records in a study's folder. Optuna's state, MLflow and the report derive from them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.records import store
from study.records.columns import frame
from study.records.files import DamagedError, read_json, read_sealed, write_json
from study.records.objective import Direction, cost
from study.records.summary import head, summary

if TYPE_CHECKING:
    import pandas as pd

    from study.records.lock import Lock

Row = dict[str, Any]

FAILED = ("failed", "out_of_memory")  # outcomes that tell nothing about a cell's configuration
TICKS_SEAL = "ticks_sha256"  # of ticks.json, in the result of its cell
FORMAT = 7  # of a study's folder; raise it if older code would misread what is written
READABLE = (6, FORMAT)  # formats that are read, and continued in the present one


class Records:
    """Reads and writes one study's folder.

    ```
    records = Records(Path("runs/acgan_kmnist_classes"))
    cells, ticks = records.cells(), records.ticks()
    ```
    """

    def __init__(self, folder: Path | str) -> None:
        """The folder is on a disk, or s3://BUCKET/PREFIX."""
        self.folder = store.folder(folder)
        self.lock: Lock | None = None  # held by the command that runs the study
        # Ids of all cells that were ever started, and whether they are accepted. Known as long as
        # this command has the lock, because nobody else starts or accepts cells then.
        self._accepted: dict[str, bool] | None = None
        # Small files that never change once they exist are read once.
        self._cached: dict[tuple[str, str], Any] = {}

    def study(self) -> dict[str, Any]:
        """The resolved definition, its claims and the environment (study.json).

        Raises:
            ValueError: the file is damaged, or has another format; one line.
        """
        path = self.folder / "study.json"
        value: dict[str, Any] = read_json(path)
        whole = isinstance(value, dict) and "definition" in value  # not whole: damaged, not older
        if whole and (found := value.get("format", 1)) not in READABLE:
            raise ValueError(
                f"{path} has format {found!r} and this version reads formats "
                f"{' and '.join(map(str, READABLE))}: "
                "read it with the version that wrote it, or run the study anew with --fresh"
            )
        return value

    def cell_folder(self, cell_id: str) -> Path:
        return self.folder / "cells" / cell_id

    def ids(self) -> list[str]:
        """Ids of all cells that were ever started, accepted or not."""
        if self.lock is None:
            return sorted(store.find(self.folder / "cells", "cell.json")["cell.json"])
        return sorted(self._index())

    def _index(self) -> dict[str, bool]:
        """See `self._accepted`. The folder is listed once."""
        if self._accepted is None:
            found = store.find(self.folder / "cells", "cell.json", "result.json")
            self._accepted = {cell: cell in found["result.json"] for cell in found["cell.json"]}
        return self._accepted

    def cell(self, cell_id: str) -> dict[str, Any]:
        """What defines a cell: condition, phase, number, hyperparameters, seed."""
        value: dict[str, Any] = self._read_once(cell_id, "cell.json")
        return value

    def rows(self, cell_id: str) -> list[Row]:
        """The metric rows of a cell, one per tick."""
        return self.sealed_rows(cell_id)[0]

    def sealed_rows(self, cell_id: str) -> tuple[list[Row], str | None]:
        """The metric rows of a cell, and the SHA-256 of their file; None: there is no file yet."""
        path, seal = self.cell_folder(cell_id) / "ticks.json", self._seal(cell_id)
        try:
            return read_sealed(path, seal)
        except FileNotFoundError:
            result = self.result(cell_id)
            if result and result["outcome"] not in FAILED:
                raise DamagedError(f"{path} is lost") from None
            return [], None
        except DamagedError:
            # Another command may have run the cell again since its result was read here.
            if self.lock is None:
                self._cached.pop((cell_id, "result.json"), None)
            if self._seal(cell_id) == seal:
                raise
            return self.sealed_rows(cell_id)

    def _seal(self, cell_id: str) -> str | None:
        """The digest that a cell's rows must have; None: it is not accepted, or by older code."""
        seal: str | None = (self.result(cell_id) or {}).get(TICKS_SEAL)
        return seal

    def attempts(self, cell_id: str) -> list[Row]:
        """Every start of a cell, with the crash that ended it.

        Keys: started (ISO time), run (index into study.json's runs), error (a traceback, or None).
        """
        try:
            value: list[Row] = read_json(self.cell_folder(cell_id) / "attempts.json")
        except FileNotFoundError:
            return []
        return value

    def result(self, cell_id: str) -> dict[str, Any] | None:
        """How an accepted cell ended; None if the cell is not accepted."""
        if self.lock and not self._index().get(cell_id):
            return None
        known = self.lock or (cell_id, "result.json") in self._cached
        if known or (self.cell_folder(cell_id) / "result.json").exists():
            value: dict[str, Any] = self._read_once(cell_id, "result.json")
            return value
        return None

    def _read_once(self, cell_id: str, name: str) -> Any:
        if (cell_id, name) not in self._cached:
            self._cached[cell_id, name] = read_json(self.cell_folder(cell_id) / name)
        return self._cached[cell_id, name]

    def quarantine_damaged(self) -> list[str]:
        """Rename damaged files, so that their cells run again. Returns one line for each such cell.

        Call this before anything runs. All writes are atomic, so a torn file is a fault of the file
        system. Files that a killed command left behind are deleted.
        """
        lines = []
        self._cached.clear()  # another command may have run cells again since they were read
        for cell_id, names in store.tree(self.folder / "cells").items():
            folder = self.cell_folder(cell_id)
            files = [folder / name for name in names]
            for path in [path for path in files if fnmatch(path.name, ".*.*")]:
                path.unlink(missing_ok=True)  # half-written by a killed command
            # In alphabetical order: the ticks come after the result, by which they are checked.
            own = [path for path in files if path.parent == folder and path.suffix == ".json"]
            damaged = [path for path in own if not self._is_whole(path)]
            accepted = folder / "result.json" in own
            outcome = self._cached.get((cell_id, "result.json"), {}).get("outcome")
            if accepted and outcome not in FAILED:  # a killed `retry` leaves a failed cell so
                damaged += [folder / n for n in ("cell.json", "ticks.json") if n not in names]
            if damaged and accepted:
                # The cell was accepted because of the files that are damaged now, so its result
                # goes with them.
                damaged.append(folder / "result.json")
            for path in dict.fromkeys(damaged):
                if path in own:  # not lost
                    path.rename(path.with_suffix(".damaged"))
                self._cached.pop((cell_id, path.name), None)
            if damaged:
                listed = ", ".join(dict.fromkeys(path.name for path in damaged))
                lines.append(f"{folder}: damaged, so this cell runs again: {listed}")
            elif accepted:
                for path in [path for path in files if path.parent == folder / "checkpoints"]:
                    path.unlink(missing_ok=True)  # a killed command left them
        self._accepted = None
        return lines

    def retry(self, cell_id: str) -> None:
        """Let a cell that failed run again, from its beginning. What it left is kept, renamed."""
        self.check_lock()
        folder = self.cell_folder(cell_id)
        names = store.names(folder)
        end = f".{sum(fnmatch(name, 'result.*.failed') for name in names) + 1}.failed"
        left = [folder / name for name in ("attempts.json", "ticks.json") if name in names]
        left += [folder / "samples" / name for name in store.names(folder / "samples")]
        # The result comes last, because until then the cell has failed.
        for path in [*left, folder / "result.json"]:
            if path.suffix != ".failed":
                path.rename(path.with_suffix(end))
        self._cached.pop((cell_id, "result.json"), None)
        if self._accepted is not None:
            self._accepted[cell_id] = False

    def begin(self, cell: dict[str, Any], start: Row) -> None:
        """Record a start of a cell as `attempts` lists it, and at the first one the cell itself."""
        self.check_lock()
        folder, starts = self.cell_folder(cell["id"]), self.attempts(cell["id"])
        if not starts or not (folder / "cell.json").exists():
            write_json(folder / "cell.json", cell, lasting=False)  # the next file makes it last
        write_json(folder / "attempts.json", [*starts, start])
        if self._accepted is not None:
            self._accepted.setdefault(cell["id"], False)

    def _is_whole(self, path: Path) -> bool:
        try:
            of = self._cached.get((path.parent.name, "result.json"), {})
            value, _ = read_sealed(path, of.get(TICKS_SEAL) if path.name == "ticks.json" else None)
        except ValueError:
            return False
        if path.name in ("cell.json", "result.json"):
            self._cached[path.parent.name, path.name] = value
        return True

    def accept(self, cell_id: str, result: dict[str, Any]) -> None:
        """Write a cell's result, its last file. The cell never changes again, but see `retry`."""
        self.check_lock()
        if self.result(cell_id):
            raise FileExistsError(f"cell {cell_id} is already accepted")
        write_json(self.cell_folder(cell_id) / "result.json", result)
        if self._accepted is not None:
            self._accepted[cell_id] = True

    def check_lock(self) -> None:
        """Make sure that this command still has the folder. Call this before writing.

        Raises:
            LockedError: another command has taken the folder in the meantime.
        """
        if self.lock:
            self.lock.check()

    def cells(self) -> pd.DataFrame:
        """One row per accepted cell.

        Columns: id, condition, phase, number and search (of search cells), seed, outcome, seconds,
        attempts, is_reference, is_best (the configuration confirmed as the best of its search),
        kimg, best_kimg, condition/<factor>, hp/<name>, last/<metric>, best/<metric> (at the tick
        with the best objective).
        """
        return self.tables()[0]

    def confirmed(self) -> pd.DataFrame:
        """The complete confirm cells of `cells` that have a last objective, the best one first."""
        objective, direction = self.objective()
        cells, last = self.cells(), f"last/{objective}"
        if last not in cells.columns:
            return cells.iloc[:0]
        chosen = (
            cells["phase"].eq("confirm") & cells["outcome"].eq("complete") & cells[last].notna()
        )
        return cells[chosen].sort_values(last, ascending=direction == "minimize", kind="stable")

    def ticks(self) -> pd.DataFrame:
        """One row per accepted cell and tick: the cell's columns, kimg, and every metric."""
        return self.tables()[1]

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """`cells` and `ticks`. The rows of each cell are read once."""
        if self.lock is None:  # another command may have run cells again that failed
            self._cached = {key: own for key, own in self._cached.items() if key[1] == "cell.json"}
        results = {cell_id: end for cell_id in self.ids() if (end := self.result(cell_id))}
        rows = {cell_id: self.rows(cell_id) for cell_id in results}
        study, best, goal = self.study(), self.best(rows), self.objective()
        cells, ticks = list[Row](), list[Row]()
        for cell_id, own in rows.items():
            cell = self.cell(cell_id)
            first = head(cell, study, best)
            cells.append(first | summary(cell, results[cell_id], own, *goal))
            ticks += [first | row for row in own]
        flags = "is_reference is_best"
        of_cell = f"id condition phase number search seed outcome seconds attempts {flags}"
        of_tick = f"id condition phase seed {flags} kimg"
        return frame(cells, f"{of_cell} kimg best_kimg"), frame(ticks, of_tick)

    def objective(self) -> tuple[str, Direction]:
        """The column that searches optimize, and which of its values are better."""
        definition = self.study()["definition"]
        return definition["objective"], definition["directions"][definition["objective"]]

    def best(
        self, rows: Mapping[str, list[Row]] | None = None
    ) -> dict[tuple[str, int], dict[str, Any]]:
        """Hyperparameters of the complete cell with the best last objective of each search.

        The keys are the search's condition and its number among the searches of the condition. Of
        equal cells the one with the lowest number is the best, whichever ended first.

        Args:
            rows: of all accepted cells, by id; None: they are read.
        """
        objective, direction = self.objective()
        best: dict[tuple[str, int], tuple[float, int, dict[str, Any]]] = {}
        for cell_id in self.ids() if rows is None else rows:
            cell, result = self.cell(cell_id), self.result(cell_id)
            if cell["phase"] == "search" and result and result["outcome"] == "complete":
                own = self.rows(cell_id) if rows is None else rows[cell_id]
                value = cost(own[-1][objective], direction)
                search = cell["condition_name"], cell["search"]
                if search not in best or (value, cell["number"]) < best[search][:2]:
                    best[search] = value, cell["number"], cell["hyperparameters"]
        return {search: values for search, (*_, values) in best.items()}
