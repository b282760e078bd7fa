"""FID by the published protocol (Heusel et al. 2017), equal to pytorch-fid's command line.

All training images of the condition are compared with `samples` fakes. The features are the 2,048
of the last pooling layer of pytorch-fid's InceptionV3, in float32 on every device, with the weights
that pytorch-fid downloads. Images of any size are scaled to 299 x 299 pixels by that network, and
grey ones are copied to three channels.

FID falls with the number of fakes, whatever the generator, so compare it at equal numbers only.
With 2,048 fakes or fewer their covariance is singular, and most of the value is such bias:
`fid_floor`, which has the same number of images, then says how much. Published figures mostly have
10,000 or 50,000 fakes. The metric is slow on a CPU, which passes some ten images a second. On 28x28
images it serves only to compare with published figures.
"""

from __future__ import annotations

from study.metrics.core.frechet import frechet_distance
from study.metrics.core.inception import inception_moments
from study.metrics.core.view import View

NEEDS: frozenset[str] = frozenset()
WHEN = "end"
COLUMNS = {
    "fid": "FID by pytorch-fid's Inception in float32: `samples` fakes against all training "
    "images; mostly bias where `samples` is 2,048 or less",
    "fid_floor": "FID of `samples` training images against all other training images: what real "
    "images have (of half against half, and too high, where there are too few)",
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
    fakes = inception_moments(inception.network, view.fakes)
    return {"fid": frechet_distance(fakes, inception.real), "fid_floor": inception.floor}
