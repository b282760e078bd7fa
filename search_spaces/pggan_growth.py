"""A small PGGAN: does a GAN that grows become as good in less time? (claim E9)

The paper is Karras, Aila, Laine, Lehtinen 2018 (arXiv:1710.10196). Growth from 7 to 14 to 28 pixels
is compared with the same networks at full size from the first image on, after the same number of
images. Two more conditions grow without fade-in, or without D's minibatch standard deviation.
Quality is measured by FCD and by the paper's own measures, sliced Wasserstein distance and MS-SSIM.
Seconds are those of training, without measuring.

Each size and each fade gets the same number of images, as in the authors' schedule, so that there
are five equal parts. At scale quick the last part is half of the whole.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Group, Study

PAPER = "Karras 2018 (arXiv:1710.10196)"
GROWN, WHOLE = Group("grown"), Group("not grown")
ABRUPT, NO_STDDEV = Group("no fade-in"), Group("no minibatch stddev")
NOT_WORSE = (0.0, 1.1)  # of ratios: at most a tenth higher

STUDY = Study(
    title="PGGAN in small: growth in quality and in seconds, minibatch stddev",
    variant="pggan",
    data="mnist",
    stand_in="kana_digits",
    conditions={
        "grown": {},
        "not grown": {"grow": False},
        "no fade-in": {"abrupt": True},
        "no minibatch stddev": {"minibatch_stddev": False},
    },
    reference={},
    space=None,
    metrics=("fcd", "prdc", "swd", "ms_ssim_pooled"),
    claims=(
        Claim(  # the others rest on this: two GANs that fail look alike
            id="E9-works",
            text="the growing GAN works: coverage at least .5",
            source="our own question: two GANs that fail look alike",
            metric="coverage",
            of=GROWN,
            region=(0.5, inf),
        ),
        Claim(
            id="E9-swd",
            primary=True,
            text="growth costs no quality: sliced Wasserstein distance at most a tenth higher",
            source=f"{PAPER}, table 1, rows a and b: sliced Wasserstein distance without and with "
            "growth",
            metric="swd",
            of=GROWN,
            against=WHOLE,
            region=NOT_WORSE,
            log=True,
        ),
        Claim(
            id="E9-fcd",
            text="nor is FCD more than a tenth higher",
            source="our own question: the same by the features of a judge",
            metric="fcd",
            of=GROWN,
            against=WHOLE,
            region=NOT_WORSE,
            log=True,
        ),
        Claim(
            id="E9-seconds",
            primary=True,
            text="growth is faster: without it as many images take 1.3 times the seconds or more",
            source=f"{PAPER}, figure 4: hours of training by images shown, without and with growth",
            metric="training_seconds",
            of=WHOLE,
            against=GROWN,
            region=(1.3, inf),
            log=True,
        ),
        Claim(
            id="E9-stable",
            text="growth is more stable: FCD's largest relapse is a tenth smaller or more",
            source=f"{PAPER}, section 2: stated, not measured; we measure the largest relapse of "
            "FCD",
            metric="fcd",
            of=Group("grown", at="largest_relapse"),
            against=Group("not grown", at="largest_relapse"),
            region=(0.0, 0.9),
            log=True,
        ),
        Claim(
            id="E9-fade",
            text="fade-in helps: FCD is a tenth higher or more where layers come at once",
            source=f"{PAPER}, section 2: stated, not measured; we measure FCD",
            metric="fcd",
            of=ABRUPT,
            against=GROWN,
            region=(1.1, inf),
            log=True,
        ),
        Claim(
            id="E9-stddev",
            text="minibatch stddev brings variety: recall is 0.02 higher than without, or more",
            source="our own question: variety by recall, of which the paper measures MS-SSIM",
            metric="recall",
            of=GROWN,
            against=NO_STDDEV,
            region=(0.02, inf),  # not from 0: two collapsed GANs are equal
        ),
        Claim(
            id="E9-alike",
            primary=True,
            text="without minibatch stddev images are more alike: MS-SSIM is 0.02 higher or more",
            source=f"{PAPER}, table 1: MS-SSIM of pairs of fakes without and with minibatch stddev",
            metric="ms_ssim",
            of=NO_STDDEV,
            against=GROWN,
            region=(0.02, inf),
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            seeds=2,
            samples=100,
            scale_overrides={"f": 2, "z_dim": 16, "stage_kimg": 0.4},
        ),
        "quick": Budget(
            kimg=60,
            tick_kimg=20,
            seeds=4,
            samples=1000,
            # D's learning rate is four times G's. At equal rates G outruns a D with so few feature
            # maps, and two of four seeds collapse.
            scale_overrides={
                "f": 8,
                "batch": 32,
                "z_dim": 64,
                "lr": 1.5e-3,
                "lr_ratio": 4.0,
                "stage_kimg": 15.0,
            },
        ),
        "full": Budget(
            kimg=3_000,
            tick_kimg=250,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 128},
        ),
    },
)
