"""The GAN of 2014, and DCGAN's guidelines: does each switch do what it says, and nothing else?"""

from typing import Any

import pytest
import torch
from torch import nn

import trainables
from trainables.data.base import DataSpec
from trainables.gan import PIECES, Maxout

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def make(name: str, size: int = 28, **values: Any) -> Any:
    torch.manual_seed(0)
    variant = trainables.load(name)
    config = variant.config_type.parse({"f": 2, "batch": 8, "z_dim": 8, **values})
    return variant(config, DataSpec(3, 1, (size, size)), torch.device("cpu"))


def kinds(network: nn.Module) -> str:
    """The types of a network's layers, from the input on."""
    return " ".join(type(m).__name__ for m in network.modules() if not [*m.children()])


def test_maxout_is_not_the_largest_piece() -> None:
    layer = Maxout(3, 2)
    x = torch.randn(4, 3)
    pieces = x @ layer.linear.weight.T + layer.linear.bias
    for unit in range(2):
        expected = pieces[:, unit * PIECES : (unit + 1) * PIECES].max(1).values
        torch.testing.assert_close(layer(x)[:, unit], expected)


def test_first_gan_has_convolutions_or_a_normal_z() -> None:
    gan = make("gan", z_dim=1000)
    assert not [m for m in gan.modules() if isinstance(m, CONVOLUTIONS)]
    z = gan.noise(50)
    assert float(z.abs().max()) == pytest.approx(3**0.5, abs=1e-3)
    assert float(z.std()) == pytest.approx(1, abs=0.02)
    assert not gan.truncates


G_UP = "BatchNorm2d ReLU ConvTranspose2d"
G = f"Linear Unflatten {G_UP} {G_UP} Tanh"
D = "Conv2d LeakyReLU Conv2d BatchNorm2d LeakyReLU Flatten Linear"
HIDDEN = "Linear BatchNorm1d LeakyReLU Linear"
POOLED = "Conv2d LeakyReLU MaxPool2d Conv2d BatchNorm2d LeakyReLU MaxPool2d Flatten Linear"
GUIDELINES: dict[str, tuple[bool, str, str]] = {
    "strided": (False, G.replace("ConvTranspose2d", "Upsample Conv2d"), POOLED),
    "g_bn": (False, G.replace("BatchNorm2d ", ""), D),
    "d_bn": (False, G, D.replace("BatchNorm2d ", "")),
    "bn_ends": (True, G.replace("Tanh", "BatchNorm2d Tanh"), f"BatchNorm2d {D}"),
    "hidden_layers": (
        True,
        f"Linear BatchNorm1d ReLU {G}",
        D.replace("Flatten Linear", f"Flatten {HIDDEN}"),
    ),
    "g_relu": (False, G.replace("ReLU", "LeakyReLU"), D),
    "d_leaky": (False, G, D.replace("LeakyReLU", "ReLU")),
    "tanh": (False, G.removesuffix(" Tanh"), D),
}


@pytest.mark.parametrize("name", GUIDELINES)
def test_guideline_is_another(name: str) -> None:
    value, g, d = GUIDELINES[name]
    gan = make("dcgan_guidelines", **{name: value})
    assert kinds(gan.G) == g
    assert kinds(gan.D) == d


def test_guidelines_are_not_followed_by_default() -> None:
    gan = make("dcgan_guidelines")
    assert (kinds(gan.G), kinds(gan.D)) == (G, D)


@pytest.mark.parametrize("size", [28, 32, 50])
@pytest.mark.parametrize("strided", [False, True])
def test_widths_do_not_fit(size: int, strided: bool) -> None:
    gan = make("dcgan_guidelines", size, strided=strided, hidden_layers=True, bn_ends=True)
    report = gan.step(torch.rand(8, 1, size, size), torch.zeros(8, dtype=torch.int64))
    assert all(value.isfinite() for value in report.values())
    assert gan.generate(gan.G, gan.noise(3), None).shape == (3, 1, size, size)


def test_unbounded_images_are_not_quantised() -> None:
    """Without tanh, G's output may leave [-1, 1]. What is measured must be images all the same."""
    gan = make("dcgan_guidelines", tanh=False)
    gan.G_ema.layers[-1].bias.data += 3
    x = gan.sample(None, 4, torch.Generator().manual_seed(0))
    assert x.dtype == torch.uint8
    assert (x == 255).float().mean() > 0.9
