"""D's own class loss on held-out real images against fakes, and how far D and G collude."""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.judge import accuracy
from study.metrics.view import View
from trainables.core.gan import to_float
from trainables.core.losses import class_loss

NEEDS = frozenset({"labels", "classifies"})
COLUMNS = {
    "class_loss/real": "cross-entropy of D's class head on held-out real images; of whole label "
    "sets (binary, summed) where images have several",
    "class_loss/fake": "cross-entropy of D's class head on fakes, for the labels asked for",
    "class_loss_ratio": "class_loss/real / class_loss/fake; 1 is even",
    "class_accuracy/real": "accuracy (top-k with several labels) of D's class head on held-out "
    "real images; higher is better",
    "class_accuracy/fake": "the same on fakes, for the labels asked for",
    "collusion_gap": "accuracy on fakes of D's own head minus the judge's; near 0 is honest",
}
RESOLUTION = 1e-12  # a mean cross-entropy below it is rounding error, and no divisor


def measure(view: View) -> dict[str, float]:
    reference = view.reference
    n = len(reference.x)  # as many fakes as real images
    real, fake = class_logits(view, reference.x), class_logits(view, view.fakes[:n])
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
    """Of D's class head, float64 [n, K], for the first n images of x.

    Every batch is all real or all fake and of the training batch's size, as D's BatchNorm saw
    them in training; what is left over is dropped.
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
