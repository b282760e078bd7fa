"""What `encoder` and `reconstruction` say about encoders whose quality is known.

If these tests fail, an E that inverts nothing passes for one that inverts G.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import trainables
from study.metrics import encoder, reconstruction
from study.metrics.core import catalog
from study.metrics.core.judge import Judge
from study.metrics.core.reference import Reference
from study.metrics.core.view import View
from tests.study import tiny
from tests.study.metrics import measure
from tests.study.tiny import SPEC
from trainables.core.images import to_uint8
from trainables.data.base import DataSpec

SPLIT = tiny.bars(300, 5)
TRAIN = torch.from_numpy(SPLIT.x), torch.from_numpy(SPLIT.y)

BOTH = ["encoder", "reconstruction"]


class BarJudges:
    """Reads which third of the rows is brightest; the features are the rows' means."""

    def logits(self, x: Tensor) -> np.ndarray:
        rows = x.float().mean((1, 3)).numpy()
        thirds = np.stack([rows[:, 5 * k : 5 * k + 5].mean(1) for k in range(3)], axis=1)
        return np.concatenate([thirds, np.full((len(x), 1), 999.0)], axis=1)  # no image's class

    def features(self, x: Tensor) -> np.ndarray:
        return x.double().mean((1, 3)).numpy()


class Coder(nn.Module):
    """A GAN whose code z is the image itself times a weight, and whose G draws z again.

    `broken` names how G fails: it shifts the images, or draws one image for all codes.
    """

    conditional: ClassVar[bool] = False
    broken: ClassVar[str] = ""

    def __init__(self, config: Any, images: DataSpec, device: torch.device, bf16: bool) -> None:
        super().__init__()
        self.config, self.data_spec, self.device, self.bf16 = config, images, device, bf16
        self.weight = nn.Parameter(torch.rand(()) * 0)  # untrained E: all codes are equal

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) * self.weight.detach()

    def sample(self, y: Tensor | None, n: int, rng: torch.Generator, z: Tensor) -> Tensor:
        x = to_uint8(z.view(n, 1, tiny.SIZE, tiny.SIZE))
        if self.broken == "shifted":
            return x.roll(5, 2)
        return x[:1].expand(n, -1, -1, -1) if self.broken == "collapsed" else x


def view(broken: str = "", weight: float = 1.0) -> View:
    kind = type("Broken", (Coder,), {"broken": broken})
    gan = kind(SimpleNamespace(batch=32), DataSpec(3, 1, (16, 16)), torch.device("cpu"), False)
    with torch.no_grad():
        gan.weight.fill_(weight)
    data = tiny.dataset().test
    ones = torch.ones(3, dtype=torch.float64)
    reference = Reference(
        samples=10,
        mean=ones,
        cov=torch.eye(3, dtype=torch.float64),
        fcd_floor=1.0,
        class_traces=ones,
        label_accuracy_real=1.0,
        marginal=ones / 3,
        x=torch.from_numpy(data.x),
        y=torch.from_numpy(data.y),
    )
    fakes, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    rng = torch.Generator().manual_seed(0)
    return View(gan, reference, cast(Judge, BarJudges()), fakes, y, rng, None, TRAIN)


def measured(broken: str = "", weight: float = 1.0) -> dict[str, float]:
    return measure(view(broken, weight), BOTH)


def test_an_inverse_is_not_seen_as_one() -> None:
    row = measured()
    assert row["reconstruction/pixels"] == row["reconstruction/features"] == 0
    assert row["reconstruction/labels"] == 1
    assert row["encoder/knn"] > 0.95
    assert row["encoder/linear"] > 0.95
    assert row["encoder/knn_gain"] == pytest.approx(row["encoder/knn"] - row["encoder/knn_random"])


@pytest.mark.parametrize("column", ["pixels", "features"])
def test_one_image_for_all_passes_for_a_reconstruction(column: str) -> None:
    """A collapsed G is as near to all images as to its own: a mean distance alone may be small."""
    row = measured("collapsed")
    assert row[f"reconstruction/{column}"] == pytest.approx(1)
    assert row["reconstruction/labels"] == pytest.approx(1 / 3, abs=0.1)
    assert row["encoder/knn"] > 0.95, "the codes are as good as ever"


