"""BatchNorm statistics of an averaged generator."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

BATCHES = 16  # over which the statistics are averaged, as in BigGAN's own code


def standing_statistics(G: nn.Module, draw: Callable[[], None]) -> None:
    """Give G, which is in eval mode, the BatchNorm statistics of its own weights.

    The running statistics that training leaves behind are those of G's live weights. With them an
    average of these weights draws images that neither network would draw. The "standing statistics"
    of Brock et al. 2019 (BigGAN, appendix B) are the mean of the batch statistics over forward
    passes in training mode.

    Args:
        draw: lets G make one batch of images.
    """
    norms = [m for m in G.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch then keeps the plain mean over all batches
        norm.train()
    for _ in range(BATCHES if norms else 0):
        draw()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
