"""Folders of images as known data sets keep them, chosen by somebody who had not seen the code.

Where these fail, such a data set is read as another thing, or is refused without help.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.trainables.test_data_folders import bright_is_dog, classes, picture
from trainables.data import DataError, load


def test_folder_of_classes_beside_other_things_is_taken_for_a_class(tmp_path: Path) -> None:
    """As in CUB-200-2011, which keeps texts beside its images."""
    classes(tmp_path / "images")
    (tmp_path / "attributes").mkdir()
    (tmp_path / "attributes" / "list.txt").write_text("1 2")
    data = load(str(tmp_path))
    bright_is_dog(data)
    assert data.source.endswith("(left out: 1 .txt, 1 folder attributes)")


def test_folders_that_count_files_are_taken_for_classes(tmp_path: Path) -> None:
    """As in FFHQ, whose folder 01000 holds the images 01000 to 01999."""
    for i in (*range(6), *range(1000, 1006)):
        picture(tmp_path / f"{i - i % 1000:05}" / f"{i:05}.png", 10 * (i % 1000))
    data = load(str(tmp_path))
    assert (data.classes, len(data.train.y) + len(data.test.y)) == (("all",), 12)
    assert "count the files" in data.source


def test_numbered_people_are_taken_for_counts(tmp_path: Path) -> None:
    """As in CASIA-WebFace, whose folders 0000045 and so on are people."""
    for person in ("0000045", "0000099"):
        for i in range(10):
            picture(tmp_path / person / f"{i:03}.png", 10 * i)
    assert load(str(tmp_path)).classes == ("0000045", "0000099")


def test_unlabelled_split_is_taken_for_a_class(tmp_path: Path) -> None:
    """As in Tiny-ImageNet, which keeps the labels of val in a text file."""
    classes(tmp_path / "train")
    for i in range(4):
        picture(tmp_path / "val" / "images" / f"{i}.png", 10 * i)
    with pytest.raises(DataError, match=r"label images of the test images is not trained on: the"):
        load(str(tmp_path))


@pytest.mark.parametrize("suffix", [".tar", ".mat", ".h5"])
def test_format_that_is_not_read_is_not_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"train{suffix}").write_bytes(b"1234")
    with pytest.raises(DataError, match=f"there are 1 {suffix}: write a Python file"):
        load(str(tmp_path))


@pytest.mark.parametrize("suffix", [".tif", ".ppm", ".PGM"])
def test_format_is_not_read(tmp_path: Path, suffix: str) -> None:
    for i in range(12):
        picture(tmp_path / f"{i}{suffix}", 10 * i, "RGB" if suffix == ".ppm" else "L")
    assert load(str(tmp_path)).channels == (3 if suffix == ".ppm" else 1)


def test_several_pictures_in_one_file(tmp_path: Path) -> None:
    pages = [Image.new("L", (12, 9), 20 * i) for i in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"stack.tif: 3 pictures in one file: one is needed"):
        load(str(tmp_path))
