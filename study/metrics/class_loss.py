"""The loss and accuracy of D's own class head, on held-out real images and on as many fakes.

They tell how far D's head generalises: it saw neither these real images nor images of the averaged
G. The losses that D minimises in training are other columns, loss/d/class_real and
loss/d/class_fake. Write-ups that plot class losses plot those.

The metric also tells how far D and G collude: `collusion_gap` compares the accuracy of D's class
head on fakes with the accuracy of an independent judge on the same fakes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.core.judge import accuracy
from study.metrics.core.view import View
from trainables.core.images import to_float
from trainables.core.losses import class_loss

NEEDS = frozenset({"labels", "classifies"})
COLUMNS = {
    "class_loss/real": "cross-entropy of D's class head on held-out real images; of whole label "
    "sets (binary, summed) where images have several",
    "class_loss/fake": "cross-entropy of D's class head on fakes, for the labels asked for",
    "class_loss_ratio": "class_loss/real / class_loss/fake; 1 is even",
    "class_accuracy/real": "accuracy (top-k with several labels) of D's class head on held-out "
    "real images",
    "class_accuracy/fake": "the same on fakes, for the labels asked for",
    "collusion_gap": "accuracy on fakes of D's own head minus the judge's; near 0 is honest",
}
DIRECTIONS = {"class_accuracy/real": "maximize"}
UNBOUNDED = frozenset({"class_loss/real", "class_loss/fake", "class_loss_ratio"})
BY_LABELS = frozenset({"collusion_gap"})
RESOLUTION = 1e-12  # smallest divisor: a mean cross-entropy below it is rounding error


def measure(view: View) -> dict[str, float]:
    reference = view.reference
    n = len(reference.x)  # as many fakes as real images
    real, fake = view.once(
        "class_loss", lambda: [class_logits(view, x) for x in (reference.x, view.fakes[:n])]
    )
    real_y, fake_y = reference.y[: len(real)], view.y[: len(fake)]
    losses = [float(class_loss(real, real_y)), float(class_loss(fake, fake_y))]
    hits = accuracy(fake.numpy(), fake_y.numpy())
    return {
        "class_loss/real": losses[0],
        "class_loss/fake": losses[1],
        "class_loss_ratio": losses[0] / max(losses[1], RESOLUTION),
        "class_accuracy/real": accuracy(real.numpy(), real_y.numpy()),
        "class_accuracy/fake": hits,
        "collusion_gap": hits - accuracy(view.logits[: len(fake)], fake_y.numpy()),
    }


@torch.no_grad()
def class_logits(view: View, x: Tensor) -> Tensor:
    """Logits of D's class head, float64 [n, K], for the first n of the images x.

    x is uint8 [N, C, H, W] and holds images of one kind only, real or fake. Every batch has the
    size of a training batch (or of x, if x is smaller), which matters to a D whose BatchNorm uses
    batch statistics when it classifies. Images left over after the last whole batch are dropped.
    """
    size = min(view.gan.config.batch, len(x))
    whole = len(x) // size * size
    device = view.gan.device
    return torch.cat(
        [
            view.gan.classify(to_float(batch.to(device))).double().cpu()
            for batch in torch.split(x[:whole], size)
        ]
    )
