"""Likeness of any two fakes, whatever their class (Karras et al. 2018, sec. 6).

This metric also suits GANs without labels. MS-SSIM is computed as in the metric `ms_ssim`, which
compares fakes of one class only.
"""

from __future__ import annotations

from study.metrics.core.view import View
from study.metrics.ms_ssim import ms_ssim

NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "ms_ssim": "MS-SSIM (7-pixel window, at most 3 scales) of pairs of fakes, mean; as on real "
    "images is right, 1 is mode collapse",
    "ms_ssim_real": "the same of pairs of real training images",
}
REAL = {"ms_ssim": "ms_ssim_real"}
PAIRS = 1000  # at most


def measure(view: View) -> dict[str, float]:
    fakes = view.fakes[: PAIRS + 1]  # shuffled: see `view.look`, `build_references`
    return {"ms_ssim": float(ms_ssim(fakes[:-1], fakes[1:]).mean())}
