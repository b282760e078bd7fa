"""Published generators. A generator is two files without code, from which it is rebuilt here.

```
import mlflow
from study import load_generator

mlflow.set_tracking_uri("sqlite:///runs/mlflow.db")
images = load_generator("models:/acgan_kmnist_classes.classes-5/1")(labels=[0, 1, 2, 3, 4], seed=0)
```
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
from study.errors import BadInputError
from study.metrics.truncation import truncated_normal
from study.planning import sources
from study.records.files import write_atomically
from trainables.core.gan import Gan
from trainables.data.base import DataSpec

MANIFEST, WEIGHTS = "generator.json", "generator.safetensors"
FORMAT = 2  # of generator.json


class Manifest(BaseModel, frozen=True, extra="forbid"):
    """The content of generator.json: what a generator is, and where it comes from."""

    format: int = FORMAT
    study: str
    condition: str
    cell: str
    data: str
    variant: str
    code: str | None = None  # digest of its source, if the variant is not this project's
    config: dict[str, Any]  # all of the variant's hyperparameters
    spec: DataSpec
    classes: tuple[str, ...]  # names; the index is the label
    bf16: bool  # whether it was measured under bfloat16 autocast; it samples in the same way
    seen: int  # images seen before the last step; a G that grows has the size of that moment
    metrics: dict[str, float]  # of the cell's last row
    sha256: str  # of generator.safetensors


class Generator:
    """A published generator. Call it with labels or a number of images to get images."""

    def __init__(
        self,
        manifest: Manifest,
        weights: Mapping[str, Tensor],
        device: str = "cpu",
        code: str | Path | None = None,
    ) -> None:
        """Build the networks with the variant's code, and load `weights` into the averaged G.

        Args:
            code: see `load_generator`.

        Raises:
            ValueError: the variant or its hyperparameters are unknown, or the weights do not fit
                its G.
        """
        self.manifest = manifest
        variant = _variant(manifest, code)
        config = variant.config_type.parse(manifest.config)
        # Building draws weights that are then replaced. The caller's RNG must not notice.
        with torch.random.fork_rng(devices=[]):
            self.gan: Gan = variant(config, manifest.spec, torch.device(device), manifest.bf16)
        self.gan.on_images(manifest.seen)
        try:
            self.gan.G_ema.load_state_dict(weights, strict=True)
        except RuntimeError as error:  # its text has many lines
            why = " ".join(str(error).split())
            raise ValueError(f"not the weights of {manifest.variant}'s G: {why}") from None

    def __call__(
        self,
        labels: Sequence[Any] | Tensor | None = None,
        *,
        n: int | None = None,
        seed: int = 0,
        truncation: float | None = None,
    ) -> Tensor:
        """Draw images uint8 [N, C, H, W].

        The same seed gives the same images on the same kind of processor.

        Args:
            labels: whole numbers 0 to K - 1, [N]. Where images have several labels: sets of labels
                as 0 and 1, [N, K]. Where G takes no labels, give `n` instead.
            n: the number of images, only for a G that takes no labels.
            truncation: the largest distance of z's entries from their mean, in standard deviations.
                They are drawn from the normal distribution cut at this distance.

        Raises:
            ValueError: G does not take such an argument; the message says what it takes.
        """
        gan = self.gan
        if gan.translates:
            raise ValueError(f"{self.manifest.variant} translates: use translate(images, domain)")
        if gan.conditional:
            y = self._labels(labels)
            if n is not None:
                raise ValueError("n: as many images as labels are drawn")
            count = len(y)
        elif labels is not None or n is None or n < 1:
            raise ValueError(f"{self.manifest.variant} takes no labels: give n, at least 1")
        else:
            y, count = None, n
        rng, z = torch.Generator().manual_seed(seed), None
        if truncation is not None:
            if not gan.truncates or not truncation > 0:
                lacking = (
                    f"not for {self.manifest.variant}, whose z is not normal or not all it draws"
                )
                known = "a number above 0" if gan.truncates else lacking
                raise ValueError(f"truncation={truncation}: {known}")
            c = gan.config
            u = torch.rand(count, c.z_dim, dtype=torch.float64, generator=rng)
            z = (truncated_normal(u, truncation) * c.z_std + c.z_mean).float().to(gan.device)
        return gan.sample(y, count, rng, z)

    def translate(self, images: Tensor, domain: int) -> Tensor:
        """Translate `images` of the other domain into `domain`, which is 0 or 1.

        Images are uint8 [N, C, H, W], both those given and those returned.

        Raises:
            ValueError: G does not translate, or the images or the domain are not of this kind.
        """
        spec = self.manifest.spec
        if not self.gan.translates:
            raise ValueError(f"{self.manifest.variant} does not translate: call it for images")
        shape = (spec.channels, *spec.size)
        if images.dtype != torch.uint8 or images.shape[1:] != shape or domain not in (0, 1):
            numbers = ", ".join(map(str, shape))
            raise ValueError(f"give uint8 images [N, {numbers}] and the domain, 0 or 1")
        return self.gan.translate(images, domain)

    def _labels(self, labels: Sequence[Any] | Tensor | None) -> Tensor:
        spec = self.manifest.spec
        several, k = spec.labels > 1, spec.classes
        y = torch.as_tensor([] if labels is None else labels)
        whole = y.ndim == (2 if several else 1) and y.numel() and not y.is_floating_point()
        fits = whole and y.min() >= 0 and y.max() < (2 if several else k)
        if not fits or (several and y.shape[1] != k):
            kind = f"sets of {k} labels, 0 or 1 each: [N, {k}]" if several else f"0 to {k - 1}: [N]"
            raise ValueError(f"{self.manifest.variant} takes labels, whole numbers, {kind}")
        return y.to(torch.uint8 if several else torch.int64)


def pack_weights(weights: Mapping[str, Tensor]) -> bytes:
    """The content of generator.safetensors."""
    # The format knows neither strides nor tensors that share memory, so each is copied.
    plain = {k: v.cpu().clone(memory_format=torch.contiguous_format) for k, v in weights.items()}
    return pack(plain)


def write(folder: Path, manifest: Manifest, weights: bytes) -> None:
    """Write both files of a generator into `folder`."""
    write_atomically(folder / WEIGHTS, weights)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())


def _variant(manifest: Manifest, code: str | Path | None) -> type[Gan]:
    """The variant of a generator: this project's, or what the caller names."""
    name, digest = manifest.variant, manifest.code
    if digest is None or (code is None and sources.is_loaded("variant", name, digest)):
        return trainables.load(name)
    forms = "a file or PACKAGE.MODULE:ATTRIBUTE that you trust"
    if code is None:
        raise ValueError(
            f"{name} is no variant of this project: give code=, or --study to a command: {forms}"
        )
    try:
        source = sources.find("variant", str(code))
        if source is None:
            raise ValueError(f"code={str(code)!r}: give {forms}")
        if source.digest != digest:
            raise ValueError(
                f"{code} (digest {source.digest}) is not what {manifest.cell} was trained by "
                f"({digest}); a study's folder keeps the files that it used in sources/"
            )
        variant: type[Gan] = sources.load(dataclasses.replace(source, name=name))
        return variant
    except BadInputError as error:
        raise ValueError(str(error)) from None


