"""The user's own data: read as they are, or refused in one line that names what is wrong.

Where these fail, a user's file is misread in silence, or ends in a traceback an hour into a study.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import DataError, describe, load
from trainables.data.base import DataSpec

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 8, 10), dtype=np.uint8)  # [N, H, W]
Y = np.repeat(np.arange(2), 20)


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(DataError) as caught:
        load(str(path))
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "own.npz", **arrays)  # type: ignore[arg-type]
    return folder / "own.npz"


# .npz


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64, np.uint64])
def test_npz_is_divided_80_to_20_in_each_class(tmp_path: Path, kind: type) -> None:
    path = npz(tmp_path, x=X, y=Y.astype(kind))
    data = load(str(path))
    assert data.train.x.shape == (32, 1, 8, 10)
    assert np.bincount(data.train.y).tolist() == [16, 16]
    assert np.bincount(data.test.y).tolist() == [4, 4]
    assert (data.name, data.classes, data.train.y.dtype) == (path.name, ("0", "1"), np.int64)
    labelled = {x.tobytes(): int(y) for x, y in zip(X, Y, strict=True)}
    for split in (data.train, data.test):  # each image kept its label
        for x, y in zip(split.x, split.y, strict=True):
            assert labelled.pop(x.tobytes()) == y
    assert not labelled
    assert load(str(path)).digest == data.digest
    assert describe(str(path)) == DataSpec(2, 1, (8, 10))


def test_colours_become_the_second_axis(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (40, 8, 10, 3), dtype=np.uint8)
    data = load(str(npz(tmp_path, x=x, y=Y, x_test=x[::5], y_test=Y[::5])))
    assert data.train.x.shape == (40, 3, 8, 10)
    assert np.array_equal(data.train.x[7, 2], x[7, :, :, 2])
    assert np.array_equal(data.test.x[1, 0], x[5, :, :, 0])
    assert data.train.x.flags.c_contiguous


BAD = {  # arrays, what the message says
    "no x": ({"y": Y}, "no array of images, which is called x or x_train or"),
    "nothing": ({}, "there are none"),
    "half a test split": ({"x": X, "y": Y, "x_test": X}, "y and y_test there is only"),
    "pickled": ({"x": np.array([{}]), "y": Y}, "allow_pickle"),
    "odd floats": ({"x": X / 10, "y": Y}, "x is float64 40x8x10 from"),
    "not finite": ({"x": X / 0.0, "y": Y}, "0 to 255, or 0 to 1, is needed"),
    "16 bits": ({"x": X.astype(np.uint16) * 257, "y": Y}, "x is uint16 40x8x10 from"),
    "black": ({"x": X // 200, "y": Y}, "holds 0 and 1 only: multiply it by 255"),
    "complex": ({"x": X * 1j, "y": Y}, "x is complex128 40x8x10: uint8 is needed"),
    "flat": ({"x": X.reshape(40, 80), "y": Y}, "x is uint8 40x80"),
    "one number": ({"x": np.uint8(1), "y": Y}, "x is uint8"),
    "five axes": ({"x": X[..., None, None], "y": Y}, "x is uint8 40x8x10x1x1"),
    "alpha": ({"x": np.repeat(X[..., None], 4, 3), "y": Y}, "x is uint8 40x8x10x4"),
    "tiny": ({"x": X[:, :7], "y": Y}, "is 7x10: at least 8x8"),
    "fractions": ({"x": X, "y": Y / 2}, "y is float64 40: N whole numbers or texts"),
    "several labels": ({"x": X, "y": np.ones((40, 2), int)}, "several labels per image are not"),
    "pairs": ({"x": X, "y": np.full((40, 2), 7)}, "y is int64 40x2"),
    "lengths": ({"x": X, "y": Y[:-1]}, "y has 39 labels for 40 images"),
    "empty": ({"x": X[:0], "y": Y[:0]}, "uint8 is needed"),
    "one each": ({"x": X, "y": np.arange(40)}, "class 0 has 1 images: at least 10"),
    "rare": ({"x": X[:29], "y": Y[:29]}, "class 1 has 9 images: at least 10"),
    "test size": ({"x": X, "y": Y, "x_test": X[:, :, :9], "y_test": Y}, "others 1x8x9"),
    "test classes": ({"x": X, "y": Y, "x_test": X[:9], "y_test": Y[:9]}, "has label 1"),
    "test label": ({"x": X, "y": Y, "x_test": X, "y_test": Y + 1}, "label 2 of the test images"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_npz_is_refused(tmp_path: Path, case: str) -> None:
    arrays, reason = BAD[case]
    assert reason in refusal(npz(tmp_path, **arrays))


@pytest.mark.parametrize("kept", [0, 3, 100, 2000, -1])
def test_truncated_npz_is_refused(tmp_path: Path, kept: int) -> None:
    path = npz(tmp_path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:kept])
    assert "not a readable .npz" in refusal(path)


def test_damaged_contents_are_refused(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=Y)
    contents = bytearray(path.read_bytes())
    contents[1000] ^= 0xFF
    path.write_bytes(contents)
    assert "not a readable .npz" in refusal(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("not an archive\n" * 50)
    assert "not a readable .npz" in refusal(tmp_path / "text.npz")
    np.save(tmp_path / "single.npy", X)
    assert "single array" in refusal(tmp_path / "single.npy")


# Folders of images


def folder(root: Path, mode: str = "L", suffix: str = ".png", each: int = 10) -> Path:
    """Classes `cat` (dark) and `dog` (bright), 12 x 9 pixels."""
    for name, level in (("cat", 40), ("dog", 200)):
        (root / name).mkdir(parents=True)
        for i in range(each):
            image = Image.new("L", (12, 9), level + i)
            image.convert(mode).save(root / name / f"{i}{suffix}")
    return root


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".PNG"])
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_folder_is_read(tmp_path: Path, mode: str, channels: int, suffix: str) -> None:
    data = load(str(folder(tmp_path / "pets", mode, suffix)))
    assert data.train.x.shape == (16, channels, 9, 12)
    assert data.test.x.shape == (4, channels, 9, 12)
    assert (data.classes, data.source) == (("cat", "dog"), "read from pets")
    for split in (data.train, data.test):
        assert ((split.x.mean((1, 2, 3)) > 120) == (split.y == 1)).all()


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3)])
def test_other_png_modes_become_grey_or_colour(tmp_path: Path, mode: str, channels: int) -> None:
    assert load(str(folder(tmp_path / "pets", mode))).channels == channels


def test_strangers_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    (root / ".cache").mkdir()
    (root / "readme.txt").write_text("")
    (root / "cat" / "Thumbs.db").write_text("")
    (root / "cat" / "._0.png").write_bytes(b"\0\5\x16\7")
    (root / "__MACOSX").mkdir()
    data = load(str(root))
    assert (data.classes, len(data.train.y) + len(data.test.y)) == (("cat", "dog"), 20)
    assert data.source == "read from pets (left out: 1 .txt)"


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    assert "class 0 has 9 images" in refusal(folder(tmp_path / "few", each=9))
    (tmp_path / "empty" / "eel").mkdir(parents=True)
    assert "no images (.bmp" in refusal(tmp_path / "empty")


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(Image.new("L", (9, 12)), "is 12x9 but"), (Image.new("RGB", (99, 99)), "--image-size N"),
     (Image.new("I;16", (12, 9)), "I;16 pixels"), (b"", "not a readable image"),
     (b"\x89PNG\r\n\x1a\n", "not a readable image"), (b"GIF89a", "not a readable image")],
)  # fmt: skip
def test_bad_image_is_named(tmp_path: Path, contents: Image.Image | bytes, reason: str) -> None:
    bad = folder(tmp_path / "pets") / "dog" / "4.png"
    if isinstance(contents, bytes):
        bad.write_bytes(contents)
    else:
        contents.save(bad)
    message = refusal(tmp_path / "pets")
    assert reason in message
    assert str(bad) in message


def test_truncated_image_is_refused(tmp_path: Path) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8))
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            noise.save(tmp_path / "pets" / name / f"{i}.png")
    cut = tmp_path / "pets" / "cat" / "3.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    assert "3.png: not a readable image" in refusal(tmp_path / "pets")


def test_tiny_images_are_refused(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / "pets" / "cat").mkdir(parents=True, exist_ok=True)
        Image.new("L", (7, 9)).save(tmp_path / "pets" / "cat" / f"{i}.png")
    assert "is 9x7: at least 8x8" in refusal(tmp_path / "pets")
