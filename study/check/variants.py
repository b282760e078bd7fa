"""The contract of a variant."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch

import trainables
from study.check import need
from trainables.core.gan import Gan
from trainables.core.loop import Loop
from trainables.data.base import DataSpec

CPU = torch.device("cpu")
# Small images of the kinds that most data have.
SHAPES = (DataSpec(3, 1, (28, 28)), DataSpec(4, 3, (32, 32)))
SEVERAL = DataSpec(5, 3, (32, 32), labels=3)


def make(
    name: str,
    images: DataSpec,
    seed: int = 0,
    device: torch.device = CPU,
    bf16: bool = False,
    **values: Any,
) -> Loop:
    """A training loop of a small GAN on 40 random images."""
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


def losses_are_finite_and_repeat_with_the_seed(name: str, images: DataSpec, bf16: bool) -> None:
    # Six steps, over an epoch's end.
    first, again = (make(name, images, bf16=bf16).run(48) for _ in range(2))
    need(first == again, f"the same seed gives other numbers: {_first_difference(first, again)}")
    for key, value in first.items():
        need(abs(value) < 1e3, f"{key} is {value} after six steps on random images")
    early, other = (make(name, images, seed, bf16=bf16).run(8) for seed in (0, 1))
    need(early != other, "another seed gives the same numbers")


def a_player_changes_its_own_networks_only(name: str, images: DataSpec, bf16: bool) -> None:
    loop = make(name, images, bf16=bf16)
    gan = loop.gan
    with gan.autocast():
        batch = gan.draw(*loop.next_batch())
    for player in gan.players:
        before = {other: weights(gan, other) for other in gan.players}
        gan.turn(player, batch)
        for other in gan.players:
            pairs = zip(before[other], weights(gan, other), strict=True)
            changed = any(not torch.equal(a, b) for a, b in pairs)
            does = "changes" if changed else "does not change"
            need(changed == (other == player), f"{player}'s turn {does} the networks of {other}")


def lr_scale_reaches_every_player(name: str, images: DataSpec, bf16: bool) -> None:
    rates = []
    fields = trainables.load(name).config_type.model_fields
    published = {field: fields[field].default for field in fields if field.endswith("lr")}
    for scale in (1.0, 2.0):
        values = {field: 2 * rate / scale for field, rate in published.items()}
        loop = make(name, images, bf16=bf16, **values, lr_scale=scale)
        loop.run(8)
        gans = [module for module in loop.gan.modules() if isinstance(module, Gan)]
        optimizers = [optimizer for gan in gans for optimizer in gan.optimizers.values()]
        rates.append([group["lr"] for one in optimizers for group in one.param_groups])
    same = all(abs(a / b - 1) < 1e-6 for a, b in zip(*rates, strict=True))
    need(same, f"half of each lr with lr_scale=2 gives other rates: {rates[0]} and {rates[1]}")


def a_restored_checkpoint_takes_the_same_next_steps(
    name: str, images: DataSpec, bf16: bool
) -> None:
    loop = make(name, images, bf16=bf16)
    loop.run(48)
    state = copy.deepcopy(loop.checkpoint())
    expected = loop.run(96)
    other = make(name, images, seed=0, bf16=bf16)
    torch.manual_seed(99)
    other.restore(state)
    found = other.run(96)
    need(found == expected, f"losses differ: {_first_difference(expected, found)}")
    ours, theirs = loop.gan.state_dict(), other.gan.state_dict()
    for key, value in ours.items():
        need(torch.equal(value, theirs[key]), f"{key} differs after the same steps")


def samples_are_images_like_the_real_ones(name: str, images: DataSpec, bf16: bool) -> None:
    gan = make(name, images, bf16=bf16).gan
    y = labels(images, 10) if gan.conditional else None
    x = gan.sample(y, 10, torch.Generator().manual_seed(0))
    shape = (10, images.channels, *images.size)
    need(x.shape == shape, f"samples are {tuple(x.shape)}, and real images {shape}")
    need(x.dtype == torch.uint8, f"samples are {x.dtype}, not uint8")
    same = gan.sample(y, 10, torch.Generator().manual_seed(0))
    need(torch.equal(x, same), "the same random state gives other samples")


def evaluation_leaves_training_as_it_was(name: str, images: DataSpec, bf16: bool) -> None:
    reports, shape = [], (8, images.channels, *images.size)
    pixels = images.channels * images.size[0] * images.size[1]
    for measured in (False, True):
        loop = make(name, images, bf16=bf16)
        if measured:
            first = loop.run(0)  # a step that is taken and undone
            need(any(key.startswith("loss/") for key in first), "no loss is reported")
        loop.run(48)
        gan, rng = loop.gan, torch.Generator().manual_seed(3)
        y, x = labels(images, 8), torch.rand(shape, generator=rng)
        if measured:
            gan.standing_statistics(loop.y, 4)
            gan.sample(y if gan.conditional else None, 8, rng)
            gan.gradient_norms(x, y, rng)
            if gan.classifies:
                found = tuple(gan.classify(x).shape)
                need(found == (8, images.classes), f"classify gives {found}")
            if gan.encodes:
                codes = gan.encode(x)
                said = f"encode gives {codes.dtype} {tuple(codes.shape)}"
                need(codes.shape == (8, gan.config.z_dim), said)
                need(codes.dtype == torch.float32, said)
            if gan.has_tangents:
                tangents = gan.tangents(x, rng)
                need(tangents.shape[::2] == (8, pixels), f"tangents are {tuple(tangents.shape)}")
                one = torch.allclose(tangents.square().sum(2), torch.ones(()))
                need(one, "tangents are not of length 1")
        reports.append(loop.run(96))
    line = _first_difference(*reports)
    need(reports[0] == reports[1], f"a measurement changes what is trained: {line}")


def averaged_g_gets_statistics_of_its_own(name: str, images: DataSpec, bf16: bool) -> None:
    loop = make(name, images, bf16=bf16, batch=40)
    loop.run(40)
    gan, y = loop.gan, labels(images, 300)
    with torch.no_grad():
        for weight in gan.G_ema.parameters():
            weight.add_(0.5 * weight.std(correction=0) * torch.randn_like(weight))
    copied = _distance(gan, y)
    gan.standing_statistics(loop.y, 4)
    own = _distance(gan, y)
    need(copied == 0 or copied > 3 * own, f"BatchNorm is off by {copied:.2g}, then by {own:.2g}")
    need(not any(m.training for m in gan.G_ema.modules()), "the averaged G is in training mode")
    kept = [buffer.clone() for buffer in gan.G_ema.buffers()]
    gan.standing_statistics(loop.y, 4)
    same = all(torch.equal(a, b) for a, b in zip(kept, gan.G_ema.buffers(), strict=True))
    need(same, "the same random state gives other statistics")


def unknown_hyperparameters_are_refused(name: str, images: DataSpec, bf16: bool) -> None:
    config = trainables.load(name).config_type
    for values in ({"lrr": 1}, {"lr": -1}):
        try:
            config.parse(values)
        except ValueError:
            continue
        need(False, f"{values} is accepted")


def no_name_is_a_slip_for_one_that_is_called(name: str, images: DataSpec, bf16: bool) -> None:
    """`losses_G` overrides nothing, and G would be trained on the parent's losses."""
    variant = trainables.load(name)
    known = {own for base in variant.__mro__[1:] for own in vars(base)}
    public = {own for own in known | {*vars(variant)} if not own.startswith("_")}
    for own in sorted(public & vars(variant).keys() - known):
        letters = own.lower().replace("_", "")
        alike = {other for other in public if other.lower().replace("_", "") == letters}
        near = ", ".join(sorted(alike - {own}))
        need(not near, f"{own} overrides nothing: is {near} meant?")


