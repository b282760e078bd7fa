"""BigGAN's changes, each alone: a switch that does nothing would make its ablation a comparison of
a network with itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import trainables
from trainables.core.layers_res import (
    ConditionalBatchNorm,
    ResGenerator,
    SelfAttention,
    init_network,
    off_diagonal,
)
from trainables.core.loop import Loop
from trainables.data.base import DataSpec

LOOKS = DataSpec(3, 1, (28, 28))


def make(images: DataSpec = LOOKS, **values: Any) -> Loop:
    torch.manual_seed(0)
    variant = trainables.load("biggan")
    given = {"f": 4, "batch": 8, "z_dim": 24, "embedding": 6, **values}
    gan = variant(variant.config_type.parse(given), images, torch.device("cpu"))
    rng = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (40, images.channels, *images.size), generator=rng)
    torch.manual_seed(0)
    return Loop(gan, x.to(torch.uint8), torch.arange(40) % images.classes, 0)


def generator(**switches: bool) -> ResGenerator:
    torch.manual_seed(0)
    given = {"attention": True, "cbn": True, "skip_z": True, **switches}
    return ResGenerator(24, 3, 6, 4, (28, 28), 1, **given).eval()


def norms(G: nn.Module) -> list[ConditionalBatchNorm]:
    return [m for m in G.modules() if isinstance(m, ConditionalBatchNorm)]


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 64), (30, 20)])
def test_images_of_another_size_do_not_fit(size: tuple[int, int]) -> None:
    loop = make(DataSpec(4, 3, size))
    loop.run(16)
    assert loop.gan.sample(torch.arange(4), 4, torch.Generator()).shape == (4, 3, *size)


@pytest.mark.parametrize(
    "change", [{"adversarial": "non_saturating"}, {"ortho_reg": 0.1}, {"n_dis": 1}], ids=str
)
@pytest.mark.slow
def test_a_switch_of_the_losses_changes_nothing(change: dict[str, Any]) -> None:
    """With and without the switch, training starts from the same weights, images and z."""
    first = make().run(8)
    assert make(**change).run(8).keys() == first.keys()
    assert make(**change).run(48) != make().run(48)


def test_attention_is_not_at_half_the_resolution() -> None:
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(tuple(output.shape[1:]))

    for attention in (True, False):
        gan: Any = make(attention=attention).gan
        layers = [m for m in gan.modules() if isinstance(m, SelfAttention)]
        for layer in layers:
            layer.register_forward_hook(note)
        gan.step(torch.randn(8, 1, 28, 28), torch.arange(8) % 3)
        assert bool(layers) == attention
    assert seen == [(8, 14, 14), (4, 14, 14), (4, 14, 14)], "of G, of D, and of D for G"


def test_the_averaged_generator_is_the_raw_one() -> None:
    """With ema=0 the averaged G is the raw G. Training does not depend on ema."""
    averaged = make()
    terms = averaged.run(72)  # G has the last turn, so the average has just copied G's buffers
    raw = make(ema=0.0)
    assert raw.run(72) == terms
    for kept, now in zip(
        raw.gan.G_ema.state_dict().values(), raw.gan.G.state_dict().values(), strict=True
    ):
        assert torch.equal(kept, now)
    y = torch.arange(6) % 3
    a, b = (loop.gan.sample(y, 6, torch.Generator().manual_seed(1)) for loop in (averaged, raw))
    assert not torch.equal(a, b)


def test_d_takes_another_number_of_turns() -> None:
    loop = make(n_dis=3)
    moved: dict[str, list[bool]] = {"d": [], "g": []}
    reports = []
    for _ in range(7):
        before = {k: copy.deepcopy(p.networks[0].state_dict()) for k, p in loop.gan.players.items()}
        reports.append(loop.gan.step(*loop.next_batch()))
        for key, player in loop.gan.players.items():
            params = dict(player.networks[0].named_parameters())
            moved[key].append(any(not torch.equal(before[key][n], p) for n, p in params.items()))
    assert moved["d"] == [True] * 7
    assert moved["g"] == [True, False, False, True, False, False, True]
    assert loop.gan.updates == 3, "the average follows G's turns"
    assert all(report.keys() == reports[0].keys() for report in reports)
    assert reports[1]["loss/g/adversarial"] == reports[0]["loss/g/adversarial"]


def test_a_cell_stopped_between_turns_of_g_goes_on_otherwise() -> None:
    loop = make(n_dis=3)
    loop.run(32)
    state = copy.deepcopy(loop.checkpoint())
    expected = loop.run(80)
    other = make(n_dis=3)
    other.restore(state)
    assert other.run(80) == expected


def test_spectral_norms_leave_one() -> None:
    """After training, each layer's largest singular value must be 1, in G and in D."""
    loop = make(lr=1e-2)
    loop.run(160)
    for network in (loop.gan.G.eval(), loop.gan.players["d"].networks[0].eval()):
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) > 10
        for m in layers:
            norm = torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=0.1)
    assert "shared.weight" in dict(loop.gan.G.named_parameters()), "G's embedding is like z"
    plain = make(sn=False).gan
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())


