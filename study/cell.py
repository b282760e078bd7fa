"""Run one cell: train to the next tick, evaluate, record, checkpoint. Knows nothing of Ray."""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

import trainables
from study import lock, metrics, pictures, store
from study.metrics.fid import Inception
from study.metrics.judge import Judges
from study.metrics.reference import Reference
from study.plan import Cell
from study.records import Records, Row, write_atomically, write_json
from trainables.core.gan import Gan
from trainables.core.loop import Loop, StoppedError, never
from trainables.data.base import Look

EVALUATION_SEED = 20_000_003  # latents and labels of evaluations: the same in every cell and tick
STATE = ("rows", "trained", "training", "ticked", "seconds")  # of a CellRun, in its checkpoints
ORPHANS = 60  # seconds that a worker may outlive its driver: another then waits for its cell


@dataclass(frozen=True)
class Shared:
    """What all cells of a study have in common, made once by the driver and shipped to workers."""

    folder: Path  # the study's
    x: NDArray[Any]  # uint8 [N, C, H, W], all classes of the data
    y: NDArray[Any]  # int64 [N]
    judges: Mapping[str, Any]  # Judges.state()
    references: Mapping[str, Mapping[str, Any]]  # task -> Reference.state(); see `task_of`
    measured_by: Mapping[str, str]  # task -> digest of judges and reference
    ticks: Mapping[str, list[int]]  # phase -> kimg of its evaluations
    metrics: tuple[str, ...]
    objective: str
    bf16: bool
    inceptions: Mapping[str, Mapping[str, Any]]  # likewise, where fid is among the metrics

    def task(self, cell: Cell) -> str:
        return task_of(cell.condition.get("classes", self.judges["classes"]))


def task_of(classes: int) -> str:
    """What cells of any condition are measured against: the first so many classes."""
    return f"classes={classes}"


def look_of(judges: Judges, reference: Reference) -> Look:
    """What the images look like that a condition's cells are trained on."""
    channels, *size = judges.shape
    paired = len(reference.pairs) > 0
    return Look(reference.classes, channels, (size[0], size[1]), judges.labels, paired)


