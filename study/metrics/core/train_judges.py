"""Train a study's judges: once per data set, on all its classes, side by side."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from study.metrics.core.augment import turned, warped
from study.metrics.core.classifier import Recipe, batched, repeatable, train
from study.metrics.core.judge import Judge, accuracy, bf16_pays, read_judge, write_judge
from study.metrics.core.networks import feature_network, in_colour, label_network
from study.notebook import bar_is_hidden
from trainables.data import Dataset
from trainables.data.base import DataSpec

VERSION = 4  # raise this number when an architecture, the training or the file changes
# A judge is one draw of its weights: a distance may double with the judge's seed. So a study has
# several judges, and a verdict needs them all.
JUDGES = 3
HELD_OUT = 10_000  # test images on which the judges' own accuracies are measured, at most
LEAST_HELD_OUT = 1_000  # of these, where a share of the images is measured
TIMED_STEPS = 3
MIN_TO_WARP = 8  # pixels a side; points in the plane are images of one row

# The recipe for images of several labels, and the one for natural images in colour.
SCENES = Recipe(
    label_images=24_000, feature_images=60_000, batch=32, label_lr=1e-3, feature_lr=3e-3
)
COLOUR = Recipe(
    label_images=60_000, feature_images=60_000, label_lr=8e-3, feature_lr=8e-3, weight_decay=0.05
)


def train_judges(
    dataset: Dataset,
    cache: Path,
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
    share: float = 1.0,
    count: int = JUDGES,
    report: Callable[[str], None] = lambda _: None,
) -> list[Judge]:
    """Train judges on all classes of `dataset`, or read from `cache` those that it has.

    Data of one class have no labels to learn. Judges of such data learn by how many quarters an
    image was turned (Gidaris et al. 2018), so that their features describe images.

    On a CPU each network is trained by one thread, as many networks at once as torch has threads.
    So the judges do not depend on the number of threads. Each judge is kept once it is trained: who
    interrupts this function loses the others only.

    Args:
        dataset: with all its classes. Conditions that keep fewer classes share these judges.
        cache: folder of the files `<cache>/judges/<hash>.pt`, which are written atomically.
        device: where the judges are trained and stay.
        recipe: how the judges are trained; None: as suits the kind of data.
        share: share of the recipe's images that are trained on, and of the held-out ones that are
            read. Below 1 suits runs in which little depends on the judges.
        count: number of judges. Judge n has seed n, whatever the number.
        report: called with a line when a judge has been trained.
    """
    recipe = recipe or _recipe(dataset.spec)
    recipe = replace(
        recipe,
        label_images=round(share * recipe.label_images),
        feature_images=round(share * recipe.feature_images),
    )
    paths = [cache / "judges" / f"{_key(dataset, recipe, seed)}.pt" for seed in range(count)]
    judges = [read_judge(path, device) for path in paths]
    missing = [seed for seed, judge in enumerate(judges) if judge is None]
    if not missing:
        return [judge for judge in judges if judge is not None]

    held_out = max(LEAST_HELD_OUT, round(share * HELD_OUT))
    stop, threads = threading.Event(), torch.get_num_threads()
    # The networks are built here, because their first weights are drawn from torch's global random
    # state, which threads share.
    networks = {seed: _networks(dataset.spec, seed, device) for seed in missing}
    total = len(missing) * (recipe.label_images + recipe.feature_images)
    workers = 1 if torch.device(device).type == "cuda" else min(threads, 2 * len(missing))
    with (
        repeatable(device, 0),
        tqdm(total=total, desc="judges", unit="image", disable=bar_is_hidden(), leave=False) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):

        def step(images: int) -> None:
            bar.update(images)
            if stop.is_set():
                raise InterruptedError

        try:
            training = {
                pool.submit(_train, network, dataset, recipe, 2 * seed + place, step): seed
                for seed, pair in networks.items()
                for place, network in enumerate(pair)
            }
            untrained = dict.fromkeys(missing, 2)  # number of networks, by judge
            for future in as_completed(training):
                future.result()  # raises what training raised
                seed = training[future]
                untrained[seed] -= 1
                if not untrained[seed]:
                    judges[seed] = judge = _judge(dataset, *networks[seed], seed, held_out)
                    write_judge(paths[seed], judge)
                    report(f"judges: {count - judges.count(None)} of {count} trained")
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
    return [judge for judge in judges if judge is not None]


def training_seconds(spec: DataSpec, share: float = 1.0) -> float:
    """Seconds that a CPU will take to train all judges of such data, from a few timed steps.

    Turns and warps of images are left out.

    Args:
        share: as for `train_judges`.
    """
    recipe, before = _recipe(spec), torch.get_num_threads()
    bf16 = spec.labels > 1 and bf16_pays(torch.device("cpu"))  # of the label network
    x = np.zeros((recipe.batch, spec.channels, *spec.size), np.uint8)
    y: NDArray[Any] = np.arange(recipe.batch) % spec.classes
    if spec.labels > 1:
        y = np.eye(spec.classes, dtype=np.uint8)[y]
    images, total = (recipe.label_images, recipe.feature_images), 0.0
    torch.set_num_threads(1)
    try:
        with repeatable("cpu", 0):
            for place, network in enumerate(_networks(spec, 0, "cpu")):
                low = bf16 and place == 0
                for steps in (1, TIMED_STEPS):  # the first one is a warm-up
                    start, drawn = time.monotonic(), steps * recipe.batch
                    train(network, x, y, recipe, drawn, recipe.label_lr, 0, bf16=low)
                    seconds = time.monotonic() - start
                total += share * images[place] / (TIMED_STEPS * recipe.batch) * seconds
    finally:
        torch.set_num_threads(before)
    return JUDGES * total / min(before, 2 * JUDGES)


def _recipe(spec: DataSpec) -> Recipe:
    if spec.labels > 1:
        return SCENES
    return COLOUR if in_colour((spec.channels, *spec.size), spec.labels) else Recipe()


def _key(dataset: Dataset, recipe: Recipe, seed: int) -> str:
    key = [dataset.digest, len(dataset.classes), asdict(recipe), seed, VERSION, torch.__version__]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def _networks(spec: DataSpec, seed: int, device: torch.device | str) -> tuple[nn.Module, nn.Module]:
    """A judge's label network and its feature network, untrained."""
    shape = (spec.channels, *spec.size)
    with repeatable(device, 2 * seed):
        label = label_network(shape, spec.classes, spec.labels).to(device)
    with repeatable(device, 2 * seed + 1):
        feature = feature_network(shape, spec.classes, spec.labels).to(device)
    return label, feature


