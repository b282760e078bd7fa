"""ADC-GAN (Hou, Cao, Shen, Cheng 2022, arXiv:2107.10060): one head for both class and origin.

The head has 2K classes: a real one and a fake one for each label. G learns to have its images put
into the real class of their label, and not into the fake class.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from trainables.acgan import Acgan
from trainables.core.player import Batch, Terms


class Adcgan(Acgan):
    """D's outputs are the adversarial logit, then a real and a fake logit for each class."""

    multilabel: ClassVar[bool] = False

    def class_outputs(self) -> int:
        return 2 * self.data_spec.classes

    def class_logits(self, out: Tensor) -> Tensor:
        return out[:, 1:].view(len(out), -1, 2).logsumexp(dim=2)

    def loss(self, out: Tensor, y: Tensor, fake: bool) -> Tensor:
        """Cross-entropy of the 2K logits with the real or the fake class of y as target."""
        return F.cross_entropy(out[:, 1:], 2 * y + fake)

    def weights(self, player: str) -> dict[str, float]:
        weights = super().weights(player)
        return weights | {"class_as_fake": -weights["class"]} if player == "g" else weights

    def terms_d(self, real: Tensor, fake: Tensor, b: Batch) -> Terms:
        return super().terms_d(real, fake, b) | {
            "class_real": self.loss(real, b.y, fake=False),
            "class_fake": self.loss(fake, b.y_fake, fake=True),
        }

    def terms_g(self, fake: Tensor, b: Batch) -> Terms:
        return super().terms_g(fake, b) | {
            "class": self.loss(fake, b.y_fake, fake=False),
            "class_as_fake": self.loss(fake, b.y_fake, fake=True),
        }


VARIANT = Adcgan
