"""Two frozen networks that judge fakes: one reads the label, another gives features.

They are trained once per data set, with all its classes, and differ in architecture and seed, so
that what fools one need not fool the other. Neither is ever the discriminator's own head. Where
images have several labels, the label judge is a ResNet18, as in the i-CLEVR lab.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.metrics.networks import feature_network, label_network
from study.records import write_atomically
from trainables.core.losses import class_loss
from trainables.data import Dataset

VERSION = 1  # raise it when an architecture or the training below changes
BATCH = 500  # images per forward pass when judging
HELD_OUT = 10_000  # test images that the reported accuracies rest on, at most

Images = Tensor | NDArray[np.uint8]  # uint8 NCHW
Progress = Callable[[int, int], None]  # images seen so far, images in all


@dataclass(frozen=True)
class Recipe:
    """How both judges are trained: AdamW, one cycle of the learning rate, class-balanced draws."""

    label_images: int = 24_000  # draws that the label judge sees
    feature_images: int = 20_000  # draws that the feature judge sees
    batch: int = 64
    label_lr: float = 4e-3  # peak
    feature_lr: float = 4e-3
    weight_decay: float = 0.02


RESNET = Recipe(label_images=30_000, label_lr=2e-3)  # where images have several labels


class Judges:
    """The two networks, frozen.

    ```
    judges = train_judges(dataset, Path("runs/cache"), seed=0)
    features = judges.features(images)  # uint8 NCHW => float64 [N, 64]
    ```
    """

    def __init__(
        self,
        label: nn.Module,
        feature: nn.Module,
        shape: tuple[int, int, int],
        classes: int,
        labels: int,
        accuracy: dict[str, float],
    ) -> None:
        self.label = label.eval().requires_grad_(False)
        self.feature = feature.eval().requires_grad_(False)
        self.shape = shape  # channels, height, width
        self.classes = classes
        self.labels = labels  # of one image, at most
        self.accuracy = accuracy  # "label" and "feature": on the held-out test split

    @property
    def device(self) -> torch.device:
        return next(self.label.parameters()).device

    @property
    def digest(self) -> str:
        """16 hex digits over all weights: names the features in which distances are measured."""
        sha = hashlib.sha256()
        for network in (self.label, self.feature):
            for name, value in network.state_dict().items():
                sha.update(name.encode() + value.cpu().numpy().tobytes())
        return sha.hexdigest()[:16]

    def to(self, device: torch.device | str) -> Judges:
        """Move both networks; returns self."""
        self.label.to(device)
        self.feature.to(device)
        return self

    def logits(self, x: Images) -> NDArray[np.float32]:
        """Label logits [N, classes] of uint8 NCHW images.

        A ResNet18's are computed in bfloat16 where the processor has it.
        """
        with _autocast(self.device, self.labels):
            return np.asarray(self._batched(self.label, x).numpy(), dtype=np.float32)

    def features(self, x: Images) -> NDArray[np.float64]:
        """Features [N, 64] of uint8 NCHW images: each of unit variance over the training data.

        Raises:
            FloatingPointError: a feature is not finite.
        """
        features = self._batched(self.feature[:-1], x).double().numpy()  # type: ignore[index]
        if not np.isfinite(features).all():
            raise FloatingPointError("the feature judge's features are not finite")
        return np.asarray(features)

    @torch.no_grad()
    def _batched(self, network: nn.Module, x: Images) -> Tensor:
        images = torch.as_tensor(x)
        if images.dtype != torch.uint8 or images.shape[1:] != self.shape:
            raise ValueError(
                f"judges take uint8 images of {self.shape} but got "
                f"{images.dtype} of {tuple(images.shape[1:])}"
            )
        batches = (batch.to(self.device) for batch in torch.split(images, BATCH))
        return torch.cat([network(_normalise(batch)).float().cpu() for batch in batches])

    def state(self) -> dict[str, Any]:
        """Plain numbers and CPU tensors: for a file, or for shipping to workers."""
        return {
            "label": {k: v.cpu() for k, v in self.label.state_dict().items()},
            "feature": {k: v.cpu() for k, v in self.feature.state_dict().items()},
            "shape": list(self.shape),
            "classes": self.classes,
            "labels": self.labels,
            "accuracy": dict(self.accuracy),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device | str = "cpu") -> Judges:
        """The inverse of `state`."""
        channels, height, width = state["shape"]
        shape = (channels, height, width)
        with torch.random.fork_rng(devices=[]):  # building draws weights that are then replaced
            label = label_network(shape, state["classes"], state["labels"])
            feature = feature_network(shape, state["classes"])
        label.load_state_dict(state["label"])
        feature.load_state_dict(state["feature"])
        counts = state["classes"], state["labels"]
        return cls(label, feature, shape, *counts, dict(state["accuracy"])).to(device)


def train_judges(
    dataset: Dataset,
    cache: Path,
    seed: int = 0,
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
) -> Judges:
    """Train both judges on all classes of `dataset`, or read them from `cache`.

    Args:
        dataset: with all its classes: conditions that keep fewer share these judges.
        cache: the file is `<cache>/judges/<hash>.pt`, written atomically.
        seed: of the weights and of the draws; the global random state is left as it was.
        progress: called with images seen and images in all.
        device: where to train; the judges stay there.
        recipe: how to train; the default takes 15 to 30 s on two cores, for .95 on 49 kana; a
            ResNet18 2 minutes, for .97 on `shapes`.
    """
    labels = dataset.look.labels
    recipe = recipe or (Recipe() if labels == 1 else RESNET)
    key = [dataset.digest, len(dataset.classes), asdict(recipe), seed, VERSION, torch.__version__]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = cache / "judges" / f"{name}.pt"
    if (kept := read_judges(path, device)) is not None:
        return kept

    report = progress or (lambda done, total: None)
    total = recipe.label_images + recipe.feature_images
    shape = (dataset.channels, *dataset.size)
    classes = len(dataset.classes)
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with (
        torch.random.fork_rng(devices=cuda),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(2 * seed)
        label = label_network(shape, classes, labels).to(device)
        for done in _train(label, dataset, recipe, True, 2 * seed):
            report(done, total)
        torch.manual_seed(2 * seed + 1)
        feature = feature_network(shape, classes).to(device)
        for done in _train(feature, dataset, recipe, False, 2 * seed + 1):
            report(recipe.label_images + done, total)

    judges = Judges(label, feature, shape, classes, labels, {})
    rows = np.random.default_rng(seed).permutation(len(dataset.test.y))[:HELD_OUT]
    x, y = dataset.test.x[rows], dataset.test.y[rows]
    judges.accuracy["label"] = accuracy(judges.logits(x), y)
    judges.accuracy["feature"] = accuracy(judges._batched(judges.feature, x).numpy(), y)
    write_judges(path, judges)
    return judges


def accuracy(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Share of the labels y that are among their image's k highest outputs [N, K]; k is the
    image's number of labels. With one label, y [N], that is the share of images read right."""
    wanted = np.eye(logits.shape[1], dtype=bool)[y] if y.ndim == 1 else y.astype(bool)
    ranks = np.argsort(np.argsort(-logits, axis=1, kind="stable"), axis=1)
    hits = wanted & (ranks < wanted.sum(1, keepdims=True))
    return float(hits.sum() / wanted.sum())


