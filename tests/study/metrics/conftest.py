"""Inception's weights for the tests of FID."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the format that pytorch-fid downloads, of a network that was not trained.

    He's initialisation keeps the features at the size of the images. With torchvision's they would
    vanish, and any two of them would be equal.
    """
    import torch  # these imports take seconds
    from pytorch_fid import inception as pytorch_fid_inception
    from torch import nn

    from study.metrics.core import inception

    path = tmp_path_factory.mktemp("weights") / inception.FILE
    with pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(pytorch_fid_inception, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *a, **k: None)
        network = pytorch_fid_inception.fid_inception_v3()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        torch.save(network.state_dict(), path)
    return path
