"""What `translation` says about translators whose quality is known, and who is asked for it.

If these tests fail, a direction may be swapped, and then copying passes for translating.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainables
from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.measure_real import build_references
from study.metrics.core.reference import Reference
from study.metrics.core.view import View
from tests.study.metrics import measure
from tests.study.tiny import PAIRED, SPEC
from trainables.data.base import Dataset, Split, two_domains

P = 60


class PixelJudges:
    """Reads the class as the first pixel / 20, and the domain as whether the second is light."""

    def logits(self, x: Tensor) -> Any:
        first, second = x[:, 0, 0, 0].int(), x[:, 0, 0, 1].int()
        label = 2 * torch.div(first + 10, 20, rounding_mode="floor") + (second > 127)
        return np.eye(8)[label.clamp(max=7).numpy()]


class Translator(nn.Module):
    """The right translation replaces the second and the third pixel p by 255 - p.

    `does` names what this translator does: the right thing, or a certain mistake.
    """

    conditional: ClassVar[bool] = True

    def __init__(self, does: str) -> None:
        super().__init__()
        self.does, self.asked = does, list[int]()

    def translate(self, x: Tensor, domain: int) -> Tensor:
        self.asked.append(domain)
        if self.does == "copy":
            return x
        out = x.clone()
        out[..., 1:] = 255 - x[..., 1:]
        if self.does == "permute":
            out[:, 0, 0, 0] = (x[:, 0, 0, 0] + 20) % 60
        if self.does == "forth only" and domain == 0:
            return x
        if self.does == "hide":  # the lowest bit of a grey third pixel keeps what it was
            out[..., 2] = 128 + x[..., 2] // 255 if domain else x[..., 2] % 2 * 255
        return out


def pairs() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(P) % 3
    dark, either = torch.randint(0, 100, (P,), generator=rng), torch.arange(P) // 3 % 2 * 255
    first = torch.stack([20 * y, dark, either], 1)
    second = torch.cat([first[:, :1], 255 - first[:, 1:]], 1)
    x = torch.stack([first, second], 1)[:, :, None, None].to(torch.uint8)
    return x, torch.stack([2 * y, 2 * y + 1], 1)


def measured(does: str, seed: int = 0) -> dict[str, float]:
    x, y = pairs()
    empty = torch.zeros(0)
    reference = Reference(
        samples=2,
        mean=empty,
        cov=empty,
        fcd_floor=0.0,
        class_traces=empty,
        label_accuracy_real=1.0,
        marginal=torch.full((6,), 1 / 6),
        x=empty,
        y=empty,
        pairs=x,
        pairs_y=y,
    )
    gan: Any = Translator(does)
    judges: Any = PixelJudges()
    rng = torch.Generator().manual_seed(seed)
    view = View(gan, reference, judges, empty, empty, rng)
    row = measure(view, ["translation"])
    assert row == measure(view, ["translation"]), "not repeatable"
    return row


def test_right_answers_score_badly() -> None:
    row = measured("right")
    for column in ("paired_l1", "paired_l1/forth", "paired_l1/back", "cycle_l1"):
        assert row[column] == 0, column
    for column in ("label_consistency", "translation_accuracy", "domain_accuracy"):
        assert row[column] == 1, column
    assert row.keys() == catalog.load("translation").COLUMNS.keys()


def test_copying_passes_for_translating() -> None:
    row = measured("copy")
    x, _ = pairs()
    off = (x[:, 0].float() - x[:, 1].float()).abs().mean() / 255
    assert row["paired_l1"] == pytest.approx(float(off))
    assert row["paired_l1"] == row["paired_l1_copy"]
    assert row["label_consistency"] == 1
    assert row["domain_accuracy"] == row["translation_accuracy"] == 0


def test_permuted_classes_are_not_seen() -> None:
    """The adversarial loss alone allows good pictures of another class."""
    row = measured("permute")
    assert row["label_consistency"] == row["translation_accuracy"] == 0
    assert row["domain_accuracy"] == 1
    assert row["paired_l1"] > 0


def test_directions_are_swapped() -> None:
    row = measured("forth only")
    assert row["paired_l1/forth"] == 0
    assert row["paired_l1/back"] == row["paired_l1_copy"]
    assert row["paired_l1"] == pytest.approx(row["paired_l1/back"] / 2)
    assert row["domain_accuracy"] == row["translation_accuracy"] == 0.5


def test_hidden_code_is_not_seen() -> None:
    """A translator that hides the source in its output multiplies noise.

    An honest translator only passes the noise on.
    """
    honest, hides = measured("right"), measured("hide")
    assert honest["cycle_l1"] == 0
    assert honest["cycle_l1_noisy"] < 0.03
    assert hides["cycle_l1_noisy"] - hides["cycle_l1"] > 2 * honest["cycle_l1_noisy"]


def test_pairs_are_not_the_datas(judges: list[Judge]) -> None:
    """The held-out rows 2i and 2i + 1 are a pair.

    The test takes the same path from a data set to its reference as a study.
    """
    rng = np.random.default_rng(0)

    def split(n: int, low: int) -> Split:
        x = rng.integers(low, low + 50, (n, 1, 16, 16)).astype(np.uint8)
        return Split(x, np.arange(n) % 1)

    train, test = (split(30, 0), split(30, 200)), (split(20, 0), split(20, 200))
    data = two_domains("d", train, test, ("a",), ("dark", "light"), "rendered")
    reference = build_references(judges, data, samples=10, seed=0)[0]
    assert torch.equal(reference.pairs[:, 0], torch.from_numpy(test[0].x))
    assert torch.equal(reference.pairs[:, 1], torch.from_numpy(test[1].x))
    assert reference.pairs_y.tolist() == [[0, 1]] * 20
    plain: Dataset = dataclasses.replace(data, paired=False)
    assert len(build_references(judges, plain, samples=10, seed=0)[0].pairs) == 0


def test_variant_or_data_are_asked_for_what_they_lack() -> None:
    cyclegan, acgan = trainables.load("cyclegan"), trainables.load("acgan")
    wanted = ["fcd", "labels", "translation"]
    assert catalog.suited(wanted, cyclegan, PAIRED) == wanted
    assert catalog.suited(wanted, cyclegan, SPEC) == catalog.suited(wanted, acgan, PAIRED)
    catalog.check(wanted, cyclegan, PAIRED)
    with pytest.raises(ValueError, match="'translation' needs images in pairs of two domains"):
        catalog.check(wanted, cyclegan, SPEC)
    with pytest.raises(ValueError, match="translates images, which Acgan does not: choose from"):
        catalog.check(wanted, acgan, PAIRED)
