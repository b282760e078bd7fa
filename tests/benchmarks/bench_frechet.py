"""Compares our Frechet distance with pytorch-fid's, on the same statistics.

    python -m tests.benchmarks.bench_frechet [--dims 2048] [--repeats 5]

Prints both medians, their ratio and how far the two values are apart. pytorch-fid alone takes about
half a minute a repeat at 2048 dimensions on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
from pytorch_fid.fid_score import calculate_frechet_distance

from study.metrics.core.frechet import Moments, frechet_distance, moments


def features(dims: int, seed: int) -> Moments:
    """Statistics of correlated features, of full rank and with a decaying spectrum."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dims, dims)) / np.sqrt(dims) * np.linspace(1, 0.1, dims)
    return moments(rng.normal(size=(3 * dims, dims)) @ mixing + 0.1 * seed)


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Call a function. Returns the seconds that this took, and the function's value."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # pytorch-fid's sqrtm(disp=)

    a, b = features(arguments.dims, 1), features(arguments.dims, 2)
    ours, theirs = [], []
    for repeat in range(arguments.repeats):  # alternating, so that both see the same machine
        ours.append(timed(lambda: frechet_distance(a, b)))
        theirs.append(timed(lambda: float(calculate_frechet_distance(*a, *b))))
        print(f"{repeat + 1}: ours {ours[-1][0]:.3f} s, pytorch-fid {theirs[-1][0]:.3f} s")
    mine, other = (statistics.median(s for s, _ in runs) for runs in (ours, theirs))
    apart = abs(ours[0][1] - theirs[0][1]) / theirs[0][1]
    print(
        f"{arguments.dims} dimensions, median of {arguments.repeats}: ours {mine:.3f} s, "
        f"pytorch-fid {other:.3f} s, ratio {mine / other:.4f} (to be at most 0.1), "
        f"values apart by {apart:.1e} relative (to be at most 1e-6)"
    )


if __name__ == "__main__":
    main()
