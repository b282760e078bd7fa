"""TAC-GAN (Gong, Xu, Li, Zhang, Batmanghelich 2019, arXiv:1907.02690): a twin class head.

If an ACGAN's class loss in D is on real images alone, G's class loss also lowers H_Q(Y|X), which
costs diversity. The twin head is trained on fakes alone and estimates this term. The estimate is
subtracted from G's loss.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from trainables.acgan import Acgan, AcganConfig
from trainables.core.config import NotNegative
from trainables.core.player import Batch, Terms


class TacganConfig(AcganConfig, frozen=True):
    class_fake: NotNegative = 0.0  # fakes train the twin instead


class Tacgan(Acgan):
    """D's outputs are the adversarial logit, K class logits, and K logits of the twin."""

    config_type = TacganConfig
    multilabel: ClassVar[bool] = False

    def class_outputs(self) -> int:
        return 2 * self.data_spec.classes

    def class_logits(self, out: Tensor) -> Tensor:
        return out[:, 1 : 1 + self.data_spec.classes]

    def twin_loss(self, out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out[:, 1 + self.data_spec.classes :], y)

    def weights(self, player: str) -> dict[str, float]:
        weights = super().weights(player)
        return weights | {"class_twin": -weights["class"]} if player == "g" else weights

    def terms_d(self, real: Tensor, fake: Tensor, b: Batch) -> Terms:
        return super().terms_d(real, fake, b) | {"class_twin": self.twin_loss(fake, b.y_fake)}

    def terms_g(self, fake: Tensor, b: Batch) -> Terms:
        return super().terms_g(fake, b) | {"class_twin": self.twin_loss(fake, b.y_fake)}


VARIANT = Tacgan
