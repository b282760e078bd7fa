"""The study's folder: the truth of which Optuna's state, MLflow and the report are views."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import store

if TYPE_CHECKING:
    import pandas as pd

    from study.lock import Lock

Row = dict[str, Any]

# Of a row: what two runs of one cell do not share. `seconds` and `training_seconds` are from the
# cell's start on, the former with what measuring took.
CLOCK = ("seconds", "training_seconds", "images_per_second")


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name, flush, rename: a reader sees the old file or the new, whole.
    In an object store that is what one request does.

    When it returns, the new file outlives a power cut.

    Raises:
        OSError: the disk is full, or the like; it names the file.
    """
    if not store.is_local(path):
        try:
            return store.put(path, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    _make(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)  # mkstemp's 0600 would hide a report on a shared folder
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        _flush(path.parent)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush(folder.parent)


def _flush(folder: Path) -> None:
    """Until then a file's name, or a new folder's, may be lost with the power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically. Non-finite numbers are refused, never written."""
    text = json.dumps(value, indent=1, allow_nan=False, sort_keys=True)
    write_atomically(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        ValueError: the file is not whole (the message names it).
    """
    try:
        return json.loads(store.read(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def study_folder(storage: Path, name: str, fresh: bool = False) -> Path:
    """The newest of NAME, NAME.2, NAME.3, ...; with `fresh` the one after it."""
    taken = [storage / name]
    while taken[-1].exists():
        taken.append(storage / f"{name}.{len(taken) + 1}")
    return taken[-1] if fresh or len(taken) == 1 else taken[-2]


class Records:
    """Reads and writes one study's folder.

    ```
    records = Records(Path("runs/acgan_kmnist_classes"))
    cells, ticks = records.cells(), records.ticks()
    ```
    """

    def __init__(self, folder: Path | str) -> None:
        """
        Args:
            folder: on a disk, or s3://BUCKET/PREFIX.
        """
        self.folder = store.folder(folder)
        self.lock: Lock | None = None  # of the command that runs the study
        # What never changes once it is there is read once: studies have thousands of cells.
        self._read: dict[tuple[str, str], Any] = {}

    def study(self) -> dict[str, Any]:
        """The resolved definition, its claims and the environment (study.json)."""
        value: dict[str, Any] = read_json(self.folder / "study.json")
        return value

    def cell_folder(self, cell_id: str) -> Path:
        return self.folder / "cells" / cell_id

    def ids(self) -> list[str]:
        """Ids of all cells that were ever started, accepted or not."""
        return sorted(path.parent.name for path in store.find(self.folder / "cells", "cell.json"))

    def cell(self, cell_id: str) -> dict[str, Any]:
        """What defines a cell: condition, phase, number, hyperparameters, seed."""
        value: dict[str, Any] = self._once(cell_id, "cell.json")
        return value

    def rows(self, cell_id: str) -> list[Row]:
        """The metric rows of a cell, one per tick."""
        path = self.cell_folder(cell_id) / "ticks.json"
        known = (cell_id, "ticks.json") in self._read
        if not known and not path.exists():  # it crashed before its first tick
            return []
        if self.result(cell_id):
            value: list[Row] = self._once(cell_id, "ticks.json")
            return value
        rows: list[Row] = read_json(path)
        return rows

    def attempts(self, cell_id: str) -> list[Row]:
        """Every start of a cell: when, by which of study.json's runs, and the crash that ended it.

        Keys: started (ISO time), run, error (a traceback, or None).
        """
        path = self.cell_folder(cell_id) / "attempts.json"
        value: list[Row] = read_json(path) if path.exists() else []
        return value

    def result(self, cell_id: str) -> dict[str, Any] | None:
        """How an accepted cell ended; None while it has not."""
        known = (cell_id, "result.json") in self._read
        if known or (self.cell_folder(cell_id) / "result.json").exists():
            value: dict[str, Any] = self._once(cell_id, "result.json")
            return value
        return None

    def _once(self, cell_id: str, name: str) -> Any:
        if (cell_id, name) not in self._read:
            self._read[cell_id, name] = read_json(self.cell_folder(cell_id) / name)
        return self._read[cell_id, name]

    def mend(self) -> list[str]:
        """Set damaged files aside, so that their cells run again; one line for each.

        Called before anything is run. Our own writes are atomic: a torn file is the file system's.
        What a killed command left half-done is cleared away.
        """
        lines = []
        for folder in sorted(self.folder.glob("cells/*/")):
            for path in folder.glob("**/.*.*"):  # half-written, by one that was killed
                path.unlink()
            damaged = [path for path in sorted(folder.glob("*.json")) if not _is_whole(path)]
            if damaged and (folder / "result.json").exists():
                damaged.append(folder / "result.json")  # accepted on the word of what is lost
            for path in dict.fromkeys(damaged):
                path.rename(path.with_suffix(".damaged"))
            if damaged:
                names = ", ".join(dict.fromkeys(path.name for path in damaged))
                lines.append(f"{folder}: damaged, so this cell runs again: {names}")
            if (folder / "result.json").exists():
                for path in folder.glob("checkpoints/*"):  # it was killed on the way
                    path.unlink()
        return lines

    def accept(self, cell_id: str, result: dict[str, Any]) -> None:
        """Write a cell's result, its last file: from now on it is never run or changed again."""
        self.check_lock()
        path = self.cell_folder(cell_id) / "result.json"
        if path.exists():
            raise FileExistsError(f"cell {cell_id} is already accepted")
        write_json(path, result)

    def check_lock(self) -> None:
        """Ask before writing.

        Raises:
            LockedError: another command has taken the folder meanwhile.
        """
        if self.lock:
            self.lock.check()

    def cells(self) -> pd.DataFrame:
        """One row per accepted cell.

        Columns: id, condition, phase, number, seed, outcome, seconds, attempts, is_reference,
        is_best (the configuration confirmed as its condition's best), kimg, best_kimg,
        condition/<factor>, hp/<name>, last/<metric>, best/<metric> (at the tick with the best
        objective).
        """
        import pandas as pd

        objective = self.study()["definition"]["objective"]
        rows = [head | self._summary(head["id"], objective) for head in self._heads()]
        columns = ["id", "condition", "phase", "number", "seed", "outcome", "seconds", "attempts"]
        columns += ["is_reference", "is_best", "kimg", "best_kimg"]
        frame = pd.DataFrame(rows)
        return frame.reindex(columns=[*columns, *(c for c in frame.columns if c not in columns)])

    def confirmed(self) -> pd.DataFrame:
        """Of `cells` the complete confirm cells that have an objective, the best last one first."""
        cells, last = self.cells(), f"last/{self.study()['definition']['objective']}"
        if last not in cells.columns:
            return cells.iloc[:0]
        chosen = (
            cells["phase"].eq("confirm") & cells["outcome"].eq("complete") & cells[last].notna()
        )
        return cells[chosen].sort_values(last, kind="stable")

    def ticks(self) -> pd.DataFrame:
        """One row per accepted cell and tick: the cell's columns, kimg, and every metric."""
        import pandas as pd

        rows = [head | row for head in self._heads() for row in self.rows(head["id"])]
        columns = ["id", "condition", "phase", "seed", "is_reference", "is_best", "kimg"]
        frame = pd.DataFrame(rows)
        return frame.reindex(columns=[*columns, *(c for c in frame.columns if c not in columns)])

    def best(self) -> dict[str, dict[str, Any]]:
        """Per condition the hyperparameters of its best finished search cell, by the last tick."""
        objective = self.study()["definition"]["objective"]
        best: dict[str, tuple[float, dict[str, Any]]] = {}
        for cell_id in self.ids():
            cell, result, rows = self.cell(cell_id), self.result(cell_id), self.rows(cell_id)
            if cell["phase"] == "search" and result and result["outcome"] == "complete":
                value, name = rows[-1][objective], cell["condition_name"]
                if name not in best or value < best[name][0]:
                    best[name] = value, cell["hyperparameters"]
        return {name: values for name, (_, values) in best.items()}

    def _heads(self) -> list[Row]:
        reference, best = self.study()["reference"], self.best()
        heads = []
        for cell_id in self.ids():
            cell = self.cell(cell_id)
            name, values = cell["condition_name"], cell["hyperparameters"]
            if self.result(cell_id):
                head = {"id": cell_id, "condition": name, "phase": cell["phase"]}
                head |= {"seed": cell["seed"], "is_reference": values == reference[name]}
                heads.append(head | {"is_best": values == best.get(name)})
        return heads

    def _summary(self, cell_id: str, objective: str) -> Row:
        cell, result, rows = self.cell(cell_id), self.result(cell_id), self.rows(cell_id)
        assert result is not None
        summary: Row = {"number": cell["number"]}
        summary |= {key: result[key] for key in ("outcome", "seconds", "attempts")}
        summary |= {f"condition/{k}": v for k, v in cell["condition"].items()}
        summary |= {f"hp/{k}": v for k, v in cell["hyperparameters"].items()}
        if rows:
            best = best_row(rows, objective)
            summary |= {"kimg": rows[-1]["kimg"], "best_kimg": best["kimg"]}
            for prefix, row in (("last", rows[-1]), ("best", best)):
                summary |= {f"{prefix}/{k}": v for k, v in row.items() if k != "kimg"}
        return summary


def _is_whole(path: Path) -> bool:
    try:
        read_json(path)
    except ValueError:
        return False
    return True


def best_row(rows: list[Row], objective: str) -> Row:
    """The row with the lowest objective; the first one where it was never measured."""
    return min(rows, key=lambda row: row.get(objective, math.inf))
