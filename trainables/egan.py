"""E-GAN (Wang, Xu, Yao, Tao 2018, arXiv:1803.00657): generators evolve against D. Every parent has
a child by each mutation, a loss of its own for one step, and the fittest children survive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from pydantic import Field, field_validator
from torch import Tensor

from trainables.core import losses
from trainables.core.config import Config, NotNegative
from trainables.core.gan import Batch, Gan, Player, Terms
from trainables.core.layers import Discriminator, Generator
from trainables.core.layers_mlp import MlpDiscriminator, MlpGenerator

Mutation = Literal["minimax", "heuristic", "least_squares"]
Count = Annotated[int, Field(ge=1, le=100, strict=True)]
State = tuple[list[Tensor], list[dict[str, Tensor]]]  # of G and its average; of G's Adam


class EganConfig(Config, frozen=True):
    """Batch, survivors, gamma and turns of D are those of the authors' code for CIFAR-10."""

    batch: Annotated[int, Field(ge=2, le=65536, strict=True)] = 32
    mutations: Annotated[tuple[Mutation, ...], Field(min_length=1)] = get_args(Mutation)
    selection: Literal["fitness", "random"] = "fitness"  # random: a control without evolution
    survivors: Count = 1  # parents of the next generation
    gamma: NotNegative = 0.01  # of diversity against quality
    n_dis: Count = 3  # turns of D for one generation
    d_norm: Literal["bn", "none"] = "bn"  # SN moves at each pass: siblings would meet other Ds

    @field_validator("mutations")
    @classmethod
    def _different(cls, value: tuple[Mutation, ...]) -> tuple[Mutation, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each mutation once")
        return value


@dataclass
class Child:
    """A generator after its step."""

    mutation: Mutation
    state: State
    images: Tensor  # [n_dis * batch, C, H, W]: by them it is judged; D sees those of survivors
    report: Terms  # of its step, and how fit it is
    fitness: Tensor


def mutate(kind: Mutation, logits: Tensor) -> Tensor:
    """G's loss from D's logits [N] on its images: E log(1 - D), -E log D, or E (D - 1)^2."""
    if kind == "minimax":
        return losses.g_fake("saturating", logits)
    if kind == "heuristic":
        return losses.g_fake("non_saturating", logits)
    return (logits.sigmoid() - 1).square().mean()


class Egan(Gan):
    """The clock counts the images that D is shown. One generation of G comes before D's first turn
    and every `n_dis`-th that follows: in a kimg there are 1000 / batch / n_dis generations.

    A line of descent takes one step of G, and of Adam, in each, however many siblings die: compare
    at equal numbers of these. Reported per generation: steps *kept* by survivors, steps *taken* by
    all children (by random choice no others are born), and how many survivors each mutation bore.
    """

    config_type = EganConfig
    config: EganConfig
    conditional: ClassVar[bool] = False
    truncates: ClassVar[bool] = True
    on_points: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        c, (channels, size) = self.config, (self.images.channels, self.images.size)
        mlp = self.images.points
        self.G = (MlpGenerator if mlp else Generator)(c.z_dim, c.f, size, channels)
        self.D = (MlpDiscriminator if mlp else Discriminator)(channels, c.f, size, c.d_norm, 1)
        self.population: list[State] = []  # the parents, the fittest first; it is in G, too
        self.shown = torch.empty(0)  # images of the survivors, for D's turns to come
        self.d_turns = 0
        self.reported: Terms = {}  # of the last generation
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio),
            "g": Player([self.G], self.losses_g, c.lr),
        }

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        return Batch(x, y, y, self.generate(self.G, self.noise(len(x)), None))

    def losses_d(self, b: Batch) -> Terms:
        """Cross-entropy, whatever the mutations are."""
        return {
            "adversarial_real": losses.bce(self.D(b.x)[:, 0], 1.0),
            "adversarial_fake": losses.bce(self.D(b.fake.detach())[:, 0], 0.0),
        }

    def losses_g(self, b: Batch) -> Terms:
        """Every mutation's; `breed` gives all but one the weight 0."""
        logits = self.D(b.fake)[:, 0]
        return {kind: mutate(kind, logits) for kind in self.config.mutations}

    def step(self, x: Tensor, y: Tensor) -> Terms:
        """A generation where one is due, then a turn of D on the survivors' images."""
        turn, size = self.d_turns % self.config.n_dis, len(x)
        if turn == 0:
            self.evolve(x, y)
        self.d_turns += 1
        terms = self.turn("d", Batch(x, y, y, self.shown[turn * size :][:size]))
        return self.reported | {f"loss/d/{term}": value for term, value in terms.items()}

    def evolve(self, x: Tensor, y: Tensor) -> None:
        """One generation. All children have the same z, lest luck with it decide."""
        c, n = self.config, len(x)
        z = self.noise((1 + c.n_dis) * n)
        pairs = [(p, kind) for p in self.population or [self.keep()] for kind in c.mutations]
        count = min(c.survivors, len(pairs))  # the first generation has one parent
        if c.selection == "random":  # who is not chosen need not be born
            pairs = [pairs[i] for i in torch.randperm(len(pairs))[:count].tolist()]
        children = [self.breed(*pair, x, y, z) for pair in pairs]
        survivors = sorted(children, key=lambda child: -float(child.fitness))[:count]
        self.population, updates = [], self.updates
        for child in reversed(survivors):  # the fittest is the last and stays in G
            self.load(child.state)
            self.updates = updates  # one generation, however many survive it
            self.update_average()
            self.population.insert(0, self.keep())
        # Each survivor has an equal share of every batch that D is shown.
        rows = torch.arange(c.n_dis * n, device=self.device)
        self.shown = torch.stack([child.images for child in survivors])[rows % count, rows]
        numbers = {f"survived/{m}": sum(s.mutation == m for s in survivors) for m in c.mutations}
        numbers |= {"generator_steps/kept": count, "generator_steps/taken": len(children)}
        self.reported = survivors[0].report | {
            name: torch.tensor(float(value), device=self.device) for name, value in numbers.items()
        }

    def breed(self, parent: State, kind: Mutation, x: Tensor, y: Tensor, z: Tensor) -> Child:
        """A parent's child: one step of G, with the parent's Adam, on the first len(x) rows of z,
        and what it is worth on the others."""
        self.load(parent)
        self.players["g"].weights = {term: float(term == kind) for term in self.config.mutations}
        self.unfreeze("g")
        with self.autocast():
            batch = Batch(x, y, y, self.generate(self.G, z[: len(x)], None))
        report = {f"loss/g/{term}": value for term, value in self.turn("g", batch).items()}
        with torch.no_grad(), self.autocast():
            images = self.generate(self.G, z[len(x) :], None).float()
        quality, diversity = self.judge(x, images)
        report |= {"fitness/quality": quality, "fitness/diversity": diversity}
        return Child(kind, self.keep(), images, report, quality + self.config.gamma * diversity)

    def judge(self, x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Quality, mean D(G(z)), and diversity, -log |gradient of D's loss by D|: scalars.

        In float32: siblings are one step apart.
        """
        self.unfreeze("d")
        real, fake = self.D(x)[:, 0], self.D(images)[:, 0]
        loss = losses.bce(real, 1.0) + losses.bce(fake, 0.0)
        grads = torch.autograd.grad(loss, [*self.D.parameters()])
        norm = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()
        return fake.detach().sigmoid().mean(), -norm.log()

    def keep(self) -> State:
        """A copy of G, of its average, and of its Adam: what a child inherits."""
        adam = self.optimizers["g"].state
        moments = [{k: v.clone() for k, v in adam[p].items()} for p in self.G.parameters()]
        return [value.clone() for value in self.evolving()], moments

    def load(self, state: State) -> None:
        adam = self.optimizers["g"].state
        for value, kept in zip(self.evolving(), state[0], strict=True):
            value.copy_(kept)
        for p, moments in zip(self.G.parameters(), state[1], strict=True):
            adam[p] = {k: v.to(self.device, copy=True) for k, v in moments.items()}

    def evolving(self) -> list[Tensor]:
        return [*self.G.state_dict().values(), *self.G_ema.state_dict().values()]

    def checkpoint(self) -> dict[str, Any]:
        own = ("population", "shown", "d_turns", "reported")
        return super().checkpoint() | {name: getattr(self, name) for name in own}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.population, self.d_turns = state["population"], state["d_turns"]
        self.shown = state["shown"].to(self.device)
        self.reported = {name: value.to(self.device) for name, value in state["reported"].items()}


VARIANT = Egan
