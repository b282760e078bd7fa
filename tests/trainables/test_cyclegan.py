"""CycleGAN: the losses of the paper, the pool of past fakes, and the direction of translations.

If a direction here is wrong, a translator is trained towards its own domain, and the study says
that CycleGAN fails.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainables
from trainables.core.images import to_float, to_uint8
from trainables.core.loop import Loop
from trainables.cyclegan import Cyclegan, Pairing
from trainables.data.base import DataSpec

LOOKS = DataSpec(4, 1, (8, 8))


class Affine(nn.Module):
    """A translator or a critic whose output is known: a x + b."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), b

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x + self.b


def flat(labels: Tensor) -> Tensor:
    """uint8 images [N, 1, 8, 8]. All values of an image are 40 times its label."""
    return (40 * labels)[:, None, None, None].expand(-1, 1, 8, 8).to(torch.uint8)


def make(y: Tensor | None = None, **values: Any) -> Loop:
    torch.manual_seed(0)
    config = Cyclegan.config_type.parse({"f": 2, "batch": 8, "ema": 0.0, **values})
    y = torch.arange(40) % 4 if y is None else y
    return Loop(Cyclegan(config, LOOKS, torch.device("cpu")), flat(y), y, 0)


def known(**values: Any) -> Any:
    """A CycleGAN with G[0](x) = x / 2, G[1](x) = x + .25, D[0](x) = x and D[1](x) = 2 x."""
    gan: Any = make(**values).gan
    gan.G[0], gan.G[1] = Affine(0.5, 0.0), Affine(1.0, 0.25)
    gan.D[0], gan.D[1] = Affine(1.0, 0.0), Affine(2.0, 0.0)
    gan.G_ema[0], gan.G_ema[1] = gan.G[0], gan.G[1]
    return gan


def test_losses_are_not_the_papers() -> None:
    gan = known()
    x = torch.cat([torch.full((4, 1, 8, 8), 0.4), torch.full((4, 1, 8, 8), -0.2)])
    b: Pairing = gan.draw(x, torch.tensor([0, 2, 0, 2, 1, 3, 1, 3]))
    fake_b, fake_a = 0.65, -0.1  # G[1](.4), G[0](-.2)
    assert b.fake[:, 0, 0, 0].tolist() == pytest.approx([fake_b] * 4 + [fake_a] * 4)
    g = {name: value.item() for name, value in gan.losses_g(b).items()}
    assert g == pytest.approx(
        {
            "adversarial": (2 * fake_b - 1) ** 2 + (fake_a - 1) ** 2,
            "cycle": abs(fake_b / 2 - 0.4) + abs(fake_a + 0.25 + 0.2),
            "identity": abs(0.4 / 2 - 0.4) + 0.25,  # a through G[0], b through G[1]
        },
        abs=1e-6,
    )
    d = {name: value.item() for name, value in gan.losses_d(b).items()}
    assert d == pytest.approx(
        {
            "adversarial_real": (0.4 - 1) ** 2 + (2 * -0.2 - 1) ** 2,
            "adversarial_fake": fake_a**2 + (2 * fake_b) ** 2,
        },
        abs=1e-6,
    )


def test_weights_are_not_the_authors() -> None:
    players = make().gan.players
    assert list(players) == ["g", "d"], "G moves first"
    assert players["g"].weights == {"cycle": 10.0, "identity": 5.0}
    assert players["d"].weights == {"adversarial_real": 0.5, "adversarial_fake": 0.5}


