"""How hard each loss term of G pulls at G's images: does the class term drown the adversarial one?

The pull of a term is the norm of the term's gradient with respect to a fake, averaged over one
batch of fakes. See `Gan.gradient_norms`.
"""

from __future__ import annotations

from study.metrics.core.view import View
from trainables.core.images import to_float

NEEDS = frozenset({"networks"})
COLUMNS = {
    "gradient_norm/adversarial": "mean over fakes of |d adversarial term / d image|_2",
    "gradient_norm/class": "mean over fakes of |d class term / d image|_2",
    "gradient_norm/ratio": "adversarial / class; near 0 G hears nothing but its class loss",
}
UNBOUNDED = frozenset({"gradient_norm/adversarial", "gradient_norm/class", "gradient_norm/ratio"})
TERMS = ("adversarial", "class")  # the loss terms of G that have a column
RESOLUTION = 1e-30  # smallest divisor of the ratio


def measure(view: View) -> dict[str, float]:
    """Measure one batch of fakes, which the GAN draws beside as many held-out real images.

    The columns of a term that G does not have are left out, and so is the ratio then.
    """
    gan, reference = view.gan, view.reference
    x = to_float(reference.x[: gan.config.batch].to(gan.device))
    y = reference.y[: gan.config.batch].to(gan.device)
    norms = gan.gradient_norms(x, y, view.rng)
    row = {f"gradient_norm/{term}": float(norms[term]) for term in TERMS if term in norms}
    if len(row) == len(TERMS):
        adversarial, of_class = row.values()
        row["gradient_norm/ratio"] = adversarial / max(of_class, RESOLUTION)
    return row
