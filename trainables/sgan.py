"""SGAN (Odena 2016, arXiv:1606.01583): a semi-supervised GAN.

D learns to tell K classes from few labelled images, and to tell real images from fakes with many
unlabelled images. The stable form of the loss and feature matching are those of Salimans 2016,
arXiv:1606.03498.
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
from trainables.core.gan import Gan
from trainables.core.images import to_float
from trainables.core.layers import Discriminator, Generator
from trainables.core.player import Batch, Player, Terms

SUBSET_SEED = 40_000_003  # apart from the seeds of the epochs in `core.loop`


class SganConfig(Config, frozen=True):
    # The number of labelled training images. Below 1, the share of training images with a label.
    labels: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] = 0.5
    generator_loss: Literal["class", "feature_matching"] = "class"
    unlabelled: NotNegative = 1.0  # weight of the adversarial terms (real, fake) in D
    # The control: D is trained on the labelled images alone, with the same steps. G is not trained.
    supervised_only: StrictBool = False
    d_norm: Literal["bn", "sn", "none"] = "none"
    d_dropout: Fraction = 0.0  # dropout rate of whole channels after each convolution of D
    d_noise: NotNegative = 0.0  # sd of the Gaussian noise on all images that D reads in training

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
    """Choose at random the n images that keep their label: their rows [n] in y, int64 [N].

    The choice is the same for the same seed. All classes are chosen equally often, as far as they
    have enough images.
    """
    rng = torch.Generator().manual_seed(SUBSET_SEED + seed)
    order = torch.randperm(len(y), generator=rng)
    place = torch.empty_like(order)  # the position of each image of `order` within its class
    for label in range(int(y.max()) + 1):
        own = y[order] == label
        place[own] = torch.arange(int(own.sum()))
    return order[place.argsort(stable=True)[:n]]


def realness(logits: Tensor) -> Tensor:
    """log(p(real) / p(fake)) [N] from K class logits [N, K]. The fake class has the logit 0.

    This is log Z with Z = sum_k exp(l_k), because p(fake) = 1 / (Z + 1) and D(x) = Z / (Z + 1)
    (Salimans 2016, sec. 5).
    """
    return logits.logsumexp(1)


class Sgan(Gan):
    """D has K class logits, which labelled images are trained on.

    Unlabelled images and fakes use log Z, see `realness`, as their adversarial logit.
    """

    config_type: ClassVar[type[Config]] = SganConfig
    config: SganConfig
    conditional: ClassVar[bool] = False
    classifies: ClassVar[bool] = True
    truncates: ClassVar[bool] = True
    D: Discriminator

    def build(self) -> dict[str, Player]:
        c, spec = self.config, self.data_spec
        self.G = Generator(c.z_dim, c.f, spec.size, spec.channels)
        self.D = Discriminator(
            spec.channels, c.f, spec.size, c.d_norm, spec.classes, dropout=c.d_dropout
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
        """The images x without use of their labels, fakes, and a batch of labelled images.

        If there are fewer labelled images than a batch has, all of them are taken.
        """
        rows = torch.randperm(len(self.labelled_y), device=self.device)[: len(x)]
        fake = x if self.config.supervised_only else self.generate(self.G, self.noise(len(x)), None)
        return SganBatch(x, y, y, fake, to_float(self.labelled_x[rows]), self.labelled_y[rows])

    def noisy(self, x: Tensor) -> Tensor:
        """Images with the noise that D sees in training."""
        return x + self.config.d_noise * torch.randn_like(x) if self.config.d_noise else x

    def read(self, x: Tensor) -> Tensor:
        """D's class logits [N, K] for images x in training, with noise."""
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
        """The term of `generator_loss`.

        With "class" it is -log p(real) of the fakes (Odena). With "feature_matching" it is the
        squared distance between the means of D's features over real images and over fakes
        (Salimans, sec. 3.1).
        """
        if self.config.generator_loss == "class":
            return {"adversarial": losses.g_fake("non_saturating", realness(self.read(b.fake)))}
        real, fake = (self.D.features(self.noisy(x)).float().mean(0) for x in (b.x, b.fake))
        return {"feature_matching": (real - fake).square().sum()}

    def classify(self, x: Tensor) -> Tensor:
        self.D.eval()  # without dropout; x gets no noise either
        with self.autocast():
            logits: Tensor = self.D(x)
        self.D.train()
        return logits


VARIANT = Sgan
