"""Likeness of a class's fakes to each other (Odena et al. 2017); 1 means all images are the same.

The likeness is MS-SSIM (Wang et al. 2003), computed by torchmetrics for pairs of fakes of one class
and averaged over classes. The original needs images of 176 pixels for its five scales and its
11-pixel window. Here the window has 7 pixels, and only the finest scales at which the window fits
into the image are used: at most three, as at 28 pixels. Their exponents are scaled to a sum of 1.
The values are not comparable with figures of large images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from study.metrics.core.view import View

NEEDS = frozenset({"labels", "one_label"})
COLUMNS = {
    "ms_ssim_within": "MS-SSIM (7-pixel window, at most 3 scales) of pairs of fakes of one class, "
    "mean over classes; as on real images is right, 1 is mode collapse",
    "ms_ssim_within_real": "the same of pairs of real training images",
}
REAL = {"ms_ssim_within": "ms_ssim_within_real"}
BETAS = (0.0448, 0.2856, 0.3001)  # exponents of the three finest scales
WINDOW, SIGMA = 7, 1.5 * 7 / 11  # pixels, in the proportion of the original's 11 and 1.5
PAIRS = 100  # of each class, at most
BATCH = 500  # pairs at a time


def measure(view: View) -> dict[str, float]:
    firsts, seconds, lengths = [], [], []
    for label in range(view.reference.classes):
        rows = (view.y == label).nonzero().flatten()[: PAIRS + 1]
        if len(rows) > 1:
            firsts.append(rows[:-1])
            seconds.append(rows[1:])
            lengths.append(len(rows) - 1)
    values = ms_ssim(view.fakes[torch.cat(firsts)], view.fakes[torch.cat(seconds)])
    means = torch.stack([part.mean() for part in torch.split(values, lengths)])
    return {"ms_ssim_within": float(means.mean())}


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM of each pair of uint8 images [N, C, H, W], float64 [N].

    Raises:
        ValueError: a side of the images has fewer than seven pixels.
    """
    scales = sum(min(a.shape[2:]) >> scale >= WINDOW for scale in range(len(BETAS)))
    if not scales:
        raise ValueError(f"ms_ssim needs {WINDOW} pixels: images are {a.shape[2]}x{a.shape[3]}")
    betas = tuple(beta / sum(BETAS[:scales]) for beta in BETAS[:scales])
    parts = [
        multiscale_structural_similarity_index_measure(
            x.float(),
            y.float(),
            sigma=SIGMA,
            kernel_size=WINDOW,
            reduction="none",
            data_range=255.0,
            betas=betas,
        )
        for x, y in zip(torch.split(a, BATCH), torch.split(b, BATCH), strict=True)
    ]
    return torch.cat(parts).double().cpu()
