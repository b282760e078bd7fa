"""cGAN against ACGAN under the same conditions: does cGAN hit the labels where ACGAN fails? (A2)"""

from __future__ import annotations

from math import inf

from search_spaces.acgan_kmnist_classes import RECIPE_A
from search_spaces.core import Budget, Claim, Group, Study

RECIPE = {k: v for k, v in RECIPE_A.items() if k != "pretrain_kimg"}

STUDY = Study(
    title="cGAN against ACGAN on Kuzushiji characters",
    variant="cgan",
    data="k49",
    standin="kana",
    conditions={
        "cgan, 10 classes": {"classes": 10},
        "cgan, 49 classes": {"classes": 49},
        "acgan, 10 classes": {"classes": 10, "variant": "acgan"},
        "acgan, 49 classes": {"classes": 49, "variant": "acgan"},
        "projection, 49 classes": {"classes": 49, "variant": "projgan"},
        "cgan, 10 classes, labels shuffled in D": {"classes": 10, "shuffled": True},
    },
    reference=RECIPE,
    space=None,
    metrics=("fcd", "labels", "variance"),
    claims=(
        Claim(
            id="A2",
            text="with 49 classes cGAN's characters match their labels where ACGAN's do not (+.30)",
            metric="label_accuracy",
            of=Group("cgan, 49 classes"),
            against=Group("acgan, 49 classes"),
            region=(0.3, inf),
        ),
        Claim(
            id="A2a",
            text="with 49 classes cGAN's label accuracy is at least .70",
            metric="label_accuracy",
            of=Group("cgan, 49 classes"),
            region=(0.7, inf),
        ),
        Claim(
            id="A2b",
            text="with 10 classes cGAN's label accuracy is at least .90",
            metric="label_accuracy",
            of=Group("cgan, 10 classes"),
            region=(0.9, inf),
        ),
        Claim(
            id="A2c",
            text="and its images vary within a class: variance ratio at least .5",
            metric="variance_ratio",
            of=Group("cgan, 10 classes"),
            region=(0.5, inf),
        ),
        Claim(
            id="control",
            text="control: with labels shuffled in D accuracy is chance (.05 to .15 of 10 classes)",
            metric="label_accuracy",
            of=Group("cgan, 10 classes, labels shuffled in D"),
            region=(0.05, 0.15),
        ),
        Claim(
            id="projection",
            text="a projection discriminator does better than label planes at 49 classes",
            metric="label_accuracy",
            of=Group("projection, 49 classes"),
            against=Group("cgan, 49 classes"),
            region=(0.0, inf),
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1, search_kimg=1, tick_kimg=1, trials=0, seeds=2, samples=200, fixed={"f": 4}
        ),
        "quick": Budget(
            kimg=100,
            search_kimg=100,
            tick_kimg=20,
            trials=0,
            seeds=5,
            samples=1000,
            fixed={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=23_000,
            search_kimg=23_000,
            tick_kimg=1_000,
            trials=0,
            seeds=5,
            samples=10_000,
            fixed={"f": 64},
        ),
    },
)
