"""Metrics of whole sets of fakes, on fakes whose fault is known: what each is blind to.

If these tests fail, a collapse, permuted labels or foreign images pass for a good generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.metrics import intra_fcd, kcd, ms_ssim, prdc
from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference
from study.metrics.core.view import View, look
from trainables.data import Dataset, Split

CLASSES, SIDE, SAMPLES = 3, 8, 300
EVERY = ["fcd", "kcd", "prdc", "intra_fcd", "ms_ssim"]


class PixelJudges:
    """The 64 features are the pixels, centred, of about unit variance."""

    classes = CLASSES
    device = torch.device("cpu")

    def features(self, x: Any) -> np.ndarray:
        return (torch.as_tensor(x).flatten(1).double().numpy() - 110) / 35

    def logits(self, x: Any) -> np.ndarray:
        return np.zeros((len(x), CLASSES))


JUDGES = cast(Judge, PixelJudges())


def images(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Class k: bright in rows 2k to 2k+2; half of the noise is common to all pixels."""
    x = np.full((len(y), 1, SIDE, SIDE), 90.0)
    for image, label in zip(x, y, strict=True):
        image[:, 2 * label : 2 * label + 3] += 60
    x += 15 * (rng.normal(size=x.shape) + rng.normal(size=(len(y), 1, 1, 1)))
    return x.round().clip(0, 255).astype(np.uint8)


def split(n: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % CLASSES)
    return Split(images(y, rng), y)


DATASET = Dataset("bars", split(3_000, 1), split(60, 2), ("a", "b", "c"), "rendered")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return build_references([JUDGES], DATASET, SAMPLES, seed=0, wanted=EVERY)[0]


class Source(nn.Module):
    """A generator that is a function of labels and a seed."""

    conditional: ClassVar[bool] = True

    def __init__(self, draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> None:
        super().__init__()
        self.draw, self.device = draw, torch.device("cpu")

    def sample(self, y: Tensor | None, n: int, rng: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=rng))
        labels = np.arange(n) % CLASSES if y is None else y.numpy()
        return torch.from_numpy(self.draw(labels, np.random.default_rng(seed)))


def measure(
    reference: Reference,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    seed: int = 0,
    names: list[str] = EVERY,
) -> dict[str, float]:
    rng = torch.Generator().manual_seed(seed)
    return catalog.measure(look(cast(Any, Source(draw)), [reference], [JUDGES], rng), names)


@pytest.fixture(scope="module")
def good(reference: Reference) -> dict[str, float]:
    return measure(reference, images)


def test_a_perfect_generator_looks_bad(good: dict[str, float]) -> None:
    for column in ("precision", "recall", "coverage", "coverage_within", "ms_ssim_within"):
        assert good[column] == pytest.approx(good[f"{column}_real"], abs=0.06), column
    assert good["density"] == pytest.approx(1, abs=0.1)
    for column in ("coverage", "coverage_within"):  # 1 - 1/2^5, whatever the number of samples
        assert good[column] == pytest.approx(1 - 1 / 32, abs=0.03), column
    assert abs(good["kcd"]) < 0.05
    assert abs(good["kcd_floor"]) < 0.05
    assert good["intra_fcd"] < 2 * good["intra_fcd_floor"]


def test_permuted_labels_pass_for_good(reference: Reference, good: dict[str, float]) -> None:
    """The pooled metrics cannot see permuted labels. The metrics within a class must see them."""
    row = measure(reference, lambda y, rng: images((y + 1) % CLASSES, rng))
    for column in ("fcd", "precision", "recall", "density", "coverage", "ms_ssim_within"):
        assert row[column] == pytest.approx(good[column], rel=0.1, abs=0.05), column
    assert abs(row["kcd"]) < 0.05
    assert row["intra_fcd"] > 20 * good["intra_fcd"]
    assert row["coverage_within"] < 0.1


def test_one_image_per_class_passes_for_good(reference: Reference, good: dict[str, float]) -> None:
    one = images(np.arange(CLASSES), np.random.default_rng(0))
    row = measure(reference, lambda y, rng: one[y])
    assert row["precision"] == 1
    assert row["density"] > 1
    assert row["recall"] == 0
    assert max(row["coverage"], row["coverage_within"]) < 0.1
    assert row["ms_ssim_within"] == pytest.approx(1)
    assert row["ms_ssim_within_real"] < 0.6
    assert row["kcd"] > 0.5
    assert row["intra_fcd"] > 20 * good["intra_fcd"]


