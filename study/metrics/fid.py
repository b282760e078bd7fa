"""FID: Frechet distance on pytorch-fid's Inception features (Heusel et al. 2017).

Slow on a CPU (tens of images a second). The network is known as the one of the weights file that
pytorch-fid downloads; grey images are copied to three channels. On 28x28 images it is there to
compare with published figures only.
"""

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

from study.metrics.frechet import Moments, frechet_distance, moments
from study.metrics.judge import Images, native_bf16
from study.metrics.view import View
from study.records import write_atomically
from trainables.data import Dataset

NEEDS: frozenset[str] = frozenset()
WHEN = "end"
COLUMNS = {
    "fid": "FID by pytorch-fid's Inception against as many real training images; lower is better",
    "fid_floor": "the same distance between two disjoint sets of real images of that size",
}

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHAPES = {  # enough to tell this file from any other network's
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1),
    "fc.weight": (1008, 2048),
}
BATCH = 50
PROBE_SECONDS = 3


def measure(view: View) -> dict[str, float]:
    """Raises ValueError where the view has no Inception network."""
    inception = view.inception
    if inception is None:
        raise ValueError("fid needs Inception's weights: give them or leave fid out")
    if len(view.fakes) != inception.samples:
        raise ValueError(f"fid's floor holds for {inception.samples} fakes, not {len(view.fakes)}")
    fakes = moments(inception_features(inception.network, view.fakes))
    return {"fid": frechet_distance(fakes, inception.real), "fid_floor": inception.floor}


def find_weights(path: Path | None = None, download: bool = True) -> Path | None:
    """Where Inception's weights are: `path`, else torch's cache, else downloaded to it, else None.

    A download starts only where the address answers within three seconds.

    Raises:
        ValueError: `path` is missing or holds something else; one line.
    """
    if path is not None:
        _read_weights(path)
        return path
    cached = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    try:
        _read_weights(cached)
    except ValueError:  # not there, or torn
        if not download or not _answers(URL):
            return None
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL, str(cached), hash_prefix="6726825d", progress=False)
        except (OSError, RuntimeError):  # unreachable after all, or cut off
            return None
    return cached


@dataclass(frozen=True)
class Inception:
    """The network, and one condition's real images as it sees them.

    ```
    if (path := find_weights(args.fid_weights)) is not None:
        inception = Inception.build(path, dataset.keep(5), samples=2_000, seed=0, cache=cache)
    ```
    """

    weights: dict[str, Tensor]  # as in the file: for `state`
    network: nn.Module
    real: Moments
    floor: float
    samples: int  # images on either side

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
        """Measure 2 x `samples` real training images, or read that from `<cache>/fid/<hash>.pt`.

        Where the data have fewer than 2 x `samples`, images are drawn again within each half.
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
    """uint8 NCHW images of one or three channels => float64 [N, 2048].

    In bfloat16 where the processor multiplies it natively: three times as fast there.
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
    """pytorch-fid's InceptionV3 (uint8 / 255 in, [N, 2048, 1, 1] in a list out), frozen."""
    from pytorch_fid import inception  # imports torchvision: seconds

    # Its constructor offers no way to give weights: it always calls its downloader.
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
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            raise ValueError(f"{path} is no file")
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        shapes = {name: tuple(weights[name].shape) for name in SHAPES}
    except FileNotFoundError:
        raise ValueError(f"no FID weights at {path}") from None
    except Exception:  # torch's reader throws whatever the bytes lead it to
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
