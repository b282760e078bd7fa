"""Features of images by the Inception network, with the weights that pytorch-fid downloads."""

from __future__ import annotations

import functools
import hashlib
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from study.metrics.core.frechet import Moments, frechet_distance
from study.metrics.core.judge import Images
from study.notebook import bar_is_hidden
from study.records.tensors import load_tensors, save_tensors
from trainables.data import Dataset

FILE = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE}"
SHAPES = {  # these tell the file from the file of any other network
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Mixed_7c.branch_pool.conv.weight": (192, 2048, 1, 1),
    "fc.weight": (1008, 2048),
}
DIMENSIONS = 2048  # of the features
BATCH = 50  # images at a time, as in pytorch-fid
PROTOCOL = "float32, all training images"  # how cached statistics were measured
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
        inception = Inception.build(path, dataset.keep(5), samples=10_000, seed=0, cache=cache)
    ```
    """

    weights: dict[str, Tensor]  # as in the file; `state` ships them
    network: nn.Module
    real: Moments  # of the features of all training images
    floor: float  # distance of `samples` training images to all other training images
    samples: int  # the number of fakes for which the floor holds

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
        """Measure all training images, or read the result of an earlier call.

        The cached result is the file `<cache>/fid/<hash>.pt`. For the floor, `samples` training
        images are drawn at random, and are compared with all others. If there are fewer than twice
        `samples` training images, the floor compares one half with the other, and is then too high.
        """
        tensors = _read_weights(weights)
        network = _network(tensors).to(device)
        file = hashlib.sha256(weights.read_bytes()).hexdigest()
        data = [dataset.digest, len(dataset.classes)]
        key = [PROTOCOL, file, *data, samples, seed, torch.__version__]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        path = cache / "fid" / f"{name}.pt"
        kept = load_tensors(path) if path.exists() else None
        if kept is None:
            x = dataset.train.x
            rows = np.random.default_rng(seed).permutation(len(x))
            n = min(samples, len(x) // 2)
            drawn, others = _spread(network, x[rows[:n]]), _spread(network, x[rows[n:]])
            real = _moments(_merged(drawn, others))
            kept = {
                "mean": torch.from_numpy(real.mean),
                "cov": torch.from_numpy(real.cov),
                "floor": frechet_distance(_moments(drawn), _moments(others)),
                "samples": samples,
            }
            save_tensors(path, kept)
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


class _Spread(NamedTuple):
    """How a set of features spreads. Two sets merge without their features (Chan et al. 1979)."""

    n: int
    mean: Tensor  # float64 [2048]
    scatter: Tensor  # float64 [2048, 2048]: sum of the outer products of deviations from the mean


def inception_moments(network: nn.Module, x: Images) -> Moments:
    """Mean and covariance of the features of at least two uint8 NCHW images, in float64.

    Only the features of one batch are held at a time.
    """
    return _moments(_spread(network, x))


@torch.no_grad()
def inception_features(network: nn.Module, x: Tensor) -> Tensor:
    """Features, float64 [N, 2048], of uint8 NCHW images with one or three channels.

    The network runs in float32 on every device. By default a GPU would convolve in TF32, which
    keeps three digits.
    """
    images = x.to(next(network.parameters()).device).float().div(255)
    images = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        features: Tensor = network(images)[0]
    return features.flatten(1).double()


def _spread(network: nn.Module, x: Images) -> _Spread:
    batches = torch.split(torch.as_tensor(x), BATCH)
    with tqdm(batches, desc="fid", unit="batch", disable=bar_is_hidden(), leave=False) as bar:
        return functools.reduce(_merged, (_spread_of(inception_features(network, b)) for b in bar))


def _spread_of(features: Tensor) -> _Spread:
    mean = features.mean(0)
    apart = features - mean
    return _Spread(len(features), mean, apart.T @ apart)


def _merged(a: _Spread, b: _Spread) -> _Spread:
    n, apart = a.n + b.n, b.mean - a.mean
    between = torch.outer(apart, apart) * (a.n * b.n / n)
    return _Spread(n, a.mean + apart * (b.n / n), a.scatter + b.scatter + between)


def _moments(s: _Spread) -> Moments:
    return Moments(s.mean.cpu().numpy(), (s.scatter / (s.n - 1)).cpu().numpy())


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
