"""SGAN (Odena 2016, arXiv:1606.01583; stable form and feature matching: Salimans 2016,
arXiv:1606.03498): D tells K classes from few labels, and real images from fakes from many without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, StrictBool, field_validator, model_validator
from torch import Tensor

from trainables.core import losses
from trainables.core.config import Config, Fraction, NotNegative
from trainables.core.gan import Batch, Gan, Player, Terms, to_float
from trainables.core.layers import Discriminator, Generator

SUBSET_SEED = 40_000_003  # apart from the seeds of the loop's epochs


class SganConfig(Config, frozen=True):
    # So many training images are labelled, or (below 1) that share of them.
    labels: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] = 0.5
    generator_loss: Literal["class", "feature_matching"] = "class"
    unlabelled: NotNegative = 1.0  # weight of real against fake in D
    # The control: D is trained on the labelled images alone, by the same steps, and G not at all.
    supervised_only: StrictBool = False
    d_norm: Literal["bn", "sn", "none"] = "none"
    d_dropout: Fraction = 0.0  # rate of whole channels after each convolution of D
    d_noise: NotNegative = 0.0  # sd of the Gaussian noise on whatever D reads in training

    @field_validator("labels")
    @classmethod
    def _whole(cls, labels: float) -> float:
        if labels > 1 and labels % 1:
            raise ValueError("a whole number, or a share below 1, is needed")
        return labels

    @model_validator(mode="after")
    def _batches(self) -> Self:
        if self.d_norm == "bn" and self.labels == 1:
            raise ValueError("labels=1: d_norm='bn' needs two or more")
        return self

    def images_needed(self) -> dict[str, int]:
        n = self.labels
        return super().images_needed() | {"labels": round(n) if n >= 1 else math.ceil(1 / n)}


@dataclass
class SganBatch(Batch):
    labelled_x: Tensor  # [M, C, H, W] in [-1, 1], M <= N
    labelled_y: Tensor  # int64 [M]


def choose_labelled(y: Tensor, n: int, seed: int) -> Tensor:
    """Rows [n] of the images that keep their label, of labels y int64 [N]: at random, the same for
    a seed, and each class as often as another as far as there are images of it."""
    rng = torch.Generator().manual_seed(SUBSET_SEED + seed)
    order = torch.randperm(len(y), generator=rng)
    place = torch.empty_like(order)  # of an image of `order` among those of its class
    for label in range(int(y.max()) + 1):
        own = y[order] == label
        place[own] = torch.arange(int(own.sum()))
    return order[place.argsort(stable=True)[:n]]


def realness(logits: Tensor) -> Tensor:
    """log p(real) / p(fake), [N], of K class logits [N, K] beside a fake class of logit 0.

    With Z = sum_k exp(l_k), p(fake) = 1 / (Z + 1): D(x) = Z / (Z + 1) (Salimans 2016, sec. 5).
    """
    return logits.logsumexp(1)


class Sgan(Gan):
    """Class logits of labelled images; log Z as the adversarial logit of all others."""

    config_type: ClassVar[type[Config]] = SganConfig
    config: SganConfig
    conditional: ClassVar[bool] = False
    classifies: ClassVar[bool] = True
    truncates: ClassVar[bool] = True
    D: Discriminator

    def build(self) -> dict[str, Player]:
        c, images = self.config, self.images
        self.G = Generator(c.z_dim, c.f, images.size, images.channels)
        self.D = Discriminator(
            images.channels, c.f, images.size, c.d_norm, images.classes, dropout=c.d_dropout
        )
        weights = {"adversarial_real": c.unlabelled, "adversarial_fake": c.unlabelled}
        d = Player([self.D], self.losses_d, c.lr * c.lr_ratio, weights)
        g = Player([self.G], self.losses_g, c.lr)
        return {"d": d} if c.supervised_only else {"d": d, "g": g}

    def on_data(self, x: Tensor, y: Tensor, seed: int) -> None:
        n = self.config.labels
        labelled = round(n if n >= 1 else n * len(y))
        rows = choose_labelled(y.cpu(), labelled, seed).to(x.device)
        self.labelled_x, self.labelled_y = x[rows], y[rows]

    def draw(self, x: Tensor, y: Tensor) -> SganBatch:
        """`x` with its labels unused, fakes, and a batch of the labelled images, or all of them
        where they are fewer."""
        rows = torch.randperm(len(self.labelled_y), device=self.device)[: len(x)]
        fake = x if self.config.supervised_only else self.generate(self.G, self.noise(len(x)), None)
        return SganBatch(x, y, y, fake, to_float(self.labelled_x[rows]), self.labelled_y[rows])

    def noisy(self, x: Tensor) -> Tensor:
        """Images as D reads them in training."""
        return x + self.config.d_noise * torch.randn_like(x) if self.config.d_noise else x

    def read(self, x: Tensor) -> Tensor:
        """D's class logits [N, K] of images x in training."""
        out: Tensor = self.D(self.noisy(x))
        return out

    def losses_d(self, b: SganBatch) -> Terms:
        terms = {"class_real": F.cross_entropy(self.read(b.labelled_x), b.labelled_y)}
        if self.config.supervised_only:
            return terms
        return terms | {
            "adversarial_real": losses.bce(realness(self.read(b.x)), 1.0),
            "adversarial_fake": losses.bce(realness(self.read(b.fake.detach())), 0.0),
        }

    def losses_g(self, b: SganBatch) -> Terms:
        """-log p(real) of the fakes (Odena), or the distance between means of D's features of real
        images and of fakes (Salimans, sec. 3.1)."""
        if self.config.generator_loss == "class":
            return {"adversarial": losses.g_fake("non_saturating", realness(self.read(b.fake)))}
        real, fake = (self.D.features(self.noisy(x)).float().mean(0) for x in (b.x, b.fake))
        return {"feature_matching": (real - fake).square().sum()}

    def classify(self, x: Tensor) -> Tensor:
        self.D.eval()  # no dropout; nor is there noise
        with self.autocast():
            logits: Tensor = self.D(x)
        self.D.train()
        return logits


VARIANT = Sgan
