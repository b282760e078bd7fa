"""The contract of every variant in trainables/. A new file in this folder is tested, too."""

import copy
from typing import Any

import pytest
import torch

import trainables
from trainables.core.gan import Gan
from trainables.core.loop import Loop
from trainables.data.base import DataSpec

CPU = torch.device("cpu")
SHAPES = [DataSpec(3, 1, (28, 28)), DataSpec(4, 3, (32, 32))]
SEVERAL = DataSpec(5, 3, (32, 32), labels=3)
every_variant = pytest.mark.parametrize("name", trainables.names())
CASES = [
    pytest.param(name, images, id=f"{name}-{images.size[0]}px-{images.labels}")
    for name in trainables.names()
    for images in (*SHAPES, SEVERAL)
    if images.labels == 1 or trainables.load(name).multilabel
]
every_shape = pytest.mark.parametrize(("name", "images"), CASES)


def make(
    name: str,
    images: DataSpec,
    seed: int = 0,
    device: torch.device = CPU,
    bf16: bool = False,
    **values: Any,
) -> Loop:
    torch.manual_seed(seed)
    variant = trainables.load(name)
    # What is trained before the game is trained for five steps.
    short = {"inference_kimg": 0.04} if "inference_kimg" in variant.config_type.model_fields else {}
    config = variant.config_type.parse({"f": 4, "batch": 8, **short, **values})
    gan = variant(config, images, device, bf16)
    rng = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (40, images.channels, *images.size), generator=rng)
    return Loop(gan, x.to(device, torch.uint8), labels(images, 40).to(device), seed)


def labels(images: DataSpec, n: int) -> torch.Tensor:
    """Labels y for n images, with every class among them.

    If images may have several labels, they have one, two, ... labels in turn.
    """
    first = torch.arange(n) % images.classes
    if images.labels == 1:
        return first
    sets = torch.zeros(n, images.classes, dtype=torch.uint8)
    for shift in range(images.labels):
        rows = torch.arange(n) % images.labels >= shift
        sets[rows, (first[rows] + shift) % images.classes] = 1
    return sets


def weights(gan: Gan, player: str) -> list[torch.Tensor]:
    return [p.detach().clone() for n in gan.players[player].networks for p in n.parameters()]


@every_shape
def test_losses_are_finite_and_repeat_with_the_seed(name: str, images: DataSpec) -> None:
    first, again = (make(name, images).run(48) for _ in range(2))  # six steps, over an epoch's end
    assert first == again, "same seed, other numbers"
    assert all(abs(value) < 1e3 for value in first.values())
    early, other = (make(name, images, seed).run(8) for seed in (0, 1))
    assert early != other, "the seed changes nothing"


@every_shape
def test_a_player_changes_its_own_networks_only(name: str, images: DataSpec) -> None:
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
def test_lr_scale_misses_a_player(name: str) -> None:
    rates = []
    fields = trainables.load(name).config_type.model_fields
    published = {field: fields[field].default for field in fields if field.endswith("lr")}
    for scale in (1.0, 2.0):
        values = {field: 2 * rate / scale for field, rate in published.items()}
        loop = make(name, SHAPES[0], **values, lr_scale=scale)
        loop.run(8)
        gans = [module for module in loop.gan.modules() if isinstance(module, Gan)]
        optimizers = [optimizer for gan in gans for optimizer in gan.optimizers.values()]
        rates.append([group["lr"] for one in optimizers for group in one.param_groups])
    assert rates[0] == pytest.approx(rates[1])


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


@every_shape
def test_samples_are_images_like_the_real_ones(name: str, images: DataSpec) -> None:
    gan = make(name, images).gan
    y = labels(images, 10)
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
        if measured:
            first = loop.run(0)  # a step that is taken and undone
            assert any(key.startswith("loss/") for key in first)
        loop.run(48)
        gan, rng = loop.gan, torch.Generator().manual_seed(3)
        y = torch.arange(8) % 3
        if measured:
            gan.standing_statistics(loop.y, 4)
            gan.sample(y if gan.conditional else None, 8, rng)
            gan.gradient_norms(torch.rand(8, 1, 28, 28, generator=rng), y, rng)
            if gan.classifies:
                assert gan.classify(torch.zeros(8, 1, 28, 28)).shape == (8, 3)
            if gan.encodes:
                codes = gan.encode(torch.zeros(8, 1, 28, 28))
                assert codes.shape == (8, gan.config.z_dim)
                assert codes.dtype == torch.float32
            if gan.has_tangents:
                tangents = gan.tangents(torch.rand(8, 1, 28, 28, generator=rng), rng)
                assert tangents.shape[::2] == (8, 784)
                assert torch.allclose(tangents.square().sum(2), torch.ones(()))
        reports.append(loop.run(96))
    assert reports[0] == reports[1], "a measurement changed what is trained"


def distance(gan: Gan, y: torch.Tensor) -> float:
    """How far the averaged G's BatchNorm statistics are from those of the images it draws.

    The largest difference of a kept mean from the mean of what the norm gets, in standard
    deviations, averaged over a layer's channels. 0 where the averaged G has no kept statistics.
    """
    found = [0.0]

    def hook(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)
        kept, deviation = norm.running_mean, x.std(1) + 1e-3
        found.append(float(((kept - x.mean(1)).abs() / deviation).mean()))

    norms = [m for m in gan.G_ema.modules() if getattr(m, "running_mean", None) is not None]
    hooks = [norm.register_forward_hook(hook) for norm in norms]
    gan.sample(y if gan.conditional else None, len(y), torch.Generator().manual_seed(7))
    for one in hooks:
        one.remove()
    return max(found)


