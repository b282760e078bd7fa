"""BiGAN and its relatives: which pairs each network gets, and which scores it wants for them.

If a sign here is wrong, E moves away from G's pairs, and the study measures that.
"""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import trainables
from trainables.data.base import DataSpec

LOOKS = DataSpec(2, 1, (8, 8))
Y = torch.zeros(16, dtype=torch.int64)


def make(name: str = "bigan", **values: Any) -> Any:
    torch.manual_seed(0)
    variant = trainables.load(name)
    config = variant.config_type.parse({"f": 2, "batch": 16, "z_dim": 6, **values})
    return variant(config, LOOKS, torch.device("cpu"))


def images(n: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def in_place_of_d(gan: Any, real: dict[str, Any], fake: dict[str, Any]) -> None:
    """Replace D's scores of E's pairs and of G's pairs by scores that ignore the batch."""
    gan.scores = lambda b, code, images: (real, fake)


@pytest.mark.parametrize("kind", ["non_saturating", "saturating", "hinge"])
@pytest.mark.parametrize("name", ["bigan", "bigbigan", "augmented_bigan"])
def test_g_or_e_wants_the_score_that_d_wants(name: str, kind: str) -> None:
    """D lifts every score of E's pairs and lowers those of G's; G and E do the opposite."""
    gan = make(name, adversarial=kind)
    batch = gan.draw(images(), Y)
    names = list(gan.D(batch.x, batch.code))
    real, fake = ({n: torch.zeros(16, requires_grad=True) for n in names} for _ in range(2))
    in_place_of_d(gan, real, fake)
    scores = [*real.values(), *fake.values()]
    for losses, wanted in ((gan.losses_d, 1), (gan.losses_g, -1)):
        grads = torch.autograd.grad(sum(losses(batch).values()), scores)
        for grad in grads[: len(names)]:
            assert torch.equal(-grad.sign(), torch.full((16,), wanted)), "E's pairs"
        for grad in grads[len(names) :]:
            assert torch.equal(-grad.sign(), torch.full((16,), -wanted)), "G's pairs"


def test_losses_are_not_the_papers() -> None:
    gan = make()
    batch = gan.draw(images(), Y)
    real = torch.sigmoid(gan.D(batch.x, batch.code)["joint"])
    fake = torch.sigmoid(gan.D(batch.fake, batch.z)["joint"])
    d, g = gan.losses_d(batch), gan.losses_g(batch)
    torch.testing.assert_close(d["joint_real"], -real.log().mean())
    torch.testing.assert_close(d["joint_fake"], -(1 - fake).log().mean())
    torch.testing.assert_close(g["encoder"], -(1 - real).log().mean())
    torch.testing.assert_close(g["adversarial"], -fake.log().mean())


@pytest.mark.parametrize("name", ["bigan", "bigbigan", "augmented_bigan"])
def test_one_of_g_and_e_is_left_frozen(name: str) -> None:
    gan = make(name)
    before = [[p.clone() for p in network.parameters()] for network in (gan.G, gan.E)]
    gan.step(images(), Y)
    for old, network in zip(before, (gan.G, gan.E), strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(old, network.parameters(), strict=True))


@pytest.mark.parametrize("name", ["bigan", "bigbigan", "augmented_bigan"])
def test_d_is_deaf_to_which_code_belongs_to_which_image(name: str) -> None:
    """If D ignores which code belongs to which image, E can learn nothing but the prior."""
    gan = make(name)
    batch = gan.draw(images(), Y)
    right, wrong = (
        gan.D(batch.x, batch.code)["joint"],
        gan.D(batch.x, batch.code.roll(1, 0))["joint"],
    )
    assert (right - wrong).abs().mean() > 0.1 * right.std()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 3**-0.5), (2.0, 0.5)])
def test_codes_are_of_another_scale_than_z(mean: float, std: float) -> None:
    """D could recognise E's pairs by the scale of their codes."""
    gan = make(z_mean=mean, z_std=std)
    code = gan.code(images(256) * 0.1 + 0.5)
    torch.testing.assert_close(code.mean(0), torch.full((6,), mean), atol=1e-3, rtol=0)
    torch.testing.assert_close(code.std(0), torch.full((6,), std), atol=0.02, rtol=0)
    z = gan.noise(4096)
    assert float(z.std()) == pytest.approx(std, rel=0.02)
    assert float(z.max()) <= mean + 3**0.5 * std, "z is not uniform"


def test_code_of_an_image_depends_on_the_others() -> None:
    """In training mode, a code would depend on the batch, and E's running averages would change."""
    gan = make()
    gan.step(images(), Y)
    state = {name: value.clone() for name, value in gan.state_dict().items()}
    together, alone = gan.encode(images(600)), gan.encode(images(600)[-1:])
    torch.testing.assert_close(together[-1:], alone)
    assert together.shape == (600, 6)
    assert not together.requires_grad
    assert all(torch.equal(state[name], value) for name, value in gan.state_dict().items())
    assert gan.E.training


