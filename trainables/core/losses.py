"""Adversarial losses on logits, as pure functions. N logits in, a scalar out."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["saturating", "non_saturating", "hinge"]


def bce(logits: Tensor, target: Tensor | float) -> Tensor:
    """Binary cross-entropy, mean over the batch; `target` may lie outside [0, 1].

    It is linear in the target, so noisy targets act in expectation like their mean; one above 1
    makes that sample's loss unbounded below, which torch's own function refuses.
    """
    return (F.softplus(logits) - target * logits).mean()


def d_real(kind: Adversarial, logits: Tensor, target: Tensor | float = 1.0) -> Tensor:
    """D's loss on real images (Goodfellow 2014, eq. 1; hinge: Lim and Ye 2017)."""
    return F.relu(1 - logits).mean() if kind == "hinge" else bce(logits, target)


def d_fake(kind: Adversarial, logits: Tensor, target: Tensor | float = 0.0) -> Tensor:
    """D's loss on generated images."""
    return F.relu(1 + logits).mean() if kind == "hinge" else bce(logits, target)


def g_fake(kind: Adversarial, logits: Tensor) -> Tensor:
    """G's loss on its own images: E log(1 - D), -E log D, or -E D."""
    if kind == "saturating":
        return -F.softplus(logits).mean()
    if kind == "non_saturating":
        return F.softplus(-logits).mean()
    return -logits.mean()


def least_squares(out: Tensor, target: float) -> Tensor:
    """LSGAN's loss (Mao 2017), in which D's outputs of any shape are no logits: a scalar."""
    return (out.float() - target).square().mean()


def class_loss(
    logits: Tensor,
    y: Tensor,
    labels: Literal["sum", "mean"] = "sum",
    pos_weight: float = 1.0,
) -> Tensor:
    """Cross-entropy of class logits [N, K], mean over the batch.

    Labels int64 [N] take softmax's; multi-hot ones [N, K] a binary one per label. Their `sum` is
    the label set's, their `mean` K times less; `pos_weight` counts labels that are there for more.
    """
    if y.ndim == 1:
        return F.cross_entropy(logits, y)
    target = y.to(logits.dtype)
    terms = F.softplus(logits) - target * logits
    weighted = terms * (1 + (pos_weight - 1) * target)
    return (weighted.sum(1) if labels == "sum" else weighted.mean(1)).mean()


def uniform_like(logits: Tensor, low: float, high: float) -> Tensor:
    """Targets U[low, high], one per sample."""
    return torch.empty_like(logits).uniform_(low, high)


def r1(logits: Tensor, x: Tensor) -> Tensor:
    """R1, 1/2 E ||d D(x) / d x||^2 at real images (Mescheder 2018, eq. 9).

    `x` [N, ...] requires a gradient and `logits` [N] depend on it.
    """
    (grad,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return grad.flatten(1).square().sum(dim=1).mean() / 2


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E (||d D(x) / d x|| - 1)^2 at points x, each at random between a real image and a fake
    (WGAN-GP; Gulrajani 2017, eq. 3). real, fake [N, ...]; `critic` maps them to values [N].
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    x = real.lerp(fake, share).requires_grad_()
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    penalty: Tensor = (grad.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
