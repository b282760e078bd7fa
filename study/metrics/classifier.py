"""Small classifiers of images, and how they are trained: for the judges and for CAS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 64  # dimensions of the feature network's penultimate layer
BATCH = 500  # images per forward pass when judging


@dataclass(frozen=True)
class Recipe:
    """How both judges are trained: AdamW, one cycle of the learning rate, class-balanced draws."""

    label_images: int = 24_000  # draws that the label judge sees
    feature_images: int = 20_000  # draws that the feature judge sees
    batch: int = 64
    lr: float = 4e-3  # peak
    weight_decay: float = 0.02


def label_network(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Strided convolutions to at most 8x8, one hidden layer."""
    channels, *size = shape
    layers: list[nn.Module] = []
    width, kernel = 24, 5
    while True:
        layers += [nn.Conv2d(channels, width, kernel, 2, kernel // 2, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        size = [(s + 1) // 2 for s in size]
        channels, width, kernel = width, 2 * width, 3
        if max(size) <= 8:
            break
    layers += [nn.Flatten(), nn.Linear(channels * size[0] * size[1], 128, bias=False)]
    layers += [nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, classes)]
    return nn.Sequential(*layers)


def feature_network(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Narrower kernels to at most 4x4, then the 64 features, then one linear layer.

    The features are normalised without scale or shift: over the training data each has mean 0 and
    variance 1, so distances of different data sets are of one order.
    """
    channels, *size = shape
    layers: list[nn.Module] = []
    for width, kernel in zip((32, 64, 64, 64, 64, 64), (6, 3, 3, 3, 3, 3), strict=True):
        pad = kernel // 2 - (kernel == 6)
        layers += [nn.Conv2d(channels, width, kernel, 2, pad, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
        size = [(s + 2 * pad - kernel) // 2 + 1 for s in size]
        channels = width
        if max(size) <= 4:
            break
    layers += [nn.Flatten(), nn.Linear(channels * size[0] * size[1], FEATURES, bias=False)]
    layers += [nn.BatchNorm1d(FEATURES, affine=False), nn.Linear(FEATURES, classes)]
    return nn.Sequential(*layers)


@contextmanager
def repeatable(device: torch.device | str, seed: int) -> Iterator[None]:
    """Torch's RNGs seeded, cuDNN deterministic; afterwards the RNGs are as they were."""
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
    y: NDArray[np.int64],
    recipe: Recipe,
    images: int,
    seed: int,
) -> Iterator[int]:
    """Train in place on `images` draws of x [N, C, H, W] and y [N], all classes equally likely;
    yields the number of images seen now and then."""
    device = next(network.parameters()).device
    draws = balanced(y, images, np.random.default_rng(seed))
    steps = images // recipe.batch
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps + 1)
    network.train()
    for step, rows in enumerate(draws[: steps * recipe.batch].reshape(steps, recipe.batch)):
        target = torch.from_numpy(y[rows]).to(device)
        logits = network(normalise(torch.from_numpy(x[rows]).to(device)))
        loss = functional.cross_entropy(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            yield (step + 1) * recipe.batch
    network.eval()


def balanced(y: NDArray[np.int64], images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers of `images` draws in which every class present is equally likely.

    Each class is gone through in random order and begun again when it is used up, so that a
    class as large as the budget shows no image twice.
    """
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
    """A network's outputs for uint8 NCHW images, batch by batch; on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(normalise(part.to(device))).cpu() for part in torch.split(x, BATCH)])


def normalise(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1
