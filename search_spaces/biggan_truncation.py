"""BigGAN in small: does truncation trade variety for quality, what does each change do? (claim E6)

One condition has all of BigGAN's changes; ten others each go without one, all else equal; a cGAN of
the older kind stands beside them. Brock, Donahue, Simonyan 2019, arXiv:1809.11096.
"""

from __future__ import annotations

from math import inf
from typing import Any

from search_spaces.core import Budget, Claim, Group, Study

FULL: dict[str, Any] = {"classes": 10}
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {  # condition: (what it goes without, how)
    "non-saturating": ("hinge loss", {"adversarial": "non_saturating"}),
    "no attention": ("self-attention", {"attention": False}),
    "concatenation": ("class-conditional BN", {"condition": "concat"}),
    "no SN": ("spectral norm", {"sn": False}),
    "n_dis 1": ("a second turn of D", {"n_dis": 1}),
    "no EMA": ("averaging G's weights", {"ema": 0.0}),
    "normal init": ("orthogonal weights", {"init": "normal", "ortho_reg": 0.0}),
    "batch 8": ("the larger batch", {"batch": 8}),
    "f 4": ("half of the width", {"f": 4}),
    "no skip-z": ("skip-z", {"skip_z": False}),
}
