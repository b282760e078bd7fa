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
    assert (data.name, data.classes, data.train.y.dtype) == (str(path), ("0", "1"), np.int64)
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
    "no x": ({"y": Y}, "no array 'x', only y"),
    "no y": ({"x": X}, "no array 'y', only x"),
    "nothing": ({}, "no array 'x', only none"),
    "half a test split": ({"x": X, "y": Y, "x_test": X}, "no array 'y_test'"),
    "misspelt": ({"x": X, "y": Y, "x_tset": X}, "unknown array 'x_tset'"),
    "pickled": ({"x": np.array([{}]), "y": Y}, "allow_pickle"),
    "floats": ({"x": X / 255, "y": Y}, "x is float64 40x8x10"),
    "flat": ({"x": X.reshape(40, 80), "y": Y}, "x is uint8 40x80"),
    "one number": ({"x": np.uint8(1), "y": Y}, "x is uint8"),
    "five axes": ({"x": X[..., None, None], "y": Y}, "x is uint8 40x8x10x1x1"),
    "channels first": ({"x": X[:, None], "y": Y}, "has 10 channels"),
    "alpha": ({"x": np.repeat(X[..., None], 4, 3), "y": Y}, "has 4 channels"),
    "tiny": ({"x": X[:, :7], "y": Y}, "is 7x10: at least 8x8"),
    "float labels": ({"x": X, "y": Y.astype(float)}, "y is float64 40"),
    "one-hot": ({"x": X, "y": np.eye(2, dtype=int)[Y]}, "y is int64 40x2"),
    "text labels": ({"x": X, "y": Y.astype(str)}, "y is <U21 40"),
    "lengths": ({"x": X, "y": Y[:-1]}, "x has 40 images but y has 39"),
    "empty": ({"x": X[:0], "y": Y[:0]}, "no images"),
    "negative": ({"x": X, "y": Y - 1}, "label -1"),
    "from one": ({"x": X, "y": Y + 1}, "no image has label 0, though labels go to 2"),
    "gap": ({"x": X, "y": 2 * Y}, "no image has label 1, though labels go to 2"),
    "astronomic": ({"x": X, "y": 10**15 * Y}, "no image has label 1,"),
    "overflowing": ({"x": X, "y": np.full(40, 2**64 - 1, np.uint64)}, "label"),
    "rare": ({"x": X[:29], "y": Y[:29]}, "class 1 has 9 images: at least 10"),
    "test floats": ({"x": X, "y": Y, "x_test": X / 255, "y_test": Y}, "x_test is float64"),
    "test size": ({"x": X, "y": Y, "x_test": X[:, :, :9], "y_test": Y}, "of x_test 1x8x9"),
    "test classes": ({"x": X, "y": Y, "x_test": X[:9], "y_test": Y[:9]}, "has 1 classes, x has 2"),
    "test gap": ({"x": X, "y": Y, "x_test": X[-9:], "y_test": Y[-9:]}, "has label 0"),
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
    assert load(str(root)).classes == ("cat", "dog")


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "flat" / "a.png")
    assert "no class folders" in refusal(tmp_path / "flat")
    assert "9 images" in refusal(folder(tmp_path / "few", each=9))
    (folder(tmp_path / "empty") / "eel").mkdir()
    assert "eel: 0 images" in refusal(tmp_path / "empty")


@pytest.mark.parametrize(
    ("contents", "reason"),
    [(Image.new("L", (9, 12)), "is 1x12x9 but"), (Image.new("RGB", (12, 9)), "is 3x9x12 but"),
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
