"""FID: the network is pytorch-fid's, its weights are found or refused, statistics are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from pytorch_fid import inception as pytorch_fid_inception
from torch import Tensor

from study.metrics import fid
from study.metrics.core import inception
from study.metrics.core.inception import Inception, find_weights, inception_features
from study.metrics.core.view import View
from trainables.data import Dataset, Split

SAMPLES = 4


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the format that pytorch-fid downloads, of a network that was not trained."""
    path = tmp_path_factory.mktemp("weights") / inception.FILE
    with pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(pytorch_fid_inception, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *a, **k: None)
        torch.save(pytorch_fid_inception.fid_inception_v3().state_dict(), path)
    return path


def images(n: int, seed: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, 8, 8)).astype(np.uint8)


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


def as_view(fakes: Tensor, network: Inception | None) -> View:
    return cast(View, SimpleNamespace(fakes=fakes, inception=network))


@pytest.mark.slow
def test_fid_is_not_measured(built: Inception) -> None:
    dark = torch.zeros(SAMPLES, 1, 8, 8, dtype=torch.uint8)
    row = fid.measure(as_view(dark, built))
    assert row.keys() == fid.COLUMNS.keys()
    assert row["fid_floor"] > 0
    assert row["fid"] > 2 * row["fid_floor"]  # the real images are noise, and these are black


@pytest.mark.slow
def test_features_differ_from_pytorch_fids(
    built: Inception, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = torch.load(weights, weights_only=True)
    monkeypatch.setattr(pytorch_fid_inception, "load_state_dict_from_url", lambda *a, **k: loaded)
    monkeypatch.setattr(inception, "native_bf16", lambda: False)
    x = images(2, 5, channels=3)
    with torch.no_grad():
        theirs = pytorch_fid_inception.InceptionV3().eval()(torch.from_numpy(x).float() / 255)[0][
            :, :, 0, 0
        ]
    ours = inception_features(built.network, x)
    assert ours.shape == (2, 2048)
    assert ours.dtype == np.float64
    assert np.allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.timeout(100)
def test_a_gpu_has_other_features(built: Inception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "native_bf16", lambda: False)
    x = images(4, 5)
    here = inception_features(built.network, x)
    there = inception_features(Inception.from_state(built.state(), "cuda").network, x)
    assert np.abs(there - here).max() < 0.01 * np.abs(here).max()  # the GPU multiplies in TF32


@pytest.mark.slow
def test_grey_images_are_not_copied_to_three_channels(built: Inception) -> None:
    grey = images(1, 6)
    colour = np.repeat(grey, 3, axis=1)
    ours = inception_features(built.network, grey)
    assert np.allclose(ours, inception_features(built.network, colour))


@pytest.mark.slow
def test_real_statistics_are_measured_twice(
    built: Inception, weights: Path, dataset: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> np.ndarray:
        raise AssertionError("measured again")

    monkeypatch.setattr(inception, "inception_features", refuse)
    again = Inception.build(weights, dataset, SAMPLES, 0, cache)
    assert again.floor == built.floor
    assert np.array_equal(again.real.cov, built.real.cov)
    with pytest.raises(AssertionError, match="measured again"):
        Inception.build(weights, dataset, SAMPLES - 1, 0, cache)


@pytest.mark.slow
def test_shipping_changes_the_network(built: Inception) -> None:
    x = images(1, 7)
    before = torch.get_rng_state()
    shipped = Inception.from_state(built.state())
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(
        inception_features(shipped.network, x), inception_features(built.network, x)
    )
    assert (shipped.floor, shipped.samples) == (built.floor, SAMPLES)


@pytest.mark.slow
def test_given_weights_are_not_taken(weights: Path) -> None:
    assert find_weights(weights, download=False) == weights


@pytest.mark.slow
def test_wrong_weights_start_a_study(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no FID weights at .*absent"):
        find_weights(tmp_path / "absent")
    text = tmp_path / "text.pth"
    text.write_text("<html>not found</html>")
    other = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, other)
    listed = tmp_path / "list.pth"
    torch.save([1, 2], listed)
    shapes = tmp_path / "shapes.pth"
    torch.save({name: torch.zeros(1) for name in inception.SHAPES}, shapes)
    for path in (text, other, listed, shapes, tmp_path):
        with pytest.raises(ValueError, match="does not hold the weights") as caught:
            find_weights(path)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_cached_weights_are_downloaded_again(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "_answers", lambda url: pytest.fail("asked the network"))
    assert find_weights(None, download=False) is None
    file = tmp_path / "checkpoints" / inception.FILE
    file.parent.mkdir()
    shutil.copy(weights, file)
    assert find_weights(None) == file
    file.write_bytes(file.read_bytes()[:1000])
    assert find_weights(None, download=False) is None, "a torn download was believed"


@pytest.mark.slow
def test_no_network_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without weights FID is left out, and the study goes on."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/nothing")
    assert find_weights(None) is None

    def cut_off(*_: Any, **__: Any) -> None:
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(inception, "_answers", lambda url: True)
    monkeypatch.setattr(torch.hub, "download_url_to_file", cut_off)
    assert find_weights(None) is None


@pytest.mark.slow
def test_address_is_not_pytorch_fids() -> None:
    assert inception.URL == pytorch_fid_inception.FID_WEIGHTS_URL


@pytest.mark.slow
def test_fid_without_weights_or_floor_is_measured(built: Inception) -> None:
    fakes = torch.zeros(SAMPLES + 1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="needs Inception's weights"):
        fid.measure(as_view(fakes, None))
    with pytest.raises(ValueError, match="holds for 4 fakes, not 5"):
        fid.measure(as_view(fakes, built))