def test_wrong_digits_pass_for_reconstructions() -> None:
    row = measured("shifted")
    assert row["reconstruction/labels"] == 0
    assert row["reconstruction/features"] > 0.9


def test_control_is_trained() -> None:
    """The control is an untrained encoder, which here gives all images the same code.

    The trained encoder must not stand in for it.
    """
    row = measured()
    assert row["encoder/knn_random"] < 0.5
    assert row["encoder/linear_random"] < 0.5
    assert row["reconstruction/pixels_random"] == pytest.approx(1)
    same = measured(weight=0.0)
    assert same["encoder/knn_gain"] == same["encoder/linear_gain"] == 0


def test_control_is_one_draw_or_moves_the_global_rng(monkeypatch: pytest.MonkeyPatch) -> None:
    """One random encoder may be lucky, and drawing it must not change what is trained."""
    seeds: list[float] = []
    plain = Coder.__init__

    def noted(self: Coder, *args: Any) -> None:
        plain(self, *args)
        seeds.append(float(torch.rand(())))

    torch.manual_seed(3)
    seen, before = view(), torch.get_rng_state()
    monkeypatch.setattr(Coder, "__init__", noted)
    measure(seen, ["encoder"])
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(seeds)) == encoder.RANDOM > 1


def test_random_encoder_of_a_variant_is_another_architecture() -> None:
    """The random encoder of each variant must score between chance and the best on images.

    The trained encoder must score differently, and measuring must not change the GAN.
    """
    for name in ("augmented_bigan", "bigan", "bigbigan", "latent_regressor"):
        torch.manual_seed(0)
        variant = trainables.load(name)
        config = variant.config_type.parse({"f": 2, "batch": 32, "z_dim": 8})
        gan = variant(config, DataSpec(3, 1, (16, 16)), torch.device("cpu"))
        state = {key: value.clone() for key, value in gan.state_dict().items()}
        row = measure(dataclasses.replace(view(), gan=gan), BOTH)
        assert row.keys() == encoder.COLUMNS.keys() | reconstruction.COLUMNS.keys()
        assert row["encoder/knn_random"] != row["encoder/knn"]
        assert 0.4 < row["encoder/knn_random"] <= 1
        assert all(torch.equal(state[key], value) for key, value in gan.state_dict().items())


def test_images_kept_for_another_metric_are_shown_too() -> None:
    """The distances between ten thousand images would take minutes."""
    seen = view()
    x, y = (
        part.repeat(40, *[1] * (part.ndim - 1)) for part in (seen.reference.x, seen.reference.y)
    )
    assert len(x) > encoder.SHOWN
    x[encoder.SHOWN :] = 0
    many = dataclasses.replace(seen, reference=dataclasses.replace(seen.reference, x=x, y=y))
    row = measure(many, BOTH)
    assert row["reconstruction/labels"] == 1
    assert row["encoder/knn"] > 0.95


def test_probes_learn_from_held_out_images() -> None:
    with pytest.raises(ValueError, match="needs the training images"):
        measure(dataclasses.replace(view(), train=None), ["encoder"])


def test_metric_of_an_encoder_starts_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "names", lambda: ["encoder", "fcd"])  # loading all takes seconds
    catalog.check(["encoder"], trainables.load("bigan"), SPEC)
    with pytest.raises(ValueError, match="'encoder' needs an encoder, which Dcgan") as caught:
        catalog.check(["encoder"], trainables.load("dcgan"), SPEC)
    assert str(caught.value).endswith("choose from fcd")


def test_distance_ratio_counts_own_images_as_others() -> None:
    a = np.array([[0.0], [10.0], [20.0]])
    b = np.array([[1.0], [10.0], [18.0]])
    others = (10 + 18 + 9 + 8 + 19 + 10) / 6
    assert reconstruction.distance_ratio(a, b) == pytest.approx(1 / others)
