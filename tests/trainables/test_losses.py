"""The losses, compared with torch's own functions where torch has them."""

import pytest
import torch
import torch.nn.functional as F

import trainables
from trainables.core import losses
from trainables.core.gan import Gan
from trainables.core.images import to_float, to_uint8
from trainables.core.player import Batch
from trainables.data.base import DataSpec

LOGITS = torch.linspace(-4, 4, 9)


def acgan(**values: object) -> Gan:
    variant = trainables.load("acgan")
    config = variant.config_type.parse({"f": 2, "batch": 4, **values})
    return variant(config, DataSpec(3, 1, (28, 28)), torch.device("cpu"))


def test_bce_is_torchs_inside_the_unit_interval_and_linear_beyond() -> None:
    target = torch.rand(9)
    torch.testing.assert_close(
        losses.bce(LOGITS, target), F.binary_cross_entropy_with_logits(LOGITS, target)
    )
    ends = losses.bce(LOGITS, 0.0), losses.bce(LOGITS, 1.0)
    torch.testing.assert_close(losses.bce(LOGITS, 1.2), ends[0] + 1.2 * (ends[1] - ends[0]))


def test_saturating_g_loss_is_minus_ds_loss_on_fakes() -> None:
    d = losses.d_fake("saturating", LOGITS)
    torch.testing.assert_close(losses.g_fake("saturating", LOGITS), -d)


def test_saturating_gradient_dies_where_d_is_sure_and_the_other_does_not() -> None:
    grads = {}
    for kind in ("saturating", "non_saturating"):
        logits = torch.tensor([-8.0], requires_grad=True)
        losses.g_fake(kind, logits).backward()
        grads[kind] = float(logits.grad)
    assert abs(grads["saturating"]) < 1e-3 < 0.9 < abs(grads["non_saturating"])
    assert max(grads.values()) < 0, "both push D's output up"


def test_hinge_stops_at_the_margin() -> None:
    assert losses.d_real("hinge", torch.tensor([1.5])) == 0
    assert losses.d_fake("hinge", torch.tensor([-1.5])) == 0
    assert losses.d_fake("hinge", torch.tensor([0.0])) == 1
    assert losses.g_fake("hinge", torch.tensor([2.0])) == -2


@pytest.mark.parametrize(
    ("noise", "real_moves", "fake_moves"),
    [("none", False, False), ("one_sided", True, False), ("two_sided", True, True)],
)
def test_label_noise_disturbs_the_side_it_names(
    noise: str, real_moves: bool, fake_moves: bool
) -> None:
    gan = acgan(label_noise=noise)
    out, y = torch.zeros(4, 4) + 2.0, torch.zeros(4, dtype=torch.int64)
    batch = Batch(torch.zeros(4, 1, 28, 28), y, y, torch.zeros(4, 1, 28, 28))
    draws = [gan.terms_d(out, out, batch) for _ in range(2)]  # type: ignore[operator]
    moved = {k: not torch.equal(draws[0][k], draws[1][k]) for k in draws[0]}
    assert moved["adversarial_real"] == real_moves
    assert moved["adversarial_fake"] == fake_moves
    assert not moved["class_real"]


def test_hinge_with_label_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hinge.*label_noise must be 'none'"):
        acgan(adversarial="hinge", label_noise="one_sided")


def test_class_weights_scale_the_update_but_not_the_report() -> None:
    reports, moves = [], []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        gan = acgan(class_fake=weight)
        before = gan.D.features[0].weight.detach().clone()
        torch.manual_seed(1)
        reports.append(gan.step(torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])))
        moves.append(gan.D.features[0].weight.detach() - before)
    assert reports[0]["loss/d/class_fake"] == reports[1]["loss/d/class_fake"] > 0
    assert not torch.equal(moves[0], moves[1]), "the weight of the class loss has no effect"


def test_gradient_norms_are_those_of_single_images() -> None:
    gan = acgan(f=4, adversarial="non_saturating")
    x, y = torch.rand(6, 1, 28, 28), torch.tensor([0, 1, 2, 0, 1, 2])
    norms = gan.gradient_norms(x, y, torch.Generator().manual_seed(0))
    half = gan.gradient_norms(x[:3], y[:3], torch.Generator().manual_seed(0))
    assert set(norms) == {"adversarial", "class"}
    # The mean over a batch of the single images' norms does not shrink with the batch.
    assert 0.2 < float(norms["class"] / half["class"]) < 5


def test_quantisation_is_the_inverse_of_scaling() -> None:
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(x)), x)


def test_pretraining_moves_the_class_head_and_not_g() -> None:
    torch.manual_seed(0)
    gan = acgan(pretrain_kimg=0.02)
    before = [p.detach().clone() for p in gan.G.parameters()]
    x, y = torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    losses_before = F.cross_entropy(gan.classify(x), y)
    for _ in range(20):
        gan.pretrain(x, y)
    assert F.cross_entropy(gan.classify(x), y) < losses_before
    assert all(torch.equal(a, b) for a, b in zip(before, gan.G.parameters(), strict=True))
    assert gan.pretrain_images() == 20


@pytest.mark.parametrize("weight", [1.0, 11.0])
def test_class_loss_of_label_sets_is_torchs_binary_one(weight: float) -> None:
    logits = torch.linspace(-5, 5, 12).reshape(3, 4)
    y = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 1]], dtype=torch.uint8)
    each = F.binary_cross_entropy_with_logits(
        logits, y.float(), pos_weight=torch.full((4,), weight), reduction="none"
    )
    summed = losses.class_loss(logits, y, "sum", weight)
    torch.testing.assert_close(summed, each.sum(1).mean())
    torch.testing.assert_close(losses.class_loss(logits, y, "mean", weight), each.mean())
    assert torch.equal(
        losses.class_loss(logits, y.argmax(1), "mean", weight),
        F.cross_entropy(logits, y.argmax(1)),
    ), "options of label sets change the loss of single labels"


def test_gradient_penalty_fails_in_bfloat16() -> None:
    """Trials of a WGAN-GP would fail on every processor that computes natively in bfloat16."""
    torch.manual_seed(0)
    real, fake = torch.randn(8, 1, 8, 8), torch.randn(8, 1, 8, 8)
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        low = losses.gradient_penalty(lambda x: critic(x)[:, 0], real, fake.bfloat16())
    torch.manual_seed(1)
    high = losses.gradient_penalty(lambda x: critic(x)[:, 0], real, fake)
    assert low.item() == pytest.approx(high.item(), rel=0.02)