def test_foreign_images_pass_for_good(reference: Reference, good: dict[str, float]) -> None:
    row = measure(reference, lambda y, rng: 255 - images(y, rng))
    for column in ("precision", "recall", "density", "coverage", "coverage_within"):
        assert row[column] == 0, column
    assert row["kcd"] > 1
    assert row["intra_fcd"] > 100 * good["intra_fcd"]


def test_a_lost_class_passes_for_good(reference: Reference, good: dict[str, float]) -> None:
    """Two thirds of the real images are still covered."""
    row = measure(reference, lambda y, rng: images(np.minimum(y, 1), rng))
    assert row["precision"] == pytest.approx(good["precision"], abs=0.06)
    for column in ("recall", "coverage", "coverage_within"):
        assert row[column] == pytest.approx(2 / 3 * good[column], abs=0.07), column


@pytest.mark.parametrize("labelled", [True, False])
def test_kernel_distance_of_real_images_is_biased(labelled: bool) -> None:
    """With a bias, small sets of fakes would look worse than large ones.

    Without a correction for the fixed number of fakes per class, fakes would look too good.
    """
    rng = np.random.default_rng(3)
    values = []
    for _ in range(40):
        y = np.arange(60) % CLASSES
        drawn = y if labelled else rng.integers(CLASSES, size=60)
        real, fakes = (JUDGES.features(images(labels, rng)) for labels in (y, drawn))
        reference = SimpleNamespace(real=torch.from_numpy(real), real_y=torch.from_numpy(y))
        gan = SimpleNamespace(conditional=labelled)
        view = as_view(fakes, reference, y=torch.from_numpy(y), gan=gan)
        values.append(kcd.measure(view)["kcd"])
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


@pytest.mark.parametrize("rows", [2, 1_000])
def test_kernel_distance_is_another(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected distances are computed by the definition, pair by pair."""
    monkeypatch.setattr(kcd, "ROWS", rows)
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(7, 64)), rng.normal(size=(5, 64))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 64 + 1) ** 3)

    def mean(s: np.ndarray, weight: Callable[[int, int], float]) -> float:
        n = len(s)
        found = [(i, j) for i in range(n) for j in range(n) if i != j]
        return sum(weight(i, j) * kernel(s[i], s[j]) for i, j in found)

    between = sum(kernel(a, b) for a in x for b in z) / 35
    reference = SimpleNamespace(real=torch.from_numpy(x), real_y=torch.zeros(7, dtype=torch.int64))
    view = as_view(
        z, reference, y=torch.tensor([0, 1, 0, 1, 0]), gan=SimpleNamespace(conditional=False)
    )
    plain = mean(x, lambda i, j: 1 / 42) + mean(z, lambda i, j: 1 / 20) - 2 * between
    assert kcd.measure(view)["kcd"] == pytest.approx(plain)
    view.gan.conditional = True  # type: ignore[misc]
    share = {(0, 0): 0.6**2 / 6, (1, 1): 0.4**2 / 2, (0, 1): 1 / 25, (1, 0): 1 / 25}
    strata = mean(z, lambda i, j: share[i % 2, j % 2])
    assert kcd.measure(view)["kcd"] == pytest.approx(
        mean(x, lambda i, j: 1 / 42) + strata - 2 * between
    )


def as_view(features: np.ndarray, reference: Any, **rest: Any) -> View:
    given = SimpleNamespace(features=features, reference=reference, **rest)
    return cast(View, given)


@pytest.mark.parametrize("rows", [2, 1_000])
def test_neighbours_are_counted_wrong(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected values are computed by hand.

    Real points 0 to 5 have their third neighbours at 3 2 2 2 2 3, their fifth at 5 4 3 3 4 5. The
    fakes have their third neighbours at 5 3 2 2 2 3. The first fake is within 3 of real point 5.
    """
    monkeypatch.setattr(prdc, "ROWS", rows)
    real = torch.arange(6, dtype=torch.float64)[:, None]
    fakes = torch.tensor([7.0, 10, 11, 12, 13, 14], dtype=torch.float64)[:, None]
    assert prdc.prdc(real, fakes) == {
        "precision": pytest.approx(1 / 6),
        "recall": pytest.approx(4 / 6),  # 2 to 5 are within 5 of the first fake
        "density": pytest.approx(3 / (5 * 6)),  # fake 7 in balls 4 and 5, fake 10 in ball 5
        "coverage": pytest.approx(2 / 6),
    }


def test_equal_sets_are_not_equal() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 4)))
    row = prdc.prdc(x, x)
    assert (row["precision"], row["recall"], row["coverage"]) == (1, 1, 1)
    assert row["density"] == pytest.approx(6 / 5)  # each ball holds its centre and five others