def test_weights_do_not_start_orthogonal() -> None:
    G = generator()
    init_network(G, "orthogonal", sn=False)
    for m in G.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            W = m.weight.flatten(1)
            gram = W @ W.T if len(W) <= W.shape[1] else W.T @ W
            torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    init_network(G, "normal", sn=False)
    weights = torch.cat([m.weight.flatten() for m in G.modules() if isinstance(m, nn.Conv2d)])
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_penalty_is_not_that_of_equation_3() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert off_diagonal(nn.Sequential(layer)).item() == 2 * (1 * 3 + 2 * 4) ** 2
    layer.weight.data = torch.tensor([[0.0, 5.0], [3.0, 0.0]])
    assert off_diagonal(nn.Sequential(layer)).item() == 0, "norms of filters are free"


def test_penalty_has_a_gradient_at_the_images() -> None:
    """The penalty depends on weights alone. A gradient would break the metric of gradient norms."""
    loop = make()
    loop.run(8 * 2)  # the last turn was D's alone
    x, y = loop.next_batch()
    assert loop.gan.gradient_norms(x, y, torch.Generator()).keys() == {"adversarial"}


def test_gain_is_not_centred_at_one() -> None:
    layer, x = ConditionalBatchNorm(4, 3), torch.randn(8, 4, 5, 5)
    plain = nn.BatchNorm2d(4)(x)
    torch.testing.assert_close(layer(x, torch.zeros(8, 3)), plain)
    c = torch.randn(8, 3)
    expected = plain * (1 + c @ layer.gain.weight.T)[..., None, None]
    torch.testing.assert_close(layer(x, c), expected + (c @ layer.bias.weight.T)[..., None, None])


def test_label_or_z_do_not_reach_the_blocks() -> None:
    lengths = {
        (cbn, skip_z): {
            norm.gain.in_features if norm.conditional else 0
            for norm in norms(generator(cbn=cbn, skip_z=skip_z))
        }
        for cbn in (True, False)
        for skip_z in (True, False)
    }
    assert lengths == {
        (True, True): {6 + 8},
        (True, False): {6},
        (False, True): {8},
        (False, False): {0},
    }


@pytest.mark.parametrize("skip_z", [True, False])
@pytest.mark.parametrize("cbn", [True, False])
def test_label_or_part_of_z_is_ignored(cbn: bool, skip_z: bool) -> None:
    G = generator(cbn=cbn, skip_z=skip_z)
    z, y = torch.randn(1, 24), torch.tensor([0])
    image = G(z, y)
    assert not torch.allclose(G(z, y + 1), image, atol=1e-4), "label"
    for part in range(3):
        other = z.clone()
        other[:, 8 * part : 8 * part + 8] += 2
        assert not torch.allclose(G(other, y), image, atol=1e-4), f"part {part} of z"


def test_attention_is_not_that_of_sagan() -> None:
    layer, x = SelfAttention(16), torch.randn(2, 16, 7, 7)
    assert torch.equal(layer(x), x), "it starts as the identity"
    layer.gamma.data.fill_(0.5)

    def tokens(t: Tensor) -> Tensor:
        return t.flatten(2).transpose(1, 2)

    seen = F.scaled_dot_product_attention(
        tokens(layer.query(x)),
        tokens(F.max_pool2d(layer.key(x), 2)),
        tokens(F.max_pool2d(layer.value(x), 2)),
        scale=1.0,
    )
    expected = x + 0.5 * layer.out(seen.transpose(1, 2).unflatten(2, (7, 7)))
    torch.testing.assert_close(layer(x), expected)
    assert (layer.narrow, layer.wide) == (2, 8)


def test_projection_is_not_linear_in_the_embedding() -> None:
    """D(x, y) = psi(phi(x)) + <V_y, phi(x)> (Miyato and Koyama 2018, eq. 5)."""
    D: Any = make(sn=False).gan.players["d"].networks[0]
    x, y = torch.randn(5, 1, 28, 28), torch.tensor([0, 1, 2, 0, 1])
    with torch.no_grad():
        logits = D(x, y)
        D.embedding.weight *= 3
        three = D(x, y)
        D.embedding.weight.zero_()
        none = D(x, y)
    torch.testing.assert_close(three - none, 3 * (logits - none))
    assert not torch.allclose(logits, none)
    assert torch.equal(D(x, y), D(x, (y + 1) % 3))


def test_bad_switch_is_accepted() -> None:
    config = trainables.load("biggan").config_type
    bad_values = ({"n_dis": 0}, {"sn": "yes"}, {"g_condition": "add"}, {"z_dim": 8}, {"init": "he"})
    for bad in bad_values:
        with pytest.raises(ValueError, match=f"bad value {next(iter(bad))}="):
            config.parse(bad)
