"""ACGAN on MNIST: as good as a cGAN of the same networks, and what two slips cost (claims C).

Recipe C of a public write-up: a label's embedding times z, an upsampling G, a D with dropout. The
write-up resized MNIST to 32x32; here it keeps its 28x28, and so do the rendered digits. It looked
at D's accuracy over real and generated images together, which a pair that agree on a code of
their own passes; here an independent judge reads the labels, and D's is measured on held-out
real images. G is evaluated as its running average, which the write-up did not have.
"""

from __future__ import annotations


from search_spaces.core import Budget, Claim, Group, Study

ACCURACY = "label_accuracy"
PRETRAIN = {"smoke": 1.0, "quick": 5.0, "full": 60.0}  # kimg; of real images, before the clock

STUDY = Study(
    title="ACGAN on MNIST: beside a cGAN, pretrained, and with its code's two slips",
    variant="acgan_mnist",
    data="mnist",
    standin="kana_digits",
    conditions={
        "cgan": {"variant": "cgan_mnist"},
        "acgan": {},
        "pretrained": {"pretrain_kimg": 5.0},
        "double_softmax": {"double_softmax": True},
        "bn_eps": {"bn_eps": 0.8},
    },
    reference={"lr": 2e-4, "lr_ratio": 1.0, "adversarial": "non_saturating", "d_norm": "bn"},
    space=None,
    metrics=("fcd", "labels", "variance", "class_loss", "gradients"),
    claims=(
        Claim(
            id="C1a",
            text="ACGAN's pictures are about as good as cGAN's: FCD within a factor of 1.5",
            metric="fcd",
            of=Group("acgan"),
            against=Group("cgan"),
            region=(1 / 1.5, 1.5),
            log=True,
        ),
    ),
    scales={
        "smoke": Budget(
            kimg=1, search_kimg=1, tick_kimg=1, trials=0, seeds=2, samples=200, fixed={"f": 4}
        ),
        "quick": Budget(
            kimg=60,
            search_kimg=60,
            tick_kimg=10,
            trials=0,
            seeds=5,
            samples=1000,
            fixed={"f": 16, "batch": 32, "lr": 1e-3},
        ),
        "full": Budget(
            kimg=12_000,
            search_kimg=12_000,
            tick_kimg=500,
            first_tick_kimg=10,
            trials=0,
            seeds=5,
            samples=10_000,
            fixed={"f": 64},
        ),
    },
)
