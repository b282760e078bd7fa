"""FID is pytorch-fid's, and its statistics of real images are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import inception as pytorch_fid_inception
from torch import Tensor, nn

from study.metrics import fid
from study.metrics.core import inception
from study.metrics.core.frechet import frechet_distance, moments
from study.metrics.core.inception import (
    BATCH,
    DIMENSIONS,
    Inception,
    inception_features,
    inception_moments,
)
from study.metrics.core.view import View
from trainables.data import Dataset, Split

SAMPLES = 4


def images(n: int, seed: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, 8, 8)).astype(np.uint8)


class Pixels(nn.Module):
    """A fast network with the interface of pytorch-fid's, whose features are the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x.flatten(1)[:, :, None, None] * self.scale]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    split = Split(images(2 * SAMPLES, 1), np.arange(2 * SAMPLES) % 2)
    return Dataset("noise", split, split, ("a", "b"), "rendered")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def built(weights: Path, dataset: Dataset, cache: Path) -> Inception:
    return Inception.build(weights, dataset, SAMPLES, 0, cache)


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of weights, from which `Inception.build` makes `Pixels`."""
    monkeypatch.setattr(inception, "_read_weights", lambda path: {})
    monkeypatch.setattr(inception, "_network", lambda weights: Pixels())
    path = tmp_path / "pixels.pth"
    path.write_bytes(b"pixels")
    return path


def noise(n: int) -> Dataset:
    split = Split(images(n, 1), np.arange(n) % 2)
    return Dataset(f"noise of {n}", split, split, ("a", "b"), "rendered")


def as_view(fakes: Tensor, network: Inception | None) -> View:
    return cast(View, SimpleNamespace(fakes=fakes, inception=network))


@pytest.mark.slow
def test_fid_is_not_measured(built: Inception) -> None:
    dark = torch.zeros(SAMPLES, 1, 8, 8, dtype=torch.uint8)
    row = fid.measure(as_view(dark, built))
    assert row.keys() == fid.COLUMNS.keys()
    assert row["fid_floor"] > 0
    assert row["fid"] > 2 * row["fid_floor"]  # the real images are noise, and these are black


@pytest.mark.long
@pytest.mark.timeout(600)
def test_fid_differs_from_pytorch_fids_command_line(weights: Path, tmp_path: Path) -> None:
    """The same images as PNG files, with the same weights, must give the same figure."""
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (30, 1, 16, 16)).astype(np.uint8)
    fakes = np.kron(rng.integers(0, 200, (20, 1, 4, 4)), np.ones((4, 4))).astype(np.uint8)
    for name, x in (("real", real), ("fake", fakes)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(x[:, 0]):
            Image.fromarray(image).save(tmp_path / name / f"{i:03d}.png")
    checkpoints = tmp_path / "home" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / inception.FILE).symlink_to(weights)
    command = [sys.executable, "-W", "ignore", "-m", "pytorch_fid", "real", "fake"]
    end = subprocess.run(
        [*command, "--device", "cpu", "--num-workers", "0"],
        cwd=tmp_path,
        env={**os.environ, "TORCH_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = float(end.stdout.split("FID:")[1])
    assert theirs > 1
    train = Split(real, np.arange(30) % 2)
    data = Dataset("real", train, train, ("a", "b"), "rendered")
    built = Inception.build(weights, data, 20, 0, tmp_path)
    ours = fid.measure(as_view(torch.from_numpy(fakes), built))["fid"]
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_features_differ_from_pytorch_fids(
    built: Inception, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = torch.load(weights, weights_only=True)
    monkeypatch.setattr(pytorch_fid_inception, "load_state_dict_from_url", lambda *a, **k: loaded)
    x = torch.from_numpy(images(2, 5, channels=3))
    with torch.no_grad():
        theirs = pytorch_fid_inception.InceptionV3().eval()(x.float() / 255)[0][:, :, 0, 0]
    ours = inception_features(built.network, x)
    assert ours.shape == (2, DIMENSIONS)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.timeout(100)
def test_a_gpu_has_other_features(built: Inception) -> None:
    x = torch.from_numpy(images(4, 5))
    here = inception_features(built.network, x)
    there = inception_features(Inception.from_state(built.state(), "cuda").network, x).cpu()
    assert (there - here).abs().max() < 1e-4 * here.abs().max(), "the GPU convolves in TF32"


@pytest.mark.slow
def test_grey_images_are_not_copied_to_three_channels(built: Inception) -> None:
    grey = torch.from_numpy(images(1, 6))
    ours = inception_features(built.network, grey)
    assert torch.allclose(ours, inception_features(built.network, grey.repeat(1, 3, 1, 1)))


def test_some_training_images_are_left_out_of_fid(pixels: Path, tmp_path: Path) -> None:
    """The published protocol takes statistics of all of them, and of every fake."""
    data = noise(301)
    built = Inception.build(pixels, data, 40, 0, tmp_path)
    x = np.repeat(data.train.x, 3, axis=1).reshape(301, -1) / 255
    expected = moments(x.astype(np.float32))
    assert np.allclose(built.real.mean, expected.mean, rtol=1e-12)
    assert np.allclose(built.real.cov, expected.cov, rtol=1e-9, atol=1e-14)
    fakes = torch.from_numpy(images(40, 2)) // 2
    y = np.repeat(fakes.numpy(), 3, axis=1).reshape(40, -1) / 255
    row = fid.measure(as_view(fakes, built))
    wanted = frechet_distance(moments(y.astype(np.float32)), expected)
    assert row["fid"] == pytest.approx(wanted, rel=1e-6)


def test_floor_compares_other_numbers_or_images_with_themselves(
    pixels: Path, tmp_path: Path
) -> None:
    """Equal images on both sides would lower the floor, and fewer images would raise it."""
    floors = [Inception.build(pixels, noise(600), n, 0, tmp_path).floor for n in (20, 100, 300)]
    assert floors[0] > 1.5 * floors[1] > 2 * floors[2] > 0
    twice = Inception.build(pixels, noise(600), 9_000, 0, tmp_path).floor
    assert twice == pytest.approx(floors[2]), "with too few images, it is of half against half"


def test_features_of_all_images_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of K49's training images would take 4 GB."""
    made: list[weakref.ref[Tensor]] = []
    measure = inception_features

    def watched(network: nn.Module, x: Tensor) -> Tensor:
        assert len(x) <= BATCH
        assert sum(ref() is not None for ref in made) <= 1
        features = measure(network, x)
        made.append(weakref.ref(features))
        return features

    monkeypatch.setattr(inception, "inception_features", watched)
    inception_moments(Pixels(), images(7 * BATCH + 1, 3))
    assert len(made) == 8


