"""ReACGAN (Kang, Shim, Cho, Park 2021, arXiv:2111.01118): D2D-CE in place of cross-entropy.

Features and class proxies lie on a sphere, which bounds the gradient. An image is compared with the
proxy of its own class, and with the images of other classes in its batch.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from trainables.acgan import Acgan, AcganConfig
from trainables.core.config import NotNegative
from trainables.core.player import Player


class ReacganConfig(AcganConfig, frozen=True):
    class_fake: NotNegative = 0.0
    class_cosine: Literal[False] = False  # no choice: the loss normalises
    temperature: Annotated[float, Field(gt=0, strict=True)] = 0.5  # tau
    margin: Annotated[float, Field(ge=-1, le=1, strict=True)] = 0.98  # m_p; m_n is 1 - m_p


class Reacgan(Acgan):
    """D's outputs are the adversarial logit and an embedding. D's player trains the proxies."""

    EMBEDDING: ClassVar[int] = 128

    config_type = ReacganConfig
    config: ReacganConfig
    multilabel: ClassVar[bool] = False

    def build(self) -> dict[str, Player]:
        players = super().build()
        self.proxies = nn.Embedding(self.data_spec.classes, self.EMBEDDING)
        players["d"].networks.append(self.proxies)
        return players

    def class_outputs(self) -> int:
        return self.EMBEDDING

    def class_logits(self, out: Tensor) -> Tensor:
        proxies = F.normalize(self.proxies.weight)
        return F.linear(F.normalize(out[:, 1:]), proxies) / self.config.temperature

    def class_loss(self, out: Tensor, y: Tensor) -> Tensor:
        c = self.config
        return d2d_ce(
            F.normalize(out[:, 1:]), F.normalize(self.proxies(y)), y, c.temperature, c.margin
        )


def d2d_ce(
    features: Tensor, proxies: Tensor, y: Tensor, temperature: float, margin: float
) -> Tensor:
    """The D2D-CE loss (eq. 9) of unit features [N, E] with labels y [N], a scalar.

    `proxies` [N, E] are the unit proxies of these labels. A similarity above `margin` to the own
    proxy, or below 1 - `margin` to an image of another class, is good enough and has no gradient.
    """
    own = (features * proxies).sum(dim=1).sub(margin).clamp(max=0) / temperature
    others = (features @ features.T).sub(1 - margin).clamp(min=0) / temperature
    others = others.masked_fill(y[:, None] == y, -torch.inf)
    return (torch.cat([own[:, None], others], dim=1).logsumexp(dim=1) - own).mean()


VARIANT = Reacgan