class TestBigbigan:
    def tensors(self, **scores: list[float]) -> dict[str, torch.Tensor]:
        return {name: torch.tensor(values) for name, values in scores.items()}

    def test_hinge_is_of_the_sum(self) -> None:
        """The hinge must be on each score (eq. 2): a sure score does not make up for another."""
        gan = make("bigbigan")
        batch = gan.draw(images(), Y)
        in_place_of_d(
            gan,
            self.tensors(joint=[3.0, 0.5], x=[-1.0, 1.0], z=[0.0, 2.0]),
            self.tensors(joint=[-3.0, 0.5], x=[1.0, -1.0], z=[0.0, -0.5]),
        )
        assert gan.losses_d(batch) == {
            "joint_real": torch.tensor(0.25),
            "x_real": torch.tensor(1.0),
            "z_real": torch.tensor(0.5),
            "joint_fake": torch.tensor(0.75),
            "x_fake": torch.tensor(1.0),
            "z_fake": torch.tensor(0.75),
        }
        g = gan.losses_g(batch)
        assert float(g["encoder"]) == pytest.approx(1.75 + 0 + 1)
        assert float(g["adversarial"]) == pytest.approx(1.25 + 0 + 0.25)

    @pytest.mark.parametrize("unary", ["none", "x", "z", "both"])
    def test_unary_score_hears_of_the_other_half(self, unary: str) -> None:
        gan = make("bigbigan", unary=unary)
        x, z = images(), gan.noise(16)
        scores, other_x, other_z = gan.D(x, z), gan.D(-x, z), gan.D(x, -z)
        alone = {"none": "", "both": "xz"}.get(unary, unary)
        assert list(scores) == ["joint", *alone]
        for name, score in scores.items():
            assert torch.equal(score, other_x[name]) == (name == "z")
            assert torch.equal(score, other_z[name]) == (name == "x")

    def test_unary_score_goes_unpaid(self) -> None:
        """s_x trains G and s_z trains E even where s_xz says nothing."""
        gan = make("bigbigan")
        torch.nn.init.zeros_(gan.D.w["joint"].weight)
        gan.unfreeze("g")
        gan.optimizer_step = lambda name, terms, weights: terms
        terms = gan.turn("g", gan.draw(images(), Y))
        for term, network in (("adversarial", gan.G), ("encoder", gan.E)):
            grads = torch.autograd.grad(
                terms[term], list(network.parameters()), retain_graph=True, allow_unused=True
            )
            assert any(grad is not None and bool(grad.any()) for grad in grads), term

    @pytest.mark.parametrize("multiple", [1.0, 10.0])
    def test_e_learns_at_the_rate_of_g(self, multiple: float) -> None:
        """Adam's first step is as long as the learning rate wherever there is a gradient."""
        gan = make("bigbigan", lr=1e-4, lr_ratio_e=multiple)
        other = make("bigbigan", lr=1e-4, lr_ratio_e=multiple)
        other.restore(gan.checkpoint())
        for each in (gan, other):
            parts = [list(network.parameters()) for network in (each.G, each.E)]
            before = [[p.clone() for p in part] for part in parts]
            torch.manual_seed(1)
            each.step(images(), Y)
            steps = [
                max(float((a - b).detach().abs().max()) for a, b in zip(*pair, strict=True))
                for pair in zip(before, parts, strict=True)
            ]
            assert steps == pytest.approx([1e-4, 1e-4 * multiple], rel=0.01)


class TestAugmentedBigan:
    def test_losses_are_not_the_papers(self) -> None:
        gan = make("augmented_bigan", matching=2.0)
        b = gan.draw(images(), Y)
        again = gan.G(b.code)
        torch.testing.assert_close(b.fake[16:], again)
        real, fake, third = (
            torch.sigmoid(gan.D(*pair)["joint"])
            for pair in ((b.x, b.code), (b.fake[:16], b.z[:16]), (again, b.code))
        )
        d, g = gan.losses_d(b), gan.losses_g(b)
        torch.testing.assert_close(d["joint_real"], -real.log().mean())
        halves = (1 - fake).log().mean() + (1 - third).log().mean()
        torch.testing.assert_close(d["joint_fake"], -halves / 2)
        torch.testing.assert_close(g["encoder"], -(1 - real).log().mean())
        halves = fake.log().mean() + third.log().mean()
        torch.testing.assert_close(g["adversarial"], -halves / 2)
        means = [gan.D.features(x, z).mean(0) for x, z in ((b.x, b.code), (b.fake[:16], b.z[:16]))]
        torch.testing.assert_close(g["feature_matching"], (means[0] - means[1]).square().sum())
        assert gan.players["g"].weights == {"feature_matching": 2.0}

    def test_reconstructions_do_not_train_e(self) -> None:
        """Reconstructions must train E by their images, even if D ignores codes."""
        gan = make("augmented_bigan")
        gan.D.layers[0][1].weight.data[:, -6:] = 0
        gan.unfreeze("g")
        terms = gan.losses_g(gan.draw(images(), Y))
        for network in (gan.E, gan.G):
            weights = list(network.parameters())
            grads = torch.autograd.grad(terms["adversarial"], weights, retain_graph=True)
            assert any(bool(grad.any()) for grad in grads)


class TestLatentRegressor:
    def test_e_sees_real_images(self) -> None:
        reports = []
        for x in (images(), images(seed=9)):
            gan = make("latent_regressor")
            batch = gan.draw(x, Y)
            reports.append(gan.losses_e(batch)["regression"])
            torch.testing.assert_close(reports[-1], F.mse_loss(batch.code, batch.z))
            gan.turn("e", batch)
        assert torch.equal(*reports)

    def test_e_does_not_learn_z(self) -> None:
        gan = make("latent_regressor", lr=1e-3)
        first = float(gan.step(images(), Y)["loss/e/regression"])
        for _ in range(100):
            last = float(gan.turn("e", gan.draw(images(), Y))["regression"])
        assert last < first / 2

    def test_regression_trains_g(self) -> None:
        """G could give up good images for images whose z is easy to read off."""
        gan = make("latent_regressor")
        batch = gan.draw(images(), Y)
        (grad,) = torch.autograd.grad(
            gan.losses_e(batch)["regression"], batch.fake, allow_unused=True
        )
        assert grad is None