def test_real_statistics_are_measured_twice(
    pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They must be kept, but those of another protocol must not be taken for them."""
    data = noise(30)
    first = Inception.build(pixels, data, SAMPLES, 0, tmp_path)

    def refuse(*_: Any) -> Tensor:
        raise AssertionError("measured again")

    monkeypatch.setattr(inception, "inception_features", refuse)
    again = Inception.build(pixels, data, SAMPLES, 0, tmp_path)
    assert again.floor == first.floor
    assert np.array_equal(again.real.cov, first.real.cov)
    with pytest.raises(AssertionError, match="measured again"):
        Inception.build(pixels, data, SAMPLES - 1, 0, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(inception, "PROTOCOL", "bfloat16")
        with pytest.raises(AssertionError, match="measured again"):
            Inception.build(pixels, data, SAMPLES, 0, tmp_path)
    (file,) = (tmp_path / "fid").iterdir()
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(AssertionError, match="measured again"):
        Inception.build(pixels, data, SAMPLES, 0, tmp_path)


@pytest.mark.slow
def test_shipping_changes_the_network(built: Inception) -> None:
    x = torch.from_numpy(images(1, 7))
    before = torch.get_rng_state()
    shipped = Inception.from_state(built.state())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(inception_features(shipped.network, x), inception_features(built.network, x))
    assert (shipped.floor, shipped.samples) == (built.floor, SAMPLES)


@pytest.mark.slow
def test_fid_without_weights_or_floor_is_measured(built: Inception) -> None:
    fakes = torch.zeros(SAMPLES + 1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="needs Inception's weights"):
        fid.measure(as_view(fakes, None))
    with pytest.raises(ValueError, match="holds for 4 fakes, not 5"):
        fid.measure(as_view(fakes, built))
