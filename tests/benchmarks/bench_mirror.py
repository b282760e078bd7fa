"""What the MLflow mirror costs the driver for each cell, beside logging each row as it comes.

    python -m tests.benchmarks.bench_mirror [--repeats 5] [--cells 50]

A cell has five rows of 40 metrics, and a sample grid with each row. MLflow is on SQLite, in the
same process. The alternative makes a run with the same tags, logs the parameters, then a batch and
an image for each row, and ends the run. The time is the processor time of this process for each
cell, as the median over the repetitions with the worst beside it; the two alternate.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Param
from PIL import Image

from study.planning.cells import Cell
from study.planning.mlflow_store import default_uri
from study.records.files import write_json
from study.records.records import Records
from study.tracking.mlflow_mirror import Mirror
from study.tracking.rows import measured
from tests.study import tiny

ROWS, METRICS = 5, 40


def fill(folder: Path, cells: int) -> Records:
    """A study with so many ended cells."""
    plan = tiny.plan(budget_=tiny.budget(trials=0, seeds=cells))
    records = tiny.begin(Records(folder), plan)
    for cell in plan.confirm_cells("classes=2", plan.hyperparameters("classes=2")):
        other = {f"metric{n}": 0.5 for n in range(METRICS - 3)}
        tiny.write_cell(records, cell, tiny.rows(5, 4, 3, 2, 1, **other))
        path = records.cell_folder(cell.id) / "result.json"
        ended = {"ended": "2026-01-02T03:04:05+00:00"}
        write_json(path, {"outcome": "complete", "seconds": 1.0, "attempts": 1} | ended)
        samples = records.cell_folder(cell.id) / "samples"
        samples.mkdir()
        for kimg in range(ROWS):
            Image.new("L", (291, 233), kimg).save(samples / f"{kimg:06d}.png")
    return records


def mirrored(records: Records) -> None:
    storage = records.folder.parent
    mirror = Mirror(default_uri(storage), storage, records)
    mirror.close(None, {}, finished=True)
    assert mirror.problem is None


def row_by_row(records: Records) -> None:
    storage = records.folder.parent
    client = MlflowClient(default_uri(storage))
    artifacts = (storage / "mlartifacts").as_uri()
    experiment = client.create_experiment("tiny", artifact_location=artifacts)
    for cell_id in records.ids():
        cell = Cell.from_json(records.cell(cell_id))
        tags = {"cell": cell.id, "condition": cell.condition_name, "seed": str(cell.seed)}
        run = client.create_run(experiment, tags=tags, run_name=cell.label).info.run_id
        params = [Param(key, str(value)) for key, value in cell.hyperparameters.items()]
        client.log_batch(run, params=params)
        for row in records.rows(cell_id):
            path = records.cell_folder(cell_id) / "samples" / f"{row['kimg']:06d}.png"
            with Image.open(path) as image:
                client.log_image(run, image.copy(), key="samples", step=row["kimg"])
            client.log_batch(run, metrics=measured(row, 0))
        client.set_terminated(run, "FINISHED")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", type=int, default=50)
    asked = parser.parse_args()
    spent: dict[str, list[float]] = {"mirror": [], "row by row": []}
    for _ in range(asked.repeats):
        for how, found in spent.items():
            with tempfile.TemporaryDirectory() as scratch:
                records = fill(Path(scratch) / "tiny", asked.cells)
                MlflowClient(default_uri(records.folder.parent)).search_experiments()  # migrate
                began = time.process_time()
                (mirrored if how == "mirror" else row_by_row)(records)
                found.append(1e3 * (time.process_time() - began) / asked.cells)
    for how, found in spent.items():
        print(f"{how}: {statistics.median(found):.0f} ms per cell (worst {max(found):.0f})")
    ratio = statistics.median(spent["mirror"]) / statistics.median(spent["row by row"])
    print(f"ratio: {ratio:.2f}")


if __name__ == "__main__":
    main()
