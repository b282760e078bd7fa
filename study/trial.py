"""The one Trainable: a cell in a Ray actor."""

from __future__ import annotations

import errno
import gc
import os
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from ray import tune
from threadpoolctl import threadpool_limits

from study import store
from study.cell import CellRun, Shared
from study.lock import LockedError
from study.metrics.judge import Judges
from study.plan import Cell
from study.records import Row
from trainables.core.loop import StoppedError

# The records' place fails, not the cell: nothing is to be held against it.
STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


class StopFile:
    """Whether the driver wants all cells to stop: a file that workers on every node can see."""

    def __init__(self, folder: Path) -> None:
        self.path, self._asked, self._there = folder / ".stop", -1.0, False
        self._pause = 0.25 if store.is_local(folder) else 2.0  # seconds; a store is asked by HTTP

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._asked > self._pause:  # it is asked before every training step
            self._asked, self._there = now, self.path.exists()
        return self._there


def prepare_process(cpus: int, gpus: float) -> torch.device:
    """Make this process compute as a trial does: its numbers depend on the threads."""
    torch.set_num_threads(max(1, cpus))
    threadpool_limits(max(1, cpus))  # numpy's BLAS, which Frechet distances rest on
    torch.set_flush_denormal(True)  # saturated networks are slow with denormals
    if not gpus:
        return torch.device("cpu")
    torch.cuda.set_per_process_memory_fraction(min(1.0, gpus))
    # Same seed, same numbers: else cuDNN and atomic additions sum in an order of their own.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else torch fills all memory that it is given, which takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda", 0)


class StudyTrial(tune.Trainable):
    """Runs one cell, tick by tick; reused for the next one.

    Ray's own checkpoints are not used: the cell's folder holds them, so that a retry, a reset
    and a new run of the command all continue in the same way.
    """

    def setup(self, config: dict[str, Any], shared: Shared | None = None) -> None:
        assert shared is not None
        self.shared = shared
        assert self.trial_resources is not None
        resources = self.trial_resources.required_resources
        # From the trial's resources: Ray lets a trial without a share see every GPU.
        self.device = prepare_process(int(resources.get("CPU", 1)), resources.get("GPU", 0.0))
        self.judges = Judges.from_state(dict(shared.judges), self.device)
        self.stop_file = StopFile(shared.folder)
        self.run: CellRun | None = None
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        self.cleanup()
        gc.collect()  # the last cell's networks go before the next one's come
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.cell = Cell.from_json(config["cell"])

    def step(self) -> dict[str, Any]:
        """One tick: its kimg and objective; the rest is on record.

        How a cell ended is data, never an exception: "outcome" is there when it is done. A cell
        that was stopped, or could not write, has none.
        """
        end = self._step()
        if end.get("done"):
            self.cleanup()  # its folder is free before the driver hears of the end
        return end

    def _step(self) -> dict[str, Any]:
        try:
            row = self._tick()
        except StoppedError:
            return {"done": True}
        except FloatingPointError as error:
            return {"done": True, "outcome": "diverged", "error": str(error)}
        except (torch.OutOfMemoryError, MemoryError) as error:
            line = str(error) or type(error).__name__
            return {"done": True, "outcome": "out_of_memory", "error": line}
        except LockedError as error:  # another process has the cell's folder, or took it
            end = {"storage": str(error)} if self.run else {"outcome": "died"}
            return {"done": True} | end
        except Exception as error:  # a bug in a variant: the driver may try again, others go on
            if isinstance(error, OSError) and error.errno in STORAGE:
                return {"done": True, "storage": str(error)}
            if "DefaultCPUAllocator" in str(error):  # torch has no class of its own for it
                return {"done": True, "outcome": "out_of_memory", "error": str(error)}
            return {"done": True, "outcome": "failed", "error": traceback.format_exc()}
        assert self.run is not None
        result = {"kimg": row["kimg"], "objective": row[self.shared.objective]}
        done = self.run.finished
        return result | ({"done": True, "outcome": "complete"} if done else {"done": False})

    def _tick(self) -> Row:
        if self.stop_file():
            raise StoppedError
        if self.run is None:
            self.run = CellRun(self.cell, self.shared, self.device, self.judges, self.stop_file)
            if self.run.rows:  # continued: the driver may not have judged its last tick yet
                return self.run.rows[-1]
        return self.run.advance()

    def cleanup(self) -> None:
        if self.run is not None:
            self.run.close()
        self.run = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: `CellRun` keeps its own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: `CellRun` finds its own."""
