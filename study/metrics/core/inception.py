"""Features of images by the Inception network, with the weights that pytorch-fid downloads."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.metrics.core.frechet import Moments, frechet_distance, moments
from study.metrics.core.judge import Images, native_bf16
from study.records.records import write_atomically
from trainables.data import Dataset

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHAPES = {  # these tell the file from the file of any other network
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1),
    "fc.weight": (1008, 2048),
}
BATCH = 50
PROBE_SECONDS = 3


def find_weights(path: Path | None = None, download: bool = True) -> Path | None:
    """Find the file with Inception's weights: `path`, or the file in torch's cache.

    If no `path` is given and the cache has no such file, the file is downloaded to the cache. The
    download starts only if the address answers within three seconds. The result is None if there is
    no file in the end.

    Raises:
        ValueError: `path` is missing or holds something else; one line.
    """
    if path is not None:
        _read_weights(path)
        return path
    cached = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    try:
        _read_weights(cached)
    except ValueError:  # the file is missing or damaged
        if not download or not _answers(URL):
            return None
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL, str(cached), hash_prefix="6726825d", progress=False)
        except (OSError, RuntimeError):  # unreachable after all, or interrupted
            return None
    return cached


@dataclass(frozen=True)
class Inception:
    """The Inception network, and statistics of its features of one condition's real images.

    ```
    if (path := find_weights(args.fid_weights)) is not None:
        inception = Inception.build(path, dataset.keep(5), samples=2_000, seed=0, cache=cache)
    ```
    """

    weights: dict[str, Tensor]  # as in the file; `state` ships them
    network: nn.Module
    real: Moments  # of the features of `samples` real training images
    floor: float  # distance of `samples` other real training images to those
    samples: int  # real images on either side of the floor; also the number of fakes

    @classmethod
    def build(
        cls,
        weights: Path,
        dataset: Dataset,
        samples: int,
        seed: int,
        cache: Path,
        device: torch.device | str = "cpu",
    ) -> Inception:
        """Measure 2 x `samples` real training images, or read the result of an earlier call.

        The cached result is the file `<cache>/fid/<hash>.pt`. The training images are halved at
        random. If a half has fewer than `samples` images, images are drawn with replacement
        within the half.
        """
        tensors = _read_weights(weights)
        network = _network(tensors).to(device)
        file = hashlib.sha256(weights.read_bytes()).hexdigest()
        key = [file, dataset.digest, len(dataset.classes), samples, seed, torch.__version__]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        path = cache / "fid" / f"{name}.pt"
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
            rng = np.random.default_rng(seed)
            halves = np.array_split(rng.permutation(len(dataset.train.y)), 2)
            sets = []
            for half in halves:
                rows = half[:samples] if len(half) >= samples else rng.choice(half, samples)
                sets.append(moments(inception_features(network, dataset.train.x[rows])))
            kept = {
                "mean": torch.from_numpy(sets[0].mean),
                "cov": torch.from_numpy(sets[0].cov),
                "floor": frechet_distance(sets[1], sets[0]),
                "samples": samples,
            }
            buffer = io.BytesIO()
            torch.save(kept, buffer)
            write_atomically(path, buffer.getvalue())
        return cls._of(tensors, network, kept)

    def state(self) -> dict[str, Any]:
        """Plain numbers and CPU tensors (130 MB): for shipping to workers."""
        return {
            "weights": self.weights,
            "mean": torch.from_numpy(self.real.mean),
            "cov": torch.from_numpy(self.real.cov),
            "floor": self.floor,
            "samples": self.samples,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device | str = "cpu") -> Inception:
        """The inverse of `state`."""
        return cls._of(state["weights"], _network(state["weights"]).to(device), state)

    @classmethod
    def _of(
        cls, weights: dict[str, Tensor], network: nn.Module, state: dict[str, Any]
    ) -> Inception:
        real = Moments(state["mean"].numpy(), state["cov"].numpy())
        return cls(weights, network, real, state["floor"], state["samples"])


@torch.no_grad()
def inception_features(network: nn.Module, x: Images) -> NDArray[np.float64]:
    """Features, float64 [N, 2048], of uint8 NCHW images with one or three channels.

    On a CPU that multiplies bfloat16 natively, the network runs in bfloat16. This is three times as
    fast there.
    """
    device = next(network.parameters()).device
    bf16 = device.type == "cpu" and native_bf16()
    parts: list[Tensor] = []
    for batch in torch.split(torch.as_tensor(x), BATCH):
        images = batch.to(device).float().div(255)
        images = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            parts.append(network(images)[0].flatten(1).double().cpu())
    return np.asarray(torch.cat(parts).numpy())


def _network(weights: dict[str, Tensor]) -> nn.Module:
    """pytorch-fid's InceptionV3, frozen, with the given weights.

    The input is uint8 / 255; the output is a list with one tensor [N, 2048, 1, 1].
    """
    from pytorch_fid import inception  # imports torchvision, which takes seconds

    # InceptionV3's constructor takes no weights and always calls the downloader. So the downloader
    # is replaced by a function that returns the weights.
    downloader = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *args, **kwargs: weights
    try:
        with torch.random.fork_rng(devices=[]):
            network: nn.Module = inception.InceptionV3()
    finally:
        inception.load_state_dict_from_url = downloader
    return network.eval().to(memory_format=torch.channels_last)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise ValueError(f"{path} is no file")
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        shapes = {name: tuple(weights[name].shape) for name in SHAPES}
    except FileNotFoundError:
        raise ValueError(f"no FID weights at {path}") from None
    except Exception:  # torch raises various exceptions, depending on the bytes
        raise ValueError(f"{path} does not hold the weights of {FILE}") from None
    if shapes != SHAPES:
        raise ValueError(f"{path} does not hold the weights of {FILE}")
    return weights


def _answers(url: str) -> bool:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except (OSError, urllib.error.URLError):
        return False
