"""E-GAN on digits: against each of its mutations alone, and against chance (claims E10).

All conditions play the same game. D sees the same number of images, and G's line of descent takes
the same number of steps (`generator_steps/kept` in the rows). The conditions differ in which
children survive. E-GAN takes three steps of G for each step that is kept
(`generator_steps/taken`), and the controls take one. So E-GAN's pictures cost about three times the
seconds, which the claims here do not count against it. Random selection keeps a child of a random
mutation. A replication with this control saw no noticeable advantage of E-GAN. The rows say as
`survived/...` which mutation survived, and how often.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Condition, Failure, Group, Study

PAPER = "Wang 2018 (arXiv:1803.00657)"
REPLICATION = (
    "a replication (master's thesis) that saw no noticeable advantage over random selection"
)
MUTATIONS = ("minimax", "heuristic", "least_squares")
CONDITIONS: dict[str, Condition] = {
    "egan": {},
    "random": {"selection": "random"},
    **{name: {"mutations": [name]} for name in MUTATIONS},
}


def as_good(name: str) -> Claim:
    """Claim E10 for one mutation alone."""
    return Claim(
        id=f"E10.{name}",
        text=f"E-GAN is at least as good as {name} alone: its FCD is at most a tenth higher",
        source=f"{PAPER}: Inception Score on CIFAR-10 against each mutation alone; we measure FCD",
        metric="fcd",
        of=Group("egan"),
        against=Group(name),
        region=(0.0, 1.1),
        log=True,
    )


STUDY = Study(
    title="E-GAN: survival of the fittest against single mutations and chance",
    variant="egan",
    data="mnist",
    stand_in="kana_digits",
    conditions=CONDITIONS,
    reference={"lr": 2e-4, "gamma": 0.01, "survivors": 1, "n_dis": 3},
    space=None,
    metrics=("fcd", "prdc"),
    failure=Failure("coverage", (-inf, 0.1)),
    claims=(
        Claim(  # the others rest on this: two GANs that fail look alike
            id="E10.works",
            primary=True,
            text="E-GAN works: coverage at least .5",
            source="our own question: two GANs that fail look alike",
            metric="coverage",
            of=Group("egan"),
            region=(0.5, float("inf")),
        ),
        *(as_good(name) for name in MUTATIONS),
        Claim(
            id="E10.selection",
            primary=True,
            text="survival of the fittest is what helps: FCD at least a fifth lower than by chance",
            source=f"our own question, after {REPLICATION}; we measure FCD",
            metric="fcd",
            of=Group("egan"),
            against=Group("random"),
            region=(0.0, 0.8),
            log=True,
        ),
        Claim(
            id="E10.tie",
            text="fitness and chance select alike: FCD within a factor of 1.25",
            source=f"{REPLICATION}; we measure FCD",
            metric="fcd",
            of=Group("egan"),
            against=Group("random"),
            region=(0.8, 1.25),
            log=True,
        ),
        Claim(
            id="E10.recall",
            text="E-GAN loses no variety: recall at most .05 below that of heuristic alone",
            source=f"{PAPER}: states less mode collapse; we measure recall",
            metric="recall",
            of=Group("egan"),
            against=Group("heuristic"),
            region=(-0.05, float("inf")),
        ),
    ),
    scales={
        "smoke": Budget(kimg=1, tick_kimg=1, seeds=2, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(  # 1,875 generations
            kimg=60,
            tick_kimg=20,
            seeds=5,
            samples=1000,
            scale_overrides={"f": 8, "batch": 32, "lr": 2e-3, "n_dis": 1},
        ),
        "full": Budget(  # 62,500 generations, each of three turns of D on 32 images
            kimg=6_000,
            tick_kimg=500,
            seeds=10,
            samples=10_000,
            scale_overrides={"f": 64, "batch": 32},
        ),
    },
)
