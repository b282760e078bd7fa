"""A study as somebody outside of this project would write it, in a folder of their own."""

from search_spaces.core import Budget, Claim, Group, Study

STUDY = Study(
    title="LSGAN on dots: does a higher learning rate make brighter images?",
    variant="lsgan.py",
    data="dots.py",
    conditions={"slow": {"lr": 1e-4}, "fast": {"lr": 1e-3}},
    metrics=("fcd", "brightness.py"),
    claims=(
        Claim(
            id="bright",
            primary=True,
            text="a higher learning rate makes no brighter images",
            source="a question of our own",
            metric="brightness",
            of=Group("fast"),
            against=Group("slow"),
            region=(-5, 5),
        ),
    ),
    scales={
        "smoke": Budget(kimg=2, tick_kimg=1, seeds=1, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(kimg=60, tick_kimg=10, seeds=3, samples=1000, scale_overrides={"f": 16}),
        "full": Budget(kimg=2000, tick_kimg=100, seeds=5, samples=10_000),
    },
)
