"""Losses and penalties as pure functions. Most take N logits; all losses return a scalar."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["saturating", "non_saturating", "hinge"]


def bce(logits: Tensor, target: Tensor | float) -> Tensor:
    """Binary cross-entropy, mean over the batch. `target` may lie outside [0, 1].

    The loss is linear in the target, so noisy targets act in expectation like their mean. A target
    above 1 makes the loss of its sample unbounded below. Torch's own function refuses such targets.
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
    """LSGAN's loss (Mao 2017), a scalar. D's outputs may have any shape, and are not logits."""
    return (out.float() - target).square().mean()


def class_loss(
    logits: Tensor,
    y: Tensor,
    labels: Literal["sum", "mean"] = "sum",
    pos_weight: float = 1.0,
) -> Tensor:
    """Cross-entropy of class logits [N, K], mean over the batch.

    Labels int64 [N] have a softmax cross-entropy. Multi-hot labels [N, K] have a binary one for
    each label. `labels` says how these are combined in an image: their "sum" is the cross-entropy
    of the label set, their "mean" is K times less. `pos_weight` multiplies the terms of labels that
    are present.
    """
    if y.ndim == 1:
        return F.cross_entropy(logits, y)
    target = y.to(logits.dtype)
    terms = F.softplus(logits) - target * logits
    weighted = terms * (1 + (pos_weight - 1) * target)
    return (weighted.sum(1) if labels == "sum" else weighted.mean(1)).mean()


def uniform_like(logits: Tensor, low: float, high: float) -> Tensor:
    """Random targets from U[low, high], one per sample."""
    return torch.empty_like(logits).uniform_(low, high)


def r1(logits: Tensor, x: Tensor) -> Tensor:
    """The R1 penalty, 1/2 E ||d D(x) / d x||^2 at real images (Mescheder 2018, eq. 9).

    `x` [N, ...] must require a gradient, and `logits` [N] must be computed from `x`.
    """
    (grad,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return grad.flatten(1).square().sum(dim=1).mean() / 2


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """The penalty of WGAN-GP, E (||d D(x) / d x|| - 1)^2 (Gulrajani 2017, eq. 3).

    Each x is a random point between a real image and a fake. `real` and `fake` are [N, ...], and
    `critic` maps such images to values [N].
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    x = real.lerp(fake.to(real.dtype), share).requires_grad_()  # fakes may be bfloat16
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    penalty: Tensor = (grad.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty
