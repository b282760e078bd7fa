"""D's own class loss on held-out real images against fakes, and how far D and G collude."""

from __future__ import annotations

import torch
from torch import Tensor

from study.metrics.view import View
from trainables.core.gan import to_float

NEEDS = frozenset({"labels", "classifies"})
COLUMNS = {
    "class_loss/real": "cross-entropy of D's class head on held-out real images",
    "class_loss/fake": "cross-entropy of D's class head on fakes, for the labels asked for",
    "class_loss_ratio": "class_loss/real / class_loss/fake; 1 is even",
    "class_accuracy/real": "accuracy of D's class head on held-out real images; higher is better",
    "class_accuracy/fake": "accuracy of D's class head on fakes, for the labels asked for",
    "collusion_gap": "accuracy on fakes of D's own head minus the judge's; near 0 is honest",
}
RESOLUTION = 1e-12  # a mean cross-entropy below it is rounding error, and no divisor


def measure(view: View) -> dict[str, float]:
    reference = view.reference
    n = len(reference.x)  # as many fakes as real images
    real, real_hits = _loss_and_hits(view, reference.x, reference.y)
    fake, hits = _loss_and_hits(view, view.fakes[:n], view.y[:n])
    judge = view.predicted[: len(hits)] == view.y[: len(hits)].numpy()
    return {
        "class_loss/real": real,
        "class_loss/fake": fake,
        "class_loss_ratio": real / max(fake, RESOLUTION),
        "class_accuracy/real": float(real_hits.double().mean()),
        "class_accuracy/fake": float(hits.double().mean()),
        "collusion_gap": float(hits.double().mean()) - float(judge.mean()),
    }


@torch.no_grad()
def _loss_and_hits(view: View, x: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """Mean cross-entropy and, per image, whether D's head is right.

    Every batch is all real or all fake and of the training batch's size, as D's BatchNorm saw
    them in training; what is left over is dropped.
    """
    size = min(view.gan.config.batch, len(x))
    whole = len(x) // size * size
    device = view.gan.device
    logits = torch.cat(
        [
            view.gan.classify(to_float(batch.to(device))).double().cpu()
            for batch in torch.split(x[:whole], size)
        ]
    )
    loss = torch.nn.functional.cross_entropy(logits, y[:whole])
    return float(loss), logits.argmax(1) == y[:whole]
