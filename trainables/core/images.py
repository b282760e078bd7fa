"""Images as networks take them, and as they are kept."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(x: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1]."""
    return x.float().div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """float [-1, 1] -> uint8 [0, 255], rounded."""
    return x.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
