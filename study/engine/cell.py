"""Run one cell: train to the next tick, evaluate, record the row, write a checkpoint.

This module does not use Ray.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

import trainables
from study.engine import sample_grids
from study.engine.shared_state import Shared
from study.metrics.core import catalog
from study.metrics.core.inception import Inception
from study.metrics.core.judge import Judge
from study.metrics.core.reference import Reference
from study.metrics.core.view import data_spec_of, look
from study.planning.cells import Cell
from study.records import lock, store
from study.records.files import write_atomically, write_json
from study.records.records import Records, Row
from study.records.tensors import load_tensors, save_tensors
from trainables.core.gan import Gan
from trainables.core.loop import Loop, StoppedError, never

EVALUATION_SEED = 20_000_003  # for latents and labels of evaluations, alike in all cells and ticks
STATE = ("rows", "trained", "training", "ticked", "seconds")  # attributes in a checkpoint
# A worker may outlive its driver. Another worker waits so many seconds for the cell's folder.
ORPHAN_SECONDS = 60


class CellRun:
    """One cell, continued from its newest undamaged checkpoint or begun from the start.

    A checkpoint holds the rows, the RNG states and everything else that the next step depends on.
    So a cell that was killed and continued ends like a cell that ran without interruption.
    """

    def __init__(
        self,
        cell: Cell,
        shared: Shared,
        device: torch.device,
        judges: Sequence[Judge],
        stop: Callable[[], bool] = never,
    ) -> None:
        """Take the cell's folder, and hold it until `close`.

        Args:
            stop: asked before each training step. When it returns True, training writes a
                checkpoint and raises StoppedError.

        Raises:
            LockedError: another process has the folder, and kept it for `ORPHAN_SECONDS`.
        """
        self.cell, self.shared, self.device, self.judges = cell, shared, device, judges
        self.stop = stop
        self.folder = Records(shared.folder).cell_folder(cell.id)
        # A worker may live on for a while after its driver is killed, and two workers must never
        # write to one folder.
        self._lock = lock.take(self.folder, ORPHAN_SECONDS)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        cell, shared, device = self.cell, self.shared, self.device
        self.marks = shared.ticks[cell.phase]
        states = shared.references[shared.reference_name(cell)]
        self.references = [Reference.from_state(dict(state)) for state in states]
        self.reference = self.references[0]  # of the same images as the others
        torch.manual_seed(cell.seed)
        variant = trainables.load(cell.variant)
        spec = data_spec_of(self.judges[0], self.reference)
        self.gan: Gan = variant(
            variant.config_type.parse(cell.hyperparameters), spec, device, shared.bf16
        )
        self.loop = Loop(self.gan, *self._images(), cell.seed)
        self.rows: list[Row] = []
        self.trained: Row | None = None  # losses of a tick that is trained but not yet measured
        self.training = 0.0  # seconds of training since the last tick
        self.ticked = 0  # images seen at the last tick
        self.seconds = 0.0  # of the whole cell, evaluations included
        self._restore()

    def close(self) -> None:
        """Release the cell's folder, so that another process can take it."""
        self._lock.release()

    def _images(self) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.shared.x, self.shared.y
        if y.ndim == 1 and not (keep := y < self.reference.classes).all():
            x, y = x[keep], y[keep]
        with warnings.catch_warnings():  # Ray's arrays are read-only; nothing here writes to them
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(x).to(self.device), torch.from_numpy(y).to(self.device)

    @property
    def finished(self) -> bool:
        return len(self.rows) == len(self.marks)

    def advance(self) -> Row:
        """Train to the next tick, evaluate and record it.

        Raises:
            FloatingPointError: a loss or a metric is not finite; the rows so far are kept.
            StoppedError: `stop` returned True; the progress is in a checkpoint.
            LockedError: another process has taken the folder in the meantime.
        """
        mark, start = self.marks[len(self.rows)], time.monotonic()
        due = self._due(mark)
        if self.trained is None:
            self.trained = self._train(mark)
            # Some metrics are slow: a process that ends while they run loses no training.
            if any(map(catalog.at_end, due)):
                self._checkpoint()
        self.gan.standing_statistics(self.loop.y, EVALUATION_SEED)
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
        before = self.rows[-1]["training_seconds"] if self.rows else 0.0
        row["training_seconds"] = before + self.training
        if self.loop.seen > self.ticked:
            row["images_per_second"] = (self.loop.seen - self.ticked) / self.training
        return row

    def _due(self, mark: int) -> list[str]:
        """Names of the metrics to measure at the tick at `mark` kimg.

        Slow metrics are measured in confirm cells only: on a GPU at every tick, on a CPU at the
        last tick.
        """
        end = mark == self.marks[-1] or self.device.type == "cuda"
        slow = end and self.cell.phase == "confirm"
        wanted = catalog.suited(self.shared.metrics, type(self.gan), self.gan.data_spec)
        return [name for name in wanted if slow or not catalog.at_end(name)]

    def _measure(self, due: list[str]) -> dict[str, float]:
        inception = None
        if "fid" in due:
            state = self.shared.inceptions[self.shared.reference_name(self.cell)]
            inception = Inception.from_state(dict(state), self.device)
        rng = torch.Generator().manual_seed(EVALUATION_SEED)
        train = self.loop.x, self.loop.y
        views = look(self.gan, self.references, self.judges, rng, inception, train)
        return catalog.measure(views, due)

    def _save(self) -> None:
        self._lock.check()
        mark = self.rows[-1]["kimg"]
        rng = torch.Generator().manual_seed(EVALUATION_SEED)
        drawn = sample_grids.draw(self.gan, self.reference, rng)
        write_atomically(self.folder / "samples" / f"{mark:06d}.png", drawn)
        # Save G before the checkpoint that marks the cell as finished. Otherwise a kill between the
        # two would leave a finished cell without its generator.
        if self.finished:
            save_tensors(self.folder / "generator.pt", self.gan.G_ema.state_dict())
        self._checkpoint()
        self._lock.check()
        self._write_rows()

    def _write_rows(self) -> None:
        # The checkpoint has them, too. The result, written into this folder, makes them last.
        write_json(self.folder / "ticks.json", self.rows, lasting=False)

    def _checkpoint(self) -> None:
        """Write everything that the cell needs to continue. The last two checkpoints are kept."""
        self._lock.check()
        state = {name: getattr(self, name) for name in STATE}
        state |= {"judges_digest": self._judges_digest, "loop": self.loop.checkpoint()}
        # The name counts the batches drawn, because a cell may stop in the middle of a tick, or
        # during pretraining, where no image counts as seen.
        save_tensors(self.folder / "checkpoints" / f"{self.loop.batches:09d}.pt", state)
        for old in checkpoints(self.folder)[:-2]:
            old.unlink()

    @property
    def _judges_digest(self) -> str:
        return self.shared.judges_digest[self.shared.reference_name(self.cell)]

    def _restore(self) -> None:
        for path in reversed(checkpoints(self.folder)):
            state = load_tensors(path)
            if state is not None and state["judges_digest"] == self._judges_digest:
                for name in STATE:
                    setattr(self, name, state[name])
                self.loop.restore(state["loop"])
                break
            # Set aside a checkpoint that is damaged or was measured by other judges. Otherwise it
            # would count as the newest, and checkpoints written next would be deleted as older.
            path.rename(path.with_suffix(".damaged"))
        self._write_rows()


def checkpoints(folder: Path) -> list[Path]:
    """A cell's checkpoints, oldest first."""
    place = folder / "checkpoints"
    return [place / name for name in store.names(place) if name.endswith(".pt")]
