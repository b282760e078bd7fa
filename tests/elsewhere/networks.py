"""A file beside a variant's, which the variant imports by its plain name."""

from torch import nn


def mlp(inputs: int, outputs: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
