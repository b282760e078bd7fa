"""What metrics say about fakes whose quality is known, and which metrics are refused."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainables
from study.check import metrics
from study.metrics.core import catalog
from study.metrics.core.class_counts import allocate
from study.metrics.core.frechet import moments
from study.metrics.core.judge import Judge
from study.metrics.core.needs import OFFERS
from study.metrics.core.reference import Reference
from study.metrics.core.view import View, look
from tests.study.metrics import measure
from tests.study.tiny import SPEC

CLASSES = 4


class PixelJudges:
    """Reads the label off the first pixel; the features are the next three pixels."""

    def logits(self, x: Tensor) -> np.ndarray:
        # A fifth class that no condition here has gets the highest logit of all.
        return np.eye(CLASSES + 1)[x[:, 0, 0, 0].numpy()] + np.eye(CLASSES + 1)[CLASSES] * 2

    def features(self, x: Tensor) -> np.ndarray:
        return x[:, 0, 0, 1:4].double().numpy()


class FakeGan(nn.Module):
    """`read` maps the label asked for to the label that the judge will read."""

    conditional: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

    def __init__(self, read: list[int], spread: int = 40) -> None:
        super().__init__()
        self.read, self.spread = torch.tensor(read), spread
        self.config, self.device = SimpleNamespace(batch=16), torch.device("cpu")
        self.register_buffer("average", torch.zeros(()))
        self.batches: list[Tensor] = []

    def sample(self, y: Tensor, n: int, rng: torch.Generator) -> Tensor:
        x = torch.randint(100 - self.spread, 101 + self.spread, (n, 1, 1, 4), generator=rng)
        x[:, 0, 0, 0] = self.read[y]
        return x.to(torch.uint8)

    def classify(self, x: Tensor) -> Tensor:
        """D's head reads the code of this G: on fakes it finds the label that was asked for.

        On real images it is right only if `read` is the identity.
        """
        self.batches.append(x)
        self.average += 1  # as BatchNorm in training mode does
        label = ((x[:, 0, 0, 0] + 1) * 127.5).round().long()
        asked = torch.argsort(self.read)[label]
        return torch.eye(CLASSES)[asked] * 3

    def gradient_norms(self, x: Tensor, y: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        assert x.shape == (16, 1, 1, 4)
        assert x.min() >= -1
        return {"adversarial": torch.tensor(2.0), "class": torch.tensor(0.5)}


def reference(samples: int = 400) -> Reference:
    rng = np.random.default_rng(0)
    y = rng.choice(CLASSES, 50, p=[0.5, 0.3, 0.19, 0.01])
    x = rng.integers(60, 141, (50, 1, 1, 4)).astype(np.uint8)
    x[:, 0, 0, 0] = y
    many = moments(rng.integers(60, 141, (5000, 3)).astype(float))
    return Reference(
        samples=samples,
        mean=torch.from_numpy(many.mean),
        cov=torch.from_numpy(many.cov),
        fcd_floor=1.5,
        class_traces=torch.full((CLASSES,), float(many.cov.trace()), dtype=torch.float64),
        label_accuracy_real=0.8,
        marginal=torch.tensor([0.5, 0.3, 0.19, 0.01], dtype=torch.float64),
        x=torch.from_numpy(x),
        y=torch.from_numpy(y),
    )


def view(gan: Any, seed: int = 0, **kwargs: Any) -> View:
    judges = cast(Judge, PixelJudges())
    return look(gan, [reference()], [judges], torch.Generator().manual_seed(seed), **kwargs)[0]


EVERY = ["class_loss", "fcd", "gradients", "labels", "variance"]


def test_a_good_generator_scores_badly() -> None:
    row = measure(view(FakeGan([0, 1, 2, 3])), EVERY)
    assert row["label_accuracy"] == row["label_accuracy_matched"] == 1
    assert row["label_accuracy_relative"] == pytest.approx(1.25)
    assert row["label_accuracy_real"] == 0.8
    assert row["classes_working"] == 1
    assert row["variance_ratio"] == pytest.approx(1, abs=0.3)
    assert row["fcd"] < 30
    assert row["fcd_floor"] == 1.5
    assert row["samples"] == 400
    assert row["collusion_gap"] == 0
    assert row["class_accuracy/real"] == row["class_accuracy/fake"] == 1
    assert row["class_loss_ratio"] == pytest.approx(1, abs=0.05)
    assert row["gradient_norm/adversarial"] == 2


def test_permuted_labels_look_like_garbage() -> None:
    """The original ACGAN fails like this: D and G agree on a code that no judge reads."""
    row = measure(view(FakeGan([1, 2, 3, 0])), EVERY)
    assert row["label_accuracy"] == 0
    assert row["label_accuracy_matched"] == 1
    assert row["classes_working"] == 0
    assert row["collusion_gap"] == row["class_accuracy/fake"] == 1
    assert row["class_accuracy/real"] == 0
    assert row["class_loss/real"] > row["class_loss/fake"] + 1
    ratio = row["class_loss/real"] / row["class_loss/fake"]
    assert row["class_loss_ratio"] == pytest.approx(ratio)


def test_collapse_within_classes_is_missed() -> None:
    row = measure(view(FakeGan([0, 1, 2, 3], spread=0)), ["variance", "fcd", "labels"])
    assert row["label_accuracy"] == 1
    assert row["variance_ratio"] == 0
    assert row["fcd"] > 1_000


def test_half_of_the_classes_work_counts_wrong() -> None:
    row = measure(view(FakeGan([0, 1, 0, 1])), ["labels"])
    assert row["classes_working"] == 0.5
    assert row["label_accuracy"] == pytest.approx(0.8, abs=0.01)


def test_measuring_changes_the_gan() -> None:
    """A forward pass of D in training mode moves the averages of its BatchNorm.

    Measuring twice as often must not train another GAN.
    """
    gan = FakeGan([0, 1, 2, 3])
    measure(view(gan), EVERY)
    assert gan.batches
    assert gan.average == 0


def test_d_sees_mixed_or_odd_batches() -> None:
    """D's BatchNorm must see batches as in training: of the same size, and all real or all fake."""
    gan = FakeGan([0, 1, 2, 3])
    seen = view(gan)
    measure(seen, ["class_loss"])
    assert [len(batch) for batch in gan.batches] == [16] * 6
    real = ((seen.reference.x[:48].float() / 127.5) - 1).split(16)
    assert all(torch.allclose(a, b) for a, b in zip(gan.batches, real, strict=False))
    assert {len(set(seen.y[i : i + 16].tolist())) for i in (0, 16, 32)} != {1}


