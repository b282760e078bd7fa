"""Projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637): labels enter D at its end.

D(x, y) = psi(phi(x)) + <V_y, phi(x)> (eq. 3), with phi the features and psi linear.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.core.layers import Discriminator
from trainables.core.player import Player
from trainables.dcgan import Dcgan


class Projgan(Dcgan):
    """A DCGAN whose D adds an inner product of its features with an embedding of the label.

    If an image has several labels, the embeddings of these labels are summed.
    """

    conditional: ClassVar[bool] = True
    multilabel: ClassVar[bool] = True
    D: Discriminator

    def build(self) -> dict[str, Player]:
        players, c = super().build(), self.config
        self.V = nn.Linear(self.data_spec.classes, 16 * c.f, bias=False)
        nn.init.normal_(self.V.weight, 0.0, 0.02)
        if c.d_norm == "sn":
            spectral_norm(self.V)
        players["d"].networks.append(self.V)
        return players

    def discriminate(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.D.features(x)
        own = self.V(self.condition(y).to(features.dtype))
        out: Tensor = self.D.linear(features) + (own * features).sum(dim=1, keepdim=True)
        return out.float()


VARIANT = Projgan
