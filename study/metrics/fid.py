"""FID: Frechet distance on pytorch-fid's Inception features (Heusel et al. 2017).

The fakes are compared with as many real training images. The network has the weights of the file
that pytorch-fid downloads. Grey images are copied to three channels. The metric is slow on a CPU
(tens of images a second). On 28x28 images it serves only to compare with published figures.
"""

from __future__ import annotations

from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.inception import inception_features
from study.metrics.core.view import View

NEEDS: frozenset[str] = frozenset()
WHEN = "end"
COLUMNS = {
    "fid": "FID by pytorch-fid's Inception against as many real training images",
    "fid_floor": "the same distance between two disjoint sets of real images of that size",
}
DIRECTIONS = {"fid": "minimize"}
UNBOUNDED = frozenset({"fid"})


def measure(view: View) -> dict[str, float]:
    """The values of both columns.

    Raises:
        ValueError: the view has no Inception network, or not as many fakes as the floor holds for.
    """
    inception = view.inception
    if inception is None:
        raise ValueError("fid needs Inception's weights: give them or leave fid out")
    if len(view.fakes) != inception.samples:
        raise ValueError(f"fid's floor holds for {inception.samples} fakes, not {len(view.fakes)}")
    fakes = moments(inception_features(inception.network, view.fakes))
    return {"fid": frechet_distance(fakes, inception.real), "fid_floor": inception.floor}
