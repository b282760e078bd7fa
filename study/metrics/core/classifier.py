"""Train small classifiers of images and compute their outputs: for the judges and for CAS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.core.losses import class_loss
from trainables.core.optimizers import AdamW

BATCH = 500  # images per forward pass when judging


@dataclass(frozen=True)
class Recipe:
    """How networks are trained: AdamW, one cycle of the learning rate, class-balanced draws."""

    label_images: int = 24_000  # draws that the label network sees
    feature_images: int = 20_000  # draws that the feature network sees
    batch: int = 64
    label_lr: float = 4e-3  # peak of the label network's cycle
    feature_lr: float = 4e-3  # peak of the feature network's cycle
    weight_decay: float = 0.02


@contextmanager
def repeatable(device: torch.device | str, seed: int) -> Iterator[None]:
    """Seed torch's RNGs and make cuDNN deterministic; restore the RNGs and cuDNN afterwards."""
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with (
        torch.random.fork_rng(devices=cuda),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


def train(
    network: nn.Module,
    x: NDArray[np.uint8],
    y: NDArray[Any],
    recipe: Recipe,
    images: int,
    lr: float,
    seed: int,
    *,
    bf16: bool = False,
    prepare: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    step: Callable[[int], None] | None = None,
) -> None:
    """Train `network` in place on `images` draws from x [N, C, H, W] and y.

    y is [N], or multi-hot [N, K]. All classes are equally likely in the draws: see `balanced`.

    Args:
        images: number of draws; the last incomplete batch is left out.
        lr: peak learning rate.
        seed: of the draws.
        bf16: whether the forward pass computes in bfloat16.
        prepare: maps a batch of images, float [n, C, H, W] from -1 to 1, and their labels to what
            the network learns from in their place.
        step: called after each step with the number of its images; may raise to end the training.
    """
    device = next(network.parameters()).device
    draws = balanced(y, images, np.random.default_rng(seed))
    steps = images // recipe.batch
    optimizer = AdamW(network.parameters(), lr, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    network.train()
    for rows in draws[: steps * recipe.batch].reshape(steps, recipe.batch):
        target = torch.from_numpy(y[rows]).to(device)
        batch = normalise(torch.from_numpy(x[rows]).to(device))
        if prepare is not None:
            batch, target = prepare(batch, target)
        # Autocast caches converted weights while it is open, so it is opened anew at each step.
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = network(batch)
        loss = class_loss(logits.float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step is not None:
            step(recipe.batch)
    network.eval()


def balanced(y: NDArray[Any], images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers of `images` draws in which every class that occurs in y is equally likely.

    The images of a class are drawn in random order. When all of them have been drawn, the same
    order begins again, so a class with at least as many images as draws shows no image twice.
    Images of several labels all count as one class.
    """
    y = y if y.ndim == 1 else np.zeros(len(y), dtype=np.int64)
    present = np.unique(y)
    drawn = rng.choice(present, images)
    rows = np.empty(images, dtype=np.int64)
    for label in present:
        places = np.flatnonzero(drawn == label)
        members = rng.permutation(np.flatnonzero(y == label))
        rows[places] = np.resize(members, len(places))
    return rows


@torch.no_grad()
def batched(network: nn.Module, x: Tensor) -> Tensor:
    """Outputs, on the CPU, of a network for uint8 NCHW images, computed batch by batch."""
    device = next(network.parameters()).device
    parts = (normalise(part.to(device)) for part in torch.split(x, BATCH))
    return torch.cat([network(part).float().cpu() for part in parts])


def normalise(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1
