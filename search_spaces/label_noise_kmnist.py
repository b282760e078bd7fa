"""Does noise in D's targets help, and with which loss of G? (recipe A's choice)

One-sided noise is in the targets of real images. Two-sided noise is in the targets of fakes, too.
Salimans 2016 advises against smoothing the targets of fakes, which recipe A does. A null result
counts as a result. Each claim but the last says that noise helps, and the last one compares the two
kinds of noise. The regions were fixed before the first run.
"""

from __future__ import annotations

from search_spaces.acgan_kmnist_classes import RECIPE_A
from search_spaces.core import Budget, Claim, Condition, Group, Study

NOISE = ("none", "one_sided", "two_sided")
LOSSES = ("saturating", "non_saturating")


def name(loss: str, noise: str) -> str:
    return f"{loss}, {noise}"


def claim(loss: str, noise: str) -> Claim:
    return Claim(
        id=f"N-{loss}-{noise}",
        primary=True,
        text=f"{loss} G: {noise} noise in D's targets lowers FCD by a tenth or more",
        source="our own question: recipe A has two-sided noise, and Salimans 2016 "
        "(arXiv:1606.03498) one-sided smoothing, both without figures; we measure FCD",
        metric="fcd",
        of=Group(name(loss, noise)),
        against=Group(name(loss, "none")),
        region=(0.0, 0.9),
        log=True,
    )


CONDITIONS: dict[str, Condition] = {
    name(loss, noise): {"adversarial": loss, "label_noise": noise}
    for loss in LOSSES
    for noise in NOISE
}

STUDY = Study(
    title="ACGAN, 10 classes: noise in D's targets",
    variant="acgan",
    data="kmnist",
    stand_in="kana",
    conditions={key: {"classes": 10, **value} for key, value in CONDITIONS.items()},
    reference={k: v for k, v in RECIPE_A.items() if k not in ("adversarial", "label_noise")},
    space=None,
    metrics=("fcd", "labels", "variance", "class_loss"),
    claims=(
        *(claim(loss, noise) for loss in LOSSES for noise in NOISE[1:]),
        Claim(
            id="N-sides",
            primary=True,
            text="one-sided noise is better than two-sided: lower FCD (non-saturating G)",
            source="Salimans 2016 (arXiv:1606.03498), section 3.4: advises by argument against "
            "smoothing the targets of fakes; we measure FCD",
            metric="fcd",
            of=Group(name("non_saturating", "one_sided")),
            against=Group(name("non_saturating", "two_sided")),
            region=(0.0, 1.0),
            log=True,
        ),
    ),
    scales={
        "smoke": Budget(kimg=1, tick_kimg=1, seeds=2, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(
            kimg=60,
            tick_kimg=20,
            seeds=6,
            samples=1000,
            scale_overrides={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=6_000,
            tick_kimg=500,
            seeds=10,
            samples=10_000,
            scale_overrides={"f": 64},
        ),
    },
)
