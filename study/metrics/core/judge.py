"""A judge: two frozen networks that read fakes. One reads the label, the other gives features.

The two networks differ in architecture and seed, so that an image that fools one need not fool the
other. Neither is ever D's own class head. A study has several judges that differ in their seeds
alone: see `train_judges.py`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.metrics.core.classifier import batched
from study.metrics.core.networks import feature_network, label_network
from study.records.tensors import load_tensors, save_tensors

Images = Tensor | NDArray[np.uint8]  # uint8 NCHW


class Judge:
    """The two networks, frozen.

    ```
    judge = train_judges(dataset, Path("runs/cache"))[0]
    features = judge.features(images)  # uint8 NCHW => float64 [N, 64]
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

    def to(self, device: torch.device | str) -> Judge:
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
            raise FloatingPointError("the judge's features are not finite")
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
    def from_state(cls, state: dict[str, Any], device: torch.device | str = "cpu") -> Judge:
        """The inverse of `state`."""
        channels, height, width = state["shape"]
        shape = (channels, height, width)
        classes, labels = state["classes"], state["labels"]
        with torch.random.fork_rng(devices=[]):  # building draws weights that are then replaced
            label = label_network(shape, classes, labels)
            feature = feature_network(shape, classes, labels)
        label.load_state_dict(state["label"])
        feature.load_state_dict(state["feature"])
        return cls(label, feature, shape, classes, labels, dict(state["accuracy"])).to(device)


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


def write_judge(path: Path, judge: Judge) -> None:
    """Write a judge to a file, atomically and with a digest."""
    save_tensors(path, judge.state())


def read_judge(path: Path, device: torch.device | str = "cpu") -> Judge | None:
    """The judge that `write_judge` wrote; None if there is no file, or it was altered."""
    try:
        state: dict[str, Any] | None = load_tensors(path)
    except OSError:
        return None
    return Judge.from_state(state, device) if state else None
