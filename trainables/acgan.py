"""ACGAN (Odena, Olah, Shlens 2017, arXiv:1610.09585): D also tells the class."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from trainables.core.gan import Batch, Terms
from trainables.dcgan import Dcgan, DcganConfig

Weight = Annotated[float, Field(ge=0, strict=True)]
Kimg = Annotated[float, Field(ge=0, le=1_000_000, strict=True)]


class AcganConfig(DcganConfig, frozen=True):
    """Weights of the class loss: the paper's are (1, 1, 1), the accepted remedy sets the fakes'
    weight in D to 0, lest G and D agree on a code of their own."""

    class_real: Weight = 1.0  # in D, on real images
    class_fake: Weight = 1.0  # in D, on fakes, for the labels asked of G
    class_g: Weight = 1.0  # in G
    pretrain_kimg: Kimg = 0.0  # D by its class loss alone, on real images, before the game


class Acgan(Dcgan):
    """Classes enter G as one-hot; D's outputs are the adversarial logit and K class logits."""

    config_type = AcganConfig
    config: AcganConfig
    conditional: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

    def d_outputs(self) -> int:
        return 1 + self.images.classes

    def weights(self, player: str) -> dict[str, float]:
        c = self.config
        if player == "d":
            return {"class_real": c.class_real, "class_fake": c.class_fake}
        return {"class": c.class_g}

    def terms_d(self, real: Tensor, fake: Tensor, b: Batch) -> Terms:
        return super().terms_d(real, fake, b) | {
            "class_real": F.cross_entropy(real[:, 1:], b.y),
            "class_fake": F.cross_entropy(fake[:, 1:], b.y_fake),
        }

    def terms_g(self, fake: Tensor, b: Batch) -> Terms:
        return super().terms_g(fake, b) | {"class": F.cross_entropy(fake[:, 1:], b.y_fake)}

    def classify(self, x: Tensor) -> Tensor:
        with self.autocast():
            out: Tensor = self.D(x)[:, 1:]
        return out

    def pretrain_images(self) -> int:
        return round(self.config.pretrain_kimg * 1000)

    def pretrain(self, x: Tensor, y: Tensor) -> None:
        self.unfreeze("d")
        with self.autocast():
            term = F.cross_entropy(self.discriminate(x, y)[:, 1:], y)
        self.descend("d", {"class_real": term}, {})


VARIANT = Acgan
