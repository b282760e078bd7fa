"""Inception's weights are found, refused or left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_fid import inception as pytorch_fid_inception

from study.metrics.core import inception
from study.metrics.core.inception import find_weights


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
