"""E-GAN: mutation, fitness and survival. Its contract as a variant is in test_variants.py.

If others than the fittest survive, if luck decides, or if siblings share state, the study measures
that.
"""

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.core.images import to_float
from trainables.core.loop import Loop
from trainables.data.base import DataSpec
from trainables.egan import Egan, mutate

LOOKS = DataSpec(2, 1, (8, 8))
POINTS = DataSpec(8, 1, (1, 2))
ALL = ("minimax", "heuristic", "least_squares")


def make(images: DataSpec = LOOKS, **values: Any) -> Egan:
    torch.manual_seed(0)
    given = {"f": 2, "batch": 8, "z_dim": 8, "n_dis": 1, "lr": 2e-3, **values}
    return Egan(Egan.config_type.parse(given), images, torch.device("cpu"))


def loop(gan: Egan, n: int = 64) -> Loop:
    rng = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (n, 1, *gan.data_spec.size), generator=rng).to(torch.uint8)
    return Loop(gan, x, torch.zeros(n, dtype=torch.int64), 0)


def weights(gan: Egan) -> list[Tensor]:
    return [value.clone() for value in gan.G.state_dict().values()]


def rigged(monkeypatch: pytest.MonkeyPatch, gan: Egan, worth: list[tuple[float, float]]) -> None:
    """Give the children these values of (quality, diversity), in turn."""
    values = iter(worth * 100)
    monkeypatch.setattr(gan, "fitness", lambda *_: tuple(map(torch.tensor, next(values))))


class TestMutations:
    def test_loss_is_another(self) -> None:
        logits = torch.linspace(-3, 3, 7)
        d = logits.sigmoid()
        expected = [(1 - d).log().mean(), -d.log().mean(), F.mse_loss(d, torch.ones(7))]
        for kind, value in zip(ALL, expected, strict=True):
            torch.testing.assert_close(mutate(kind, logits), value)  # type: ignore[arg-type]

    @pytest.mark.parametrize("kind", ALL)
    def test_control_of_one_mutation_is_no_plain_gan(self, kind: str) -> None:
        """With one mutation, a step must be a plain Adam step of G on this loss.

        Then D must take a step on images of the new G.
        """
        gan = make(mutations=[kind], d_norm="none")
        x, y = to_float(loop(gan).x[:8]), torch.zeros(8, dtype=torch.int64)
        g, d = copy.deepcopy(gan.G), copy.deepcopy(gan.D)
        betas = (gan.config.beta1, gan.config.beta2)
        for network in (g, d):
            network.requires_grad_(True)
        rates = {"lr": gan.config.lr, "betas": betas, "fused": True}
        of_g = torch.optim.Adam(g.parameters(), **rates)  # type: ignore[arg-type]
        of_d = torch.optim.Adam(d.parameters(), **rates)  # type: ignore[arg-type]
        for step in range(3):
            torch.manual_seed(step)
            gan.step(x, y)
            torch.manual_seed(step)
            z = torch.randn(16, 8)
            loss = mutate(kind, d(g(z[:8]))[:, 0])  # type: ignore[arg-type]
            of_g.zero_grad()
            loss.backward()
            of_g.step()
            with torch.no_grad():
                fake = g(z[8:])
            real, fakes = d(x)[:, 0], d(fake)[:, 0]
            of_d.zero_grad()
            (F.softplus(-real).mean() + F.softplus(fakes).mean()).backward()
            of_d.step()
        for mine, plain in ((gan.G, g), (gan.D, d)):
            for a, b in zip(mine.state_dict().values(), plain.state_dict().values(), strict=True):
                torch.testing.assert_close(a, b)

    def test_mutation_twice_is_accepted(self) -> None:
        with pytest.raises(ValueError, match=r"mutations=.*each mutation once"):
            make(mutations=["minimax", "minimax"])
        with pytest.raises(ValueError, match="mutations"):
            make(mutations=[])

    def test_siblings_meet_other_discriminators(self) -> None:
        """Spectral norm's vectors change at each pass through D, and every child has a pass."""
        with pytest.raises(ValueError, match="d_norm='sn'"):
            make(d_norm="sn")


