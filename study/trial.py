"""The one Trainable: a cell in a Ray actor."""

from __future__ import annotations

import gc
import traceback
from typing import Any

import torch
from ray import tune

from study.cell import CellRun, Shared
from study.metrics.judge import Judges
from study.plan import Cell


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
        torch.set_num_threads(max(1, int(resources.get("CPU", 1))))
        torch.set_flush_denormal(True)  # saturated networks are slow with denormals
        self.device = torch.device("cpu")
        if share := resources.get("GPU", 0.0):
            # From the trial's resources: Ray lets a trial without a share see every GPU.
            self.device = torch.device("cuda", 0)
            torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        self.judges = Judges.from_state(dict(shared.judges), self.device)
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        self.run: CellRun | None = None
        gc.collect()  # the last cell's networks go before the next one's come
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.cell = Cell.from_json(config["cell"])

    def step(self) -> dict[str, Any]:
        """One tick: its kimg and objective; the rest is on record.

        How a cell ended is data, never an exception: "outcome" is there when it is done.
        """
        try:
            if self.run is None:
                self.run = CellRun(self.cell, self.shared, self.device, self.judges)
            row = self.run.rows[-1] if self.run.finished else self.run.advance()
        except FloatingPointError as error:
            return {"done": True, "outcome": "diverged", "error": str(error)}
        except (torch.OutOfMemoryError, MemoryError) as error:
            return {"done": True, "outcome": "out_of_memory", "error": str(error)}
        except Exception as error:  # a bug in a variant: the driver may try again, others go on
            if "DefaultCPUAllocator" in str(error):  # torch has no class of its own for it
                return {"done": True, "outcome": "out_of_memory", "error": str(error)}
            return {"done": True, "outcome": "failed", "error": traceback.format_exc()}
        result = {"kimg": row["kimg"], "objective": row[self.shared.objective]}
        done = self.run.finished
        return result | ({"done": True, "outcome": "complete"} if done else {"done": False})

    def cleanup(self) -> None:
        self.run = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: `CellRun` keeps its own."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: `CellRun` finds its own."""
