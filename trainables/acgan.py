"""ACGAN (Odena, Olah, Shlens 2017, arXiv:1610.09585): D also tells the class."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from trainables.core import losses
from trainables.core.gan import Batch, Positive, Terms
from trainables.dcgan import Dcgan, DcganConfig

Weight = Annotated[float, Field(ge=0, strict=True)]
Kimg = Annotated[float, Field(ge=0, le=1_000_000, strict=True)]


class AcganConfig(DcganConfig, frozen=True):
    """Weights of the class loss: the paper's are (1, 1, 1), the accepted remedy sets the fakes'
    weight in D to 0, lest G and D agree on a code of their own."""

    class_real: Weight = 1.0  # in D, on real images
    class_fake: Weight = 1.0  # in D, on fakes, for the labels asked of G
    class_g: Weight = 1.0  # in G
    label_loss: Literal["sum", "mean"] = "sum"  # over the labels, where an image has several
    pos_weight: Positive = 1.0  # there, of a label that is present against one that is not
    pretrain_kimg: Kimg = 0.0  # D by its class loss alone, on real images, before the game


class Acgan(Dcgan):
    """Labels enter G as one- or multi-hot; D's outputs are the adversarial and K class logits."""

    config_type = AcganConfig
    config: AcganConfig
    conditional: ClassVar[bool] = True
    multilabel: ClassVar[bool] = True
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
            "class_real": self.class_loss(real[:, 1:], b.y),
            "class_fake": self.class_loss(fake[:, 1:], b.y_fake),
        }

    def terms_g(self, fake: Tensor, b: Batch) -> Terms:
        return super().terms_g(fake, b) | {"class": self.class_loss(fake[:, 1:], b.y_fake)}

    def class_loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return losses.class_loss(logits, y, self.config.label_loss, self.config.pos_weight)

    def classify(self, x: Tensor) -> Tensor:
        with self.autocast():
            out: Tensor = self.D(x)[:, 1:]
        return out

    def pretrain_images(self) -> int:
        return round(self.config.pretrain_kimg * 1000)

    def pretrain(self, x: Tensor, y: Tensor) -> None:
        self.unfreeze("d")
        with self.autocast():
            term = self.class_loss(self.classify(x), y)
        self.descend("d", {"class_real": term}, {})


VARIANT = Acgan
