"""Does it help a semi-supervised GAN to know in which directions the data may move? (claim E8)

The GAN is an SGAN with feature matching. A penalty keeps its D from changing along tangents of the
data. An augmented BiGAN has learned these tangents before, from the same images. They are taken
from the Jacobian of its encoder or of its G. There are three controls: the SGAN without a penalty;
the same penalty along as many random directions; and the penalty along six directions that are
known to be right, namely an image's shifts, turn, growth, stretch and shear. Labelled images are
drawn once per seed. A further claim asks whether reconstructions, as a third kind of pair, make
BiGAN's encoder a better inverse of G.

Kumar, Sattigeri and Fletcher (2017) report an error of 4.87 on SVHN with 500 labels, where temporal
ensembling has 5.12. The regions below are half a point of the error on MNIST. The paper's isotropic
term, `jacobian`, is left out: the penalty along random directions is this term on six directions at
a time.

D changes far more along some directions than along others. With the same lambda the penalties would
therefore differ in strength, too. So each control has its own lambda. This lambda makes the
control's penalty as large as the encoder's in a D that is trained without any penalty, as measured
in a pilot of 20 kimg.

Scale quick trains for 40 kimg, after 50 kimg for the augmented BiGAN. The SGAN and what the encoder
has learned are then far from the paper's hundreds of epochs.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Condition, Group, Study

PAPER = "Kumar 2017 (arXiv:1705.08850)"
SVHN = f"{PAPER}: test error on SVHN with 500 labels (4.87 %, temporal ensembling 5.12 %)"
CONTROL = "our own question: a control for the directions of the penalty"
LABELS = (50, 100)
FEWEST = f"{LABELS[0]} labels"
# Each scale multiplies `inference_kimg` by its `schedule_scale`.
INFERENCE = {"inference_kimg": 1.0, "inference_lr": 5e-4, "latents": 32}
PENALTY = {"variant": "tangents", "k": 6}
PENALTIES: dict[str, Condition] = {
    "matching": {"variant": "sgan", "generator_loss": "feature_matching"},
    "tangents": {**PENALTY, **INFERENCE, "directions": "encoder", "tangent": 0.1},
    "random": {**PENALTY, "directions": "random", "tangent": 0.4},
    "affine": {**PENALTY, "directions": "affine", "tangent": 0.04},
}
BIGAN = {"z_dim": 32, "lr": 5e-4}


def lower(
    name: str, of: str, against: str, text: str, by: float, source: str = CONTROL
) -> list[Claim]:
    """Claims that the test error of one condition is lower than another's by at least `by`.

    There is one claim for each number of labels.
    """
    return [
        Claim(
            id=f"E8.{n}{name}",
            primary=name == "",
            text=f"with {n} labels {text}",
            source=source,
            metric="test_error",
            of=Group(f"{of}, {n} labels"),
            against=Group(f"{against}, {n} labels"),
            region=(-inf, -by),
        )
        for n in LABELS
    ]


STUDY = Study(
    title="FM-GAN on MNIST whose D does not change along learned tangents",
    variant="tangents",
    data="mnist",
    stand_in="kana_digits",
    conditions={
        f"{name}, {n} labels": {**condition, "labels": n}
        for n in LABELS
        for name, condition in PENALTIES.items()
    }
    | {
        f"decoder's tangents, {FEWEST}": {
            **PENALTIES["tangents"],
            "directions": "decoder",
            "tangent": 0.04,
            "labels": LABELS[0],
        },
        "bigan": {"variant": "bigan", **BIGAN},
        "augmented bigan": {"variant": "augmented_bigan", **BIGAN},
    },
    reference={"lr": 3e-4},
    space=None,
    metrics=("test_error", "alignment", "encoder", "reconstruction", "fcd"),
    paired=True,  # a seed decides which images have labels
    claims=(
        *lower(
            "",
            "tangents",
            "matching",
            "learned tangents take half a point off the error",
            0.005,
            source=SVHN,
        ),
        *lower("-random", "tangents", "random", "they take off more than random directions do", 0),
        *lower("-affine", "affine", "matching", "known tangents take off half a point", 0.005),
        Claim(
            id="E8-decoder",
            text=f"with {FEWEST} tangents of G's Jacobian take half a point off",
            source=f"{PAPER}: names G's Jacobian as the other way to tangents; we measure the "
            "test error",
            metric="test_error",
            of=Group(f"decoder's tangents, {FEWEST}"),
            against=Group(f"matching, {FEWEST}"),
            region=(-inf, -0.005),
        ),
        Claim(
            id="E8-alignment",
            primary=True,
            text="learned tangents are nearer to the affine ones of their image than of another",
            source="our own question: whether what is learned is a tangent at all",
            metric="alignment_gain",
            of=Group(f"tangents, {FEWEST}"),
            region=(0.0, inf),
        ),
        Claim(
            id="E8-alignment-decoder",
            text="those of G's Jacobian even more so",
            source="our own question: whether what is learned is a tangent at all",
            metric="alignment_gain",
            of=Group(f"decoder's tangents, {FEWEST}"),
            against=Group(f"tangents, {FEWEST}"),
            region=(0.0, inf),
        ),
        Claim(
            id="E8-inference",
            text="augmented, G(E(x)) shows what x shows .10 more often than a BiGAN's",
            source=f"{PAPER}: authors' eyes on reconstructions; we measure the labels that a "
            "judge reads",
            metric="reconstruction/labels",
            of=Group("augmented bigan"),
            against=Group("bigan"),
            region=(0.1, inf),
        ),
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
            kimg=40,
            tick_kimg=40,
            seeds=3,
            samples=500,
            schedule_scale=50,
            scale_overrides={"f": 16, "batch": 32, "lr": 2e-3},
        ),
        "full": Budget(  # ten epochs, as in `sgan_mnist_labels`
            kimg=600,
            tick_kimg=60,
            seeds=5,
            samples=10_000,
            schedule_scale=1_000,
            scale_overrides={"f": 64},
        ),
    },
)