class TestFitness:
    def test_quality_or_diversity_is_another_number(self) -> None:
        gan = make(d_norm="none")
        x, images = torch.rand(2, 8, 1, 8, 8).unbind()
        quality, diversity = gan.fitness(x, images)
        d = copy.deepcopy(gan.D).requires_grad_(True)
        torch.testing.assert_close(quality, d(images).sigmoid().mean().detach())
        loss = F.softplus(-d(x)).mean() + F.softplus(d(images)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        whole = torch.cat([p.grad.flatten() for p in d.parameters() if p.grad is not None])
        torch.testing.assert_close(diversity, -whole.norm().log())

    def test_collapse_counts_as_diverse(self) -> None:
        """Against fakes in one place, D has an easy next step: the paper's reason for the minus."""
        gan = make(POINTS, f=8, d_norm="none", lr=1e-3)
        rng = torch.Generator().manual_seed(0)
        real = torch.rand(512, 1, 1, 2, generator=rng) - 0.5
        spread = torch.rand(512, 1, 1, 2, generator=rng) - 0.5
        collapsed = torch.full_like(spread, 0.4)
        assert gan.fitness(real, spread)[1] > gan.fitness(real, collapsed)[1] + 0.5

    def test_judging_changes_d(self) -> None:
        gan = make()
        before = copy.deepcopy(gan.D.state_dict())
        gan.fitness(*torch.rand(2, 8, 1, 8, 8).unbind())
        for name, value in gan.D.state_dict().items():
            assert torch.equal(value, before[name]), name


class TestSurvival:
    x, y = torch.zeros(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)

    @pytest.mark.parametrize(("gamma", "fittest"), [(0.0, 1), (0.01, 1), (1.0, 2)])
    def test_fittest_dies(
        self, monkeypatch: pytest.MonkeyPatch, gamma: float, fittest: int
    ) -> None:
        """Quality decides where gamma is small, diversity where it is large."""
        gan = make(gamma=gamma)
        rigged(monkeypatch, gan, [(0.3, 0.3), (0.6, 0.1), (0.2, 0.9)])
        report = gan.step(self.x, self.y)
        assert [report[f"survived/{kind}"] for kind in ALL] == [i == fittest for i in range(3)]

    def test_siblings_leave_a_trace(self) -> None:
        """Born in another order, the same child must survive with the same weights."""
        ends = []
        for mutations in (ALL, ALL[::-1]):
            gan = make(mutations=mutations)
            means = loop(gan).run(160)
            ends.append(([means[f"survived/{kind}"] for kind in ALL], weights(gan)))
        assert ends[0][0] == ends[1][0]
        assert max(ends[0][0]) < 1, "one mutation alone survived: this test would show nothing"
        assert all(torch.equal(a, b) for a, b in zip(ends[0][1], ends[1][1], strict=True))

    def test_children_are_judged_on_luck(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gan, seen = make(), []
        breed = gan.breed
        monkeypatch.setattr(gan, "breed", lambda *a: seen.append(a[-1]) or breed(*a))
        gan.step(self.x, self.y)
        assert len(seen) == 3
        assert all(torch.equal(z, seen[0]) for z in seen)
        assert not torch.equal(seen[0][:8], seen[0][8:]), "judged by the z that it was trained on"

    @pytest.mark.parametrize("survivors", [1, 2])
    def test_parent_forgets_its_adam(self, survivors: int) -> None:
        """A line of descent must have an Adam step per generation, and the moments of all steps."""
        gan = make(survivors=survivors)
        loop(gan).run(5 * 8)
        for parent in gan.population:
            assert {float(moments["step"]) for moments in parent[1]} == {5}
        assert gan.updates == 5

    def test_average_follows_the_dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With ema=0 the average is the survivor itself, which is neither first nor last here."""
        gan = make(ema=0.0)
        rigged(monkeypatch, gan, [(0.1, 0.0), (0.9, 0.0), (0.5, 0.0)])
        for _ in range(3):
            gan.step(self.x, self.y)
            for name, value in gan.G_ema.state_dict().items():
                assert torch.equal(value, gan.G.state_dict()[name])

    def test_parents_are_not_as_many_as_asked(self) -> None:
        """Three parents have nine children. The fittest must be in G and first in `population`."""
        gan = make(survivors=3)
        first, second = (gan.step(self.x, self.y) for _ in range(2))
        assert float(first["generator_steps/taken"]) == 3
        assert float(second["generator_steps/taken"]) == 9
        assert float(second["generator_steps/kept"]) == 3
        assert len(gan.population) == 3
        assert sum(float(second[f"survived/{kind}"]) for kind in ALL) == 3
        fittest, other = (parent[0] for parent in gan.population[:2])
        mine = weights(gan)
        assert all(torch.equal(a, b) for a, b in zip(mine, fittest, strict=False))
        assert not all(torch.equal(a, b) for a, b in zip(mine, other, strict=False))

    def test_d_is_shown_others_than_the_survivors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """D's n_dis turns must see the images that the survivors were chosen by, each once."""
        gan, children, seen = make(survivors=2, n_dis=2), [], []
        breed, turn = gan.breed, gan.turn

        def born(*given: Any) -> Any:
            children.append(breed(*given))
            return children[-1]

        def watched(name: str, batch: Any) -> Any:
            if name == "d":
                seen.append(batch.fake)
            return turn(name, batch)

        monkeypatch.setattr(gan, "breed", born)
        monkeypatch.setattr(gan, "turn", watched)
        rigged(monkeypatch, gan, [(0.5, 0.0), (0.1, 0.0), (0.9, 0.0)])
        gan.step(self.x, self.y)
        gan.step(self.x, self.y)
        assert len(children) == 3, "a generation for every turn of D"
        fittest, second = children[2].images, children[0].images
        shown = torch.cat(seen)
        assert torch.equal(shown[::2], fittest[::2])
        assert torch.equal(shown[1::2], second[1::2])


class TestRandom:
    @pytest.mark.slow
    def test_chance_prefers_a_mutation_or_breeds_those_it_drops(self) -> None:
        gan = make(POINTS, selection="random", d_norm="none")
        means = loop(gan).run(200 * 8)
        assert means["generator_steps/taken"] == means["generator_steps/kept"] == 1
        for kind in ALL:
            assert means[f"survived/{kind}"] == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("images", [LOOKS, POINTS])
@pytest.mark.parametrize("selection", ["fitness", "random"])
def test_killed_cell_goes_on_in_another_way(images: DataSpec, selection: str) -> None:
    """A cell is killed after 7 of 13 turns of D, in the middle of a generation of three turns.

    There are two parents. Only what was written to a file is left.
    """
    values = {"survivors": 2, "n_dis": 3, "selection": selection}
    whole = loop(make(images, **values))
    expected = [whole.run(7 * 8), whole.run(13 * 8)]
    first = loop(make(images, **values))
    means = [first.run(7 * 8)]
    file = io.BytesIO()
    torch.save(first.checkpoint(), file)
    file.seek(0)
    second = loop(make(images, **values))
    torch.manual_seed(99)
    second.restore(torch.load(file, weights_only=True))
    means.append(second.run(13 * 8))
    assert means == expected
    ends = [l.gan.state_dict().values() for l in (whole, second)]  # noqa: E741
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_points_get_convolutions_or_images_none() -> None:
    kinds = [
        {type(m).__name__ for m in make(images, d_norm="none").D.modules()}
        for images in (POINTS, LOOKS)
    ]
    assert ["Conv2d" in kind for kind in kinds] == [False, True]
    gan = make(POINTS)
    assert gan.sample(None, 5, torch.Generator()).shape == (5, 1, 1, 2)
