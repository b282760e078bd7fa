"""The common form of all data sets: labelled uint8 images in memory. Needs only numpy."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

POINT = (1, 1, 2)  # C, H, W of a point in the plane: its two pixels are its coordinates
SPLIT_SEED = 20_181_203  # for splitting data that come without a split; must never change

# The characters of Kuzushiji-49 in the order of its k49_classmap.csv: index = label. The last one
# is a mark that repeats a sound.
HIRAGANA: tuple[str, ...] = tuple(
    "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわゐゑをんゝ"
)


def one_line(text: str) -> str:
    """The text, with line breaks, control characters and undecodable bytes escaped."""
    strange = ("Cc", "Cs", "Zl", "Zp")
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in strange else c for c in text)


class DataError(ValueError):
    """The data cannot be used. The message is one line for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))  # a file name may hold line breaks


@dataclass(frozen=True)
class DataSpec:
    """What a data set looks like. This is known before its images are read."""

    classes: int
    channels: int
    size: tuple[int, int]  # H, W
    labels: int = 1  # most labels of one image; with more than one, y is multi-hot
    paired: bool = False  # the images are of two domains: see `two_domains`

    @property
    def points(self) -> bool:
        """Whether the images are points in the plane."""
        return (self.channels, *self.size) == POINT


@dataclass(frozen=True)
class Split:
    """Images and labels, in the same order.

    The images lie in memory in one way. Otherwise torch would choose other algorithms for them here
    than in another process, which gets a copy, and the same seed would give other numbers there.
    """

    x: NDArray[np.uint8]  # [N, C, H, W]
    y: NDArray[np.int64] | NDArray[np.uint8]  # int64 [N], or multi-hot uint8 [N, classes]

    def __post_init__(self) -> None:
        # The first reshape makes the strides of axes of length 1, such as a single channel, plain.
        plain = np.ascontiguousarray(self.x).reshape(-1).reshape(np.shape(self.x))
        object.__setattr__(self, "x", plain)

    def of(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Split:
        return Split(self.x[rows], self.y[rows])


@dataclass(frozen=True)
class Dataset:
    """Train and test images of the same classes.

    ```
    five = load("kana").keep(5)
    five.train.x.shape, five.classes  # (30000, 1, 28, 28), ("あ", "い", "う", "え", "お")
    ```
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]  # printable names, index = label
    source: str  # "rendered", "read from KMNIST", "downloaded"
    # Label sets to ask a generator for, by the name of their series: C multi-hot sets, uint8
    # [C, classes]. Only data with several labels per image have them.
    conditions: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    paired: bool = False  # the images are of two domains: see `two_domains`

    @property
    def size(self) -> tuple[int, int]:
        """H, W in pixels."""
        return self.train.x.shape[2], self.train.x.shape[3]

    @property
    def channels(self) -> int:
        return int(self.train.x.shape[1])

    @property
    def spec(self) -> DataSpec:
        y = self.train.y
        labels = 1 if y.ndim == 1 else int(y.sum(1).max())
        return DataSpec(len(self.classes), self.channels, self.size, labels, self.paired)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of a SHA-256 over images, labels, class names and `conditions`.

        The digest identifies the content of the data set.
        """
        sha = hashlib.sha256("\n".join(self.classes).encode())
        arrays = (self.train.x, self.train.y, self.test.x, self.test.y, *self.conditions.values())
        for array in arrays:
            sha.update(str(array.shape).encode())
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()[:16]

    def keep(self, n: int) -> Dataset:
        """The data set with only its first n classes.

        Raises:
            DataError: n is not in 1..K; or images have several labels and n is not K; or classes
                come in pairs and n is odd.
        """
        if not 1 <= n <= len(self.classes):
            raise DataError(f"classes={n}: {self.name} has {len(self.classes)} classes")
        if n == len(self.classes):
            return self
        if self.spec.labels > 1:
            raise DataError(f"classes={n}: images of {self.name} have several labels: keep all")
        if self.paired and n % 2:
            raise DataError(
                f"classes={n}: classes of {self.name} come in pairs: keep an even number"
            )
        parts = [split.of(split.y < n) for split in (self.train, self.test)]
        return dataclasses.replace(self, train=parts[0], test=parts[1], classes=self.classes[:n])


def two_domains(
    name: str,
    train: tuple[Split, Split],
    test: tuple[Split, Split],
    classes: Sequence[str],
    domains: tuple[str, str],
    source: str,
) -> Dataset:
    """Combine images of the same classes in two domains, for translation between the domains.

    Label 2k is class k in the first domain, and 2k + 1 is class k in the second. The training
    images of the two domains are unrelated. The test images are related one by one: rows 2i and
    2i + 1 are a pair.

    Args:
        train: the training images of the first and of the second domain, with labels k.
        test: the same for the test images. Row i of one domain is paired with row i of the other.
        classes: names of the classes k.
        domains: names of the two domains.
    """
    first, second = test
    labels = np.concatenate([2 * split.y + domain for domain, split in enumerate(train)])
    shuffled = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    unpaired = Split(np.concatenate([split.x for split in train]), labels.astype(np.int64))
    x = np.stack([first.x, second.x], axis=1).reshape(-1, *first.x.shape[1:])
    y = np.stack([2 * first.y, 2 * second.y + 1], axis=1).reshape(-1).astype(np.int64)
    names = tuple(f"{kind} {domain}" for kind in classes for domain in domains)
    return Dataset(name, unpaired.of(shuffled), Split(x, y), names, source, paired=True)


def divide(whole: Split, share: float = 0.8) -> tuple[Split, Split]:
    """Divide one split into train and test by a fixed seed: `share` of each class is for train."""
    rng = np.random.default_rng(SPLIT_SEED)
    chosen = np.zeros(len(whole.y), dtype=bool)
    for label in np.unique(whole.y):
        rows = rng.permutation(np.flatnonzero(whole.y == label))
        chosen[rows[: max(1, round(share * len(rows)))]] = True
    return whole.of(chosen), whole.of(~chosen)