class CellRun:
    """One cell from its newest whole checkpoint, or from the start.

    The rows, the RNGs and all that the next step depends on lie in the checkpoint, so a cell that
    was killed and continued ends like one that ran through.
    """

    def __init__(
        self,
        cell: Cell,
        shared: Shared,
        device: torch.device,
        judges: Judges,
        stop: Callable[[], bool] = never,
    ) -> None:
        """Takes the cell's folder until `close`.

        Args:
            stop: asked before each step; training then checkpoints and ends in StoppedError.

        Raises:
            LockedError: another process has the folder.
        """
        self.cell, self.shared, self.device, self.judges = cell, shared, device, judges
        self.stop = stop
        self.folder = Records(shared.folder).cell_folder(cell.id)
        # A worker may live on a little when its driver is killed: two must never write here.
        self._lock = lock.take(self.folder, ORPHANS)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        cell, shared, device = self.cell, self.shared, self.device
        self.marks = shared.ticks[cell.phase]
        self.reference = Reference.from_state(dict(shared.references[shared.task(cell)]))
        torch.manual_seed(cell.seed)
        variant = trainables.load(cell.variant)
        look = look_of(self.judges, self.reference)
        self.gan: Gan = variant(
            variant.config_type.parse(cell.hyperparameters), look, device, shared.bf16
        )
        self.loop = Loop(self.gan, *self._images(), cell.seed)
        self.rows: list[Row] = []
        self.trained: Row | None = None  # losses of a tick that is trained but not yet measured
        self.training = 0.0  # seconds, of the tick that is being trained
        self.ticked = 0  # images seen at the last tick
        self.seconds = 0.0  # of all ticks, measuring included
        self._restore()

    def close(self) -> None:
        """Let another process have the cell's folder."""
        self._lock.release()

    def _images(self) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.shared.x, self.shared.y
        if y.ndim == 1 and not (keep := y < self.reference.classes).all():
            x, y = x[keep], y[keep]
        with warnings.catch_warnings():  # Ray hands out read-only arrays; we never write to them
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(x).to(self.device), torch.from_numpy(y).to(self.device)

    @property
    def finished(self) -> bool:
        return len(self.rows) == len(self.marks)

    def advance(self) -> Row:
        """Train to the next tick, evaluate and record it.

        Raises:
            FloatingPointError: a loss or a metric is not finite; the rows so far are kept.
            StoppedError: `stop` said so; what was trained is in a checkpoint.
            LockedError: another process took the folder meanwhile.
        """
        mark, start = self.marks[len(self.rows)], time.monotonic()
        due = self._due(mark)
        if self.trained is None:
            self.trained = self._train(mark)
            if any(map(metrics.at_end, due)):  # slow: a stop meanwhile costs no training
                self._checkpoint()
        row: Row = {"kimg": mark} | self.trained | self._measure(due)
        self.seconds += time.monotonic() - start
        self.rows.append(row | {"seconds": self.seconds})
        self.trained, self.training, self.ticked = None, 0.0, self.loop.seen
        self._save()
        return self.rows[-1]

    def _train(self, mark: int) -> Row:
        start = time.monotonic()
        try:
            row: Row = dict(self.loop.run(mark * 1000, self.stop))
        except StoppedError:
            self.training += time.monotonic() - start
            self.seconds += time.monotonic() - start
            self._checkpoint()
            raise
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.training += time.monotonic() - start
        before = self.rows[-1].get("training_seconds") if self.rows else 0.0
        if before is not None:  # else the cell was begun before there was this column
            row["training_seconds"] = before + self.training
        if self.loop.seen > self.ticked:
            row["images_per_second"] = (self.loop.seen - self.ticked) / self.training
        return row

    def _due(self, mark: int) -> list[str]:
        """The metrics of this tick: slow ones at the end of confirm cells, on a GPU at each of
        their ticks."""
        end = mark == self.marks[-1] or self.device.type == "cuda"
        slow = end and self.cell.phase == "confirm"
        wanted = metrics.suited(self.shared.metrics, type(self.gan), self.gan.images)
        return [name for name in wanted if slow or not metrics.at_end(name)]

    def _measure(self, due: list[str]) -> dict[str, float]:
        inception = None
        if "fid" in due:
            state = self.shared.inceptions[self.shared.task(self.cell)]
            inception = Inception.from_state(dict(state), self.device)
        rng = torch.Generator().manual_seed(EVALUATION_SEED)
        train = self.loop.x, self.loop.y
        view = metrics.View.draw(self.gan, self.reference, self.judges, rng, inception, train)
        return metrics.measure(view, due)

    def _save(self) -> None:
        self._lock.check()
        mark = self.rows[-1]["kimg"]
        rng = torch.Generator().manual_seed(EVALUATION_SEED)
        drawn = pictures.draw(self.gan, self.reference, rng)
        write_atomically(self.folder / "samples" / f"{mark:06d}.png", drawn)
        if self.finished:  # before the checkpoint that says so: a kill in between must not lose it
            save_tensors(self.folder / "generator.pt", self.gan.G_ema.state_dict())
        self._checkpoint()
        self._lock.check()
        write_json(self.folder / "ticks.json", self.rows)

    def _checkpoint(self) -> None:
        """Write all that the cell goes on from; the last two are kept."""
        self._lock.check()
        state = {name: getattr(self, name) for name in STATE}
        state |= {"measured_by": self._measured_by, "loop": self.loop.checkpoint()}
        # Named by batches drawn: a stop in the middle of a tick has no kimg of its own.
        save_tensors(self.folder / "checkpoints" / f"{self.loop.batches:09d}.pt", state)
        for old in checkpoints(self.folder)[:-2]:
            old.unlink()

    @property
    def _measured_by(self) -> str:
        return self.shared.measured_by[self.shared.task(self.cell)]

    def _restore(self) -> None:
        for path in reversed(checkpoints(self.folder)):
            state = load_tensors(path)
            if state is not None and state["measured_by"] == self._measured_by:
                for name in STATE:
                    setattr(self, name, state[name])
                self.loop.restore(state["loop"])
                break
            # Else it would pass for the newest, and the next ones be deleted as older.
            path.rename(path.with_suffix(".damaged"))
        write_json(self.folder / "ticks.json", self.rows)


def checkpoints(folder: Path) -> list[Path]:
    """A cell's checkpoints, oldest first."""
    return sorted((folder / "checkpoints").glob("*.pt"))


def save_tensors(path: Path, value: Any) -> None:
    """Tensors and plain values, behind a SHA-256 of their bytes, atomically."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    payload = buffer.getvalue()
    write_atomically(path, hashlib.sha256(payload).digest() + payload)


def load_tensors(path: Path) -> Any | None:
    """What `save_tensors` wrote; None where the file is torn or altered."""
    content = store.read(path)
    digest, payload = content[:32], content[32:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
