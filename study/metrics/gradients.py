"""How hard each loss term of G pulls at its images: does the class loss drown the adversary?"""

from __future__ import annotations

from study.metrics.view import View
from trainables.core.gan import to_float

NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "gradient_norm/adversarial": "mean over fakes of |d adversarial term / d image|_2",
    "gradient_norm/class": "mean over fakes of |d class term / d image|_2",
}


def measure(view: View) -> dict[str, float]:
    """One batch of fakes for the labels of as many held-out real images."""
    gan, reference = view.gan, view.reference
    x = to_float(reference.x[: gan.config.batch].to(gan.device))
    y = reference.y[: gan.config.batch].to(gan.device)
    norms = gan.gradient_norms(x, y, view.rng)
    return {f"gradient_norm/{term}": float(norm) for term, norm in norms.items()}
