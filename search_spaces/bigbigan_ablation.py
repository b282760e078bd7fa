"""BigBiGAN's ablations at a small scale: do D's unary scores and a fast encoder help? (claim E7)

Donahue and Simonyan (2019, table 1) removed s_x, s_z or both from D. They also lowered E's learning
rate from 10 times G's to G's own. They judged the results by FID and by a linear probe on ImageNet.
Here the networks are BiGAN's MLPs, and the images are MNIST's. The condition `none` is a BiGAN with
hinge loss. Each condition differs from `both` in one thing. The measurements are those of
`bigan_mnist`, with random encoders beside each figure.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Group, Study

TABLE = "Donahue and Simonyan 2019 (arXiv:1907.02544), table 1"

STUDY = Study(
    title="BigBiGAN on MNIST: unary scores in D, and E's learning rate",
    variant="bigbigan",
    data="mnist",
    stand_in="kana_digits",
    conditions={
        "both": {"unary": "both"},
        "S_x alone": {"unary": "x"},
        "S_z alone": {"unary": "z"},
        "none": {"unary": "none"},
        "slow E": {"unary": "both", "lr_ratio_e": 1.0},
    },
    reference={"lr": 5e-5, "lr_ratio": 4.0, "lr_ratio_e": 10.0, "batch": 128, "z_dim": 120},
    space=None,
    metrics=("fcd", "prdc", "encoder", "reconstruction"),
    claims=(
        Claim(
            id="E7-unary-fcd",
            primary=True,
            text="both unary scores help G: FCD at least a tenth lower than with none",
            source=f"{TABLE}: FID on ImageNet with and without unary scores; we measure FCD",
            metric="fcd",
            of=Group("both"),
            against=Group("none"),
            region=(0.0, 0.9),
            log=True,
        ),
        Claim(
            id="E7-unary-probe",
            text="they help E: a linear probe gains at least .01",
            source=f"{TABLE}: accuracy of a linear probe on ImageNet with and without unary scores",
            metric="encoder/linear",
            of=Group("both"),
            against=Group("none"),
            region=(0.01, inf),
        ),
        Claim(
            id="E7-without-x",
            primary=True,
            text="dropping S_x hurts: FCD at least a tenth higher",
            source=f"{TABLE}: FID on ImageNet without S_x; we measure FCD",
            metric="fcd",
            of=Group("S_z alone"),
            against=Group("both"),
            region=(1.1, inf),
            log=True,
        ),
        Claim(
            id="E7-without-z",
            primary=True,
            text="dropping S_z hardly matters: FCD within a factor of 1.25",
            source=f"{TABLE}: FID on ImageNet without S_z; we measure FCD",
            metric="fcd",
            of=Group("S_x alone"),
            against=Group("both"),
            region=(0.8, 1.25),
            log=True,
        ),
        Claim(
            id="E7-x-over-z",
            text="dropping S_x hurts more than dropping S_z: FCD a tenth higher or more",
            source=f"{TABLE}: FID on ImageNet without S_x and without S_z; we measure FCD",
            metric="fcd",
            of=Group("S_z alone"),
            against=Group("S_x alone"),
            region=(1.1, inf),
            log=True,
        ),
        Claim(
            id="E7-fast-e",
            text="an E ten times as fast as G helps: reconstructions are .02 nearer, by a judge",
            source="our own question: reconstructions with a fast E, of which the paper measures "
            "a linear probe",
            metric="reconstruction/features",
            of=Group("both"),
            against=Group("slow E"),
            region=(-inf, -0.02),
        ),
        Claim(
            id="E7-fast-e-probe",
            text="and the linear probe gains at least .01",
            source=f"{TABLE}: accuracy of a linear probe on ImageNet, E's learning rate times 10",
            metric="encoder/linear",
            of=Group("both"),
            against=Group("slow E"),
            region=(0.01, inf),
        ),
        Claim(
            id="E7-inverts",
            text="E inverts G: images are 1.25 times nearer to G(E(x)) than to other images'",
            source="our own question: the paper shows reconstructions for the eye; we measure "
            "distances in pixels",
            metric="reconstruction/pixels",
            of=Group("both"),
            region=(-inf, 0.8),
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            seeds=2,
            samples=200,
            scale_overrides={"f": 2, "batch": 50},
        ),
        "quick": Budget(
            kimg=120,
            tick_kimg=60,
            seeds=4,
            samples=1000,
            scale_overrides={"f": 16, "batch": 32, "lr": 3e-4},
        ),
        "full": Budget(  # 400 epochs of 60,000 images each, as in `bigan_mnist`
            kimg=24_000,
            tick_kimg=1_500,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 64},
        ),
    },
)
