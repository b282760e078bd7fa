"""The GAN of 2014 on MNIST, and what DCGAN's guidelines are worth, one by one (claims E1, E2).

`mlp` is the GAN of Goodfellow 2014: fully connected, with maxout and dropout in D. `dcgan` follows
every guideline of Radford 2015, sec. 3. Each other condition breaks one guideline and changes
nothing else. The paper's arguments for the guidelines are about stability ("model instability",
"oscillation") and about a large data set of scenes. The question here is whether breaking a single
guideline can be seen on digits, as an FCD that is a tenth higher or more.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Condition, Group, Study

BROKEN: dict[str, tuple[str, Condition]] = {
    "pooling": ("with pooling and upsampling for strided convolutions", {"strided": False}),
    "g_without_bn": ("without BN in G", {"g_bn": False}),
    "d_without_bn": ("without BN in D", {"d_bn": False}),
    "without_bn": ("without BN in G and D", {"g_bn": False, "d_bn": False}),
    "bn_ends": ("with BN of G's output and D's input, too,", {"bn_ends": True}),
    "hidden_layers": ("with fully connected hidden layers", {"hidden_layers": True}),
    "g_leaky": ("with LeakyReLU in G", {"g_relu": False}),
    "d_relu": ("with ReLU in D", {"d_leaky": False}),
    "linear_end": ("without tanh at G's end", {"tanh": False}),
    "beta1": ("with Adam's usual beta1 of .9", {"beta1": 0.9}),
}


def worse(name: str, what: str) -> Claim:
    """The claim that a guideline matters, on the condition that breaks it."""
    return Claim(
        id=f"E2.{name}",
        text=f"{what} DCGAN's FCD is a tenth higher or more",
        source="Radford 2015 (arXiv:1511.06434), section 3: guidelines for stable training, "
        "without a figure for any of them; we measure FCD",
        metric="fcd",
        of=Group(name),
        against=Group("dcgan"),
        region=(1.1, inf),
        log=True,
    )


STUDY = Study(
    title="DCGAN on MNIST: the GAN of 2014, and each guideline broken",
    variant="dcgan_guidelines",
    data="mnist",
    stand_in="kana_digits",
    conditions={
        "mlp": {"variant": "gan"},
        "dcgan": {},
        **{name: condition for name, (_, condition) in BROKEN.items()},
    },
    reference={"lr": 2e-4, "beta1": 0.5, "z_dim": 100, "adversarial": "non_saturating"},
    space=None,
    metrics=("fcd", "kcd", "prdc"),
    claims=(
        Claim(
            id="E1",
            primary=True,
            text="the GAN of 2014 learns: its FCD falls to a tenth of what it begins with",
            source="Goodfellow 2014 (arXiv:1406.2661), table 1: log-likelihood of MNIST by "
            "Parzen windows; we measure FCD against that before training",
            metric="fcd",
            of=Group("mlp"),
            against=Group("mlp", at="start"),
            region=(0.0, 0.1),
            log=True,
        ),
        Claim(
            id="E2",
            primary=True,
            text="DCGAN's FCD is at most half of the 2014 GAN's",
            source="Radford 2015 (arXiv:1511.06434): authors' eyes on samples, and features for "
            "classifiers; we measure FCD",
            metric="fcd",
            of=Group("dcgan"),
            against=Group("mlp"),
            region=(0.0, 0.5),
            log=True,
        ),
        Claim(
            id="E2.variety",
            text="and it leaves out less of the real images: coverage .10 higher or more",
            source="our own question: whether DCGAN leaves out less than the GAN of 2014",
            metric="coverage",
            of=Group("dcgan"),
            against=Group("mlp"),
            region=(0.1, inf),
        ),
        *(worse(name, what) for name, (what, _) in BROKEN.items()),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            seeds=1,
            samples=100,
            scale_overrides={"f": 2, "batch": 50},
        ),
        "quick": Budget(
            kimg=100,
            tick_kimg=50,
            seeds=4,
            samples=1000,
            scale_overrides={"f": 8, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(
            kimg=1_500,  # 25 epochs
            tick_kimg=150,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 64, "batch": 128},
        ),
    },
)
