"""A small BigGAN: what does each of its changes do, and what does truncation trade? (claim E6)

One condition has all changes of BigGAN (Brock, Donahue, Simonyan 2019, arXiv:1809.11096). Each of
ten others goes without one change, and all else is equal. A plain cGAN is run beside them. All
conditions see the same number of images. G therefore takes more steps where D has only one turn for
each turn of G, or where batches are smaller.
"""

from __future__ import annotations

from math import inf
from typing import Any

from search_spaces.core import Budget, Claim, Group, Study

PAPER = "Brock 2019 (arXiv:1809.11096)"
TABLE = f"{PAPER}, table 1: FID and Inception Score on ImageNet with and without; we measure FCD"
STATED = "a survey's list of BigGAN's ten changes, without a figure for this one; we measure FCD"
IN_TABLE = ("batch 8", "f 4", "no skip-z")  # the paper's table 1 has a row for each of these
ALL = "all changes"
# Name of a condition: the change that it goes without, and the hyperparameters that remove it.
WITHOUT: dict[str, tuple[str, dict[str, Any]]] = {
    "non-saturating": ("hinge loss", {"adversarial": "non_saturating"}),
    "no attention": ("self-attention", {"attention": False}),
    "concatenation": ("class-conditional BN", {"g_condition": "concat"}),
    "no SN": ("spectral norm", {"sn": False}),
    "n_dis 1": ("more turns of D", {"n_dis": 1}),
    "no EMA": ("averaging G's weights", {"ema": 0.0}),
    "normal init": ("orthogonal weights", {"init": "normal", "ortho_reg": 0.0}),
    "batch 8": ("a larger batch", {"batch": 8}),
    "f 4": ("more parameters", {"f": 4}),
    "no skip-z": ("skip-z", {"skip_z": False}),
}
SMALL = {"embedding": 32}  # a shorter embedding of labels, for ten classes


def cut(id: str, text: str, column: str, low: float) -> Claim:
    """A claim about truncation, on the condition that has all changes."""
    return Claim(
        id=f"E6-{id}",
        primary=id in ("precision", "recall"),
        text=text,
        source=f"{PAPER}, section 3.1: Inception Score against FID over the threshold; we measure "
        "precision and recall",
        metric=f"truncation/{column}",
        of=Group(ALL),
        region=(low, inf),
    )


STUDY = Study(
    title="BigGAN in small: its ten changes, and what truncation trades",
    variant="biggan",
    data="kmnist",
    stand_in="kana",
    conditions={
        ALL: {"classes": 10} | SMALL,
        **{name: {"classes": 10} | SMALL | how for name, (_, how) in WITHOUT.items()},
        "cgan": {"classes": 10, "variant": "cgan"},
    },
    reference={"lr": 2e-4, "lr_ratio": 1.0, "z_dim": 48},
    space=None,
    metrics=("fcd", "labels", "variance", "prdc", "truncation"),
    claims=(
        cut(
            "precision",
            "truncation raises quality: precision at .25 is 0.02 higher or more",
            "precision_gain",
            0.02,
        ),
        cut(
            "recall",
            "truncation costs variety: recall at .25 is 0.02 lower or more",
            "recall_loss",
            0.02,
        ),
        cut("precision-curve", "precision rises with most tighter cuts", "precision_tau", 0.6),
        cut("recall-curve", "recall falls with most tighter cuts", "recall_tau", 0.6),
        Claim(
            id="E6-cgan",
            text="with all changes FCD is at most that of a cGAN after as many images",
            source="our own question: whether the changes pay together at this size",
            metric="fcd",
            of=Group(ALL),
            against=Group("cgan"),
            region=(0.0, 1.0),
            log=True,
        ),
        *(
            Claim(
                id=f"E6-{name.replace(' ', '-')}",
                text=f"{what} helps: FCD is higher without",
                source=TABLE if name in IN_TABLE else STATED,
                metric="fcd",
                of=Group(name),
                against=Group(ALL),
                region=(1.0, inf),
                log=True,
            )
            for name, (what, _) in WITHOUT.items()
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            seeds=1,
            samples=100,
            scale_overrides={"f": 4, "batch": 32, "lr": 2e-3},
        ),
        "quick": Budget(
            kimg=30,
            tick_kimg=15,
            seeds=3,
            samples=1000,
            scale_overrides={"f": 8, "batch": 16, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=3_000,
            tick_kimg=250,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 32, "batch": 256},
        ),
    },
)
