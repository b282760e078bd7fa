"""Learning rates of G and D on images of several objects: 4e-4 : 1e-4 or 2e-4 : 2e-4? (claim B2)

This is recipe B of the i-CLEVR lab with a cGAN. Both pairs of rates have the same product, and so
have all pairs that the search tries. Only the ratio differs. At scale quick, which has few steps,
every rate is five times as high.

The lab drew the training losses of both players and called those of the one pair steadier. Here a
loss is steadier if its mean over a tick rises less above the lowest mean before it, as a factor.
A loss that climbs steadily, as G's does when D gets ahead, is set back by this measure, too.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from search_spaces.cgan_vs_acgan_iclevr import LAB
from search_spaces.core import Budget, Claim, Group, Study

if TYPE_CHECKING:
    import optuna

MEAN = 2e-4  # geometric mean of G's and D's learning rates


def rates(ratio: float) -> dict[str, float]:
    """Hyperparameters for a ratio: G's learning rate, and D's as a multiple of it."""
    return {"lr": MEAN / ratio**0.5, "lr_ratio": ratio}


def space(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest the ratio of D's learning rate to G's."""
    return rates(trial.suggest_float("lr_ratio", 1 / 32, 4.0, log=True))


def steadier(name: str, what: str, column: str, source: str, primary: bool = True) -> Claim:
    """Claim B2a for one curve: its largest relapse is smaller with the lab's rates."""
    return Claim(
        id=f"B2a-{name}",
        primary=primary,
        text=f"4 : 1 is steadier: {what} is set back 0.95 times as far as with 2 : 2, or less",
        source=source,
        metric=column,
        of=Group(SLOW_D, at="largest_relapse"),
        against=Group(EVEN, at="largest_relapse"),
        region=(0.0, 0.95),  # not up to 1: two curves that never rose have a ratio of 1
        log=True,
    )


DRAWN = (
    f"{LAB}: author's eyes on plots of both players' training losses (steadier); we measure the "
    "largest relapse of their means over a tick"
)
OWN = "our own question: whether the images are steadier, too"
EVEN, SLOW_D, OTHER = "D as fast as G", "D at a quarter of G", "same product, any ratio"

STUDY = Study(
    title="Learning rates of G and D on scenes of several objects",
    variant="cgan",
    data="iclevr",
    stand_in="shapes",
    conditions={EVEN: rates(1.0), SLOW_D: rates(0.25), OTHER: rates(0.5)},
    reference={"d_planes": "learned", "fake_labels": "batch"},
    space=space,
    searched=(OTHER,),
    metrics=("fcd", "multilabel", "variance"),
    claims=(
        steadier("g", "G's loss", "loss/g/adversarial", DRAWN),
        steadier("d-real", "D's loss on real images", "loss/d/adversarial_real", DRAWN),
        steadier("d-fake", "D's loss on fakes", "loss/d/adversarial_fake", DRAWN),
        steadier("fcd", "FCD", "fcd", OWN, primary=False),
        Claim(
            id="B2b",
            primary=True,
            text="4 : 1 converges earlier: its accuracy at the first tick is higher",
            source=f"{LAB}: author's eyes on plots of training losses (converge earlier); we "
            "measure top-k accuracy at the first tick, as losses of the game have no value to "
            "converge to",
            metric="topk_accuracy",
            of=Group(SLOW_D, at="early"),
            against=Group(EVEN, at="early"),
            region=(0.0, inf),
        ),
        Claim(
            id="B2c",
            text="4 : 1 ends with the higher accuracy",
            source="our own question: whether what is early is left at the end",
            metric="topk_accuracy",
            of=Group(SLOW_D),
            against=Group(EVEN),
            region=(0.0, inf),
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            trials=2,
            seeds=2,
            samples=100,
            scale_overrides={"f": 2},
        ),
        "quick": Budget(
            kimg=60,
            search_kimg=30,
            tick_kimg=10,
            trials=4,
            seeds=3,
            samples=400,
            scale_overrides={"f": 8, "batch": 16, "lr_scale": 5.0},
        ),
        "full": Budget(  # the lab's 300 epochs of 18,009 images each
            kimg=5_400,
            search_kimg=1_000,
            tick_kimg=200,
            trials=20,
            search_parallelism=8,
            seeds=5,
            samples=5_000,
            scale_overrides={"f": 64},
        ),
    },
)