def read(folder: Path, device: str = "cpu", code: str | Path | None = None) -> Generator:
    """Rebuild the generator from a folder that holds both files.

    Args:
        code: see `load_generator`.

    Raises:
        ValueError: a file is damaged or of another format, or this version of the project has no
            such G.
        OSError: a file is missing or cannot be read.
    """
    content = (folder / MANIFEST).read_bytes()
    value = json.loads(content)
    if isinstance(value, dict) and (found := value.get("format", 1)) != FORMAT:
        raise ValueError(f"{MANIFEST} has format {found!r} and this version reads format {FORMAT}")
    manifest = Manifest.model_validate_json(content, strict=True)
    weights = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(weights).hexdigest() != manifest.sha256:
        raise ValueError(f"{WEIGHTS} is damaged: its SHA-256 is not that of {MANIFEST}")
    try:
        tensors = unpack(weights)
    except SafetensorError as error:
        raise ValueError(f"{WEIGHTS} is no safetensors file: {error}") from None
    return Generator(manifest, tensors, device, code)


def load_generator(uri: str, device: str = "cpu", code: str | Path | None = None) -> Generator:
    """Load a published generator from MLflow.

    `uri` is any URI that MLflow knows, such as models:/NAME/VERSION. The store is the one that
    `mlflow.set_tracking_uri` or MLFLOW_TRACKING_URI names.

    Nothing that is stored there is unpickled or executed. The networks' code is that of the
    installed version of this project, or `code`.

    Args:
        code: where the variant's code is if it is not this project's: a Python file, or
            PACKAGE.MODULE:ATTRIBUTE. It is refused if it is not the code that trained G.

    Raises:
        MlflowException: the store has no such generator.
        ValueError: as for `read`.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
        return read(folder, device, code)
