"""cGAN against ACGAN under the same conditions: does cGAN hit the labels where ACGAN fails? (A2)

A further condition is an ACGAN that works, the last rung of acgan_kmnist_remedies. Three claims ask
what it is worth: how its coverage compares with a projection GAN's, what its images teach a
classifier, and whether its D colludes with G.
"""

from __future__ import annotations

from math import inf

from search_spaces.acgan_kmnist_classes import RECIPE_A, WRITE_UP
from search_spaces.acgan_kmnist_remedies import LADDER, PROJECTION, REPAIRED
from search_spaces.core import Budget, Claim, Failure, Group, Study

WORKING = "acgan repaired, 49 classes"
RECIPE = {k: v for k, v in RECIPE_A.items() if k != "pretrain_kimg"}

STUDY = Study(
    title="cGAN against ACGAN on Kuzushiji characters",
    variant="cgan",
    data="k49",
    stand_in="kana",
    conditions={
        "cgan, 10 classes": {"classes": 10},
        "cgan, 49 classes": {"classes": 49},
        "acgan, 10 classes": {"classes": 10, "variant": "acgan"},
        "acgan, 49 classes": {"classes": 49, "variant": "acgan"},
        WORKING: {"classes": 49, **LADDER[REPAIRED]},
        "projection, 49 classes": {"classes": 49, "variant": "projgan"},
        "projection repaired, 49 classes": {"classes": 49, **PROJECTION},
        "cgan, 10 classes, labels shuffled in D": {"classes": 10, "shuffled": True},
    },
    reference=RECIPE,
    space=None,
    metrics=("fcd", "labels", "variance", "class_loss", "prdc", "cas"),
    failure=Failure("label_accuracy_relative", (-inf, 0.25)),
    claims=(
        Claim(
            id="A2",
            primary=True,
            text="with 49 classes cGAN's characters match their labels where ACGAN's do not (+.30)",
            source=f"{WRITE_UP}: author's eyes (cGAN's characters match their labels); we measure "
            "label accuracy",
            metric="label_accuracy",
            of=Group("cgan, 49 classes"),
            against=Group("acgan, 49 classes"),
            region=(0.3, inf),
        ),
        Claim(
            id="A2a",
            text="with 49 classes cGAN's label accuracy is at least .70",
            source="our own question: how many labels cGAN hits, which the write-up judged by eye",
            metric="label_accuracy",
            of=Group("cgan, 49 classes"),
            region=(0.7, inf),
        ),
        Claim(
            id="A2b",
            text="with 10 classes cGAN's label accuracy is at least .90",
            source="our own question: how many labels cGAN hits, which the write-up judged by eye",
            metric="label_accuracy",
            of=Group("cgan, 10 classes"),
            region=(0.9, inf),
        ),
        Claim(
            id="A2c",
            text="and its images vary within a class: variance ratio at least .5",
            source="our own question: right labels alone would not show a collapse within classes",
            metric="variance_ratio",
            of=Group("cgan, 10 classes"),
            region=(0.5, inf),
        ),
        Claim(
            id="control",
            text="control: with labels shuffled in D accuracy is chance (.05 to .15 of 10 classes)",
            source="our own question: a control that must fail",
            metric="label_accuracy",
            of=Group("cgan, 10 classes, labels shuffled in D"),
            region=(0.05, 0.15),
        ),
        Claim(
            id="projection",
            text="a projection discriminator does better than label planes at 49 classes",
            source="Miyato and Koyama 2018 (arXiv:1802.05637): intra-class FID on ImageNet, "
            "projection against concatenation; we measure label accuracy",
            metric="label_accuracy",
            of=Group("projection, 49 classes"),
            against=Group("cgan, 49 classes"),
            region=(0.0, inf),
        ),
        Claim(
            id="repaired",
            primary=True,
            text="a repaired ACGAN hits 49 classes' labels as well as cGAN, or better",
            source="our own question: what a repaired ACGAN is worth beside the cGAN of recipe A",
            metric="label_accuracy",
            of=Group(WORKING),
            against=Group("cgan, 49 classes"),
            region=(-0.05, inf),
        ),
        Claim(
            id="coverage",
            text="and covers the real images at least half as well as projection so repaired",
            source="our own question: what a repaired ACGAN is worth beside a projection GAN",
            metric="coverage",
            of=Group(WORKING),
            against=Group("projection repaired, 49 classes"),
            region=(0.5, inf),
            log=True,
        ),
        Claim(
            id="teaches",
            text="and teaches a classifier at least .6 of what real images teach it",
            source="our own question: by the classification accuracy score of Ravuri and Vinyals "
            "2019 (arXiv:1905.10887)",
            metric="cas_relative",
            of=Group(WORKING),
            region=(0.6, inf),
        ),
        Claim(
            id="honest",
            text="and D does not collude with G: its head reads fakes as the judge does, up to .10",
            source="our own question: whether D's class head and G agree on a code of their own",
            metric="collusion_gap",
            of=Group(WORKING),
            region=(-inf, 0.1),
        ),
    ),
    scales={
        "smoke": Budget(kimg=1, tick_kimg=1, seeds=1, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(
            kimg=80,
            tick_kimg=40,
            seeds=4,
            samples=1000,
            scale_overrides={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=23_000,
            tick_kimg=1_000,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 64},
        ),
    },
)
