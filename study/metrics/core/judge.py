"""The judges: two frozen networks that read fakes. One reads the label, the other gives features.

The judges are trained once per data set, on all classes of the data set. They differ in
architecture and seed, so that an image that fools one judge need not fool the other. Neither is
ever D's own class head. For images of several labels, the label judge is most of a ResNet18; the
i-CLEVR lab uses a whole ResNet18.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from study.metrics.core.classifier import Recipe, batched, repeatable, train
from study.metrics.core.networks import feature_network, label_network
from study.records.records import write_atomically
from trainables.data import Dataset

VERSION = 2  # raise this number when an architecture, the training or the file changes
HELD_OUT = 10_000  # test images on which the judges' own accuracies are measured, at most

Images = Tensor | NDArray[np.uint8]  # uint8 NCHW
# The recipe for images of several labels.
SCENES = Recipe(
    label_images=24_000, feature_images=60_000, batch=32, label_lr=1e-3, feature_lr=3e-3
)


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
        self.labels = labels  # number of labels of one image, at most
        self.accuracy = accuracy  # of "label" and "feature" on the held-out test split

    @property
    def device(self) -> torch.device:
        return next(self.label.parameters()).device

    @property
    def digest(self) -> str:
        """16 hex digits of a SHA-256 over all weights.

        The digest identifies the features in which distances are measured.
        """
        sha = hashlib.sha256()
        for network in (self.label, self.feature):
            for name, value in network.state_dict().items():
                sha.update(name.encode() + value.cpu().numpy().tobytes())
        return sha.hexdigest()[:16]

    def to(self, device: torch.device | str) -> Judges:
        """Move both networks to a device; returns self."""
        self.label.to(device)
        self.feature.to(device)
        return self

    def logits(self, x: Images) -> NDArray[np.float32]:
        """Label logits [N, classes] of uint8 NCHW images.

        The logits of a `SceneNetwork` are computed in bfloat16 if the device does that natively.
        The smaller networks take only seconds and stay in float32.
        """
        bf16 = self.labels > 1 and bf16_pays(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return np.asarray(self._batched(self.label, x).numpy(), dtype=np.float32)

    def features(self, x: Images) -> NDArray[np.float64]:
        """Features [N, 64] of uint8 NCHW images.

        Each feature has unit variance over the training data.

        Raises:
            FloatingPointError: a feature is not finite.
        """
        features = self._batched(self.feature[:-1], x).double().numpy()  # type: ignore[index]
        if not np.isfinite(features).all():
            raise FloatingPointError("the feature judge's features are not finite")
        return np.asarray(features)

    def _batched(self, network: nn.Module, x: Images) -> Tensor:
        images = torch.as_tensor(x)
        if images.dtype != torch.uint8 or images.shape[1:] != self.shape:
            raise ValueError(
                f"judges take uint8 images of {self.shape} but got "
                f"{images.dtype} of {tuple(images.shape[1:])}"
            )
        return batched(network, images)

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
        classes, labels = state["classes"], state["labels"]
        with torch.random.fork_rng(devices=[]):  # building draws weights that are then replaced
            label = label_network(shape, classes, labels)
            feature = feature_network(shape, classes)
        label.load_state_dict(state["label"])
        feature.load_state_dict(state["feature"])
        return cls(label, feature, shape, classes, labels, dict(state["accuracy"])).to(device)


def train_judges(
    dataset: Dataset,
    cache: Path,
    seed: int = 0,
    device: torch.device | str = "cpu",
    recipe: Recipe | None = None,
    share: float = 1.0,
) -> Judges:
    """Train both judges on all classes of `dataset`, or read them from `cache`.

    Args:
        dataset: with all its classes. Conditions that keep fewer classes share these judges.
        cache: folder of the file `<cache>/judges/<hash>.pt`, which is written atomically.
        seed: of the weights and of the draws. The global random state is left as it was.
        device: where the judges are trained and stay.
        recipe: how the judges are trained. The default takes 15 to 30 s on two cores and gives an
            accuracy of .95 on 49 kana. For several labels the default takes 2 minutes and gives
            .98 on `shapes`.
        share: share of the recipe's images that are trained on. Below 1 suits runs in which little
            depends on the judges.
    """
    labels = dataset.spec.labels
    recipe = recipe or (Recipe() if labels == 1 else SCENES)
    label_images, feature_images = (
        round(share * images) for images in (recipe.label_images, recipe.feature_images)
    )
    recipe = replace(recipe, label_images=label_images, feature_images=feature_images)
    key = [dataset.digest, len(dataset.classes), asdict(recipe), seed, VERSION, torch.__version__]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = cache / "judges" / f"{name}.pt"
    if (kept := read_judges(path, device)) is not None:
        return kept

    total = recipe.label_images + recipe.feature_images
    shape = (dataset.channels, *dataset.size)
    classes = len(dataset.classes)
    x, y = dataset.train.x, dataset.train.y
    # disable=None shows the bar on a terminal only.
    with tqdm(total=total, desc="judges", unit="image", disable=None, leave=False) as bar:
        with repeatable(device, 2 * seed):
            label = label_network(shape, classes, labels).to(device)
            bf16 = labels > 1 and bf16_pays(torch.device(device))
            draws = recipe.label_images, recipe.label_lr
            train(label, x, y, recipe, *draws, 2 * seed, bf16=bf16, bar=bar)
        with repeatable(device, 2 * seed + 1):
            feature = feature_network(shape, classes).to(device)
            draws = recipe.feature_images, recipe.feature_lr
            train(feature, x, y, recipe, *draws, 2 * seed + 1, bar=bar)

    judges = Judges(label, feature, shape, classes, labels, {})
    rows = np.random.default_rng(seed).permutation(len(dataset.test.y))[:HELD_OUT]
    x, y = dataset.test.x[rows], dataset.test.y[rows]
    judges.accuracy["label"] = accuracy(judges.logits(x), y)
    judges.accuracy["feature"] = accuracy(judges._batched(judges.feature, x).numpy(), y)
    write_judges(path, judges)
    return judges


def accuracy(logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Share of the labels y that are among the k highest outputs of their image.

    k is the image's number of labels; `logits` is [N, K]; y is [N], or multi-hot [N, K]. If images
    have one label, this is the share of images whose label is read correctly.
    """
    wanted = np.eye(logits.shape[1], dtype=bool)[y] if y.ndim == 1 else y.astype(bool)
    ranks = np.argsort(np.argsort(-logits, axis=1, kind="stable"), axis=1)
    hits = wanted & (ranks < wanted.sum(1, keepdims=True))
    return float(hits.sum() / wanted.sum())


def native_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16. Emulated, bfloat16 is slower than float32."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def bf16_pays(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively. Otherwise bfloat16 is emulated and slow."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return native_bf16()


def write_judges(path: Path, judges: Judges) -> None:
    """Write both judges to a file, atomically."""
    buffer = io.BytesIO()
    torch.save(judges.state(), buffer)
    write_atomically(path, buffer.getvalue())


def read_judges(path: Path, device: torch.device | str = "cpu") -> Judges | None:
    """The judges that `write_judges` wrote, or None if there is no readable file."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None
    return Judges.from_state(state, device)