def native_bf16() -> bool:
    """Whether this processor has instructions for bfloat16; emulated, it is slower than float."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def _autocast(device: torch.device, labels: int) -> torch.autocast:
    """bfloat16 for a ResNet18 where it is native; what costs seconds stays as it is."""
    enabled = labels > 1 and (device.type == "cuda" or native_bf16())
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def write_judges(path: Path, judges: Judges) -> None:
    """Write both judges to a file, atomically."""
    buffer = io.BytesIO()
    torch.save(judges.state(), buffer)
    write_atomically(path, buffer.getvalue())


def read_judges(path: Path, device: torch.device | str = "cpu") -> Judges | None:
    """What `write_judges` wrote; None where there is nothing that can be read."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None
    return Judges.from_state(state, device)


def _train(
    network: nn.Module, dataset: Dataset, recipe: Recipe, label: bool, seed: int
) -> Iterator[int]:
    """Train the label judge, or the feature judge, in place; yields images seen now and then."""
    device = next(network.parameters()).device
    images = recipe.label_images if label else recipe.feature_images
    lr = recipe.label_lr if label else recipe.feature_lr
    draws = _balanced(dataset.train.y, images, np.random.default_rng(seed))
    steps = images // recipe.batch
    optimizer = torch.optim.AdamW(
        network.parameters(), lr, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    network.train()
    for step, rows in enumerate(draws[: steps * recipe.batch].reshape(steps, recipe.batch)):
        x = _normalise(torch.from_numpy(dataset.train.x[rows]).to(device))
        y = torch.from_numpy(dataset.train.y[rows]).to(device)
        with _autocast(device, dataset.look.labels if label else 1):  # anew: it keeps weights
            logits = network(x)
        loss = class_loss(logits.float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            yield (step + 1) * recipe.batch
    network.eval()


def _balanced(y: NDArray[Any], images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers of `images` draws in which every class present is equally likely.

    Each class is gone through in random order and begun again when it is used up, so that a
    class as large as the budget shows no image twice. Images of several labels are one class.
    """
    y = y if y.ndim == 1 else np.zeros(len(y), dtype=np.int64)
    present = np.unique(y)
    drawn = rng.choice(present, images)
    rows = np.empty(images, dtype=np.int64)
    for label in present:
        places = np.flatnonzero(drawn == label)
        members = rng.permutation(np.flatnonzero(y == label))
        rows[places] = np.resize(members, len(places))
    return rows


def _normalise(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1
