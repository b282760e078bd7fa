"""Does pretraining the classifier help an ACGAN of 49 classes? (claims A7, A8)

The write-up pretrained D's class head for 20 epochs on real images. In another run it left the
fakes out of D's class loss in the first epochs. Both "made no difference", it says. That there is
no difference is a claim of its own. It needs an interval that lies wholly within a margin. A test
that fails to find a difference is not enough.
"""

from __future__ import annotations

from math import inf

from search_spaces.acgan_kmnist_classes import RECIPE_A, WRITE_UP
from search_spaces.core import Budget, Claim, Failure, Group, Study

RECIPE = {k: v for k, v in RECIPE_A.items() if k != "pretrain_kimg"}
REPAIRED = {"adversarial": "non_saturating", "class_fake": 0.0, "d_norm": "sn"}
PLAIN, PRETRAINED, LATE = "recipe A", "head pretrained", "fakes join late"
MARGIN = 0.05  # of label accuracy: a reader could not see a smaller difference

STUDY = Study(
    title="ACGAN, 49 classes: pretraining D's class head",
    variant="acgan",
    data="k49",
    stand_in="kana",
    conditions={
        PLAIN: {},
        PRETRAINED: {"pretrain_kimg": 20.0},
        LATE: {"class_fake_from_kimg": 20.0},
        "repaired": REPAIRED,
        "repaired, head pretrained": {**REPAIRED, "pretrain_kimg": 20.0},
    },
    reference=RECIPE,
    space=None,
    metrics=("fcd", "labels", "variance", "class_loss"),
    failure=Failure("label_accuracy_relative", (-inf, 0.25)),
    claims=(
        Claim(
            id="A7a",
            text="pretraining the class head lowers D's class loss on real images",
            source=f"{WRITE_UP}: plot of D's training class losses after 20 epochs of pretraining "
            "(on real images lower)",
            metric="loss/d/class_real",
            of=Group(PRETRAINED),
            against=Group(PLAIN),
            region=(0.0, 1.0),
            log=True,
        ),
        Claim(
            id="A7b",
            primary=True,
            text=f"but does not help: label accuracy within {MARGIN} of that without",
            source=f"{WRITE_UP}: author's eyes (no effect seen); we measure label accuracy",
            metric="label_accuracy",
            of=Group(PRETRAINED),
            against=Group(PLAIN),
            region=(-MARGIN, MARGIN),
        ),
        Claim(
            id="A7c",
            text="the ratio of the class losses stays around 4 (2 to 8)",
            source=f"{WRITE_UP}: plot of D's training class losses (about 4x after 300 epochs); "
            "ours ends after 100 epochs at scale full",
            metric="loss/d/class_real",
            over="loss/d/class_fake",
            of=Group(PRETRAINED),
            region=(2.0, 8.0),
            log=True,
        ),
        Claim(
            id="A8",
            primary=True,
            text="real images alone in the first epochs make no difference in label accuracy",
            source=f"{WRITE_UP}: author's eyes (it did not make much sense); we measure label "
            "accuracy",
            metric="label_accuracy",
            of=Group(LATE),
            against=Group(PLAIN),
            region=(-MARGIN, MARGIN),
        ),
        Claim(
            id="P1",
            text="in a repaired ACGAN pretraining makes no difference either",
            source="our own question: the write-up pretrained recipe A alone",
            metric="label_accuracy",
            of=Group("repaired, head pretrained"),
            against=Group("repaired"),
            region=(-MARGIN, MARGIN),
        ),
        Claim(
            id="P2",
            text="the repair does what pretraining does not: label accuracy rises by at least .30",
            source="our own question: the write-up tried no repair",
            metric="label_accuracy",
            of=Group("repaired"),
            against=Group(PRETRAINED),
            region=(0.3, inf),
        ),
    ),
    scales={
        "smoke": Budget(kimg=1, tick_kimg=1, seeds=2, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(
            kimg=60,
            tick_kimg=20,
            seeds=5,
            samples=1000,
            scale_overrides={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(  # 100 epochs, and 20 more to pretrain the head
            kimg=23_000,
            tick_kimg=1_000,
            seeds=5,
            samples=10_000,
            schedule_scale=230,
            scale_overrides={"f": 64},
        ),
    },
)
