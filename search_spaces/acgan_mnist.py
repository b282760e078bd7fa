"""ACGAN on MNIST: is it as good as a cGAN with the same networks? (claims C)

The recipe is recipe C of a public write-up. The input of its upsampling G is an embedding of the
label times z, and its D has dropout. Two conditions have the two slips of the write-up's code:
`double_softmax` and `bn_eps`.

The write-up resized MNIST to 32x32. Here MNIST and the rendered digits keep their 28x28. The
write-up looked at D's accuracy over real and generated images together, in training. A G and a D
that agree on a code of their own do well by that measure. So D's accuracy is measured on held-out
real images, too, and an independent judge reads the labels of the fakes. G is evaluated as its
running average, which the write-up did not have.

The images of pretraining are not counted in a cell's kimg. The condition `pretrained` sees its 5
kimg of real images (60 at scale full) before the first kimg.
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Budget, Claim, Group, Study

WRITE_UP = "write-up of recipe C (ACGAN on MNIST)"
FLOOR = 1.461  # least cross-entropy of ten classes after two softmaxes: log(1 + 9 / e)

STUDY = Study(
    title="ACGAN on MNIST: beside a cGAN, pretrained, and with its code's two slips",
    variant="acgan_mnist",
    data="mnist",
    stand_in="kana_digits",
    conditions={
        "cgan": {"variant": "cgan_mnist"},
        "acgan": {},
        "pretrained": {"pretrain_kimg": 5.0},
        "double_softmax": {"double_softmax": True},
        "bn_eps": {"bn_eps": 0.8},
    },
    reference={"lr": 2e-4, "lr_ratio": 1.0, "adversarial": "non_saturating"},
    space=None,
    metrics=("fcd", "labels", "variance", "class_loss", "gradients"),
    claims=(
        Claim(
            id="C1a",
            primary=True,
            text="ACGAN's pictures are about as good as cGAN's: FCD within a factor of 1.5",
            source=f"{WRITE_UP}: author's eyes (about as good as cGAN's); we measure FCD",
            metric="fcd",
            of=Group("acgan"),
            against=Group("cgan"),
            region=(1 / 1.5, 1.5),
            log=True,
        ),
        Claim(
            id="C1b",
            text="and their labels as right: accuracy within .05 of cGAN's",
            source="our own question: whether the labels are as right as cGAN's, which the "
            "write-up did not measure",
            metric="label_accuracy",
            of=Group("acgan"),
            against=Group("cgan"),
            region=(-0.05, 0.05),
        ),
        Claim(
            id="C1c",
            primary=True,
            text="its D also classifies: at least .95 of real images and fakes in training",
            source=f"{WRITE_UP}: accuracy of D's class head over the real images and fakes of its "
            "training steps together",
            metric="train/class_accuracy",
            of=Group("acgan"),
            region=(0.95, inf),
        ),
        Claim(
            id="C1c-held-out",
            text="and at least .95 of held-out real images",
            source="our own question: D's class head on real images that it never saw, in eval "
            "mode",
            metric="class_accuracy/real",
            of=Group("acgan"),
            region=(0.95, inf),
        ),
        Claim(
            id="C2",
            primary=True,
            text="pretraining D's classifier makes training easier: FCD lower by a tenth early on",
            source=f"{WRITE_UP}: stated, not measured; we measure FCD at the first tick",
            metric="fcd",
            of=Group("pretrained", at="early"),
            against=Group("acgan", at="early"),
            region=(0.0, 0.9),
            log=True,
        ),
        Claim(
            id="C2end",
            text="and it still is at the end",
            source="our own question: the write-up states nothing of the end",
            metric="fcd",
            of=Group("pretrained"),
            against=Group("acgan"),
            region=(0.0, 0.9),
            log=True,
        ),
        Claim(
            id="C-labels",
            text="with cross-entropy on logits label accuracy is at least .95",
            source="our own question: whether fakes show their labels by an independent judge",
            metric="label_accuracy",
            of=Group("acgan"),
            region=(0.95, inf),
        ),
        Claim(
            id="C-softmax-floor",
            text="double softmax: D's class loss ends within .05 of its floor of 1.461",
            source="our own question: the floor is derived, log(1 + 9 / e); D's training class "
            "loss on fakes",
            metric="loss/d/class_fake",
            of=Group("double_softmax"),
            region=(0.0, FLOOR + 0.05),
            log=True,
        ),
        Claim(
            id="C-softmax-slower",
            text="double softmax is slower: early on its label accuracy is .05 lower or more",
            source="our own question: what the first slip of the write-up's code costs",
            metric="label_accuracy",
            of=Group("acgan", at="early"),
            against=Group("double_softmax", at="early"),
            region=(0.05, inf),
        ),
        Claim(
            id="C-softmax-cost",
            text="double softmax costs FCD: a tenth or more at the end",
            source="our own question: what the first slip of the write-up's code costs",
            metric="fcd",
            of=Group("double_softmax"),
            against=Group("acgan"),
            region=(1.1, inf),
            log=True,
        ),
        Claim(
            id="C-eps-cost",
            text="BatchNorm's eps of .8 costs FCD: a tenth or more at the end",
            source="our own question: what the second slip of the write-up's code costs",
            metric="fcd",
            of=Group("bn_eps"),
            against=Group("acgan"),
            region=(1.1, inf),
            log=True,
        ),
    ),
    scales={
        "smoke": Budget(kimg=1, tick_kimg=1, seeds=2, samples=200, scale_overrides={"f": 4}),
        "quick": Budget(
            kimg=90,
            tick_kimg=30,
            first_tick_kimg=10,
            seeds=4,
            samples=1000,
            # With f=8 D's first layer would have only two maps.
            scale_overrides={
                "f": 16,
                "batch": 32,
                "lr": 2e-3,
            },
        ),
        "full": Budget(  # the original's 200 epochs of 60,000 images each
            kimg=12_000,
            tick_kimg=1_000,
            first_tick_kimg=60,
            schedule_scale=12,
            seeds=5,
            samples=10_000,
            scale_overrides={"f": 64},
        ),
    },
)