def test_one_view_draws_or_judges_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("features", "logits"):
        judge = getattr(PixelJudges, name)
        monkeypatch.setattr(
            PixelJudges, name, lambda s, x, n=name, f=judge: calls.append(n) or f(s, x)
        )
    measure(view(FakeGan([0, 1, 2, 3])), EVERY)
    assert sorted(calls) == ["features", "logits"]


def test_same_seed_gives_other_fakes() -> None:
    a, b, c = (view(FakeGan([0, 1, 2, 3]), seed) for seed in (1, 1, 2))
    assert torch.equal(a.fakes, b.fakes)
    assert torch.equal(a.y, b.y)
    assert not torch.equal(a.fakes, c.fakes)


@pytest.mark.parametrize("n", [9, 12, 100, 1000, 2003])
def test_labels_are_not_of_the_real_marginal(n: int) -> None:
    marginal = np.array([0.5, 0.3, 0.19, 0.01])
    counts = allocate(marginal, n)
    assert counts.sum() == n
    assert counts.min() >= 2
    if n >= 1000:
        assert np.abs(counts - marginal * n).max() <= 1
    assert (allocate(marginal, n) == counts).all()


def test_fewer_fakes_than_classes_crash() -> None:
    assert allocate(np.full(10, 0.1), 7).sum() == 7
    assert allocate(np.full(10, 0.1), 13).tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]