# Each is tried on all kinds of images.
ON_ALL_IMAGES = (
    losses_are_finite_and_repeat_with_the_seed,
    a_player_changes_its_own_networks_only,
    samples_are_images_like_the_real_ones,
)
# Each is tried on the first kind of images that suits.
ONCE = (
    lr_scale_reaches_every_player,
    a_restored_checkpoint_takes_the_same_next_steps,
    evaluation_leaves_training_as_it_was,
    unknown_hyperparameters_are_refused,
    no_name_is_a_slip_for_one_that_is_called,
)
SLOW = (averaged_g_gets_statistics_of_its_own,)  # takes seconds; on the first kind, too


def _distance(gan: Gan, y: torch.Tensor) -> float:
    """How far the averaged G's BatchNorm statistics are from those of the images it draws.

    The largest difference of a kept mean from the mean of what the norm gets, in standard
    deviations, averaged over a layer's channels. 0 where the averaged G has no kept statistics.
    """
    found = [0.0]

    def hook(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)
        kept = cast(torch.Tensor, norm.running_mean)
        distance = (kept - x.mean(1)).abs() / (x.std(1) + 1e-3)
        found.append(float(distance.mean()))

    norms = [m for m in gan.G_ema.modules() if getattr(m, "running_mean", None) is not None]
    hooks = [norm.register_forward_hook(hook) for norm in norms]
    gan.sample(y if gan.conditional else None, len(y), torch.Generator().manual_seed(7))
    for one in hooks:
        one.remove()
    return max(found)


def _first_difference(a: dict[str, float], b: dict[str, float]) -> str:
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            return f"{key} is {a.get(key)} and {b.get(key)}"
    return "nowhere"
