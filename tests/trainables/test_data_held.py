"""Data that torchvision, and Hugging Face's `datasets`, keep on disk.

Where these fail, images of these libraries get other labels or splits than there, or are refused.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision.datasets  # noqa: F401  a slow import that would time out the first test
from PIL import Image

from trainables.data import DataError, Dataset, add_held, choose, load
from trainables.data.held import read

CLASSES = ["zebra", "ant", "cow"]  # not in alphabetical order, and each brighter than the last


def file_of(level: int, side: int = 12) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (side, side), level).save(buffer, "PNG")
    return buffer.getvalue()


def table(n: int, level: int = 0, **features: Any) -> pa.Table:
    """A table as `datasets` 5.2 writes it: n images of each class."""
    labels = [label for label in range(3) for _ in range(n)]
    images = [
        {"bytes": file_of(70 * y + i % n + level), "path": None} for i, y in enumerate(labels)
    ]
    known = {
        "image": {"_type": "Image"},
        "label": {"names": CLASSES, "_type": "ClassLabel"},
        "caption": {"dtype": "string", "_type": "Value"},
    }
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "image": pa.array(images, struct),
        "label": pa.array(labels, pa.int64()),
        "caption": pa.array(["x"] * len(labels)),
    }
    card = json.dumps({"info": {"features": known | features}})
    return pa.table(columns).replace_schema_metadata({"huggingface": card})


def write(path: Path, content: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(content, path)
        return
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, content.schema) as stream:
        stream.write_table(content, max_chunksize=7)


def is_right(data: Dataset) -> None:
    assert data.classes == tuple(CLASSES)
    for split in (data.train, data.test):
        assert (split.x.mean((1, 2, 3)) // 70 == split.y).all()


SAVED = ("train/data-00000-of-00001.arrow", "test/data-00000-of-00001.arrow")
PREPARED = ("default/0.0.0/103b2c/own-train.arrow", "default/0.0.0/103b2c/own-test.arrow")
HUB = ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet")


@pytest.mark.parametrize("files", [SAVED, PREPARED, HUB])
def test_tables_are_read_otherwise_than_datasets_does(tmp_path: Path, files: list[str]) -> None:
    write(tmp_path / files[0], table(10))
    write(tmp_path / files[1], table(3, level=20))
    write(tmp_path / files[0].replace("train", "validation"), table(2))
    write((tmp_path / files[0]).with_name("cache-0a1b.arrow"), table(2))  # of `map`
    data = load(str(tmp_path))
    is_right(data)
    assert (len(data.train.y), len(data.test.y), data.test.x.min()) == (30, 9, 20)
    left_out = files[0].replace("train", "validation")
    assert data.source.endswith(f"(left out: table {left_out}, column caption)")


@pytest.mark.parametrize("name", ["own.parquet", "own.arrow", "own-train.parquet"])
def test_single_table_is_not_divided(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, table(10))
    data = load(str(tmp_path / name))
    is_right(data)
    assert (len(data.train.y), len(data.test.y)) == (24, 6)


def test_labels_are_not_found_without_a_card(tmp_path: Path) -> None:
    """As pandas writes images and labels."""
    images = [file_of(10 * i) for i in range(20)]
    pq.write_table(pa.table({"png": images, "class": ["b", "a"] * 10}), tmp_path / "own.parquet")
    data = load(str(tmp_path / "own.parquet"))
    assert data.classes == ("a", "b")
    assert ((data.train.x.mean((1, 2, 3)) // 10 % 2 == 0) == (data.train.y == 1)).all()


def test_name_of_a_set_is_taken_for_its_split(tmp_path: Path) -> None:
    """What killed commands left, and pictures beside other pictures, are no tables of the set."""
    write(tmp_path / "train-signs-train.arrow", table(10))
    write(tmp_path / "train-signs-test.arrow", table(3))
    write(tmp_path / "103b2c.incomplete" / "train-signs-train.arrow", table(20))
    data = load(str(tmp_path))
    is_right(data)
    assert (len(data.train.y), len(data.test.y)) == (30, 9)


def test_images_of_several_sizes(tmp_path: Path) -> None:
    images = [file_of(10 * i, side=12 + i % 2) for i in range(20)]
    pq.write_table(pa.table({"image": images}), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=r"row 1 is 13x13 but .*row 0 is 12x12: give --image-size"):
        load(str(tmp_path / "own.parquet"))


UNLABELLED = table(4).set_column(1, "label", pa.array([-1] * 12, pa.int64()))
BROKEN = {
    "two sets": ({"a/train.parquet": table(10), "b/train.parquet": table(10)}, "name one of its"),
    "test alone": ({"test.parquet": table(10)}, "test and no train"),
    "no images": ({"train.arrow": table(9).drop(["image"])}, "no column holds image files: label"),
    "two columns": (
        {"t.parquet": table(9).append_column("b", [[b""] * 27]).rename_columns(list("abcd"))},
        "name one of these 'image': a, d",
    ),
    "a shard is lost": ({"data/train-00000-of-00002.parquet": table(9)}, "1 of 2 tables of train"),
    "no rows": ({"t.parquet": table(0)}, "it has no rows"),
    "unlabelled": ({"t.parquet": UNLABELLED}, "label -1: the classes are 0 to 2"),
    "odd card": (
        {"t.arrow": table(9).replace_schema_metadata({"huggingface": "[1"})},
        "metadata are damaged",
    ),
    "damaged image": (
        {"t.parquet": pa.table({"image": [file_of(1)] * 9 + [b"no"]})},
        "row 9: not a readable image",
    ),
    "lost image": (
        {"t.arrow": pa.table({"image": [None, None]}, pa.schema([("image", pa.binary())]))},
        "row 0 has no image",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_table_is_not_refused(tmp_path: Path, case: str) -> None:
    files, line = BROKEN[case]
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(DataError, match=line):
        load(str(tmp_path))


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_damaged_table_is_not_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, table(10))
    content = (tmp_path / name).read_bytes()
    for damaged in (b"", content[:40], content[: len(content) // 2], b"x" * 500):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError):
            load(str(tmp_path))


def test_cache_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DataError, match="hf:some/own: neither"):
        load("hf:some/own")
    write(tmp_path / "datasets" / "some___own" / PREPARED[0], table(10))
    source = "read from Hugging Face's cache of some/own (left out: column caption)"
    assert load("hf:some/own").source == source
    hub = tmp_path / "hub" / "datasets--some--other"
    for commit, n in (("01ab", 10), ("02ab", 20)):
        write(hub / "snapshots" / commit / HUB[0], table(n))
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("02ab")
    data = load("hf:some/other")
    is_right(data)
    assert len(data.train.y) == 48, "an older commit was read"


def idx(values: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    axes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    return bytes([0, 0, 8, values.ndim]) + axes + values.tobytes()


def test_torchvision_arrays(tmp_path: Path) -> None:
    """Fashion-MNIST, which has a parameter `train`."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 100), ("t10k", 30)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = np.stack(
            [np.full((28, 28), 20 * y + i // 10, np.uint8) for i, y in enumerate(labels)]
        )
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    data = read("torchvision:FashionMNIST", tmp_path)
    assert (len(data.train.y), len(data.test.y)) == (100, 30)
    assert (data.classes[0], data.classes[9]) == ("T-shirt/top", "Ankle boot")
    assert (data.test.x.mean((1, 2, 3)) // 20 == data.test.y).all()


def pictures(folder: Path, level: int, n: int, side: int) -> None:
    folder.mkdir(parents=True)
    for i in range(n):
        image = Image.new("RGB", (side + i % 2, side), (level + i, 0, 0))
        image.save(folder / f"{i}.JPEG")


def test_torchvision_images(tmp_path: Path) -> None:
    """Imagenette, which has a parameter `split` with "val", and images of several sizes."""
    from torchvision.datasets import Imagenette

    for part, n in (("train", 10), ("val", 3)):
        for k, wnid in enumerate(sorted(Imagenette._WNID_TO_CLASS)):
            pictures(tmp_path / "imagenette2" / part / wnid, 20 * k, n, side=16)
    with pytest.raises(DataError, match=r"torchvision:Imagenette: image 1 is 16x17 .*--image-size"):
        read("torchvision:Imagenette", tmp_path)
    data = read("torchvision:Imagenette", tmp_path, square=8)
    assert (len(data.train.y), len(data.test.y), data.size) == (100, 30, (8, 8))
    assert (data.test.x[:, 0].mean((1, 2)).round() // 20 == data.test.y).all()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Nope", "torchvision.datasets has no Nope"),
        ("LSUN", "has no LSUN that can be read"),
        ("EMNIST", "EMNIST needs split: write a Python file"),
        ("MNIST", "cannot be read from .*Dataset not found"),
        ("wrap_dataset_for_transforms_v2", "has no wrap"),
    ],
)
def test_torchvision_refuses(tmp_path: Path, name: str, line: str) -> None:
    with pytest.raises(DataError, match=line):
        read(f"torchvision:{name}", tmp_path)


def test_declared_data_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's own data are read if they are there; else its stand-in is."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    add_held("hf:some/own", tmp_path)
    name, line = choose("auto", "hf:some/own", "kana_digits")
    assert name == "kana_digits"
    assert "as a stand-in: hf:some/own is not in" in line
    write(tmp_path / "datasets" / "some___own" / PREPARED[0], table(10))
    name, line = choose("auto", "hf:some/own", "kana_digits")
    assert name == "hf:some/own"
    assert "read from Hugging Face's cache of some/own" in line
