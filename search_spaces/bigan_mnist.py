"""BiGAN on MNIST: does an encoder that is learned jointly with G invert G? (claim E5)

Donahue, Krähenbühl and Darrell (2017) evaluate E by the nearest neighbours of its codes, of which
.974 are right on MNIST. In their code's log .968 are right before training. So each column here has
the same figure of a random encoder of the same architecture beside it. The clearer test is whether
G(E(x)) is x. The log's EGr / EGr_b is the distance of images to their own reconstructions divided
by their distance to the reconstructions of other images. It falls from 1 to .77 in 25 epochs and to
.61 in 200.

`latent_regressor` is the paper's own control. It is the same G in a plain GAN, and beside it an E
that learns to read z off G's images, by squared error.

The networks are the paper's MLPs. The paper's weight decay of 2.5e-5 and the decay of its learning
rate are left out.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Group, Study

PAPER = "Donahue 2017 (arXiv:1605.09782)"

STUDY = Study(
    title="BiGAN on MNIST: does an encoder learned in the game invert G?",
    variant="bigan",
    data="mnist",
    stand_in="kana_digits",
    conditions={"bigan": {}, "latent_regressor": {"variant": "latent_regressor"}},
    reference={"lr": 2e-4, "lr_ratio": 1.0, "batch": 128, "z_dim": 50},
    space=None,
    metrics=("fcd", "prdc", "encoder", "reconstruction"),
    claims=(
        Claim(
            id="E5",
            primary=True,
            text="E inverts G: images are 1.25 times nearer to G(E(x)) than to other images'",
            source=f"{PAPER}: EGr / EGr_b in the log of the authors' code, distances in pixels "
            "(.77 after 25 epochs)",
            metric="reconstruction/pixels",
            of=Group("bigan"),
            region=(-inf, 0.8),
        ),
        Claim(
            id="E5-features",
            text="so they are in the features of a judge",
            source="our own question: the same ratio where distances mean more than in pixels",
            metric="reconstruction/features",
            of=Group("bigan"),
            region=(-inf, 0.8),
        ),
        Claim(
            id="E5-labels",
            primary=True,
            text="the judge reads at least .60 of the reconstructions as what the image shows",
            source=f"{PAPER}, section 4.1: authors' eyes on reconstructions; we measure the "
            "labels that a judge reads",
            metric="reconstruction/labels",
            of=Group("bigan"),
            region=(0.6, inf),
        ),
        Claim(
            id="E5-knn",
            primary=True,
            text="the nearest neighbours of E(x) tell the digit: at least .90 are right",
            source=f"{PAPER}, section 4.1: accuracy of one nearest neighbour of E's features "
            "(.974); we take five of E(x)",
            metric="encoder/knn",
            of=Group("bigan"),
            region=(0.9, inf),
        ),
        Claim(
            id="E5-knn-random",
            text="that is at least .02 more than with an encoder that was never trained",
            source="our own question: in the authors' log an encoder before training has .968",
            metric="encoder/knn_gain",
            of=Group("bigan"),
            region=(0.02, inf),
        ),
        Claim(
            id="E5-linear-random",
            text="a linear probe gains at least .02 over that encoder, too",
            source="our own question: a second probe beside the nearest neighbours",
            metric="encoder/linear_gain",
            of=Group("bigan"),
            region=(0.02, inf),
        ),
        Claim(
            id="E5-jointly",
            text="jointly learned is better: .05 more reconstructions are right than a regressor's",
            source=f"{PAPER}, section 4.1: latent regressor as the control, by one nearest "
            "neighbour; we measure the labels of reconstructions",
            metric="reconstruction/labels",
            of=Group("bigan"),
            against=Group("latent_regressor"),
            region=(0.05, inf),
        ),
        Claim(
            id="E5-quality",
            text="the encoder costs G nothing: FCD at most 1.2 times that of the GAN without",
            source="our own question: whether the encoder costs G anything",
            metric="fcd",
            of=Group("bigan"),
            against=Group("latent_regressor"),
            region=(0.0, 1.2),
            log=True,
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1,
            tick_kimg=1,
            seeds=2,
            samples=200,
            scale_overrides={"f": 2, "batch": 50},
        ),
        "quick": Budget(
            kimg=300,
            tick_kimg=100,
            seeds=5,
            samples=1000,
            scale_overrides={"f": 16, "batch": 32, "lr": 5e-4},
        ),
        "full": Budget(  # the original's 400 epochs of 60,000 images each
            kimg=24_000,
            tick_kimg=1_500,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 64},
        ),
    },
)