def _train(
    network: nn.Module, dataset: Dataset, recipe: Recipe, own: int, step: Callable[[int], None]
) -> None:
    """Train one network of a judge, on a CPU by one thread.

    Args:
        own: the network's own seed, which is even for a label network and odd for a feature one.
    """
    device = next(network.parameters()).device
    if device.type == "cpu":
        torch.set_num_threads(1)  # of this thread
    images, lr = recipe.label_images, recipe.label_lr
    if own % 2:
        images, lr = recipe.feature_images, recipe.feature_lr
    bf16 = dataset.spec.labels > 1 and own % 2 == 0 and bf16_pays(device)
    prepare, (x, y) = _prepare(dataset, images, own), (dataset.train.x, dataset.train.y)
    train(network, x, y, recipe, images, lr, own, bf16=bf16, prepare=prepare, step=step)


def _prepare(
    dataset: Dataset, images: int, seed: int
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """What is done to a batch of images and labels before a network learns from it.

    Images of one class are turned. Images that a network sees more than twice are warped, so that
    it does not learn them by heart; but not scenes of several labels, which are rendered.
    """
    one, often = len(dataset.classes) == 1, images > 2 * len(dataset.train.y)
    warps = often and dataset.spec.labels == 1 and min(dataset.size) >= MIN_TO_WARP
    if not (one or warps):
        return None
    rng = torch.Generator().manual_seed(seed)

    def prepare(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = warped(x, rng) if warps else x  # first, because a mirror would change a turn
        return turned(x, rng) if one else (x, y)

    return prepare


def _judge(
    dataset: Dataset, label: nn.Module, feature: nn.Module, seed: int, held_out: int
) -> Judge:
    """The judge of two trained networks, with their accuracies on at most `held_out` images."""
    shape, classes = (dataset.channels, *dataset.size), len(dataset.classes)
    judge = Judge(label, feature, shape, classes, dataset.spec.labels, {})
    rows = np.random.default_rng(seed).permutation(len(dataset.test.y))[:held_out]
    x, y = torch.from_numpy(dataset.test.x[rows]), dataset.test.y[rows]
    if classes == 1:
        x, turns = turned(x, torch.Generator().manual_seed(seed))
        y = turns.numpy()
    judge.accuracy["label"] = accuracy(judge.logits(x), y)
    judge.accuracy["feature"] = accuracy(batched(judge.feature, x).numpy(), y)
    return judge
