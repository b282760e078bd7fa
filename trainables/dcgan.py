"""DCGAN (Radford, Metz, Chintala 2015, arXiv:1511.06434): the unconditional baseline."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from trainables.core import losses
from trainables.core.config import Config, Fraction, NotNegative
from trainables.core.gan import Gan
from trainables.core.layers import Discriminator, Generator, Norm
from trainables.core.player import Batch, Player, Terms

Bound = Annotated[float, Field(ge=-1, le=2, strict=True)]


class DcganConfig(Config, frozen=True):
    """Hyperparameters of the adversarial game on images. `cgan` and `acgan` have them, too."""

    adversarial: losses.Adversarial = "non_saturating"
    d_norm: Norm = "bn"
    r1: NotNegative = 0.0  # weight of R1, the penalty on D's gradient at real images
    g_condition: Literal["concat", "cbn"] = "concat"  # labels enter beside z, or in G's BN
    label_noise: Literal["none", "one_sided", "two_sided"] = "none"  # in D's targets
    noise_real: tuple[Bound, Bound] = (0.7, 1.2)  # noisy targets of real images: U[low, high]
    noise_fake: tuple[Bound, Bound] = (0.0, 0.3)  # targets of fakes, likewise; two-sided noise only
    d_dropout: Fraction = 0.0  # dropout rate of whole channels after each convolution of D
    fake_labels: Literal["uniform", "batch"] = "uniform"  # drawn, or those of the real images

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.adversarial == "hinge" and self.label_noise != "none":
            raise ValueError("adversarial='hinge' has no targets, so label_noise must be 'none'")
        for name in ("noise_real", "noise_fake"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}={[low, high]} must be [low, high]")
        return self


class Dcgan(Gan):
    """One G, one D, and the adversarial terms. Conditional subclasses add where labels enter."""

    config_type: ClassVar[type[Config]] = DcganConfig
    config: DcganConfig
    conditional: ClassVar[bool] = False
    truncates: ClassVar[bool] = True
    D: nn.Module

    def build(self) -> dict[str, Player]:
        c = self.config
        self.G, self.D = self.networks()
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio, self.weights("d")),
            "g": Player([self.G], self.losses_g, c.lr, self.weights("g")),
        }

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """G and D, made in this order."""
        c, spec = self.config, self.data_spec
        labels = spec.classes if self.conditional else 0
        beside, within = (labels, 0) if c.g_condition == "concat" else (0, labels)
        G = Generator(c.z_dim + beside, c.f, spec.size, spec.channels, within)
        outputs = self.d_outputs()
        return G, Discriminator(
            self.d_channels(), c.f, spec.size, c.d_norm, *outputs, dropout=c.d_dropout
        )

    def d_channels(self) -> int:
        """The number of D's input channels."""
        return self.data_spec.channels

    def d_outputs(self) -> tuple[int, int]:
        """The numbers of D's linear outputs and of its cosine outputs.

        The first linear output is the adversarial logit.
        """
        return 1, 0

    def weights(self, player: str) -> dict[str, float]:
        """Weights of a player's terms where they are not 1."""
        return {"r1": self.config.r1} if player == "d" else {}

    def discriminate(self, x: Tensor, y: Tensor) -> Tensor:
        """D's outputs [N, d_outputs] for images x with labels y."""
        out: Tensor = self.D(x)
        return out

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        inputs = [z]
        if y is not None and self.conditional:
            inputs.append(self.condition(y).to(z.dtype))
        if self.config.g_condition == "concat":
            inputs = [torch.cat(inputs, dim=1)]
        images: Tensor = G(*inputs)
        return images

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        """One pass through G serves both turns: D's turn with detached fakes, then G's turn."""
        y_fake = self.labels_for_fakes(y)
        return Batch(x, y, y_fake, self.generate(self.G, self.noise(len(x)), y_fake))

    def labels_for_fakes(self, y: Tensor) -> Tensor:
        return y if self.config.fake_labels == "batch" else super().labels_for_fakes(y)

    def losses_d(self, b: Batch) -> Terms:
        r1 = bool(self.config.r1)
        x = b.x.detach().requires_grad_() if r1 else b.x
        real, fake = self.both(x, b, b.fake.detach())
        terms = self.terms_d(real, fake, b)
        return terms | {"r1": losses.r1(real[:, 0], x)} if r1 else terms

    def losses_g(self, b: Batch) -> Terms:
        if self.config.d_norm == "bn_joint":
            return self.terms_g(self.both(b.x, b, b.fake)[1], b)
        return self.terms_g(self.discriminate(b.fake, b.y_fake), b)

    def both(self, x: Tensor, b: Batch, fake: Tensor) -> tuple[Tensor, Tensor]:
        """D's outputs on real images and on fakes. With joint BN both go through D as one batch."""
        if self.config.d_norm == "bn_joint":
            y = torch.cat([b.y, b.y_fake])
            out = self.discriminate(torch.cat([x, fake]), y)
            return out[: len(x)], out[len(x) :]
        return self.discriminate(x, b.y), self.discriminate(fake, b.y_fake)

    def terms_d(self, real: Tensor, fake: Tensor, b: Batch) -> Terms:
        """D's terms from its outputs [N, d_outputs] on real images and on fakes.

        One-sided noise leaves the fakes' target at 0 (Salimans 2016, sec. 3.4).
        """
        c, t_real, t_fake = self.config, None, None
        if c.label_noise != "none":
            t_real = losses.uniform_like(real[:, 0], *c.noise_real)
        if c.label_noise == "two_sided":
            t_fake = losses.uniform_like(fake[:, 0], *c.noise_fake)
        return {
            "adversarial_real": losses.d_real(
                c.adversarial, real[:, 0], 1.0 if t_real is None else t_real
            ),
            "adversarial_fake": losses.d_fake(
                c.adversarial, fake[:, 0], 0.0 if t_fake is None else t_fake
            ),
        }

    def terms_g(self, fake: Tensor, b: Batch) -> Terms:
        """G's terms from D's outputs [N, d_outputs] on the fakes."""
        return {"adversarial": losses.g_fake(self.config.adversarial, fake[:, 0])}


VARIANT = Dcgan
