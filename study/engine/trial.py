"""The only Ray Tune Trainable: it runs cells in a Ray actor."""

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

from study.engine.cell import CellRun
from study.engine.shared_state import Shared
from study.metrics.core.judge import Judge
from study.planning import sources
from study.planning.cells import Cell
from study.records import store
from study.records.lock import LockedError
from study.records.records import Row
from trainables.core.loop import StoppedError

# Error numbers that mean that the storage of the records failed. The cell is not to blame then.
STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


class StopFile:
    """Whether the driver wants all cells to stop.

    The driver creates a file in the study's folder, where workers on every node can see it.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._asked, self._there = folder / ".stop", -1.0, False
        self._pause = 0.25 if store.is_local(folder) else 2.0  # seconds; a store is asked by HTTP

    def __call__(self) -> bool:
        now = time.monotonic()
        # Look seldom: this method is called before every training step.
        if now - self._asked > self._pause:
            self._asked, self._there = now, self.path.exists()
        return self._there


def prepare_process(cpus: int, gpus: float) -> torch.device:
    """Make this process compute as a trial does. Returns the device to compute on.

    A cell's numbers depend on the number of threads.

    Args:
        cpus: the number of threads.
        gpus: the number of GPUs, or a share of one; 0 for the CPU.
    """
    torch.set_num_threads(max(1, cpus))
    threadpool_limits(max(1, cpus))  # of numpy's BLAS, which computes Frechet distances
    torch.set_flush_denormal(True)  # saturated networks are slow with denormals
    if not gpus:
        return torch.device("cpu")
    torch.cuda.set_per_process_memory_fraction(min(1.0, gpus))
    # Make the same seed give the same numbers. Otherwise cuDNN and atomic additions sum in an order
    # that varies.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Otherwise torch would fill all memory that it allocates with a value, which takes time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device("cuda", 0)


class StudyTrial(tune.Trainable):
    """Runs one cell, tick by tick. The actor is then reused for the next cell.

    Ray's own checkpoints are not used. The cell's folder holds the checkpoints, so that a retry, a
    reset of the actor and a new run of the command all continue in the same way.
    """

    def setup(self, config: dict[str, Any], shared: Shared | None = None) -> None:
        assert shared is not None
        self.shared = shared
        for source in shared.sources:
            sources.load(source)
        assert self.trial_resources is not None
        resources = self.trial_resources.required_resources
        # Choose the device by the trial's resources, not by the GPUs that are visible: Ray lets a
        # trial without a share of a GPU see every GPU.
        self.device = prepare_process(int(resources.get("CPU", 1)), resources.get("GPU", 0.0))
        self.judges = [Judge.from_state(dict(state), self.device) for state in shared.judges]
        self.stop_file = StopFile(shared.folder)
        self.run: CellRun | None = None
        self._start(config)
        gc.freeze()  # what there is now stays, and looking at all of it takes a tenth of a second

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        self.cleanup()
        gc.collect()  # free the last cell's networks before the next are built
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.cell = Cell.from_json(config["cell"])

    def step(self) -> dict[str, Any]:
        """Run one tick. Returns its kimg and its objective; everything else is on record.

        How a cell ended is returned, never raised. The result of a cell that is done has an
        "outcome", unless the cell was stopped or could not write its records.
        """
        end = self._step()
        if end.get("done"):
            self.cleanup()  # release the folder before the driver hears of the end
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
        except LockedError as error:  # another process had the folder, or took it
            end = {"storage": str(error)} if self.run else {"outcome": "died"}
            return {"done": True} | end
        except Exception as error:  # a variant's bug: the driver may retry; other cells go on
            if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
                return {"done": True, "storage": str(error)}
            if "DefaultCPUAllocator" in str(error):  # torch has no exception class for this
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
            # Report the last tick of a continued cell again: the driver may not have judged it.
            if self.run.rows:
                return self.run.rows[-1]
        return self.run.advance()

    def cleanup(self) -> None:
        if self.run is not None:
            self.run.close()
        self.run = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: `CellRun` writes its own checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: `CellRun` finds its own checkpoints."""
