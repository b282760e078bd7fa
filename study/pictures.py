"""What a G draws at a tick: a grid of images, or points scattered over the plane."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from study.metrics.reference import Reference
from study.samples import GRID_ROWS
from trainables.core.gan import Gan
from trainables.data import Dataset

GRID_SETS = 10  # columns, where images have several labels
REAL, FAKE = (86, 180, 233), (0, 0, 0)  # points: Okabe & Ito's light blue; black
SIDE = 256  # pixels: one for each level of a coordinate


def draw(gan: Gan, reference: Reference, rng: torch.Generator) -> bytes:
    """PNG: one column per class, or for a few of the data's label sets (eight where G takes
    no labels), the same z along each row; points are scattered over the plane."""
    y = reference.y
    if gan.images.points:
        return png(scatter(reference.x, gan.sample(y if gan.conditional else None, len(y), rng)))
    if gan.conditional:
        labels = torch.arange(reference.classes)
        if reference.conditions:
            labels = grid_sets([*reference.conditions.values()])
        columns, y = len(labels), torch.cat([labels] * GRID_ROWS)
        z = gan.noise(GRID_ROWS, rng).repeat_interleave(columns, 0)
        images = gan.sample(y, len(y), rng, z)
    else:
        columns = 8
        n = columns * GRID_ROWS
        images = gan.sample(None, n, rng, gan.noise(n, rng))
    return png(make_grid(images.cpu(), nrow=columns, padding=1, pad_value=255))


def png(image: Tensor) -> bytes:
    """A file of an image uint8 [3, H, W]."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def grid_sets(conditions: Sequence[Tensor]) -> Tensor:
    """The label sets that a sample grid shows, evenly spread over all: [GRID_SETS, classes]."""
    every = torch.cat([*conditions])
    return every[torch.linspace(0, len(every) - 1, GRID_SETS).round().long()]


def grid_columns(dataset: Dataset) -> list[str]:
    """What the columns of a conditional G's sample grid show: classes, or label sets."""
    if not dataset.conditions:
        return list(dataset.classes)
    sets = grid_sets([torch.from_numpy(y) for y in dataset.conditions.values()])
    return [" + ".join(dataset.classes[i] for i in row.nonzero().flatten()) for row in sets]


def scatter(real: Tensor, fakes: Tensor) -> Tensor:
    """Real points [N, 1, 1, 2] and before them fakes [M, 1, 1, 2], uint8 -> uint8 [3, 256, 256].

    The first coordinate goes to the right, the second upwards.
    """
    picture = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
    for points, colour in ((real, REAL), (fakes, FAKE)):
        right, up = points.cpu().long().flatten(1).unbind(1)
        picture[:, SIDE - 1 - up, right] = torch.tensor(colour, dtype=torch.uint8)[:, None]
    return picture