def test_class_distance_is_another() -> None:
    """By hand: means differ by (3, 0); deviations are 2 and 1 of fakes, 1 and 1 of real images."""
    column = np.tile([-1.0, 1.0], 10) * math.sqrt(19 / 20)  # sample deviation 1 (divisor n - 1)
    features = np.stack([3 + 2 * column, np.roll(column, 1)], axis=1)
    reference = SimpleNamespace(
        class_means=torch.zeros(2, 2, dtype=torch.float64),
        class_variances=torch.ones(2, 2, dtype=torch.float64),
    )
    view = as_view(
        features, reference, y=torch.zeros(20, dtype=torch.int64), measurable_classes=[0]
    )
    assert intra_fcd.measure(view) == {"intra_fcd": pytest.approx(9 + 1)}


class TestMsSsim:
    def test_equal_images_differ(self) -> None:
        x = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
        assert ms_ssim.ms_ssim(x, x).numpy() == pytest.approx(1)

    @pytest.mark.parametrize(
        ("side", "share"), [(28, 0.3001 / 0.6305), (16, 0.2856 / 0.3304), (8, 1)]
    )
    def test_scales_are_not_those_that_fit(self, side: int, share: float) -> None:
        """Flat images differ in luminance alone, which counts at the coarsest scale only."""
        dark, bright = (torch.full((1, 1, side, side), v, dtype=torch.uint8) for v in (60, 120))
        c1 = (0.01 * 255) ** 2
        luminance = (2 * 60 * 120 + c1) / (60**2 + 120**2 + c1)
        assert float(ms_ssim.ms_ssim(dark, bright)) == pytest.approx(luminance**share, rel=1e-4)

    def test_images_too_small_for_the_window(self) -> None:
        x = torch.zeros(1, 1, 6, 28, dtype=torch.uint8)
        with pytest.raises(ValueError, match="needs 7 pixels: images are 6x28"):
            ms_ssim.ms_ssim(x, x)

    def test_noise_is_as_alike_as_a_small_change(self) -> None:
        rng = torch.Generator().manual_seed(0)
        x = torch.randint(0, 256, (20, 3, 32, 32), generator=rng, dtype=torch.uint8)
        near = ms_ssim.ms_ssim(x, (x.float() * 0.9).round().to(torch.uint8))
        far = ms_ssim.ms_ssim(x, x.flip(0))
        assert near.min() > 0.9
        assert far.max() < 0.3
        assert torch.equal(far, ms_ssim.ms_ssim(x.flip(0), x))


class TestFewSamples:
    """Thirty fakes of three classes are ten of each. Twenty are too few to judge single classes."""

    def test_few_fakes_are_not_measured(self) -> None:
        few = build_references([JUDGES], DATASET, 30, seed=0, wanted=EVERY)[0]
        row = measure(few, images)
        assert {"coverage_within", "coverage_within_real", "intra_fcd"} <= row.keys()

    def test_too_few_fakes_get_a_number(self) -> None:
        fewer = build_references([JUDGES], DATASET, 20, seed=0, wanted=EVERY)[0]
        row = measure(fewer, images)
        assert not {"coverage_within", "coverage_within_real", "intra_fcd"} & row.keys()
        assert {"coverage", "kcd", "ms_ssim_within"} <= row.keys()
        fewest = build_references([JUDGES], DATASET, 6, seed=0, wanted=EVERY)[0]
        assert measure(fewest, images).keys() >= {"kcd", "ms_ssim_within"}


def test_generator_without_labels_is_not_measured(reference: Reference) -> None:
    class Unconditional(Source):
        conditional = False

    source = cast(Any, Unconditional(images))
    views = look(source, [reference], [JUDGES], torch.Generator().manual_seed(0))
    row = catalog.measure(views, ["kcd", "prdc"])
    assert row["coverage"] == pytest.approx(1 - 1 / 32, abs=0.03)
    assert "coverage_within" not in row
