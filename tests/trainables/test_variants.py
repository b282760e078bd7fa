"""Contract of every variant in the folder: a new file is tested by being there."""

import copy

import pytest
import torch

import trainables
from trainables.core.gan import Gan, Images
from trainables.core.loop import Loop

SHAPES = [Images(3, 1, (28, 28)), Images(4, 3, (32, 32))]
every_variant = pytest.mark.parametrize("name", trainables.names())
every_shape = pytest.mark.parametrize("images", SHAPES, ids=["28x28x1", "32x32x3"])


def make(name: str, images: Images, seed: int = 0) -> Loop:
    torch.manual_seed(seed)
    variant = trainables.load(name)
    gan = variant(variant.config_type.parse({"f": 4, "batch": 8}), images, torch.device("cpu"))
    rng = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (40, images.channels, *images.size), generator=rng)
    return Loop(gan, x.to(torch.uint8), torch.arange(40) % images.classes, seed)


def weights(gan: Gan, player: str) -> list[torch.Tensor]:
    return [p.detach().clone() for n in gan.players[player].networks for p in n.parameters()]


@every_variant
@every_shape
def test_losses_are_finite_and_repeat_with_the_seed(name: str, images: Images) -> None:
    first, again = (make(name, images).run(80) for _ in range(2))
    assert first == again, "same seed, other numbers"
    assert all(abs(value) < 1e3 for value in first.values())
    assert make(name, images, seed=1).run(80) != first, "the seed changes nothing"


@every_variant
@every_shape
def test_a_player_changes_its_own_networks_only(name: str, images: Images) -> None:
    loop = make(name, images)
    gan = loop.gan
    with gan.autocast():
        batch = gan.draw(*loop.next_batch())
    for player in gan.players:
        before = {other: weights(gan, other) for other in gan.players}
        gan.turn(player, batch)
        for other in gan.players:
            pairs = zip(before[other], weights(gan, other), strict=True)
            changed = any(not torch.equal(a, b) for a, b in pairs)
            assert changed == (other == player), f"{player}'s turn and {other}'s networks"


@every_variant
def test_a_restored_checkpoint_takes_the_same_next_steps(name: str) -> None:
    loop = make(name, SHAPES[0])
    loop.run(48)
    state = copy.deepcopy(loop.checkpoint())
    expected = loop.run(96)
    other = make(name, SHAPES[0], seed=0)
    torch.manual_seed(99)
    other.restore(state)
    assert other.run(96) == expected
    for a, b in zip(loop.gan.state_dict().values(), other.gan.state_dict().values(), strict=True):
        assert torch.equal(a, b), "weights differ after the same steps"


@every_variant
@every_shape
def test_samples_are_images_like_the_real_ones(name: str, images: Images) -> None:
    gan = make(name, images).gan
    y = torch.arange(10) % images.classes
    x = gan.sample(y if gan.conditional else None, 10, torch.Generator().manual_seed(0))
    assert x.shape == (10, images.channels, *images.size)
    assert x.dtype == torch.uint8
    same = gan.sample(y if gan.conditional else None, 10, torch.Generator().manual_seed(0))
    assert torch.equal(x, same), "evaluation is not repeatable"


@every_variant
def test_evaluation_leaves_training_as_it_was(name: str) -> None:
    reports = []
    for measured in (False, True):
        loop = make(name, SHAPES[0])
        loop.run(48)
        gan, rng = loop.gan, torch.Generator().manual_seed(3)
        y = torch.arange(8) % 3
        if measured:
            gan.sample(y if gan.conditional else None, 8, rng)
            gan.gradient_norms(torch.rand(8, 1, 28, 28, generator=rng), y, rng)
            if gan.classifies:
                assert gan.classify(torch.zeros(8, 1, 28, 28)).shape == (8, 3)
        reports.append(loop.run(96))
    assert reports[0] == reports[1], "a measurement changed what is trained"


@every_variant
def test_every_hyperparameter_is_refused_when_unknown(name: str) -> None:
    config = trainables.load(name).config_type
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'lrr': choose from .*lr_ratio"):
        config.parse({"lrr": 1})
    with pytest.raises(ValueError, match="bad value lr=-1"):
        config.parse({"lr": -1})


def test_an_unknown_variant_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"'stylegan'.*acgan, .*cgan, .*dcgan"):
        trainables.load("stylegan")
