"""The report's sample grids: thumbnails from a few moments of training, all classes at the end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from study.records import store
from study.records.frames import Frames, natural
from study.records.grids import GRID_ROWS
from study.records.records import Records
from study.report.curves import data_uri

if TYPE_CHECKING:
    import pandas as pd

MOMENTS = 4  # grids per condition and configuration
MAX_COLUMNS = 10  # columns of a small grid
SHOWN_ROWS = 5  # of the recorded grid's rows
WIDEST = 300  # width of a small grid in pixels, at most


def rows(records: Records, frames: Frames, ticks: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry per condition, with the sample grids of one cell: the first seed that has grids.

    Keys: condition; seed; grids (small grids from a few moments of training); names (the classes or
    label sets of a small grid's columns); strips (pairs of a name and a column of the last grid,
    empty where the small grids show all columns). Names and strips are empty where the columns of
    the grid are taken not to be classes.
    """
    definition = frames.study["definition"]
    classes = definition.get("columns") or definition.get("classes", [])
    found = []
    for condition in sorted(set(ticks["condition"]), key=natural):
        mine = ticks[ticks["condition"].eq(condition)].sort_values("seed", kind="stable")
        for cell_id in dict.fromkeys(mine["id"]):
            paths = sorted((records.cell_folder(cell_id) / "samples").glob("*.png"))
            if not paths:
                continue
            grids = [grid for path in _spread(paths) if (grid := _grid(path, records.folder))]
            kept = grids[0]["columns"] if grids else []
            count = records.cell(cell_id)["condition"].get("classes", len(classes))
            # The grid of a G without labels also has columns, which are not classes. Such a grid is
            # recognised by a number of columns that differs from the number of classes.
            named = bool(kept) and kept[-1] + 1 == count
            found.append(
                {
                    "condition": condition,
                    "seed": mine[mine["id"].eq(cell_id)]["seed"].iloc[0],
                    "grids": grids,
                    "names": [classes[c] for c in kept] if named else [],
                    "strips": list(zip(classes, strips(paths[-1]), strict=False)) if named else [],
                }
            )
            break
    return found


def _spread(paths: list[Path]) -> list[Path]:
    """Choose MOMENTS grids, evenly spread in training, the last one included.

    The grid from before training shows noise and is chosen only if there are too few others.
    """
    trained = [path for path in paths if path.stem.isdigit() and int(path.stem)] or paths
    if len(trained) < MOMENTS:
        return paths[-MOMENTS:]
    last = len(trained) - 1
    return [trained[round(i * last / (MOMENTS - 1))] for i in range(MOMENTS)]


def _grid(path: Path, folder: Path) -> dict[str, Any] | None:
    found = small(path)
    if found is None:
        return None
    kimg = int(path.stem) if path.stem.isdigit() else path.stem
    return {"kimg": kimg, "uri": found[0], "columns": found[1], "file": path.relative_to(folder)}


def small(path: Path) -> tuple[str, list[int]] | None:
    """A recorded grid as a thumbnail, and the numbers of the columns (classes) that it keeps.

    Of more than ten columns, ten are kept, evenly spread. Squeezing all of them in would make
    characters unreadable. The first five rows are kept. A picture that is not a grid of columns,
    such as scattered points, is shown whole, and its list of columns is empty.

    Returns: the thumbnail as a data URI, and the columns; None where the file is not an image.
    """
    if (grid := _read(path)) is None:
        return None
    columns: list[int] = []
    if n := _columns(grid):
        tile = (grid.width - 1) // n
        kept = min(n, MAX_COLUMNS)
        columns = [round(i * (n - 1) / max(kept - 1, 1)) for i in range(kept)]
        thin = Image.new("RGB", (kept * tile + 1, SHOWN_ROWS * tile + 1), "white")
        for i, column in enumerate(columns):
            thin.paste(_strip(grid, column, tile), (i * tile, 0))
        grid = thin
    if grid.width > WIDEST:
        height = round(grid.height * WIDEST / grid.width)
        grid = grid.resize((WIDEST, max(1, height)), Image.Resampling.LANCZOS)
    return _png(grid), columns


def strips(path: Path) -> list[str]:
    """Each column of a recorded grid as a data URI; none where a small grid shows all columns."""
    if (grid := _read(path)) is None or (n := _columns(grid)) <= MAX_COLUMNS:
        return []
    return [_png(_strip(grid, column, (grid.width - 1) // n)) for column in range(n)]


def _read(path: Path) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(store.read(path))) as image:
            return image.convert("RGB")
    except OSError:
        return None


def _columns(grid: Image.Image) -> int:
    """The number of columns of a recorded grid; 0 if the image does not have a grid's layout."""
    tile, rest = divmod(grid.height - 1, GRID_ROWS)  # each image has a border of one pixel
    ours = not rest and tile > 1 and (grid.width - 1) % tile == 0
    return (grid.width - 1) // tile if ours else 0


def _strip(grid: Image.Image, column: int, tile: int) -> Image.Image:
    return grid.crop((column * tile, 0, (column + 1) * tile + 1, SHOWN_ROWS * tile + 1))


def _png(image: Image.Image) -> str:
    red, green, blue = image.split()
    plain = red if red.tobytes() == green.tobytes() == blue.tobytes() else image
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())
