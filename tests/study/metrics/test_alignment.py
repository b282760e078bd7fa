"""What `alignment` says about known tangents: the affine ones, others, and a GAN without any."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import trainables
from study.metrics.alignment import principal_cosines
from study.metrics.core import catalog
from tests.study.metrics import measure
from tests.study.metrics.test_measure import FakeGan, view
from tests.study.tiny import SPEC
from trainables.core.affine import affine_tangents


class Spanning(FakeGan):
    """A GAN whose tangents are known. `kind` names them."""

    def __init__(self, kind: str) -> None:
        super().__init__([0, 1, 2, 3])
        self.kind = kind

    def tangents(self, x: Tensor, rng: torch.Generator) -> Tensor:
        affine = affine_tangents(x).flatten(2)
        random = torch.randn(affine.shape, generator=rng)
        rows = {
            "affine": affine.flip(1),  # the order must not matter
            "random": random,
            "constant": F.avg_pool2d(random[:1].unflatten(2, x.shape[-2:]), 5, 1, 2)
            .flatten(2)
            .expand_as(random),
            "half": torch.cat([affine[:, :3], random[:, 3:]], dim=1),
        }[self.kind]
        return torch.linalg.qr(rows.mT)[0].mT


def measured(kind: str) -> dict[str, float]:
    seen = view(Spanning(kind))
    rng = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(50, 1, 4, 4, generator=rng)  # as smooth as strokes are
    x = F.interpolate(coarse, size=(16, 16), mode="bicubic").clamp(0, 255).to(torch.uint8)
    shown = dataclasses.replace(seen.reference, x=x)
    return measure(dataclasses.replace(seen, reference=shown), ["alignment"])


def test_affine_tangents_are_not_aligned_with_themselves() -> None:
    row = measured("affine")
    assert row["alignment"] == pytest.approx(1, abs=1e-4)
    assert row["alignment_gain"] == row["alignment"] - row["alignment_elsewhere"] > 0.5


def test_random_directions_are_not_at_chance() -> None:
    row = measured("random")
    assert row["alignment_gain"] == pytest.approx(0, abs=0.01)
    assert 0.05 < row["alignment_random"] < 0.3
    assert 0.5 < measured("half")["alignment"] < 0.7


def test_smooth_directions_gain_whatever_the_image() -> None:
    """The directions are blurred noise, the same at every image.

    They are nearer to the affine tangents than white noise is, but depend on no image.
    """
    row = measured("constant")
    assert row["alignment"] > row["alignment_random"] + 0.03
    assert row["alignment_gain"] == pytest.approx(0, abs=0.01)


def test_cosines_are_not_of_principal_angles() -> None:
    """One plane is the other, turned by 60 degrees about an axis that both share.

    The cosines are 1 and 0.5, so their mean is 0.75.
    """
    a = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0]]])
    b = torch.tensor([[[0, 0.5, 0.75**0.5, 0], [1, 0, 0, 0]]])
    assert principal_cosines(a, b) == pytest.approx(0.75)


def test_it_is_measured_where_no_tangents_are_known_or_refused_where_they_are() -> None:
    catalog.check(["alignment"], trainables.load("tangents"), SPEC)
    with pytest.raises(ValueError, match="'alignment' needs tangents of the data, which Sgan"):
        catalog.check(["alignment"], trainables.load("sgan"), SPEC)


@pytest.mark.parametrize("directions", ["encoder", "decoder", "random", "affine"])
def test_a_variant_cannot_be_measured(directions: str) -> None:
    torch.manual_seed(0)
    variant = trainables.load("tangents")
    values: dict[str, Any] = {"f": 2, "directions": directions, "labels": 3}
    gan = variant(variant.config_type.parse(values), SPEC, torch.device("cpu"))
    seen = view(FakeGan([0, 1, 2, 3]))
    x = torch.randint(0, 256, (20, 1, 16, 16)).to(torch.uint8)
    shown = dataclasses.replace(seen.reference, x=x)
    row = measure(dataclasses.replace(seen, gan=gan, reference=shown), ["alignment"])
    assert row["alignment"] == pytest.approx(1, abs=1e-4) or directions != "affine"
    assert 0 <= row["alignment"] <= 1 + 1e-5