def test_wrong_number_of_fakes_gets_a_floor() -> None:
    seen = view(FakeGan([0, 1, 2, 3]))
    fewer = View(seen.gan, seen.reference, seen.judge, seen.fakes[:99], seen.y[:99], seen.rng)
    with pytest.raises(ValueError, match="400 samples but there are 99"):
        measure(fewer, ["fcd"])


def test_nan_is_reported_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = FakeGan([0, 1, 2, 3])
    monkeypatch.setattr(gan, "gradient_norms", lambda *a: {"class": torch.tensor(float("nan"))})
    with pytest.raises(FloatingPointError, match="gradient_norm/class is nan"):
        measure(view(gan), ["gradients"])


def test_undeclared_column_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.load("labels"), "measure", lambda view: {"new": 1.0})
    with pytest.raises(KeyError, match="labels measures new"):
        measure(view(FakeGan([0, 1, 2, 3])), ["labels"])


def test_real_images_are_measured_at_every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring real images once per condition is enough.

    A metric's columns of real images are recorded with its columns of fakes, or not at all.
    """
    labels = catalog.load("labels")
    monkeypatch.setattr(labels, "REAL", {"label_accuracy": "label_accuracy_real"}, raising=False)
    perfect = view(FakeGan([0, 1, 2, 3]))
    assert catalog.on_real([perfect], ["labels", "variance"]) == [{"label_accuracy_real": 1}]
    known = dataclasses.replace(perfect.reference, on_real={"fcd_floor": 7.0, "kcd_floor": 8.0})
    row = measure(dataclasses.replace(perfect, reference=known), ["fcd"])
    assert row["fcd_floor"] == 7
    assert "kcd_floor" not in row


def test_a_metric_file_is_not_found_or_a_helper_is() -> None:
    assert {*EVERY, "fid"} <= set(catalog.names())
    assert not {"frechet", "judge", "reference", "view", "__init__"} & set(catalog.names())


@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("check", metrics.DECLARED, ids=[c.__name__ for c in metrics.DECLARED])
def test_metric_file_breaks_the_contract(check: Any, name: str) -> None:
    """The contract is in study/check/metrics.py, because strangers' metrics have it, too."""
    assert not catalog.load(name).NEEDS - OFFERS.keys()
    check(name)


def test_two_metrics_claim_one_column() -> None:
    columns = [c for name in catalog.names() for c in catalog.load(name).COLUMNS]
    assert len(columns) == len(set(columns))


def test_unknown_metric_starts() -> None:
    with pytest.raises(
        ValueError, match=r"unknown metric 'fdi': choose from .*class_loss, .*fcd, fid"
    ):
        catalog.load("fdi")


def test_variant_is_asked_for_what_it_lacks() -> None:
    """A cGAN beside an ACGAN in one study would fail at its first tick."""
    assert catalog.suited(EVERY, trainables.load("acgan"), SPEC) == EVERY
    left = [name for name in EVERY if name != "class_loss"]
    assert catalog.suited(EVERY, trainables.load("cgan"), SPEC) == left


def test_metric_of_a_class_head_starts_without_one() -> None:
    catalog.check(EVERY, trainables.load("acgan"), SPEC)
    with pytest.raises(ValueError, match="'class_loss' needs a class head in D, which") as caught:
        catalog.check(EVERY, trainables.load("cgan"), SPEC)
    offered = str(caught.value).split("choose from ")[1].split(", ")
    assert "labels" in offered
    assert "class_loss" not in offered
    with pytest.raises(ValueError, match="'labels' needs a generator that takes labels"):
        catalog.check(["fcd", "labels"], trainables.load("dcgan"), SPEC)
