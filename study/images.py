"""Measure anyone's images with the metrics of this project, without a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from study.errors import BadInputError
from study.metrics.core import catalog
from study.metrics.core.measure_real import build_references
from study.metrics.core.train_judges import train_judges
from study.metrics.core.view import View
from study.planning import sources
from study.planning.places import CACHE
from trainables.data import Dataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.core.gan import Gan


class Images:
    """Stands in for a Gan of which only images are known."""

    classifies = encodes = truncates = has_tangents = translates = conditional = False

    def named_buffers(self) -> list[Any]:
        return []


class LabelledImages(Images):
    conditional = True


def measure(
    fakes: Tensor | NDArray[np.uint8],
    real: Dataset | str,
    *,
    labels: Tensor | NDArray[np.int64] | None = None,
    metrics: Sequence[str] = ("fcd",),
    cache: Path = CACHE,
    seed: int = 0,
) -> dict[str, float]:
    """Measure images against real ones, by three judges that are trained on the real ones.

    Training the judges takes a minute or so on two processors. They are kept in `cache`, and
    serve all further images that are measured against the same data.

    Args:
        fakes: uint8 [N, C, H, W], in random order.
        real: a data set, or its name or path as --data takes it.
        labels: that the fakes should have, whole numbers 0 to K - 1, [N]; None: unknown, so that
            metrics that need labels are refused.
        metrics: named as in a study.

    Returns: the columns of the metrics, as in `Results.ticks`. "_floor" columns are of real images.

    Raises:
        BadInputError: a metric, the data or the images are not usable; one line.
    """
    import torch

    fakes, y = torch.as_tensor(fakes), torch.as_tensor(labels if labels is not None else ())
    if "fid" in metrics:
        raise BadInputError("metric 'fid' needs Inception: python -m pytorch_fid measures it")
    try:
        for name in metrics:
            sources.find_and_load("metric", name)
        dataset = real if isinstance(real, Dataset) else sources.read_data(real, cache)
        kind = Images if labels is None else LabelledImages
        catalog.check(metrics, cast("type[Gan]", kind), dataset.spec)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    shape = (dataset.channels, *dataset.size)
    if fakes.dtype != torch.uint8 or tuple(fakes.shape[1:]) != shape or len(fakes) < 2:
        said = f"{fakes.dtype} {tuple(fakes.shape)}"
        raise BadInputError(f"fakes are {said}: uint8 [N, {', '.join(map(str, shape))}] are needed")
    if labels is None:
        y = torch.zeros(len(fakes), dtype=torch.int64)
    elif y.shape != (len(fakes),) or y.min() < 0 or y.max() >= len(dataset.classes):
        raise BadInputError(f"labels: {len(fakes)} of 0 to {len(dataset.classes) - 1} are needed")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    judges = train_judges(dataset, cache.expanduser(), device)
    references = build_references(judges, dataset, len(fakes), 0, metrics)
    rng = torch.Generator().manual_seed(seed)
    views = [
        View(cast("Gan", kind()), reference, judge, fakes, y, rng)
        for reference, judge in zip(references, judges, strict=True)
    ]
    return catalog.measure(views, metrics)