@pytest.mark.parametrize("labels", [[0, 2] * 4, [1, 3] * 4, [0, 1, 2, 3] * 2, [1, 1, 1, 0] * 2])
def test_side_holds_images_of_the_other_domain(labels: list[int]) -> None:
    """Batches are drawn from both domains at random. Missing images come from the training set."""
    y = torch.tensor(labels)
    gan = make().gan
    b = gan.draw(to_float(flat(y)), y)
    values = (to_uint8(b.x)[:, 0, 0, 0] // 40).tolist()
    assert all(value % 2 == 0 for value in values[:4])
    assert all(value % 2 == 1 for value in values[4:])
    for domain, half in enumerate((values[:4], values[4:])):
        mine = [label for label in labels if label % 2 == domain][:4]
        assert half[: len(mine)] == mine, "images of the batch are left out"


def test_one_domain_alone_starts() -> None:
    with pytest.raises(ValueError, match="images of even and of odd labels are needed"):
        make(torch.zeros(40, dtype=torch.int64))


class TestPool:
    def fakes(self, first: int, n: int = 4) -> Tensor:
        return torch.arange(first, first + n).float()[:, None, None, None].expand(-1, 1, 8, 8)

    def shown(self, gan: Any, first: int, domain: int = 0) -> set[int]:
        images: Tensor = gan.pooled(domain, self.fakes(first))
        assert images.shape == (4, 1, 8, 8)
        gan.updates += 1
        return set(images[:, 0, 0, 0].int().tolist())

    def test_fakes_are_swapped_before_it_is_full(self) -> None:
        gan = make(pool=10).gan
        for first in (0, 4, 8):
            assert self.shown(gan, first) == {*range(first, first + 4)}
        assert gan.pool[0, :, 0, 0, 0].tolist() == [*range(10)]
        assert not gan.pool[1].any(), "the domains share a pool"

    def test_fakes_get_lost_or_none_is_swapped(self) -> None:
        gan = make(pool=10).gan
        for first in (100, 104, 108):
            self.shown(gan, first)
        past = 0
        for first in range(200, 600, 4):
            before = {*gan.pool[0, :, 0, 0, 0].int().tolist()}
            seen = self.shown(gan, first)
            after = {*gan.pool[0, :, 0, 0, 0].int().tolist()}
            assert len(after) == 10
            assert seen | after == before | {*range(first, first + 4)}
            assert not seen & after
            past += len(seen & before)
        assert 150 < past < 250, "not about half of 400"

    def test_no_pool_shows_something_else(self) -> None:
        gan = make(pool=0).gan
        for first in range(0, 40, 4):
            assert self.shown(gan, first) == {*range(first, first + 4)}

    def test_batch_is_larger_than_the_pool(self) -> None:
        gan = make(pool=2).gan
        for first in range(0, 40, 4):
            assert len(self.shown(gan, first)) == 4


def test_sample_is_of_another_class_or_domain() -> None:
    """G's image for a label must be a translated image of the same class in the other domain."""
    gan = known()
    y = torch.tensor([0, 1, 2, 3, 3, 0])
    x = gan.sample(y, 6, torch.Generator().manual_seed(0))
    sources = to_float(flat(y ^ 1))
    expected = torch.where(y[:, None, None, None] % 2 == 0, sources / 2, sources + 0.25)
    assert torch.equal(x, to_uint8(expected))


def test_class_without_partner_crashes() -> None:
    gan = known(y=torch.arange(40) % 3)
    x = gan.sample(torch.tensor([2] * 50), 50, torch.Generator().manual_seed(0))
    # Label 3 has no images. Images of its partner, label 2, are therefore translated from all
    # images of the other domain, which have label 1.
    expected = to_uint8(to_float(flat(torch.tensor([1]))) / 2)
    assert torch.equal(x, expected.expand(50, -1, -1, -1))


def test_sources_are_always_the_same_image() -> None:
    y = torch.arange(40) % 4
    loop = make(y)
    loop.gan.x = torch.randint(0, 256, (40, 1, 8, 8)).to(torch.uint8)
    z = torch.linspace(0, 1 - 1e-7, 30)[:, None]
    x = loop.gan.sample(torch.zeros(30, dtype=torch.int64), 30, torch.Generator(), z)
    assert len(x.flatten(1).unique(dim=0)) == 10, "not each of the ten sources"


def test_translation_is_into_the_own_domain() -> None:
    x = torch.full((3, 1, 8, 8), 200, dtype=torch.uint8)
    gan = known()
    assert torch.equal(gan.translate(x, 0), to_uint8(to_float(x) / 2))
    assert torch.equal(gan.translate(x, 1), to_uint8(to_float(x) + 0.25))
    variant = trainables.load("dcgan")
    dcgan = variant(variant.config_type.parse({"f": 2}), LOOKS, torch.device("cpu"))
    with pytest.raises(NotImplementedError, match="Dcgan does not translate"):
        dcgan.translate(x, 0)


def test_learning_rates_do_not_fall() -> None:
    gan = make(lr=1e-3, lr_ratio=0.5, steady_kimg=10.0, decay_kimg=20.0).gan
    for seen, left in ((0, 1.0), (10_000, 1.0), (20_000, 0.5), (30_000, 0.0), (40_000, 0.0)):
        gan.on_images(seen)
        rates = [gan.optimizers[name].param_groups[0]["lr"] for name in ("g", "d")]
        assert rates == pytest.approx([left * 1e-3, left * 5e-4])
    gan = make(lr=1e-3).gan
    gan.on_images(10**9)
    assert gan.optimizers["g"].param_groups[0]["lr"] == 1e-3


@pytest.mark.slow
def test_pool_is_not_in_the_checkpoint() -> None:
    """Once the pool is full, D sees earlier fakes. A continued cell must have the same ones."""
    through = make(pool=8)
    expected = [through.run(images) for images in (80, 160)]
    stopped = make(pool=8)
    assert stopped.run(80) == expected[0]
    state = stopped.checkpoint()
    again = make(pool=8)
    again.restore(state)
    assert again.run(160) == expected[1]
    empty = make(pool=8)
    pools = [name for name in state["gan"]["networks"] if "pool" in name]
    assert pools
    for name in pools:
        state["gan"]["networks"][name] = torch.zeros_like(state["gan"]["networks"][name])
    empty.restore(state)
    assert empty.run(160) != expected[1], "the pool does nothing"
