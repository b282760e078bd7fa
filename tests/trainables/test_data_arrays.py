"""Arrays as people keep them: each layout is read with the right labels, splits and pixels.

Where these fail, a user's data are refused although they mean one thing, or read as another thing.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainables.data import DataError, Split, load

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 8, 10), dtype=np.uint8)  # [N, H, W]
Y = np.repeat(np.arange(3), 20)
X_TEST, Y_TEST = X[::4] // 2, Y[::4]
Arrays = dict[str, NDArray[Any]]

LAYOUTS: dict[str, tuple[Arrays, tuple[str, ...]]] = {  # arrays, names of the classes
    "keras": ({"x_train": X, "y_train": Y, "x_test": X_TEST, "y_test": Y_TEST}, ("0", "1", "2")),
    "medmnist": (
        {
            "train_images": X[..., None],
            "train_labels": Y[:, None],
            "val_images": X[:9],
            "val_labels": Y[:9, None],
            "test_images": X_TEST[..., None],
            "test_labels": Y_TEST[:, None],
        },
        ("0", "1", "2"),
    ),
    "arr": ({"arr_0": X, "arr_1": Y, "arr_2": X_TEST, "arr_3": Y_TEST}, ("0", "1", "2")),
    "channels first": (
        {"x": X[:, None], "y": Y, "x_test": X_TEST, "y_test": Y_TEST},
        ("0", "1", "2"),
    ),
    "from one": ({"x": X, "y": Y + 1, "x_test": X_TEST, "y_test": Y_TEST + 1}, ("1", "2", "3")),
    "gaps": ({"x": X, "y": 7 * Y, "x_test": X_TEST, "y_test": 7 * Y_TEST}, ("0", "7", "14")),
    "negative": ({"x": X, "y": Y - 1, "x_test": X_TEST, "y_test": Y_TEST - 1}, ("-1", "0", "1")),
    "whole floats": ({"x": X, "y": Y * 1.0, "x_test": X_TEST, "y_test": Y_TEST}, ("0", "1", "2")),
    "one-hot": (
        {"x": X, "y": np.eye(3)[Y], "x_test": X_TEST, "y_test": np.eye(3, dtype=int)[Y_TEST]},
        ("0", "1", "2"),
    ),
    "text": (
        {
            "x": X,
            "y": np.array(["ant", "bee", "cat"])[Y],
            "x_test": X_TEST,
            "y_test": np.array([b"ant", b"bee", b"cat"])[Y_TEST],
        },
        ("ant", "bee", "cat"),
    ),
    "unit floats": (
        {"x": X / 255, "y": Y, "x_test": (X_TEST / 255).astype(np.float32), "y_test": Y_TEST},
        ("0", "1", "2"),
    ),
    "signed floats": (
        {"x": X / 127.5 - 1, "y": Y, "x_test": X_TEST / 127.5 - 1, "y_test": Y_TEST},
        ("0", "1", "2"),
    ),
    "whole float pixels": (
        {"x": X * 1.0, "y": Y, "x_test": X_TEST.astype(np.int64), "y_test": Y_TEST},
        ("0", "1", "2"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_are_misread(tmp_path: Path, layout: str) -> None:
    arrays, names = LAYOUTS[layout]
    np.savez(tmp_path / "own.npz", **arrays)  # type: ignore[arg-type]
    data = load(str(tmp_path / "own.npz"))
    assert data.classes == names
    assert np.array_equal(data.train.y, Y)
    assert np.array_equal(data.test.y, Y_TEST)
    # Floats from -1 to 1 are halves of a step off at most.
    for split, x in ((data.train, X), (data.test, X_TEST)):
        assert np.abs(split.x[:, 0].astype(int) - x).max() <= (layout == "signed floats")
    out = "left out: array val_images, array val_labels" if layout == "medmnist" else "own.npz"
    assert out in data.source


def test_extra_arrays_or_missing_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=X, names=np.array(["a"]), x_tset=X)
    data = load(str(tmp_path / "own.npz"))
    assert (data.classes, len(data.train.y), len(data.test.y)) == (("all",), 48, 12)
    assert data.source == "read from own.npz (left out: array names, array x_tset)"


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        (
            {"x": X, "labels": Y},
            "array 'labels' is as long as the images: if it holds the labels, call it 'y'",
        ),
        ({"images": X, "y": Y[:, None]}, "if it holds the labels, call it 'labels'"),
        ({"x": X / 255 - 0.02, "y": Y}, "from -0.02 to 0.98: 0 to 255, or 0 to 1, is needed"),
        ({"x": X, "y": np.array([b"\xff", b"b", b"c"])[Y]}, "texts have to be in UTF-8"),
    ],
)
def test_what_means_two_things_is_guessed(tmp_path: Path, arrays: Arrays, line: str) -> None:
    np.savez(tmp_path / "own.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        load(str(tmp_path / "own.npz"))
    assert line in str(caught.value)


def test_splits_are_scaled_apart(tmp_path: Path) -> None:
    """Values of training go from -1 to 1, and those of the test images happen to be above 0."""
    x, x_test = X / 127.5 - 1, (128 + X_TEST // 2) / 127.5 - 1
    np.savez(tmp_path / "own.npz", x=x, y=Y, x_test=x_test, y_test=Y_TEST)
    data = load(str(tmp_path / "own.npz"))
    assert np.abs(data.test.x[:, 0].astype(int) - (128 + X_TEST // 2)).max() <= 1


def test_files_of_single_arrays_are_not_joined(tmp_path: Path) -> None:
    """Kuzushiji-49 comes as four files, each with one array."""
    for part, x, y in (("train", X, Y), ("test", X_TEST, Y_TEST)):
        np.savez(tmp_path / f"k49-{part}-imgs.npz", x)
        np.savez(tmp_path / f"k49-{part}-labels.npz", y)
    data = load(str(tmp_path / "k49-train-imgs.npz"))
    assert np.array_equal(data.train.y, Y)
    assert np.array_equal(data.test.x[:, 0], X_TEST)


def idx(path: Path, values: NDArray[Any]) -> None:
    head = struct.pack(f">4B{values.ndim}i", 0, 0, 8, values.ndim, *values.shape)
    content = head + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("by", ["folder", "file"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_idx_files_are_not_read_by_path(tmp_path: Path, suffix: str, by: str, dot: str) -> None:
    for part, x, y in (("train", X, Y), ("t10k", X_TEST, Y_TEST)):
        idx(tmp_path / f"{part}-images{dot}idx3-ubyte{suffix}", x)
        idx(tmp_path / f"{part}-labels{dot}idx1-ubyte{suffix}", y)
    file = tmp_path / f"train-images{dot}idx3-ubyte{suffix}"
    data = load(str(tmp_path if by == "folder" else file))
    assert np.array_equal(data.train.x[:, 0], X)
    assert np.array_equal(data.train.y, Y)
    assert np.array_equal(data.test.y, Y_TEST)


def test_one_of_several_sets_is_chosen(tmp_path: Path) -> None:
    for name in ("balanced", "byclass"):
        idx(tmp_path / f"emnist-{name}-train-images-idx3-ubyte", X)
    with pytest.raises(DataError, match=r"name one of emnist-balanced-.*, emnist-byclass-"):
        load(str(tmp_path))


def test_more_than_memory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, little_memory: None
) -> None:
    """The sizes are in the headers, and are looked at first."""
    np.savez_compressed(tmp_path / "own.npz", x=np.zeros((60, 80, 80), np.uint8), y=Y)
    idx(tmp_path / "train-images-idx3-ubyte", X)
    monkeypatch.setattr(np, "load", None)
    for name in ("own.npz", "train-images-idx3-ubyte"):
        with pytest.raises(DataError, match=r"GiB of images, and 0\.0 GiB of memory are free"):
            load(str(tmp_path / name))


@pytest.mark.parametrize("x", [X, X[..., None], X[:, None], X.transpose(0, 2, 1)])
def test_images_lie_in_memory_as_in_no_other_process(tmp_path: Path, x: NDArray[np.uint8]) -> None:
    """torch would compute otherwise with a copy in another process, and --verify would differ."""
    np.savez(tmp_path / "own.npz", x=x, y=Y)
    data = load(str(tmp_path / "own.npz"))
    split = Split(data.train.x.transpose(0, 1, 3, 2), data.train.y)
    odd = np.lib.stride_tricks.as_strided(data.train.x, strides=(80, 1, 10, 1))
    for images in (data.train.x, data.keep(2).test.x, split.x, Split(odd, data.train.y).x):
        assert images.strides == np.empty(images.shape, np.uint8).strides
