"""BigGAN's residual networks (Brock, Donahue, Simonyan 2019, arXiv:1809.11096, app. B)."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.core.layers import halvings

Init = Literal["orthogonal", "normal"]


def init_network(network: nn.Module, init: Init, sn: bool) -> None:
    """Initialise a network's layers, and add SN (Miyato 2018) where `sn` is True.

    Weights are orthogonal (Saxe 2014) or N(0, .02); biases are 0. SN is added afterwards, so that
    its vectors start from these values. G's embedding is an input like z, and stays N(0, 1).
    """
    for m in [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
        if init == "orthogonal":
            nn.init.orthogonal_(m.weight)
        else:
            nn.init.normal_(m.weight, 0.0, 0.02)
        if m.bias is not None:
            nn.init.zeros_(m.bias)
        if sn:
            spectral_norm(m)
    network.to(memory_format=torch.channels_last)  # speeds up narrow convolutions by a quarter


def off_diagonal(network: nn.Module) -> Tensor:
    """Modified orthogonal penalty (eq. 3): the sum over weights W of |W W' o (1 - I)|_F^2.

    A row of W is one filter. Where SN divides the weights, the penalty is on the raw weights.
    Embeddings are left out.
    """
    total = []
    for m in network.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            W = next(p for p in m.parameters() if p.ndim > 1).flatten(1).float()
            with torch.autocast(W.device.type, enabled=False):
                gram = W @ W.T if len(W) < W.shape[1] else W.T @ W  # both have the same norm
            total.append(gram.square().sum() - W.square().sum(1).square().sum())
    return torch.stack(total).sum()


class SelfAttention(nn.Module):
    """Self-attention (Zhang 2019, SAGAN): each position attends to all positions of a pooled map.

    `gamma` starts at 0, so the layer starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow, self.wide = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, self.narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, self.narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, self.wide, 1, bias=False)
        self.out = nn.Conv2d(self.wide, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> the same shape."""
        query = self.query(x).flatten(2)  # [N, C/8, HW]
        key = F.max_pool2d(self.key(x), 2).flatten(2)  # [N, C/8, HW/4]
        value = F.max_pool2d(self.value(x), 2).flatten(2)  # [N, C/2, HW/4]
        weights = torch.bmm(query.transpose(1, 2), key).softmax(-1)  # [N, HW, HW/4]
        seen = torch.bmm(value, weights.transpose(1, 2)).view(len(x), -1, *x.shape[2:])
        out: Tensor = x + self.gamma * self.out(seen)
        return out


class ConditionalBatchNorm(nn.Module):
    """BN whose gain and bias are linear in a condition. The gain is centred at 1."""

    def __init__(self, channels: int, condition: int) -> None:
        """`condition` is the length of the condition's vector; 0 makes plain BN."""
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=condition == 0)
        self.conditional = condition > 0
        if self.conditional:
            self.gain = nn.Linear(condition, channels, bias=False)
            self.bias = nn.Linear(condition, channels, bias=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """x [N, C, H, W], c [N, condition] -> the same shape as x."""
        out: Tensor = self.norm(x)
        if self.conditional:
            out = out * (1 + self.gain(c))[..., None, None] + self.bias(c)[..., None, None]
        return out


class UpBlock(nn.Module):
    """Residual block: BN, ReLU, upsampling to twice the size, conv, BN, ReLU, conv.

    The shortcut is a 1x1 convolution and upsampling.
    """

    def __init__(self, wide: int, narrow: int, condition: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(wide, condition)
        self.conv1 = nn.Conv2d(wide, narrow, 3, padding=1)
        self.norm2 = ConditionalBatchNorm(narrow, condition)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.shortcut = nn.Conv2d(wide, narrow, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """x [N, wide, H, W], c [N, condition] -> [N, narrow, 2H, 2W]."""
        h = self.conv1(F.interpolate(F.relu(self.norm1(x, c)), scale_factor=2))
        h = self.conv2(F.relu(self.norm2(h, c)))
        # A 1x1 convolution and upsampling commute, so their order is free.
        out: Tensor = h + F.interpolate(self.shortcut(x), scale_factor=2)
        return out


class DownBlock(nn.Module):
    """Residual block: ReLU, conv, ReLU, conv, pooling to half the size.

    The shortcut is pooling and a 1x1 convolution.
    """

    def __init__(self, narrow: int, wide: int, first: bool = False, down: bool = True) -> None:
        """`first`: the input is an image, so the first ReLU is left out. `down`: halve the size."""
        super().__init__()
        self.first, self.down = first, down
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1)
        self.shortcut = nn.Conv2d(narrow, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, narrow, H, W] -> [N, wide, H, W]; with `down`, H and W are halved."""
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        out: Tensor = h + self.shortcut(x)
        return out


class ResGenerator(nn.Module):
    """Makes images from z and a class embedding.

    `halvings` blocks lead up from a map of at most 8 pixels a side. With `cbn` the embedding, which
    all blocks share, enters each BN of the blocks. Without `cbn` it enters the first layer. With
    `skip_z` z is divided: the first layer gets one part, and the BNs of each block another.
    """

    def __init__(
        self,
        z_dim: int,
        classes: int,
        embedding: int,
        f: int,
        size: tuple[int, int],
        channels: int,
        *,
        attention: bool,
        cbn: bool,
        skip_z: bool,
    ) -> None:
        super().__init__()
        ups = halvings(size)
        widths = [f * 2 ** (ups - i) for i in range(ups + 1)]  # 28 px: 4f at 7x7, f at 28x28
        h, w = (math.ceil(side / 2**ups) for side in size)
        self.size, self.cbn, self.skip_z = size, cbn, skip_z
        # Lengths of the parts of z: first that of the first layer, then one per block.
        parts = torch.tensor_split(torch.empty(z_dim), ups + 1) if skip_z else [torch.empty(z_dim)]
        self.parts = [len(part) for part in parts]
        self.shared = nn.Embedding(classes, embedding)
        inputs = self.parts[0] + (0 if cbn else embedding)
        self.stem = nn.Sequential(
            nn.Linear(inputs, widths[0] * h * w), nn.Unflatten(1, (widths[0], h, w))
        )
        blocks = []
        for i, (wide, narrow) in enumerate(itertools.pairwise(widths)):
            condition = (embedding if cbn else 0) + (self.parts[1 + i] if skip_z else 0)
            blocks.append(UpBlock(wide, narrow, condition))
        self.blocks = nn.ModuleList(blocks)
        self.attention = SelfAttention(widths[-2]) if attention else nn.Identity()
        self.norm = nn.BatchNorm2d(widths[-1])
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """z [N, z_dim], labels y [N] -> images [N, C, H, W] in [-1, 1]."""
        label, (first, *parts) = self.shared(y), torch.split(z, self.parts, dim=1)
        x = self.stem(first if self.cbn else torch.cat([first, label], dim=1))
        shared = label if self.cbn else label[:, :0]
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) - 1:  # at half the images' resolution, as in D
                x = self.attention(x)
            x = block(x, torch.cat([shared, *parts[i : i + 1]], dim=1))
        x = self.out(F.relu(self.norm(x)))
        return torch.tanh(x[:, :, : self.size[0], : self.size[1]])


class ProjectionDiscriminator(nn.Module):
    """Residual blocks down to the smallest size, one block at this size, a sum over positions.

    The sums are the features. The logit is a linear function of the features, plus their inner
    product with the class's embedding (Miyato and Koyama 2018).
    """

    def __init__(
        self, channels: int, classes: int, f: int, size: tuple[int, int], *, attention: bool
    ) -> None:
        super().__init__()
        widths = [channels, *(f * 2**i for i in range(halvings(size)))]
        pairs = list(itertools.pairwise(widths))
        self.first = DownBlock(*pairs[0], first=True)
        self.attention = SelfAttention(widths[1]) if attention else nn.Identity()
        self.blocks = nn.Sequential(
            *(DownBlock(narrow, wide) for narrow, wide in pairs[1:]),
            DownBlock(widths[-1], widths[-1], down=False),
        )
        self.linear = nn.Linear(widths[-1], 1)
        self.embedding = nn.Linear(classes, widths[-1], bias=False)  # of one-hot labels

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [N, C, H, W], labels y [N] -> logits [N] float32."""
        h = F.relu(self.blocks(self.attention(self.first(x)))).sum(dim=(2, 3))
        V = self.embedding(F.one_hot(y, self.embedding.in_features).to(h.dtype))
        out: Tensor = self.linear(h)[:, 0] + (V * h).sum(1)
        return out.float()
