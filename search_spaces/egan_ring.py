"""E-GAN on a ring of 8 Gaussians: does it reach all modes where single mutations do not? (E10)

The conditions are those of `egan_selection`, with fully connected networks. They are compared at
equal numbers of G's steps that are kept. G itself is evaluated, not its average. `--data grid25`
runs the same study on 25 modes.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Failure, Group, Study
from search_spaces.egan_selection import CONDITIONS, MUTATIONS, PAPER, REPLICATION

RING = f"{PAPER}: authors' eyes on plots of 8 Gaussians; we count the modes lost"


def loses_no_more(name: str) -> Claim:
    """Claim E10 for one control."""
    return Claim(
        id=f"E10.modes.{name}",
        text=f"E-GAN loses no more modes than {name}: at most half of one on average",
        source=RING if name in MUTATIONS else f"our own question, after {REPLICATION}",
        metric="modes_lost",
        of=Group("egan"),
        against=Group(name),
        region=(-inf, 0.5),
    )


def collapses(name: str) -> Claim:
    """The claim that a single mutation collapses, the paper's reason for having several."""
    return Claim(
        id=f"E10.collapse.{name}",
        text=f"{name} alone collapses: it loses at least half of a mode on average",
        source=RING,
        metric="modes_lost",
        of=Group(name),
        region=(0.5, inf),
    )


STUDY = Study(
    title="E-GAN on a ring of Gaussians: modes covered",
    variant="egan",
    data="ring8",
    stand_in="ring8",
    conditions=CONDITIONS,
    reference={"ema": 0.0, "d_norm": "none", "z_dim": 2, "gamma": 0.01, "n_dis": 1},
    space=None,
    metrics=("fcd", "modes"),
    fid=False,
    failure=Failure("high_quality", (-inf, 0.2)),
    claims=(
        Claim(
            id="E10.ring",
            primary=True,
            text="E-GAN covers all modes: less than half of one is lost on average",
            source=RING,
            metric="modes_lost",
            of=Group("egan"),
            region=(-inf, 0.5),
        ),
        Claim(
            id="E10.quality",
            text="and four fifths of its points are within three standard deviations of one",
            source="our own question: points scattered over the plane reach all modes, too",
            metric="high_quality",
            of=Group("egan"),
            region=(0.8, inf),
        ),
        *(loses_no_more(name) for name in (*MUTATIONS, "random")),
        *(collapses(name) for name in ("heuristic", "least_squares")),
        Claim(
            id="E10.ring-selection",
            primary=True,
            text="survival of the fittest helps: .02 more of high quality than by chance",
            source=f"our own question, after {REPLICATION}",
            metric="high_quality",
            of=Group("egan"),
            against=Group("random"),
            region=(0.02, inf),
        ),
    ),
    scales={
        "smoke": Budget(kimg=1, tick_kimg=1, seeds=2, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(
            kimg=400,
            tick_kimg=100,
            seeds=5,
            samples=2000,
            scale_overrides={"f": 16, "batch": 128, "lr": 1e-3},
        ),
        "full": Budget(  # 50,000 generations, with layers of 512 units
            kimg=12_800,
            tick_kimg=1_280,
            seeds=10,
            samples=10_000,
            scale_overrides={"f": 64, "batch": 256, "lr": 1e-4},
        ),
    },
)
