"""Translation between two domains, measured on held-out pairs of images.

A pair shows one thing in both domains. Training never sees pairs. Each image of a pair is
translated into the other image's domain and compared with the other image. A distance is the mean
absolute difference of pixels, where 1 is the difference between black and white.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from study.metrics.core.view import View

WAYS = {"forth": 1, "back": 0}  # way -> the domain that it leads to
NOISE = 8.0  # standard deviation, of 255: invisible to the eye, but drowns a hidden code

NEEDS = frozenset({"translates", "paired", "one_label"})
COLUMNS = {
    "paired_l1": "distance of translations to the other image of the pair, both ways",
    "paired_l1/forth": "the same from the first domain to the second",
    "paired_l1/back": "the same from the second domain to the first",
    "paired_l1_copy": "the same of images that are not translated at all",
    "label_consistency": "share of translations in which the judge reads the class of their "
    "source, whichever domain it sees",
    "label_consistency/forth": "the same from the first domain to the second",
    "label_consistency/back": "the same from the second domain to the first",
    "translation_accuracy": "share of translations in which it reads class and domain as asked "
    "(its ceiling: see label_accuracy_real)",
    "domain_accuracy": "share of translations that the judge takes for images of the domain asked "
    "for, whatever their class",
    "cycle_l1": "distance of images, translated there and back, to themselves",
    "cycle_l1_noisy": "the same with noise (standard deviation 8 of 255) added on the way: far "
    "above cycle_l1, G hides its source in what it draws",
}
BY_LABELS = frozenset(
    {"label_consistency", "label_consistency/forth", "label_consistency/back"}
    | {"translation_accuracy", "domain_accuracy"}
)
DIRECTIONS = {
    "paired_l1": "minimize",
    "paired_l1/forth": "minimize",
    "paired_l1/back": "minimize",
    "cycle_l1": "minimize",
    "label_consistency": "maximize",
    "label_consistency/forth": "maximize",
    "label_consistency/back": "maximize",
    "translation_accuracy": "maximize",
    "domain_accuracy": "maximize",
}
UNBOUNDED = frozenset({"paired_l1", "paired_l1/forth", "paired_l1/back"})


def measure(view: View) -> dict[str, float]:
    pairs, y = view.reference.pairs, view.reference.pairs_y.numpy()
    domains = [y[:, domain] for domain in range(2)]
    drawn = view.once("translation", lambda: _draw(view))
    values: dict[str, list[float]] = {}

    def note(column: str, value: float) -> None:
        values.setdefault(column, []).append(value)

    for (way, target), (fakes, *cycles) in zip(WAYS.items(), drawn, strict=True):
        source, wanted = pairs[:, 1 - target], pairs[:, target]
        distance = _distance(fakes, wanted)
        read = view.judge.logits(fakes)[:, : view.reference.classes].argmax(1)
        same = float((read[:, None] == y).any(1).mean())
        for column, value in (("paired_l1", distance), ("label_consistency", same)):
            note(column, value)
            note(f"{column}/{way}", value)
        note("paired_l1_copy", _distance(source, wanted))
        note("translation_accuracy", float((read == domains[target]).mean()))
        note("domain_accuracy", float(np.isin(read, domains[target]).mean()))
        for column, cycle in zip(("cycle_l1", "cycle_l1_noisy"), cycles, strict=True):
            note(column, _distance(cycle, source))
    return {column: float(np.mean(both)) for column, both in values.items()}


def _draw(view: View) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each way, the translated images, and these back without and with noise in between."""
    # A generator of its own keeps the noise independent of what other metrics have drawn.
    rng, found = torch.Generator().manual_seed(view.rng.initial_seed()), []
    for target in WAYS.values():
        fakes = view.gan.translate(view.reference.pairs[:, 1 - target], target).cpu()
        noise = NOISE * torch.randn(fakes.shape, generator=rng)
        noisy = (fakes + noise).round().clamp(0, 255).to(torch.uint8)
        back, noisy_back = (view.gan.translate(x, 1 - target).cpu() for x in (fakes, noisy))
        found.append((fakes, back, noisy_back))
    return found


def _distance(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference of uint8 images a and b [N, C, H, W], from 0 to 1."""
    return float((a.float() - b.float()).abs().mean() / 255)
