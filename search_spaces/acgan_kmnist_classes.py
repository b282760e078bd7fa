"""ACGAN on Kuzushiji characters: does the number of classes break it? (claims A1, A3-A6)

A public write-up trained one ACGAN with its recipe A at each of 5, 10 and 49 classes. It gave up on
49 classes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from search_spaces.core import Budget, Claim, Failure, Group, Study, crossed

if TYPE_CHECKING:
    import optuna

WRITE_UP = "Qiita write-up of recipe A (from cGAN to ACGAN on Kuzushiji-49)"
RECIPE_A = {
    "z_mean": 0.5,
    "z_std": 1.0,
    "lr": 2e-4,
    "lr_ratio": 1.0,
    "adversarial": "saturating",  # the original writes it as -BCE(D(fake), 0)
    "label_noise": "two_sided",
    "noise_real": [0.7, 1.2],
    "noise_fake": [0.0, 0.3],
    "fake_labels": "batch",
    "d_norm": "bn",
    "pretrain_kimg": 0.0,
}


def space(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest learning rates, the adversarial loss, D's label noise and pretraining of its head."""
    values: dict[str, Any] = {
        "lr": trial.suggest_float("lr", 5e-5, 5e-3, log=True),
        "lr_ratio": trial.suggest_float("lr_ratio", 0.25, 4.0, log=True),
        "adversarial": trial.suggest_categorical(
            "adversarial", ["saturating", "non_saturating", "hinge"]
        ),
        "pretrain_kimg": trial.suggest_categorical("pretrain_kimg", [0.0, 5.0, 20.0]),
        "label_noise": "none",
    }
    if values["adversarial"] == "hinge":  # hinge loss has no targets that noise could change
        return values
    values["label_noise"] = trial.suggest_categorical(
        "label_noise", ["none", "one_sided", "two_sided"]
    )
    if values["label_noise"] != "none":
        width = trial.suggest_float("noise_width", 0.2, 1.0)  # 1 gives recipe A's targets
        values["noise_real"] = [1 - 0.3 * width, 1 + 0.2 * width]
        values["noise_fake"] = [0.0, 0.3 * width]
    return values


ACCURACY = "label_accuracy"
# D's class losses as it minimises them, which is what the write-up plots.
REAL, FAKE = "loss/d/class_real", "loss/d/class_fake"

STUDY = Study(
    title="ACGAN on Kuzushiji characters: 5, 10 and 49 classes",
    variant="acgan",
    data="k49",
    stand_in="kana",
    conditions=crossed(classes=(5, 10, 49)),
    reference=RECIPE_A,
    space=space,
    reference_params={"noise_width": 1.0},
    metrics=("fcd", "labels", "variance", "class_loss", "gradients"),
    failure=Failure("label_accuracy_relative", (-inf, 0.25)),
    claims=(
        Claim(
            id="A1",
            primary=True,
            text="49 classes fail where 5 work: label accuracy falls by at least .30",
            source=f"{WRITE_UP}: author's eyes (one of 49 characters seems right); we measure "
            "label accuracy",
            metric=ACCURACY,
            of=Group("classes=5"),
            against=Group("classes=49"),
            region=(0.3, inf),
        ),
        Claim(
            id="A3",
            primary=True,
            text="at 49 classes D's class loss on real images stays far (3x) above that on fakes",
            source=f"{WRITE_UP}: plot of D's training class losses by epoch (about 20x early, 5x "
            "at the end)",
            metric=REAL,
            over=FAKE,
            of=Group("classes=49"),
            region=(3.0, inf),
            log=True,
        ),
        Claim(
            id="A4a",
            primary=True,
            text="with 5 classes ACGAN works: label accuracy at least .90",
            source=f"{WRITE_UP}: author's eyes (5 characters are right); we measure label accuracy",
            metric=ACCURACY,
            of=Group("classes=5"),
            region=(0.9, inf),
        ),
        Claim(
            id="A4b",
            text="with 5 classes the two class losses meet: their ratio ends within 2",
            source=f"{WRITE_UP}: plot of D's training class losses by epoch (about 10x early, "
            "almost equal at the end)",
            metric=REAL,
            over=FAKE,
            of=Group("classes=5"),
            region=(0.5, 2.0),
            log=True,
        ),
        Claim(
            id="A5",
            primary=True,
            text="with 10 classes a little over half of the characters work",
            source=f"{WRITE_UP}: author's eyes (a little over half of 10 characters are right); "
            "we count the classes that a judge reads as asked in at least half of the fakes",
            metric="classes_working",
            of=Group("classes=10"),
            region=(0.45, 0.75),
        ),
        Claim(
            id="A6a",
            text="at the very first iteration real and fake class loss are equal",
            source=f"{WRITE_UP}: plot of D's training class losses by iteration (equal at the "
            "first one)",
            metric=REAL,
            over=FAKE,
            of=Group("classes=49", at="start"),
            region=(0.9, 1.1),
            log=True,
        ),
        Claim(
            id="A6b",
            text="the fake class loss falls sharply (to less than half) in the first iterations",
            source=f"{WRITE_UP}: plot of D's training class losses by iteration (on fakes a sharp "
            "drop); we compare the first tick's mean with the first step",
            metric=FAKE,
            of=Group("classes=49", at="early"),
            against=Group("classes=49", at="start"),
            region=(0.0, 0.5),
            log=True,
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            trials=2,
            seeds=2,
            samples=200,
            scale_overrides={"f": 4},
        ),
        "quick": Budget(
            kimg=60,
            search_kimg=30,  # by then a recipe that works begins to show
            tick_kimg=10,
            first_tick_kimg=5,  # as many steps as at scale full
            trials=8,
            seeds=5,
            samples=1000,
            # Small networks, small batches and ten times the recipe's learning rate.
            scale_overrides={
                "f": 8,
                "batch": 32,
                "lr": 2e-3,
            },
        ),
        "full": Budget(  # the original's 100 epochs of 232,365 images each
            kimg=23_000,
            search_kimg=3_000,
            tick_kimg=500,
            first_tick_kimg=10,
            trials=30,
            search_parallelism=8,
            seeds=5,
            samples=10_000,
            schedule_scale=230,
            scale_overrides={"f": 64},
        ),
    },
)
