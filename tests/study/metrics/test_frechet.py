"""The Frechet distance agrees with pytorch-fid's and refuses what has no distance."""

import warnings

import numpy as np
import pytest

from study.metrics.core.frechet import Moments, frechet_distance, moments


def features(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + seed


@pytest.mark.parametrize(("n", "d", "tolerance"), [(500, 2, 1e-9), (500, 64, 1e-9), (40, 64, 1e-6)])
def test_distance_differs_from_pytorch_fids(n: int, d: int, tolerance: float) -> None:
    """Also with fewer samples than dimensions, where the covariances have no Cholesky factor."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    a, b = moments(features(n, d, 1)), moments(features(n, d, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = calculate_frechet_distance(*a, *b)
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=tolerance)


def test_distance_of_known_gaussians_is_wrong() -> None:
    """Commuting covariances have a closed form: |dm|^2 + sum (s_a - s_b)^2."""
    a = Moments(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = Moments(np.array([1.0, 0.0, 2.0]), np.diag([4.0, 4.0, 0.0]))
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 9)
    assert frechet_distance(b, a) == pytest.approx(15)


def test_equal_sets_are_apart_or_negative() -> None:
    a = moments(features(200, 16, 3))
    assert 0 <= frechet_distance(a, a) < 1e-8


def test_collapsed_fakes_have_no_distance() -> None:
    """A generator that draws one image has covariance 0. The distance must still be computed."""
    real = moments(features(200, 8, 1))
    collapsed = moments(np.zeros((50, 8)))
    expected = real.mean @ real.mean + np.trace(real.cov)
    assert frechet_distance(collapsed, real) == pytest.approx(expected)
    assert frechet_distance(real, collapsed) == pytest.approx(expected)


def test_moments_are_not_numpys() -> None:
    x = features(30, 4, 5)
    assert np.allclose(moments(x).cov, np.cov(x, rowvar=False))
    assert moments(x.astype(np.float32)).cov.dtype == np.float64


def test_nan_is_hidden() -> None:
    x = features(30, 4, 5)
    x[3, 2] = np.nan
    with pytest.raises(FloatingPointError, match="features is not finite"):
        moments(x)
    good = moments(features(30, 4, 5))
    with pytest.raises(FloatingPointError, match="mean is not finite"):
        frechet_distance(good, Moments(good.mean * np.inf, good.cov))


def test_wrong_shapes_pass() -> None:
    with pytest.raises(ValueError, match="N >= 2"):
        moments(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="4 and 3 dimensions"):
        frechet_distance(moments(features(9, 4, 1)), moments(features(9, 3, 1)))
