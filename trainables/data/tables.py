"""Tables of images and labels as Hugging Face's `datasets` keep them on disk.

They are parquet files (as on its hub), or arrow files (as in its cache and from `save_to_disk`). A
column of images holds each one's file: a struct of `bytes` and `path`. What the columns mean is in
the schema's metadata, under the key "huggingface".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.arrays import check_memory
from trainables.data.base import DataError
from trainables.data.folders import split_of, stacked
from trainables.data.pictures import read_image

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".parquet", ".arrow")
LABELS = ("label", "labels", "target", "class", "y")  # of a column, where metadata name none
ROWS = 500  # of images that are read at a time


@dataclass
class Found:
    """Images, uint8 [N, C, H, W], and labels of the train split and, if there is one, of test."""

    x: list[NDArray[np.uint8]]
    y: list[NDArray[Any] | None]
    names: tuple[str, ...]  # of the classes, by label; () if labels are their own names
    left_out: list[str]


def find(root: Path) -> list[Path]:
    """The tables in a folder and below. What `datasets` cached of computations is left out."""
    found = []
    for at, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if name[0] != "." and not name.endswith(".incomplete")
        ]
        found += [Path(at, name) for name in names if name.endswith(SUFFIXES) and name[0] != "."]
    return sorted(path for path in found if not path.name.startswith("cache-") and path.is_file())


def read(path: Path, square: int | None) -> Found:
    """Read a table, or all tables of a folder by their splits.

    Args:
        square: resize the middle of each image to a square of so many pixels a side.

    Raises:
        DataError: they hold no images, or cannot be read.
    """
    import pyarrow as pa

    files, left_out = _splits(path) if path.is_dir() else ([[path]], [])
    try:
        columns = _columns(files[0][0])
        images, labels = [], []
        _check_memory([path for split in files for path in split], columns.image, square)
        for split in files:
            images.append(_images(split, columns.image, square))
            labels.append(_labels(split, columns))
        x = stacked(images)
    except (pa.ArrowException, KeyError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable ({' '.join(str(error).split())[:200]})") from None
    return Found(x, labels, columns.names, left_out + columns.left_out)


def _splits(root: Path) -> tuple[list[list[Path]], list[str]]:
    """The files of the train split and, if there is one, of the test split; what is left out."""
    splits: dict[str, list[Path]] = {}
    sets = set()
    for path in find(root):
        folder, kind = path.parent, split_of(path.stem)
        if not kind and folder != root and (kind := split_of(folder.name)):
            folder = folder.parent
        sets.add(folder)
        splits.setdefault(kind or "", []).append(path)
    if len(sets) > 1:
        names = ", ".join(sorted(str(folder.relative_to(root)) for folder in sets))
        raise DataError(f"{root}: it holds several sets, name one of its folders: {names}")
    for kind, files in splits.items():
        if (of := re.search(r"-of-(\d+)$", files[0].stem)) and len(files) != int(of[1]):
            raise DataError(
                f"{root}: {len(files)} of {int(of[1])} tables of {kind or 'it'} are there"
            )
    chosen = [kind for kind in ("train", "test", "val") if kind in splits][:2]
    if "train" not in splits:
        if kinds := ", ".join(filter(None, splits)):
            raise DataError(f"{root}: {kinds} and no train")
        return [splits[""]], []
    others = [file for kind in splits if kind not in chosen for file in splits[kind]]
    return [splits[kind] for kind in chosen], [f"table {file.relative_to(root)}" for file in others]


@dataclass
class Columns:
    """The columns of a table that are read."""

    image: str
    label: str | None
    names: tuple[str, ...]  # of the classes, by label; () if labels are their own names
    left_out: list[str]


def _columns(path: Path) -> Columns:
    """Raises:
    DataError: no column, or more than one, holds images.
    """
    import pyarrow as pa

    schema = _schema(path)
    try:
        card = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features: Mapping[str, Any] = card.get("info", {}).get("features", {})
        kinds = {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: its metadata are damaged ({type(error).__name__})") from None
    pictures = []
    for field in schema:
        struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        if struct or binary:
            pictures.append(field.name)
    if len(pictures) > 1 and "image" in pictures:
        pictures = ["image"]
    if len(pictures) != 1:
        there = ", ".join(pictures or schema.names)
        wanted = "name one of these 'image'" if pictures else "no column holds image files"
        raise DataError(f"{path}: {wanted}: {there}")
    classes = {
        name: tuple(map(str, feature.get("names") or ()))
        for name, feature in kinds.items()
        if feature.get("_type") == "ClassLabel" and name in schema.names
    }
    among = [name for name in LABELS if name in schema.names][:1] or [*classes]
    if len(among) > 1:
        several = f"several columns of labels ({', '.join(among)})"
        raise DataError(f"{path}: {several}: write a Python file that makes the data")
    label = among[0] if among else None
    left_out = [f"column {name}" for name in schema.names if name not in (pictures[0], label)]
    return Columns(pictures[0], label, classes.get(label or "", ()), left_out)


def _schema(path: Path) -> pa.Schema:
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        return pq.read_schema(path)
    with _arrow(path) as reader:
        return reader.schema


def _arrow(path: Path) -> Any:
    """A reader of an arrow file, which `datasets` writes in the format of a stream."""
    import pyarrow as pa

    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source)


def _rows(path: Path, column: str) -> Iterator[pa.Array]:
    """A column, part by part."""
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS, columns=[column]):
                yield batch.column(column)
        return
    with _arrow(path) as reader:
        for batch in _batches(reader):
            rows = batch.column(column)
            # A damaged file's lengths and offsets may point anywhere, and pyarrow reads there.
            rows.validate(full=True)
            for start in range(0, batch.num_rows, ROWS):
                yield rows.slice(start, ROWS)


def _count(path: Path) -> int:
    """The number of rows of a table, from its metadata."""
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    with _arrow(path) as reader:  # mapped into memory, so that no image is read
        return sum(batch.num_rows for batch in _batches(reader))


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    indexed = hasattr(reader, "num_record_batches")
    return map(reader.get_batch, range(reader.num_record_batches)) if indexed else iter(reader)


def _check_memory(files: list[Path], column: str, square: int | None) -> None:
    """Refuse images that do not fit into memory, by the size of the first one."""
    for _, image in _images(files[:1], column, square):
        check_memory(files[0].parent, 3 * image[0].size * sum(map(_count, files)))
        return
    raise DataError(f"{files[0]}: it has no rows")


def _images(
    files: list[Path], column: str, square: int | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each image with its name.

    Raises:
        DataError: an image is missing, damaged, or of another size than the first one.
    """
    like: tuple[str, tuple[int, int]] | None = None
    for path in files:
        at = 0
        for rows in _rows(path, column):
            for value in rows.to_pylist():
                content = value.get("bytes") if isinstance(value, dict) else value
                name = (value.get("path") if isinstance(value, dict) else None) or ""
                if content is None and not name:
                    raise DataError(f"{path}: row {at} has no image")
                row = f"{path}: row {at}"
                place = Path(row) if content is not None else path.parent / name
                image = read_image(place, square=square, content=content, like=like)
                yield row, image
                if not square and like is None:
                    like = row, (image.shape[1], image.shape[2])
                at += 1


def _labels(files: list[Path], columns: Columns) -> NDArray[Any] | None:
    """The labels of all rows: whole numbers or texts, or places among the classes' names.

    Raises:
        DataError: a label is missing, or is neither.
    """
    if columns.label is None:
        return None
    found: list[Any] = []
    for path in files:
        own = [label for rows in _rows(path, columns.label) for label in rows.to_pylist()]
        for at, label in enumerate(own):
            fits = isinstance(label, int) or (isinstance(label, str) and not columns.names)
            if not fits or type(label) is not type((found or own)[0]):
                raise DataError(f"{path}: {columns.label} of row {at} is {label!r}")
        found += own
    return np.array(found)
