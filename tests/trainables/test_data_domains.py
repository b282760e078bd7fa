"""Data of two domains: which images are paired, and which must not be.

Where these fail, translation is taught with pairs, or measured against the wrong picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainables.conftest import idx, images
from trainables.data import DataError, Dataset, choose, describe, kana, load, negatives, styles
from trainables.data.base import Split, two_domains
from trainables.data.render_kana import FACES

pytestmark = pytest.mark.timeout(60)  # some 50,000 images are rendered


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return load("kana_styles")


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A small MNIST's four files: 40 training and 5 test images of each digit."""
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for part, per_class in (("train", 40), ("t10k", 5)):
        x, y = images(per_class, seed=per_class)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(x))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(y))
    return tmp_path


def small() -> Dataset:
    def split(first: int, n: int) -> Split:
        x = np.arange(first, first + n, dtype=np.uint8)[:, None, None, None]
        return Split(x, np.arange(n, dtype=np.int64) % 3)

    train, test = (split(0, 12), split(100, 9)), (split(200, 6), split(220, 6))
    return two_domains("small", train, test, ("a", "b", "c"), ("one", "two"), "rendered")


@pytest.mark.slow
def test_labels_do_not_tell_the_domain() -> None:
    data = small()
    assert data.classes == ("a one", "a two", "b one", "b two", "c one", "c two")
    x = data.train.x[:, 0, 0, 0].astype(int)
    assert len(x) == 21
    assert ((data.train.y % 2 == 1) == (x >= 100)).all()
    assert (data.train.y // 2 == np.where(x < 100, x, x - 100) % 3).all()
    assert data.spec.paired
    assert not load("kana_digits").spec.paired


def test_test_rows_are_no_pairs() -> None:
    data = small()
    for kept in (data, data.keep(4), data.keep(2)):
        x = kept.test.x[:, 0, 0, 0].astype(int).reshape(-1, 2)
        assert (x[:, 0] + 20 == x[:, 1]).all()
        assert (kept.test.y.reshape(-1, 2) == kept.test.y[::2, None] + [0, 1]).all()
        assert kept.spec.paired
    with pytest.raises(DataError, match=r"classes=3: .* come in pairs: keep an even number"):
        data.keep(3)


def test_styles_are_other_images_than_on_other_machines(drawn: Dataset) -> None:
    assert drawn.digest == "164263259bcfc10d"
    assert drawn.spec == styles.SETS["kana_styles"]
    assert (np.bincount(drawn.train.y) == styles.TRAIN).all()
    assert (np.bincount(drawn.test.y) == styles.TEST).all()


def test_a_face_is_of_both_styles_or_of_none() -> None:
    gothic, brush = map(set, styles.STYLES.values())
    assert not gothic & brush
    assert gothic | brush <= {face.file for face in FACES}


def test_pairs_of_styles_have_nothing_in_common(drawn: Dataset) -> None:
    """A pair shows one character, bent and toned alike.

    Its two images must be nearer to each other than to other images of the character.
    """
    first, second = (drawn.test.x[side::2, 0].astype(float) for side in range(2))
    paired = np.abs(first - second).mean()
    y = drawn.test.y[::2]
    order = np.concatenate([np.roll(np.flatnonzero(y == k), 1) for k in np.unique(y)])
    place = np.concatenate([np.flatnonzero(y == k) for k in np.unique(y)])
    assert paired < 0.9 * np.abs(first[place] - second[order]).mean()


def test_training_images_are_pairs(drawn: Dataset) -> None:
    """The training images of the two styles must be drawn independently of each other.

    Their characters must come in different orders. No training image may be a test image.
    """
    sides = [drawn.train.y[drawn.train.y % 2 == side] // 2 for side in range(2)]
    assert (sides[0] == sides[1]).mean() < 0.05
    train, test = ({x.tobytes() for x in split.x} for split in (drawn.train, drawn.test))
    assert not train & test


def test_map_of_negatives_does_not_hold(mnist: Path) -> None:
    data = load("mnist_negatives", mnist)
    assert data.spec == describe("mnist_negatives")
    assert (data.test.x[1::2] == 255 - data.test.x[::2]).all()
    assert len(data.test.y) == 100
    assert (np.bincount(data.train.y) == 20).all()
    whole = {x.tobytes() for x in load("mnist", mnist).train.x}
    plain, negative = (data.train.x[data.train.y % 2 == side] for side in range(2))
    halves = {x.tobytes() for x in plain}, {(255 - x).tobytes() for x in negative}
    assert halves[0] | halves[1] == whole
    assert not halves[0] & halves[1], "a digit and its own negative are both trained on"


def test_negatives_are_looked_for_elsewhere_than_digits(mnist: Path, closed: str) -> None:
    name, line = choose("auto", "mnist_negatives", "kana_digits_negatives", mnist)
    assert (name, line) == (
        "mnist_negatives",
        f"data: mnist_negatives, read from MNIST/raw in {mnist}",
    )
    name, line = choose("auto", "mnist_negatives", "kana_digits_negatives", mnist / "none")
    assert name == "kana_digits_negatives"
    assert closed in line
    assert {digits.removesuffix(negatives.ENDING) for digits in negatives.SETS} <= {
        "mnist",
        *kana.SETS,
    }
