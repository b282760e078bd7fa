"""Compares one ACGAN training step with a rewrite of the original loop, on networks of equal sizes.

    python -m tests.benchmarks.bench_training [--f 64] [--threads 2] [--steps 20] [--repeats 5]

The original loop has sigmoid + BCELoss, log-softmax + NLLLoss, one backward call per loss, a second
generator pass for G's turn, plain Adam, and `.item()` of every loss at every step. The rewrite
detaches the fakes in D's turn, which the original did not do: this is in its favour. Our step runs
in float32, and also in bfloat16 if the processor has it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.acgan_kmnist_classes import RECIPE_A
from study.metrics.core.judge import native_bf16
from trainables.acgan import Acgan
from trainables.data.base import DataSpec

CLASSES, BATCH = 49, 64


class OriginalG(nn.Module):
    def __init__(self, f: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(100 + CLASSES, 16 * f), nn.BatchNorm1d(16 * f), nn.ReLU(),
            nn.Linear(16 * f, 2 * f * 49), nn.BatchNorm1d(2 * f * 49), nn.ReLU(),
            nn.Unflatten(1, (2 * f, 7, 7)),
            nn.ConvTranspose2d(2 * f, f, 4, 2, 1), nn.BatchNorm2d(f), nn.ReLU(),
            nn.ConvTranspose2d(f, 1, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.layers(torch.cat([z, F.one_hot(y, CLASSES).float()], 1))
        return out


class OriginalD(nn.Module):
    def __init__(self, f: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, f, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(f, 2 * f, 4, 2, 1), nn.LeakyReLU(0.2), nn.BatchNorm2d(2 * f), nn.Flatten(),
            nn.Linear(2 * f * 49, 16 * f), nn.BatchNorm1d(16 * f), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.real = nn.Sequential(nn.Linear(16 * f, 1), nn.Sigmoid())
        self.label = nn.Sequential(nn.Linear(16 * f, CLASSES), nn.LogSoftmax(1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(x)
        return self.real(features)[:, 0], self.label(features)


def original(f: int) -> Callable[[Tensor, Tensor], float]:
    G, D = OriginalG(f), OriginalD(f)
    of_g = torch.optim.Adam(G.parameters(), 2e-4, (0.5, 0.999))
    of_d = torch.optim.Adam(D.parameters(), 2e-4, (0.5, 0.999))
    bce, nll = nn.BCELoss(), nn.NLLLoss()

    def step(x: Tensor, y: Tensor) -> float:
        total, n = 0.0, len(x)
        of_d.zero_grad()
        z = torch.randn(n, 100) + 0.5
        real, label_real = D(x)
        fake, label_fake = D(G(z, y).detach())
        tf = bce(real, torch.empty(n).uniform_(0.7, 1.0)) + bce(fake, torch.rand(n) * 0.3)
        label = nll(label_real, y) + nll(label_fake, y)
        tf.backward(retain_graph=True)
        label.backward()
        of_d.step()
        total += tf.item() + label.item()
        of_g.zero_grad()
        fake, label_fake = D(G(z, y))
        tf, label = -bce(fake, torch.zeros(n)), nll(label_fake, y)
        tf.backward(retain_graph=True)
        label.backward()
        of_g.step()
        return total + tf.item() + label.item()

    return step


def ours(f: int, bf16: bool) -> Callable[[Tensor, Tensor], object]:
    config = Acgan.config_type.parse({**RECIPE_A, "f": f, "batch": BATCH})
    return Acgan(config, DataSpec(CLASSES, 1, (28, 28)), torch.device("cpu"), bf16).step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--f", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    x, y = torch.rand(BATCH, 1, 28, 28) * 2 - 1, torch.randint(CLASSES, (BATCH,))
    loops = {"original": original(arguments.f), "fp32": ours(arguments.f, bf16=False)}
    if native_bf16():
        loops["bf16"] = ours(arguments.f, bf16=True)
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for repeat in range(arguments.repeats + 1):  # the loops alternate; the first round is a warm-up
        for name, step in loops.items():
            start = time.perf_counter()
            for _ in range(arguments.steps):
                step(x, y)
            if repeat:
                speed = arguments.steps * BATCH / (time.perf_counter() - start)
                speeds[name].append(speed)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, goal in (("fp32", 1.8), ("bf16", 3.0)):
        if name in medians:
            print(
                f"{name}: {medians[name]:.0f} images/s, original {medians['original']:.0f}, "
                f"ratio {medians[name] / medians['original']:.2f} (to be at least {goal})"
            )


if __name__ == "__main__":
    main()
