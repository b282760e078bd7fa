"""i-CLEVR's folder must be read as it is, with whole images resized, or be refused in one line.

Where these fail, labels belong to other images, a scene is in training and test at once, or an
hour of training begins on half a set.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import DataError, choose, describe, iclevr, load, shapes

SCENES = 160
RNG = np.random.default_rng(0)


def fabricate(folder: Path) -> None:
    """Write scenes that grow by one object, as images of 24x32 pixels.

    Row i of an image is dark in red and green if label i is there. Blue is the scene's number.
    """
    folder.mkdir(parents=True)
    # As in the lab's file, the labels are not in alphabetical order.
    numbers = {label: i for i, label in enumerate(shapes.LABELS)}
    shuffled = RNG.permutation(shapes.LABELS).tolist()
    (folder / "objects.json").write_text(json.dumps({label: numbers[label] for label in shuffled}))
    names: dict[str, list[str]] = {}
    for scene in range(SCENES):
        objects = RNG.permutation(24)[:3]
        for step in range(3):
            name = f"CLEVR_train_{scene:06d}_{step}.png"
            names[name] = [shapes.LABELS[i] for i in objects[: step + 1]]
            pixels = np.full((24, 32, 4), 200, np.uint8)
            pixels[:, :, 2:] = scene, 255
            pixels[objects[: step + 1], :, :2] = 10
            Image.fromarray(pixels).save(folder / name)
    (folder / "train.json").write_text(json.dumps(names))
    for series, count in (("test", 4), ("new_test", 3)):
        sets = [[shapes.LABELS[i] for i in RNG.permutation(24)[: 1 + n % 3]] for n in range(count)]
        (folder / f"{series}.json").write_text(json.dumps(sets))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    fabricate(root / "iclevr")
    return root


@pytest.fixture
def root(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "data")
    return tmp_path / "data"


def test_images_have_the_labels_of_others(kept: Path) -> None:
    data = load("iclevr", kept, progress=False)
    assert data.classes == shapes.LABELS
    assert data.spec == describe("iclevr")
    for split in (data.train, data.test):
        rows = np.linspace(0, 63, 24).round().astype(int)  # whole images: nothing is cropped
        dark = (split.x[:, 0, :, 32] < 110)[:, rows]
        seen = [set(np.flatnonzero(image).tolist()) for image in dark]
        for objects, y in zip(seen, split.y, strict=True):
            assert set(np.flatnonzero(y).tolist()) <= objects
    sizes = np.concatenate([data.train.y, data.test.y]).sum(1)
    assert np.bincount(sizes).tolist() == [0, SCENES, SCENES, SCENES]
    wanted = json.loads((kept / "iclevr/test.json").read_text())
    for labels, y in zip(wanted, data.conditions["test"], strict=True):
        assert {data.classes[i] for i in np.flatnonzero(y)} == set(labels)


def test_scene_is_in_training_and_test(kept: Path) -> None:
    """A scene's images show the same objects, so results on test images would say nothing."""
    data = load("iclevr", kept, progress=False)
    assert len(data.test.y) == 3 * round(0.1 * SCENES)
    train, test = (set(split.x[:, 2].ravel().tolist()) for split in (data.train, data.test))
    assert not train & test
    assert len(train | test) == SCENES
    assert load("iclevr", kept, progress=False).digest == data.digest


def test_images_in_a_folder_of_their_own_are_not_found(root: Path) -> None:
    digest = load("iclevr", root, progress=False).digest
    (root / "iclevr/images").mkdir()
    for path in (root / "iclevr").glob("*.png"):
        path.rename(path.parent / "images" / path.name)
    assert load("iclevr", root, progress=False).digest == digest


def test_cache_is_not_used_or_outlives_its_images(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = load("iclevr", root, cache, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(iclevr, "read_image", None)
        assert load("iclevr", root, cache, progress=False).digest == first.digest
    (file,) = (cache / "data").iterdir()
    altered = bytearray(file.read_bytes())
    for at in (200, len(altered) // 2, len(altered) - 40, len(altered) - 1):
        altered[at] ^= 4
        file.write_bytes(altered)
        assert load("iclevr", root, cache, progress=False).digest == first.digest, "a bit flipped"
    path = root / "iclevr/CLEVR_train_000003_1.png"
    Image.new("RGB", (40, 30), "red").save(path)
    assert load("iclevr", root, cache, progress=False).digest != first.digest
    for file in (cache / "data").iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    assert load("iclevr", root, cache, progress=False).digest != first.digest


def test_stand_in_is_not_taken_where_images_are_missing(root: Path) -> None:
    assert choose("auto", "iclevr", "shapes", root)[0] == "iclevr"
    (root / "iclevr/CLEVR_train_000003_1.png").unlink()
    name, line = choose("auto", "iclevr", "shapes", root)
    assert name == "shapes"
    assert line == (
        f"data: shapes, rendered, as a stand-in: iclevr is not in {root} and has no address to "
        "download it from (iclevr/ needs its images and json files)"
    )
    with pytest.raises(DataError, match=r"data 'iclevr' is not in .* and has no address"):
        choose("iclevr", "iclevr", "shapes", root)
    with pytest.raises(DataError, match=r"iclevr: images of train\.json are missing"):
        load("iclevr", root)


def rewrite(file: str, change: Callable[[object], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / f"{file}.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return apply


FIRST = "CLEVR_train_000000_0.png"
BAD = {  # what is done to the folder, what the message says
    "no json": (lambda f: (f / "train.json").write_text("{"), r"train\.json: not a json file"),
    "a list": (rewrite("train", list), r"train\.json: a dict with entries is needed"),
    "no entry": (rewrite("test", lambda _: []), r"test\.json: a list with entries is needed"),
    "unknown label": (
        rewrite("train", lambda v: {**v, FIRST: ["pink cube"]}),
        f"{FIRST}: unknown label 'pink cube'",
    ),
    "label of another type": (
        rewrite("train", lambda v: {**v, FIRST: [["red cube"]]}),
        f"{FIRST}: unknown label",
    ),
    "no label": (rewrite("train", lambda v: {**v, FIRST: []}), r"\[\]: a list of 1 to 3 labels"),
    "four labels": (
        rewrite("new_test", lambda v: [*v, list(shapes.LABELS[:4])]),
        "a list of 1 to 3 labels is needed",
    ),
    "numbers": (
        rewrite("objects", lambda v: {**v, "red cube": 0}),
        "24 labels numbered 0 to 23 are needed",
    ),
    "a label nobody has": (
        rewrite("train", lambda v: {n: [x for x in o if x != "red cube"] or o for n, o in v.items()
                                    if o != ["red cube"]}),
        "0 images for training have the label 'red cube'",
    ),
    "single objects": (
        rewrite("train", lambda v: {n: o for n, o in v.items() if len(o) == 1}),
        "no two images for training share 2 labels and all",
    ),
    "a few scenes": (
        rewrite("train", lambda v: dict(list(v.items())[:90])),
        "no two images for training share 3 labels and all|images for training have the label",
    ),
    "damaged image": (lambda f: (f / FIRST).write_bytes(b"PNG"), "not a readable image"),
    "grey image": (lambda f: Image.new("L", (9, 9)).save(f / FIRST), "a colour image is needed"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_wrong_folder_is_read_or_ends_in_a_traceback(root: Path, case: str) -> None:
    spoil, message = BAD[case]
    spoil(root / "iclevr")
    with pytest.raises(DataError, match=message) as caught:
        load("iclevr", root, progress=False)
    assert "\n" not in str(caught.value)
