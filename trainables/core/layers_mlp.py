"""Fully connected networks, for points in the plane and other uses without convolutions."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

WIDTH = 8  # units of a hidden layer, divided by f: 512 at f = 64, as in WGAN-GP's toy problems
HIDDEN = 3  # hidden layers, as in WGAN-GP's toy problems


class MlpGenerator(nn.Module):
    """`hidden` layers of `width` * f units with ReLU, then a layer to the image with tanh.

    Weights have torch's default initialisation.
    """

    def __init__(
        self,
        inputs: int,
        f: int,
        size: tuple[int, int],
        channels: int,
        width: int = WIDTH,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        self.shape = (channels, *size)
        layers: list[nn.Module] = []
        for i in range(hidden):
            layers += [nn.Linear(width * f if i else inputs, width * f), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(width * f, math.prod(self.shape)))

    def forward(self, z: Tensor) -> Tensor:
        """z [N, inputs] -> images [N, C, H, W] in [-1, 1]."""
        return torch.tanh(self.layers(z).unflatten(1, self.shape))


class MlpDiscriminator(nn.Module):
    """Three hidden layers of 8f units (norm, LReLU .2), then a linear layer to the outputs.

    Weights have torch's default initialisation. BN always uses the statistics of the current batch.
    """

    def __init__(
        self,
        channels: int,
        f: int,
        size: tuple[int, int],
        norm: Literal["bn", "none"],
        outputs: int,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for i in range(HIDDEN):
            layers.append(nn.Linear(WIDTH * f if i else channels * math.prod(size), WIDTH * f))
            if norm == "bn":
                layers.append(nn.BatchNorm1d(WIDTH * f, track_running_stats=False))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers, nn.Linear(WIDTH * f, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, outputs] float32."""
        out: Tensor = self.layers(x)
        return out.float()
