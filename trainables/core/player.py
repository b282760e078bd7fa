"""What takes turns in a GAN: its players, the data of a step, and the named losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass
class Batch:
    """The data of one step. A variant with further networks subclasses it."""

    x: Tensor  # [N, C, H, W] real, in [-1, 1]
    y: Tensor  # labels of x: int64 [N]; uint8 [N, classes] where an image has several
    y_fake: Tensor  # labels that G is asked for, like y
    fake: Tensor  # [N, C, H, W] G's images with their autograd graph; D's turn detaches them


Terms = dict[str, Tensor]


@dataclass
class Player:
    """A player: the networks it trains, and the named losses it minimises."""

    # Each network is a parameter group of the player's optimizer. A variant may change its rate.
    networks: list[nn.Module]
    losses: Callable[[Any], Terms]
    lr: float
    weights: Mapping[str, float] = field(default_factory=dict)  # weight per term; 1 if missing
    # Turns in a round. A round has as many steps as the most turns of any player, each on new
    # images, and a player takes its turns in the first of them: G after D's first turn. The clock
    # counts the images of all steps. WGAN's n_critic = 5 are five turns of D.
    turns: int = 1


def named(terms: Mapping[str, Terms]) -> Terms:
    """The terms of all players by the name "loss/<player>/<term>"."""
    return {f"loss/{name}/{t}": value for name, own in terms.items() for t, value in own.items()}
