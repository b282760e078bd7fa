"""CycleGAN where the right answer is known: digits and negatives of other digits (E3).

The right map is 255 - x. It is never shown in training, because the training images of the two
domains are unrelated. Held-out digits and their own negatives show how far a translation is from
the right one (`paired_l1`). Conditions and budgets are those of `cyclegan_kana`, except that there
is no "lighter".
"""

from __future__ import annotations

from math import inf

from search_spaces.core import Claim, Group, Study
from search_spaces.cyclegan_kana import CONDITIONS, METRICS, PAPER, REFERENCE, SCALES

STUDY = Study(
    title="CycleGAN from digits to negatives, a known map, and what each part does",
    variant="cyclegan",
    data="mnist_negatives",
    stand_in="kana_digits_negatives",
    conditions=CONDITIONS,
    reference=REFERENCE,
    space=None,
    metrics=METRICS,
    objective="paired_l1",
    claims=(
        Claim(
            id="E3.map",
            primary=True,
            text="cycle consistency finds the map: L1 to the right answer is half of that without",
            source=f"{PAPER}, tables 4 and 5: FCN scores and accuracies with and without the "
            "cycle loss; we measure the distance to the known answer",
            metric="paired_l1",
            of=Group("cyclegan"),
            against=Group("no cycle"),
            region=(0.0, 0.5),
            log=True,
        ),
        Claim(
            id="E3.map-alone",
            text="so it is beside the adversarial loss alone",
            source=f"{PAPER}, tables 4 and 5: FCN scores and accuracies of the adversarial loss "
            "alone; we measure the distance to the known answer",
            metric="paired_l1",
            of=Group("cyclegan"),
            against=Group("adversarial alone"),
            region=(0.0, 0.5),
            log=True,
        ),
        Claim(
            id="E3.labels",
            primary=True,
            text="translations keep their digit and change domain: both right in at least .85",
            source=f"{PAPER}, table 2: FCN scores of translations on Cityscapes; we measure "
            "digits and domains that a judge reads",
            metric="translation_accuracy",
            of=Group("cyclegan"),
            region=(0.85, inf),
        ),
        Claim(
            id="E3.cycle",
            text="without cycle loss they are in .02 fewer or worse",
            source=f"{PAPER}, tables 4 and 5: FCN scores and accuracies with and without the "
            "cycle loss; we measure digits and domains that a judge reads",
            metric="translation_accuracy",
            of=Group("cyclegan"),
            against=Group("no cycle"),
            region=(0.02, inf),
        ),
        Claim(
            id="E3.identity",
            text="the identity loss helps: without it the L1 is a tenth higher or more",
            source=f"{PAPER}, section 5.2: authors' eyes on colours of translated paintings; we "
            "measure the distance to the known answer",
            metric="paired_l1",
            of=Group("no identity"),
            against=Group("cyclegan"),
            region=(1.1, inf),
            log=True,
        ),
        Claim(
            id="E3.pool",
            text="the pool makes little difference: L1 within a factor of 1.5",
            source="our own question: the paper keeps a pool of 50 images and has no figure "
            "without it",
            metric="paired_l1",
            of=Group("no pool"),
            against=Group("cyclegan"),
            region=(1 / 1.5, 1.5),
            log=True,
        ),
    ),
    scales=SCALES,
)