@pytest.mark.slow
@every_variant
def test_averaged_g_has_the_statistics_of_other_weights(name: str) -> None:
    """G's own statistics would make the averaged G draw images that neither network draws."""
    loop = make(name, SHAPES[0], batch=40)
    loop.run(40)
    gan, y = loop.gan, labels(SHAPES[0], 300)
    with torch.no_grad():
        for weight in gan.G_ema.parameters():
            weight += 0.5 * weight.std(correction=0) * torch.randn_like(weight)
    copied = distance(gan, y)
    gan.standing_statistics(loop.y, 4)
    assert copied == 0 or copied > 3 * distance(gan, y)
    assert not any(module.training for module in gan.G_ema.modules())
    kept = [buffer.clone() for buffer in gan.G_ema.buffers()]
    gan.standing_statistics(loop.y, 4)
    assert all(torch.equal(a, b) for a, b in zip(kept, gan.G_ema.buffers(), strict=True))


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


class TestSeveralLabels:
    """Images of one to three labels: y is multi-hot."""

    @pytest.mark.parametrize("name", ["acgan", "cgan"])
    def test_g_ignores_a_label(self, name: str) -> None:
        """For the same z, each label and each pair of adjacent labels must give another image."""
        gan = make(name, SEVERAL).gan
        sets = torch.eye(5, dtype=torch.uint8)
        sets = torch.cat([sets, sets | sets.roll(1, 0)])
        z = gan.noise(1).expand(10, -1)
        x = gan.sample(sets, 10, torch.Generator(), z).flatten(1)
        assert len(x.unique(dim=0)) == 10

    @pytest.mark.parametrize("planes", ["constant", "learned"])
    def test_d_judges_the_image_alone(self, planes: str) -> None:
        torch.manual_seed(0)
        variant = trainables.load("cgan")
        config = variant.config_type.parse({"f": 4, "batch": 8, "d_planes": planes})
        gan = variant(config, SEVERAL, torch.device("cpu"))
        x = torch.rand(1, 3, 32, 32).expand(5, -1, -1, -1)
        out = gan.discriminate(x, torch.eye(5, dtype=torch.uint8))  # type: ignore[operator]
        assert len(out.unique(dim=0)) == 5

    def test_learned_plane_is_not_trained(self) -> None:
        torch.manual_seed(0)
        variant = trainables.load("cgan")
        config = variant.config_type.parse({"f": 4, "batch": 8, "d_planes": "learned"})
        gan = variant(config, SEVERAL, torch.device("cpu"))
        before = weights(gan, "d")
        rng = torch.Generator().manual_seed(1)
        x = torch.randint(0, 256, (40, 3, 32, 32), generator=rng).to(torch.uint8)
        Loop(gan, x, labels(SEVERAL, 40), 0).run(8)
        assert len(before) == len(weights(gan, "d"))
        assert all(not torch.equal(a, b) for a, b in zip(before, weights(gan, "d"), strict=True))

    def test_random_label_sets_are_of_one_size_or_one_label(self) -> None:
        """Label sets never asked for in training would be asked for in evaluation."""
        torch.manual_seed(0)
        sets = make("cgan", SEVERAL).gan.random_labels(6_000)
        assert sets.dtype == torch.uint8
        sizes = sets.sum(1).bincount()
        assert sizes[0] == 0
        assert (sizes[1:] - 2_000).abs().max() < 200
        assert (sets.sum(0) - 2_400).abs().max() < 200
        assert len(sets.unique(dim=0)) == 5 + 10 + 10

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("acgan", {"g_condition": "cbn", "class_cosine": True, "d_norm": "bn_joint"}),
            ("cgan", {"g_condition": "cbn", "d_planes": "learned", "shuffled": True, "r1": 1.0}),
            ("projgan", {"g_condition": "cbn", "d_norm": "sn", "d_dropout": 0.5}),
        ],
    )
    def test_a_remedy_takes_one_label_only(self, name: str, values: dict[str, Any]) -> None:
        """Sets that differ in one label must lead to other images, and losses must stay finite."""
        torch.manual_seed(0)
        variant = trainables.load(name)
        gan = variant(
            variant.config_type.parse({"f": 4, "batch": 8, **values}), SEVERAL, torch.device("cpu")
        )
        y = labels(SEVERAL, 8)
        for _ in range(3):  # conditional gains are equal for all labels at first
            report = gan.step(torch.rand(8, 3, 32, 32) * 2 - 1, y)
        assert all(value.isfinite() for value in report.values())
        sets = torch.eye(5, dtype=torch.uint8)
        sets = torch.cat([sets, sets | sets.roll(1, 0)])
        with torch.no_grad():
            images = gan.generate(gan.G.eval(), gan.noise(1).expand(10, -1), sets)
        assert len(images.flatten(1).unique(dim=0)) == 10

    def test_dropout_in_d_is_off(self) -> None:
        """D gets the same images twice. Its outputs must differ with dropout, and only then."""
        for rate, differs in ((0.0, False), (0.5, True)):
            torch.manual_seed(0)
            variant = trainables.load("acgan")
            config = variant.config_type.parse({"f": 4, "batch": 8, "d_dropout": rate})
            gan = variant(config, SEVERAL, torch.device("cpu"))
            x = torch.rand(8, 3, 32, 32)
            y = labels(SEVERAL, 8)
            assert torch.equal(gan.discriminate(x, y), gan.discriminate(x, y)) != differs
            assert torch.equal(gan.classify(x), gan.classify(x)), "dropout while measuring"
