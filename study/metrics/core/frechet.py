"""The Frechet distance of two Gaussians, exact and fast, in float64 (Dowson & Landau 1982)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from scipy.linalg.lapack import dpstrf

Array = NDArray[np.float64]


class Moments(NamedTuple):
    """Mean and covariance of one set of features."""

    mean: Array  # [d]
    cov: Array  # [d, d], np.cov semantics: divided by N - 1


def moments(features: Array) -> Moments:
    """Mean and covariance of `features` [N, d].

    Raises:
        FloatingPointError: a feature is not finite.
        ValueError: not an [N, d] array, or fewer than two rows.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be [N, d] with N >= 2 but the shape is {features.shape}")
    features = features.astype(np.float64, copy=False)
    _require_finite(features, "features")
    return Moments(features.mean(0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^1/2), in squared units of the features.

    Let S_b = R R^T. The eigenvalues of S_a S_b are those of the symmetric R^T S_a R. One symmetric
    eigenproblem therefore replaces the square root of a product that is not symmetric.

    Raises:
        FloatingPointError: a mean or covariance is not finite.
        ValueError: the moments have different dimensions.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {len(a.mean)} and {len(b.mean)} dimensions do not compare")
    for name, values in (("mean", a.mean), ("mean", b.mean), ("cov", a.cov), ("cov", b.cov)):
        _require_finite(values, name)
    overlap = _overlap(a.cov, b.cov)
    difference = a.mean - b.mean
    distance = difference @ difference + np.trace(a.cov) + np.trace(b.cov)
    # Rounding can give about -1e-12 for equal sets, but a distance is never negative.
    return max(0.0, float(distance - 2 * np.sqrt(overlap).sum()))


def _overlap(a: Array, b: Array) -> Array:
    """Eigenvalues of the product `a` `b` of two covariances, which are real and not negative.

    LAPACK's generalised solver uses the Cholesky factor of `b`. It fails if the rank of `b` is
    below d, as with fewer samples than dimensions. A pivoted Cholesky factorisation then gives
    `b` = R R^T, where the number of columns of R is the rank.
    """
    try:
        # type 2 is the problem a b v = w v. scipy's stubs do not know the driver "gv".
        values = eigvalsh(a, b, type=2, driver="gv", check_finite=False)  # type: ignore[arg-type]
    except np.linalg.LinAlgError:
        factor, pivots, rank, _ = dpstrf(b, lower=1)
        root = np.zeros((len(b), rank))
        root[pivots - 1] = np.tril(factor)[:, :rank]  # LAPACK's row numbers begin at 1
        values = np.linalg.eigvalsh(root.T @ a @ root)
    return np.asarray(values).clip(0)


def _require_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        raise FloatingPointError(f"{name} is not finite")
