"""Which matters most to an ACGAN: class count, lr ratio, label noise or head pretraining?

All four are dimensions of one search. The importances of its parameters are the answer. Tasks with
different class counts are compared by relative label accuracy: the label accuracy of the fakes
divided by the judge's own accuracy on real images.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from search_spaces.acgan_kmnist_classes import RECIPE_A
from search_spaces.core import Budget, Claim, Group, Study

if TYPE_CHECKING:
    import optuna


def space(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest the four dimensions.

    No parameter depends on another one, because importances compare parameters that every cell has.
    """
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
        source="our own question: the write-up of recipe A varied one thing at a time, and "
        "compared none by importance",
        metric=f"importance/{parameter}",
        of=Group(ALL),
        region=(0.0, inf),
    )


STUDY = Study(
    title="ACGAN on Kuzushiji characters: what matters most",
    variant="acgan",
    data="k49",
    stand_in="kana",
    conditions={ALL: {}},
    reference=RECIPE_A,
    space=space,
    reference_params={"classes": 49},
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
            scale_overrides={"f": 4},
        ),
        "quick": Budget(
            kimg=40,
            # The only tick is the end, so that no cell is stopped early. Stopping early would
            # leave out the hard tasks.
            tick_kimg=40,
            trials=60,
            seeds=0,
            samples=1000,
            scale_overrides={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=3_000,
            tick_kimg=3_000,
            trials=200,
            search_parallelism=16,
            seeds=0,
            samples=10_000,
            schedule_scale=50,
            scale_overrides={"f": 64},
        ),
    },
)
