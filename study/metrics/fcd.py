"""Frechet distance of fakes to real training images in the feature judge's 64 dimensions.

Never call it FID: FID is measured in Inception's features (see the metric `fid`).
"""

from __future__ import annotations

from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.view import View

NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "fcd": "Frechet distance of fakes to real training images in judge features",
    "fcd_floor": "the same distance of as many other real training images: the best possible (out "
    "of reach where images have several labels: fakes are asked for in pairs of one label set)",
    "samples": "number of fakes that were measured",
}
DIRECTIONS = {"fcd": "minimize"}
UNBOUNDED = frozenset({"fcd"})
BY_FEATURES = frozenset({"fcd", "fcd_floor"})


def measure(view: View) -> dict[str, float]:
    reference = view.reference
    if len(view.fakes) != reference.samples:
        raise ValueError(
            f"the floor holds for {reference.samples} samples but there are {len(view.fakes)} fakes"
        )
    return {
        "fcd": frechet_distance(moments(view.features), reference.moments),
        "fcd_floor": reference.fcd_floor,
        "samples": len(view.fakes),
    }
