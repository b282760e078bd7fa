"""How sure a verdict must be, where claims are judged at several looks and many together."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from study.report.stats import ALPHA


@functools.cache
def nominal(alpha: float, looks: tuple[int, ...]) -> float:
    """The error that the interval of each look may have, if all looks together may have `alpha`.

    Who looks at growing data until a claim is decided errs more often than at each look alone. So
    each look's interval is wider, by the same factor at all looks (Pocock 1977). The factor follows
    from the joint normal distribution of the means at the looks, whose correlations are the square
    roots of the ratios of their numbers of seeds.

    Args:
        looks: the numbers of seeds at the planned looks, ascending.
    """
    if len(looks) == 1:
        return alpha
    n = np.array(looks, dtype=float)
    joint = multivariate_normal(cov=np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n)))

    def excess(z: float) -> float:
        """How far the error of all looks together exceeds `alpha`, if intervals reach z errors."""
        ends = np.full(len(n), z)
        held = joint.cdf(ends, lower_limit=-ends, rng=np.random.default_rng(0))
        return 1.0 - float(held) - alpha

    least, most = norm.isf(alpha / 2), norm.isf(alpha / 2 / len(looks))
    return 2 * float(norm.sf(brentq(excess, least, most, xtol=1e-4)))


def decided(
    sure: Mapping[str, Sequence[float]], looks: tuple[int, ...], together: bool
) -> dict[str, int]:
    """The claims that are decided, each with the index of the look that decided it.

    A claim that was decided at a look stays so, because what follows was not needed for it.

    Args:
        sure: for each claim and look, the smallest error whose interval decides the claim. It is 1
            where the look has not taken place.
        together: whether the claims may have one wrong verdict among them with probability `ALPHA`
            (Holm 1979, at each look for the claims that are still open: Ye et al. 2013). If not,
            each of them may be wrong with that probability.
    """
    found: dict[str, int] = {}
    for look in range(len(looks)):
        while left := [claim for claim in sure if claim not in found]:
            surest = min(left, key=lambda claim: sure[claim][look])
            share = ALPHA / len(left) if together else ALPHA
            if sure[surest][look] > nominal(share, looks):
                break
            found[surest] = look
    return found
