"""ACGAN (Odena, Olah, Shlens 2017, arXiv:1610.09585): D also predicts the class."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from trainables.core import losses
from trainables.core.config import Config, NotNegative, Positive
from trainables.core.player import Batch, Terms
from trainables.dcgan import Dcgan, DcganConfig

Kimg = Annotated[float, Field(ge=0, le=1_000_000, strict=True)]


class AcganConfig(DcganConfig, frozen=True):
    """Weights of the class loss, and how the class head is trained.

    The paper's weights are 1, 1, 1. The accepted remedy sets the fakes' weight in D to 0. Otherwise
    G and D may agree on a code of their own for the classes.
    """

    class_real: NotNegative = 1.0  # weight in D, on real images
    class_fake: NotNegative = 1.0  # weight in D, on fakes, for the labels that G was asked for
    class_g: NotNegative = 1.0  # weight in G
    class_warmup_kimg: Kimg = 0.0  # kimg over which G's weight rises from 0 to class_g
    class_fake_from_kimg: Kimg = 0.0  # kimg before which the fakes' weight in D is 0
    class_cosine: bool = False  # class logits are scaled cosines of features and class weights
    label_loss: Literal["sum", "mean"] = "sum"  # over an image's labels, for multi-hot labels
    pos_weight: Positive = 1.0  # for multi-hot labels: weight of a present against an absent label
    pretrain_kimg: Kimg = 0.0  # before the game: kimg of real images for D's class loss alone


class Acgan(Dcgan):
    """Labels enter G as one-hot or multi-hot. D's outputs are the adversarial and K class logits.

    Variants with another class loss override `class_outputs`, `class_logits` and `class_loss`.
    """

    config_type: ClassVar[type[Config]] = AcganConfig
    config: AcganConfig
    conditional: ClassVar[bool] = True
    multilabel: ClassVar[bool] = True
    classifies: ClassVar[bool] = True
    seen = 0  # images seen so far

    def class_outputs(self) -> int:
        """The number of D's outputs after the adversarial logit."""
        return self.data_spec.classes

    def class_logits(self, out: Tensor) -> Tensor:
        """Class logits [N, K] from D's outputs."""
        return out[:, 1:]

    def class_loss(self, out: Tensor, y: Tensor) -> Tensor:
        """The class loss of D's outputs for labels y, int64 [N] or multi-hot [N, K]."""
        c = self.config
        return losses.class_loss(self.class_logits(out), y, c.label_loss, c.pos_weight)

    def d_outputs(self) -> tuple[int, int]:
        n = self.class_outputs()
        return (1, n) if self.config.class_cosine else (1 + n, 0)

    def weights(self, player: str) -> dict[str, float]:
        c, kimg = self.config, self.seen / 1000
        if player == "g":
            warmth = min(1.0, kimg / c.class_warmup_kimg) if c.class_warmup_kimg else 1.0
            return super().weights(player) | {"class": c.class_g * warmth}
        fake = c.class_fake if kimg >= c.class_fake_from_kimg else 0.0
        return super().weights(player) | {"class_real": c.class_real, "class_fake": fake}

    def on_images(self, seen: int) -> None:
        self.seen = seen
        for name, player in self.players.items():
            player.weights = self.weights(name)

    def terms_d(self, real: Tensor, fake: Tensor, b: Batch) -> Terms:
        return super().terms_d(real, fake, b) | {
            "class_real": self.class_loss(real, b.y),
            "class_fake": self.class_loss(fake, b.y_fake),
        }

    def terms_g(self, fake: Tensor, b: Batch) -> Terms:
        return super().terms_g(fake, b) | {"class": self.class_loss(fake, b.y_fake)}

    def classify(self, x: Tensor) -> Tensor:
        # Joint BN uses its running averages here, because x holds images of one kind only.
        self.D.eval()
        with self.autocast():
            logits = self.class_logits(self.D(x))
        self.D.train()
        return logits

    def pretrain_images(self) -> int:
        return round(self.config.pretrain_kimg * 1000)

    def pretrain(self, x: Tensor, y: Tensor) -> None:
        self.unfreeze("d")
        with self.autocast():
            term = self.class_loss(self.D(x), y)
        self.optimizer_step("d", {"class_real": term}, {})


VARIANT = Acgan
