"""Published generators: two files that hold no code, and what makes a generator of them.

```
import mlflow
from study.published import load

mlflow.set_tracking_uri("sqlite:///runs/mlflow.db")
images = load("models:/acgan_kmnist_classes.classes-5/1")(labels=[0, 1, 2, 3, 4], seed=0)
```
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load as unpack
from safetensors.torch import save as pack
from torch import Tensor

import trainables
from study.metrics.truncation import truncated_normal
from study.records import write_atomically
from trainables.core.gan import Gan
from trainables.data.base import Look

CARD, WEIGHTS = "generator.json", "generator.safetensors"


class Card(BaseModel, frozen=True, extra="forbid"):
    """What a generator is, and where it is from: generator.json."""

    study: str
    condition: str
    cell: str
    data: str
    variant: str
    config: dict[str, Any]  # the variant's, parsed
    look: Look
    classes: tuple[str, ...]  # names, index = label
    bf16: bool  # it was measured under autocast, and so it samples
    seen: int  # images before its last step: what a G that grows has grown to
    metrics: dict[str, float]  # of its last row
    sha256: str  # of generator.safetensors


class Generator:
    """A published generator: labels or a number in, images out."""

    def __init__(self, card: Card, weights: Mapping[str, Tensor], device: str = "cpu") -> None:
        """The variant's code builds the networks; the averaged G takes the weights.

        Raises:
            ValueError: unknown variant or hyperparameters, or weights that are not its G's.
        """
        self.card = card
        variant = trainables.load(card.variant)
        config = variant.config_type.parse(card.config)
        with torch.random.fork_rng(devices=[]):  # weights are drawn and then replaced
            self.gan: Gan = variant(config, card.look, torch.device(device), card.bf16)
        self.gan.on_images(card.seen)
        try:
            self.gan.G_ema.load_state_dict(weights, strict=True)
        except RuntimeError as error:  # many lines
            why = " ".join(str(error).split())
            raise ValueError(f"not the weights of {card.variant}'s G: {why}") from None

    def __call__(
        self,
        labels: Sequence[Any] | Tensor | None = None,
        *,
        n: int | None = None,
        seed: int = 0,
        truncation: float | None = None,
    ) -> Tensor:
        """Images uint8 [N, C, H, W], the same for the same seed on the same kind of processor.

        Args:
            labels: [N], of 0 to K - 1; sets of labels as 0 and 1, [N, K], where images have
                several. Where G takes none, give `n` instead.
            truncation: draw z again where it is further from its mean, in standard deviations.

        Raises:
            ValueError: what G does not take; the message says what it does.
        """
        gan = self.gan
        if gan.translates:
            raise ValueError(f"{self.card.variant} translates: use translate(images, domain)")
        if gan.conditional:
            y = self._labels(labels)
            if n is not None:
                raise ValueError("n: as many images as labels are drawn")
            count = len(y)
        elif labels is not None or n is None or n < 1:
            raise ValueError(f"{self.card.variant} takes no labels: give n, at least 1")
        else:
            y, count = None, n
        rng, z = torch.Generator().manual_seed(seed), None
        if truncation is not None:
            if not gan.truncates or not truncation > 0:
                lacking = f"not for {self.card.variant}, whose z is not normal or not all it draws"
                known = "a number above 0" if gan.truncates else lacking
                raise ValueError(f"truncation={truncation}: {known}")
            c = gan.config
            u = torch.rand(count, c.z_dim, dtype=torch.float64, generator=rng)
            z = (truncated_normal(u, truncation) * c.z_std + c.z_mean).float().to(gan.device)
        return gan.sample(y, count, rng, z)

    def translate(self, images: Tensor, domain: int) -> Tensor:
        """Images uint8 [N, C, H, W] of the other domain in domain 0 or 1, of the same shape.

        Raises:
            ValueError: G does not translate, or not such images.
        """
        look = self.card.look
        if not self.gan.translates:
            raise ValueError(f"{self.card.variant} does not translate: call it for images")
        shape = (look.channels, *look.size)
        if images.dtype != torch.uint8 or images.shape[1:] != shape or domain not in (0, 1):
            numbers = ", ".join(map(str, shape))
            raise ValueError(f"give uint8 images [N, {numbers}] and the domain, 0 or 1")
        return self.gan.translate(images, domain)

    def _labels(self, labels: Sequence[Any] | Tensor | None) -> Tensor:
        look = self.card.look
        several, k = look.labels > 1, look.classes
        y = torch.as_tensor([] if labels is None else labels)
        whole = y.ndim == (2 if several else 1) and y.numel() and not y.is_floating_point()
        fits = whole and y.min() >= 0 and y.max() < (2 if several else k)
        if not fits or (several and y.shape[1] != k):
            kind = f"sets of {k} labels, 0 or 1 each: [N, {k}]" if several else f"0 to {k - 1}: [N]"
            raise ValueError(f"{self.card.variant} takes labels, whole numbers, {kind}")
        return y.to(torch.uint8 if several else torch.int64)


def pack_weights(weights: Mapping[str, Tensor]) -> bytes:
    """The content of generator.safetensors."""
    # The format has neither strides nor tensors that share memory.
    plain = {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in weights.items()}
    return pack(plain)


def write(folder: Path, card: Card, weights: bytes) -> None:
    """Write both files."""
    write_atomically(folder / WEIGHTS, weights)
    write_atomically(folder / CARD, card.model_dump_json(indent=1).encode())


def read(folder: Path, device: str = "cpu") -> Generator:
    """The generator of a folder with both files.

    Raises:
        ValueError: a file is not what it should be, or this version has no such G.
        OSError: it is not there.
    """
    card = Card.model_validate_json((folder / CARD).read_bytes(), strict=True)
    weights = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise ValueError(f"{WEIGHTS} is damaged: its SHA-256 is not that of {CARD}")
    try:
        tensors = unpack(weights)
    except SafetensorError as error:
        raise ValueError(f"{WEIGHTS} is no safetensors file: {error}") from None
    return Generator(card, tensors, device)


def load(uri: str, device: str = "cpu") -> Generator:
    """The generator at any URI that MLflow knows, such as models:/NAME/VERSION, from the store that
    `mlflow.set_tracking_uri` or MLFLOW_TRACKING_URI names.

    Nothing is unpickled or run that is stored there: the networks are this version's code.

    Raises:
        MlflowException: there is none.
        ValueError: as for `read`.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        return read(Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch)), device)
