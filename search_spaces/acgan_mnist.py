"""ACGAN on MNIST: as good as a cGAN of the same networks, and what two slips cost (claims C).

Recipe C of a public write-up: a label's embedding times z, an upsampling G, a D with dropout. The
write-up resized MNIST to 32x32; here it keeps its 28x28, and so do the rendered digits. It looked
at D's accuracy over real and generated images together, which a pair that agree on a code of
their own passes; here an independent judge reads the labels, and D's is measured on held-out
real images. G is evaluated as its running average, which the write-up did not have.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Group, Study

ACCURACY = "label_accuracy"
FLOOR = 1.461  # log(1 + 9 / e): no class loss after two softmaxes is lower with ten classes

STUDY = Study(
    title="ACGAN on MNIST: beside a cGAN, pretrained, and with its code's two slips",
    variant="acgan_mnist",
    data="mnist",
    standin="kana_digits",
    conditions={
        "cgan": {"variant": "cgan_mnist"},
        "acgan": {},
        "pretrained": {"pretrain_kimg": 5.0},
        "double_softmax": {"double_softmax": True},
        "bn_eps": {"bn_eps": 0.8},
    },
    reference={"lr": 2e-4, "lr_ratio": 1.0, "adversarial": "non_saturating", "d_norm": "bn"},
    space=None,
    metrics=("fcd", "labels", "variance", "class_loss", "gradients"),
    claims=(
        Claim(
            id="C1a",
            text="ACGAN's pictures are about as good as cGAN's: FCD within a factor of 1.5",
            metric="fcd",
            of=Group("acgan"),
            against=Group("cgan"),
            region=(1 / 1.5, 1.5),
            log=True,
        ),
        Claim(
            id="C1b",
            text="and match their labels as well: label accuracy within .05 of cGAN's",
            metric=ACCURACY,
            of=Group("acgan"),
            against=Group("cgan"),
            region=(-0.05, 0.05),
        ),
        Claim(
            id="C1c",
            text="and D classifies real images as well: accuracy at least .90",
            metric="class_accuracy/real",
            of=Group("acgan"),
            region=(0.9, 1.0),
        ),
        Claim(
            id="C1d",
            text="with cross-entropy as it is meant label accuracy is at least .95",
            metric=ACCURACY,
            of=Group("acgan"),
            region=(0.95, 1.0),
        ),
        Claim(
            id="C2",
            text="a pretrained classifier makes training easier: labels right earlier (+.02)",
            metric=ACCURACY,
            of=Group("pretrained", at="early"),
            against=Group("acgan", at="early"),
            region=(0.02, inf),
        ),
        Claim(
            id="softmax-floor",
            text=f"after two softmaxes the fake class loss ends within .05 of its floor, {FLOOR}",
            metric="class_loss/fake",
            of=Group("double_softmax"),
            region=(FLOOR - 0.05, FLOOR + 0.05),
        ),
        Claim(
            id="softmax-cost",
            text="and labels come right later: accuracy at the first tick is at least .02 lower",
            metric=ACCURACY,
            of=Group("double_softmax", at="early"),
            against=Group("acgan", at="early"),
            region=(-1.0, -0.02),
        ),
        Claim(
            id="eps-cost",
            text="BatchNorm's eps of .8 costs: FCD is higher by a tenth or more",
            metric="fcd",
            of=Group("bn_eps"),
            against=Group("acgan"),
            region=(1.1, inf),
            log=True,
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1, search_kimg=1, tick_kimg=1, trials=0, seeds=2, samples=200, fixed={"f": 4}
        ),
        "quick": Budget(
            kimg=60,
            search_kimg=60,
            tick_kimg=10,
            trials=0,
            seeds=5,
            samples=1000,
            fixed={"f": 16, "batch": 32, "lr": 1e-3},
        ),
        "full": Budget(
            kimg=12_000,
            search_kimg=12_000,
            tick_kimg=500,
            first_tick_kimg=10,
            trials=0,
            seeds=5,
            samples=10_000,
            stretch=12,
            fixed={"f": 64},
        ),
    },
)
