"""Which matters most to an ACGAN: class count, lr ratio, label noise or head pretraining?

All four are dimensions of one search; its parameter importances are the answer. Tasks of different
class counts are compared by the label accuracy that they reach relative to the judge's own.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from search_spaces.acgan_kmnist_classes import RECIPE_A
from search_spaces.core import Budget, Claim, Group, Study

if TYPE_CHECKING:
    import optuna


def space(trial: optuna.Trial) -> dict[str, Any]:
    """No conditional parameters: importances compare those that every cell has."""
    return {
        "classes": trial.suggest_categorical("classes", [5, 10, 20, 49]),
        "lr_ratio": trial.suggest_float("lr_ratio", 0.25, 4.0, log=True),
        "label_noise": trial.suggest_categorical("label_noise", ["none", "one_sided", "two_sided"]),
        "pretrain_kimg": trial.suggest_categorical("pretrain_kimg", [0.0, 5.0, 20.0]),
    }


ALL = "all class counts"


def leads(parameter: str, text: str) -> Claim:
    return Claim(
        id=f"L-{parameter}",
        text=f"{text} matters most",
        metric=f"importance/{parameter}",
        of=Group(ALL),
        region=(0.0, inf),
    )


STUDY = Study(
    title="ACGAN on Kuzushiji characters: what matters most",
    variant="acgan",
    data="k49",
    standin="kana",
    conditions={ALL: {}},
    reference=RECIPE_A,
    space=space,
    start={"classes": 49},
    objective="label_error_relative",
    metrics=("fcd", "labels", "variance", "class_loss"),
    claims=(
        leads("classes", "the class count"),
        leads("lr_ratio", "the ratio of the learning rates"),
        leads("label_noise", "the noise in D's targets"),
        leads("pretrain_kimg", "pretraining of the class head"),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            trials=18,
            seeds=0,
            samples=200,
            fixed={"f": 4},
        ),
        "quick": Budget(
            kimg=40,
            tick_kimg=40,  # nothing is stopped early: that would leave out the hard tasks
            trials=60,
            seeds=0,
            samples=1000,
            fixed={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=3_000,
            tick_kimg=3_000,
            trials=200,
            parallel=16,
            seeds=0,
            samples=10_000,
            stretch=50,
            fixed={"f": 64},
        ),
    },
)
