"""Folders and zip files of images: each is read with the right labels, splits and pixels.

Where these fail, a user's data are refused although they mean one thing, or read as another thing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainables.data import DataError, Dataset, load, pictures
from trainables.data.files import read


def picture(path: Path, level: int, mode: str = "L", size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).convert(mode).save(path)


def classes(root: Path, n: int = 10, level: int = 0) -> None:
    """Classes cat (dark) and dog (bright)."""
    for name, base in (("cat", 40), ("dog", 200)):
        for i in range(n):
            picture(root / name / f"{i}.png", base + i + level)


def bright_is_dog(data: Dataset) -> None:
    assert data.classes == ("cat", "dog")
    for split in (data.train, data.test):
        assert ((split.x.mean((1, 2, 3)) > 120) == (split.y == 1)).all()


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("test", ["test", "val", "validation", "Testing"])
def test_published_split_is_taken_for_classes(tmp_path: Path, train: str, test: str) -> None:
    classes(tmp_path / train)
    classes(tmp_path / test, n=3, level=20)
    data = load(str(tmp_path))
    bright_is_dog(data)
    assert (len(data.train.y), len(data.test.y)) == (20, 6)
    assert data.test.x.min() == 60


def test_third_split_is_mixed_in(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "val", n=4)
    classes(tmp_path / "test", n=3)
    data = load(str(tmp_path))
    assert (len(data.train.y), len(data.test.y)) == (20, 6)
    assert data.source.endswith("(left out: folder val)")


def test_images_of_splits_are_taken_for_two_classes(tmp_path: Path) -> None:
    for part, n in (("train", 12), ("test", 4)):
        for i in range(n):
            picture(tmp_path / part / f"{i}.png", 10 * i)
    data = load(str(tmp_path))
    assert (data.classes, len(data.train.y), len(data.test.y)) == (("all",), 12, 4)


@pytest.mark.parametrize(
    ("folders", "line"),
    [
        (("train", "cat"), "both splits (train) and folders such as cat"),
        (("test",), "test and no train"),
        (("val", "test"), "and no train"),
        (("training_set", "test_set"), "seem to be splits: call them train and test"),
        (("trainA", "testA"), "seem to be splits"),
        (("seg_train", "seg_test"), "seem to be splits"),
        (("images_part_1", "Task3_Test_Images"), "such as Task3_Test_Images, seem to be splits"),
        (("train", "training"), "train and training are two folders of one split"),
    ],
)
def test_unclear_folders_are_guessed(tmp_path: Path, folders: tuple[str, ...], line: str) -> None:
    for name in folders:
        classes(tmp_path / name)
    with pytest.raises(DataError) as caught:
        load(str(tmp_path))
    assert line in str(caught.value)


def test_flat_and_nested_images_are_left_out(tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / "flat" / f"{i}.webp", 10 * i)
        picture(tmp_path / "nested" / "cat" / str(i % 3) / f"{i}.png", 10 * i)
        picture(tmp_path / "nested" / "dog" / f"{i}.png", 130 + 10 * i)
    (tmp_path / "nested" / "dog" / "a.gif").write_bytes(b"GIF89a")
    flat, nested = (load(str(tmp_path / name)) for name in ("flat", "nested"))
    assert (flat.classes, len(flat.train.y) + len(flat.test.y)) == (("all",), 12)
    bright_is_dog(nested)
    assert len(nested.train.y) + len(nested.test.y) == 24
    assert nested.source == "read from nested (left out: 1 .gif)"


@pytest.mark.parametrize("above", ["", "archive", "archive/images"])
@pytest.mark.parametrize("split", [False, True])
def test_folder_that_wraps_the_others_is_a_class(tmp_path: Path, above: str, split: bool) -> None:
    classes(tmp_path / above / "train" if split else tmp_path / above)
    if split:
        classes(tmp_path / above / "val", n=3)
    (tmp_path / "README.md").touch()
    data = load(str(tmp_path))
    bright_is_dog(data)
    assert len(data.test.y) == (6 if split else 4)


def test_class_named_like_a_split_is_refused(tmp_path: Path) -> None:
    for name in ("train_station", "car"):
        for i in range(12):
            picture(tmp_path / name / f"{i}.png", 10 * i)
    assert load(str(tmp_path)).classes == ("car", "train_station")


def test_links_lead_in_circles(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "again").symlink_to(tmp_path / "pets")
    with pytest.raises(DataError, match="no images"):
        load(str(tmp_path / "pets"))


def test_cards_of_splits_are_ignored(tmp_path: Path) -> None:
    for part in ("train", "test"):
        card(tmp_path / part, LABELLED)
    data = load(str(tmp_path))
    assert (data.classes, len(data.train.y), len(data.test.y)) == (("0", "1"), 24, 24)


def card(root: Path, labels: object) -> None:
    for i in range(24):
        picture(root / "00000" / f"img{i:08d}.png", 40 + i + 150 * (i % 2))
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))


LABELLED = [[f"00000/img{i:08d}.png", i % 2] for i in range(24)]


def packed(root: Path, top: str = "") -> Path:
    """A zip file of a folder, which is stored under a name of its own, or not at all."""
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in root.rglob("*"):
            archive.write(file, top + file.relative_to(root).as_posix())
    return path


@pytest.mark.parametrize("form", ["folder", "zip", "zip of a folder"])
def test_labels_of_stylegans_tools_are_ignored(tmp_path: Path, form: str) -> None:
    root = tmp_path / "sg"
    card(root, LABELLED)
    path = root if form == "folder" else packed(root, "sg/" if form == "zip of a folder" else "")
    data = load(str(path))
    assert data.classes == ("0", "1")
    for split in (data.train, data.test):
        assert ((split.x.mean((1, 2, 3)) > 120) == (split.y == 1)).all()
    assert len(data.train.y) + len(data.test.y) == 24


def test_card_without_labels_is_refused(tmp_path: Path) -> None:
    card(tmp_path, None)
    assert load(str(tmp_path)).classes == ("all",)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (3, "dataset.json: no list of labels"),
        ([["a.png", [1.0]]], "label [1.0] of a.png: a whole number is needed"),
        ([["../a.png", 1]], "../a.png is not in the folder"),
        ([["missing.png", 1], *LABELLED], "missing.png: not a readable image"),
        ([], "it names no file, or one file twice"),
        ([LABELLED[0], *LABELLED], "it names no file, or one file twice"),
    ],
)
def test_wrong_card_is_believed(tmp_path: Path, labels: object, line: str) -> None:
    card(tmp_path, labels)
    with pytest.raises(DataError) as caught:
        load(str(tmp_path))
    assert line in str(caught.value)


def one(root: Path, save: Callable[[Path], None], **options: Any) -> NDArray[np.uint8]:
    """The pixels of one image, [C, H, W], that is read among others of 12x9."""
    classes(root)
    save(root / "cat" / "0.png")
    data = read(root, **options)
    images = np.concatenate([data.train.x, data.test.x])
    (found,) = [image for image in images if (image == 77).any()]
    return found


def test_turned_image_is_not_upright(tmp_path: Path) -> None:
    """Cameras store images as they were held, and note how."""

    def save(path: Path) -> None:
        pixels = np.zeros((12, 9), np.uint8)  # lying; upright it is 9 high and 12 wide
        pixels[0, :] = 77
        noted = Image.Exif()
        noted[0x0112] = 6  # turn by 90 degrees clockwise
        Image.fromarray(pixels).save(path, exif=noted)

    image = one(tmp_path, save)
    assert image.shape == (1, 9, 12)
    assert (image[0, :, -1] == 77).all()


def test_what_lies_under_transparent_pixels_is_seen(tmp_path: Path) -> None:
    def save(path: Path) -> None:
        pixels = np.full((9, 12, 4), 77, np.uint8)
        pixels[:, :6, 3], pixels[:, 6:, 3] = 0, 255
        Image.fromarray(pixels).save(path)

    image = one(tmp_path, save)
    assert (image[:, :, :6] == 255).all(), "not white"
    assert (image[:, :, 6:] == 77).all()


def test_grey_among_colours_is_refused(tmp_path: Path) -> None:
    image = one(tmp_path, lambda path: picture(path, 77, "RGB"))
    assert image.shape == (3, 9, 12)


def test_sizes_differ_although_one_is_wanted(tmp_path: Path) -> None:
    """The middle of each image is kept, and what is made smaller is antialiased."""

    def save(path: Path) -> None:
        pixels = np.zeros((64, 100), np.uint8)
        pixels[:, 18:82] = 77  # the middle square
        pixels[:, 30:50:2] = 255  # finer than the pixels that stay
        Image.fromarray(pixels).save(path)

    image = one(tmp_path, save, image_size=16)
    assert image.shape == (1, 16, 16)
    assert (np.abs(image[0, :, -4:].astype(int) - 77) < 9).all()
    stripes = image[0, :, 4:7]
    assert ((stripes > 120) & (stripes < 210)).all(), "not antialiased"


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".webp", {}),
        (".webp", {"lossless": True}),
        (".webp", {"icc_profile": b"x"}),
        (".png", {}),
        (".bmp", {}),
    ],
)
def test_memory_is_taken_before_sizes_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, options: dict[str, Any]
) -> None:
    """A small file can claim a side of many thousand pixels."""
    classes(tmp_path / "pets")
    large = tmp_path / "pets" / "dog" / f"x{suffix}"
    Image.new("RGB", (300, 200), "red").save(large, **options)
    opened, decode = list[Path](), pictures.as_pixels

    def note(where: str, *rest: Any) -> Any:
        opened.append(Path(where))
        return decode(where, *rest)

    monkeypatch.setattr(pictures, "as_pixels", note)
    with pytest.raises(DataError, match=rf"x{suffix} is 200x300 but .*png is 9x12"):
        load(str(tmp_path / "pets"))
    assert opened
    assert large not in opened
    if suffix == ".webp":
        monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow opened it"))
        with pytest.raises(DataError, match="200x300"):
            pictures.read_image(large, like=("other", (9, 12)))


def test_animation_takes_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 92 bytes can take 1.7 GB in Pillow, before it says how many pictures it has."""
    path = tmp_path / "x.webp"
    frames = [Image.new("RGB", (12, 9), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow opened it"))
    with pytest.raises(DataError, match=r"x\.webp: an animation: one picture is needed"):
        pictures.read_image(path)


def test_more_than_memory_is_read(tmp_path: Path, little_memory: None) -> None:
    """The sizes are in the headers, and are looked at first."""
    classes(tmp_path / "pets")
    card(tmp_path / "sg", LABELLED)
    for name in ("pets", packed(tmp_path / "sg").name):
        with pytest.raises(DataError, match=r"GiB of images, and 0\.0 GiB of memory are free"):
            load(str(tmp_path / name))
