"""How hard each loss term of G pulls at its images: does the class loss drown the adversary?"""

from __future__ import annotations

from study.metrics.view import View
from trainables.core.gan import to_float

NEEDS: frozenset[str] = frozenset()
COLUMNS = {
    "gradient_norm/adversarial": "mean over fakes of |d adversarial term / d image|_2",
    "gradient_norm/class": "mean over fakes of |d class term / d image|_2",
    "gradient_norm/ratio": "adversarial / class; near 0 G hears nothing but its class loss",
}
TERMS = ("adversarial", "class")  # those that every variant with a class head has
RESOLUTION = 1e-30  # a norm below it is no divisor


def measure(view: View) -> dict[str, float]:
    """One batch of fakes for the labels of as many held-out real images."""
    gan, reference = view.gan, view.reference
    x = to_float(reference.x[: gan.config.batch].to(gan.device))
    y = reference.y[: gan.config.batch].to(gan.device)
    norms = gan.gradient_norms(x, y, view.rng)
    row = {f"gradient_norm/{term}": float(norms[term]) for term in TERMS if term in norms}
    if len(row) == len(TERMS):
        adversarial, of_class = row.values()
        row["gradient_norm/ratio"] = adversarial / max(of_class, RESOLUTION)
    return row
