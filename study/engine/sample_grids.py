"""The picture of G's samples at a tick: a grid of images, or points scattered over the plane."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from study.metrics.core.reference import Reference
from study.records.grids import GRID_ROWS, grid_sets
from trainables.core.gan import Gan

REAL, FAKE = (86, 180, 233), (0, 0, 0)  # colours of points: Okabe & Ito's light blue; black
SIDE = 256  # pixels of a scatter plot: one for each level of a coordinate


def draw(gan: Gan, reference: Reference, rng: torch.Generator) -> bytes:
    """Draw samples of G, and return the bytes of a PNG file.

    For a conditional G the grid has one column per class, and all images in a row have the same z.
    Where images have several labels, the columns are a few of the data's label sets. For a G that
    takes no labels the grid has eight columns, and every image has its own z. Points are scattered
    over the plane together with real points.
    """
    from torchvision.utils import make_grid  # takes two seconds, and the driver never draws

    y = reference.y
    if gan.data_spec.points:
        return png(scatter(reference.x, gan.sample(y if gan.conditional else None, len(y), rng)))
    if gan.conditional:
        labels = torch.arange(reference.classes)
        if reference.conditions:
            sets = [y.numpy() for y in reference.conditions.values()]
            labels = torch.from_numpy(grid_sets(sets))
        columns, y = len(labels), torch.cat([labels] * GRID_ROWS)
        z = gan.noise(GRID_ROWS, rng).repeat_interleave(columns, 0)
        images = gan.sample(y, len(y), rng, z)
    else:
        columns = 8
        n = columns * GRID_ROWS
        images = gan.sample(None, n, rng, gan.noise(n, rng))
    return png(make_grid(images.cpu(), nrow=columns, padding=1, pad_value=255))


def png(image: Tensor) -> bytes:
    """The bytes of a PNG file of an image, uint8 [3, H, W]."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def scatter(real: Tensor, fakes: Tensor) -> Tensor:
    """Draw real points, and fakes on top of them, into a picture, uint8 [3, 256, 256].

    The first coordinate goes to the right, the second upwards.

    Args:
        real: uint8 [N, 1, 1, 2].
        fakes: uint8 [M, 1, 1, 2].
    """
    picture = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    for points, colour in ((real, REAL), (fakes, FAKE)):
        right, up = points.cpu().long().flatten(1).unbind(1)
        picture[:, SIDE - 1 - up, right] = torch.tensor(colour, dtype=torch.uint8)[:, None]
    return picture
