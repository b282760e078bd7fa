"""Log a cell's sample grids to its run in MLflow, so that its charts show them by step.

`MlflowClient.log_image` with a key and a step does this for one picture: it encodes it anew, and
sets a tag. Here all new pictures of a cell are logged together, as they are.
"""

from __future__ import annotations

import io
import re
import tempfile
import uuid
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunTag
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
from PIL import Image

from study.records import store
from study.records.records import Records

FOLDER = "images"
LOGGED = RunTag(MLFLOW_LOGGED_IMAGES, "True")  # a run without it shows no images
PREVIEW = "+compressed.webp"  # ends the name of a picture's preview
STEP = re.compile(r"samples\W+step\W+(\d+)\W")  # in the names of MLflow's files


def log_grids(
    client: MlflowClient, run_id: str, records: Records, cell_id: str, moments: dict[int, int]
) -> set[int]:
    """Log those sample grids of a cell that there are; a damaged picture counts as missing.

    Args:
        moments: the times of the ticks in milliseconds, by kimg.

    Returns: the kimg of the grids that were logged.
    """
    found = set()
    with tempfile.TemporaryDirectory() as scratch:
        for kimg, moment in moments.items():
            if (grid := _grid(records, cell_id, kimg)) is None:
                continue
            content, image = grid
            found.add(kimg)
            name = f"samples+step+{kimg}+timestamp+{moment}+{uuid.uuid4()}"
            (Path(scratch) / f"{name}.png").write_bytes(content)
            small = Path(scratch) / f"{name}{PREVIEW}"
            compress_image_size(image).save(small, method=0)  # the fastest: it is a preview
        if found:
            client.log_artifacts(run_id, scratch, FOLDER)
    return found


def logged(client: MlflowClient, run_id: str) -> set[int]:
    """The kimg of the sample grids of which a run has both the picture and its preview."""
    names = {file.path for file in client.list_artifacts(run_id, FOLDER)}
    whole = [name for name in names if f"{name.removesuffix('.png')}{PREVIEW}" in names]
    return {int(match[1]) for name in whole if (match := STEP.search(name))}


def _grid(records: Records, cell_id: str, kimg: int) -> tuple[bytes, Image.Image] | None:
    try:
        content = store.read(records.cell_folder(cell_id) / "samples" / f"{kimg:06d}.png")
    except FileNotFoundError:  # any other failure of the store is tried again
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return content, image.copy()
    # What Pillow raises for files that are torn, altered, or say that they are huge.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
