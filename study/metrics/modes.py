"""How many modes of a mixture of Gaussians do fakes reach, and what share of fakes lies in a mode?

The data are points in the plane. A fake is of high quality if it lies within three standard
deviations of the nearest mode (VEEGAN, Srivastava 2017; PacGAN, Lin 2018). A mode is covered if at
least a tenth of an even share of the fakes are high-quality fakes of that mode. The papers ask for
a single one, but then points scattered over the plane cover all modes.

The modes are the classes of the data. The mean of each mode, and one standard deviation for all
modes, are estimated from held-out real points.
"""

from __future__ import annotations

import torch

from study.metrics.core.view import View

NEEDS = frozenset({"points", "one_label"})
COLUMNS = {
    "modes_covered": "modes with a tenth of their share of fakes within 3 standard deviations",
    "modes_lost": "the other modes",
    "high_quality": "share of fakes within 3 standard deviations of a mode",
}
DIRECTIONS = {
    "modes_covered": "maximize",
    "high_quality": "maximize",
    "modes_lost": "minimize",
}
REAL = {"high_quality": "high_quality_real"}
COLUMNS |= {REAL[column]: f"{column} of other real points in place of fakes" for column in REAL}
REACH = 3.0  # standard deviations
SHARE = 0.1  # part of an even share of the fakes that covers a mode


def measure(view: View) -> dict[str, float]:
    reference = view.reference
    real, fakes = (x.flatten(1).cpu().double() for x in (reference.x, view.fakes))
    y, modes = reference.y, reference.classes
    means = torch.stack([real[y == mode].mean(0) for mode in range(modes)])
    freedom = 2 * (len(real) - modes)  # two coordinates a point
    sigma = ((real - means[y]).square().sum() / freedom).sqrt()
    distance, nearest = torch.cdist(fakes, means).min(1)
    good = distance <= REACH * sigma
    counts = torch.bincount(nearest[good], minlength=modes)
    covered = int((counts >= max(1.0, SHARE * len(fakes) / modes)).sum())
    return {
        "modes_covered": covered,
        "modes_lost": modes - covered,
        "high_quality": float(good.double().mean()),
    }
