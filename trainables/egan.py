"""E-GAN (Wang, Xu, Yao, Tao 2018, arXiv:1803.00657): generators evolve against D.

Every parent has one child for each mutation. A mutation is a loss that the child is trained on for
one step. The fittest children survive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from pydantic import Field, field_validator
from torch import Tensor

from trainables.core import losses
from trainables.core.config import Config, NotNegative
from trainables.core.gan import Gan
from trainables.core.layers import Discriminator, Generator
from trainables.core.layers_mlp import MlpDiscriminator, MlpGenerator
from trainables.core.player import Batch, Player, Terms, named

Mutation = Literal["minimax", "heuristic", "least_squares"]
Count = Annotated[int, Field(ge=1, le=100, strict=True)]
State = tuple[list[Tensor], list[dict[str, Tensor]]]  # G and its average; G's Adam


class EganConfig(Config, frozen=True):
    """Batch, survivors, gamma and n_dis are those of the authors' code for CIFAR-10."""

    batch: Annotated[int, Field(ge=2, le=65536, strict=True)] = 32
    mutations: Annotated[tuple[Mutation, ...], Field(min_length=1)] = get_args(Mutation)
    selection: Literal["fitness", "random"] = "fitness"  # random: a control without evolution
    survivors: Count = 1  # parents of the next generation
    gamma: NotNegative = 0.01  # weight of diversity against quality
    n_dis: Count = 3  # turns of D per generation
    # SN is no choice: it changes at each forward pass, so that siblings would meet different Ds.
    d_norm: Literal["bn", "none"] = "bn"

    @field_validator("mutations")
    @classmethod
    def _different(cls, value: tuple[Mutation, ...]) -> tuple[Mutation, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each mutation once")
        return value


@dataclass
class Child:
    """A generator after its training step."""

    mutation: Mutation
    state: State
    images: Tensor  # [n_dis * batch, C, H, W] to measure fitness; D sees those of survivors
    report: Terms  # loss terms of the step, quality and diversity
    fitness: Tensor


def mutate(kind: Mutation, logits: Tensor) -> Tensor:
    """G's loss from D's logits [N] on its images: E log(1 - D), -E log D, or E (D - 1)^2."""
    if kind == "minimax":
        return losses.g_fake("saturating", logits)
    if kind == "heuristic":
        return losses.g_fake("non_saturating", logits)
    return (logits.sigmoid() - 1).square().mean()


class Egan(Gan):
    """The clock counts the real images that D sees.

    One generation of G comes before D's first turn and before every `n_dis`-th turn that follows. A
    kimg thus has 1000 / batch / n_dis generations. In each generation a line of descent takes one
    step of G and of its Adam, no matter how many siblings die: compare runs at equal numbers of
    generations.

    Reported per generation: the steps *kept* by survivors, the steps *taken* by all children, and
    how many survivors come from each mutation. With random selection only the survivors are bred,
    so the first two are equal.
    """

    config_type = EganConfig
    config: EganConfig
    conditional: ClassVar[bool] = False
    truncates: ClassVar[bool] = True
    on_points: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        c, (channels, size) = self.config, (self.data_spec.channels, self.data_spec.size)
        mlp = self.data_spec.points
        self.G = (MlpGenerator if mlp else Generator)(c.z_dim, c.f, size, channels)
        self.D = (MlpDiscriminator if mlp else Discriminator)(channels, c.f, size, c.d_norm, 1)
        self.population: list[State] = []  # the parents, the fittest first; G holds this one, too
        self.shown = torch.empty(0)  # images of the survivors, for D's next turns
        self.bred: Terms = {}  # what is reported of the last generation
        return {
            "d": Player([self.D], self.losses_d, c.lr * c.lr_ratio),
            "g": Player([self.G], self.losses_g, c.lr),
        }

    def draw(self, x: Tensor, y: Tensor) -> Batch:
        return Batch(x, y, y, self.generate(self.G, self.noise(len(x)), None))

    def losses_d(self, b: Batch) -> Terms:
        """D's loss is cross-entropy, whatever the mutations are."""
        return {
            "adversarial_real": losses.bce(self.D(b.x)[:, 0], 1.0),
            "adversarial_fake": losses.bce(self.D(b.fake.detach())[:, 0], 0.0),
        }

    def losses_g(self, b: Batch) -> Terms:
        """The losses of all mutations. `breed` sets all weights but one to 0."""
        logits = self.D(b.fake)[:, 0]
        return {kind: mutate(kind, logits) for kind in self.config.mutations}

    def step(self, x: Tensor, y: Tensor) -> Terms:
        """Breed a generation if one is due, then train D for a turn on the survivors' images."""
        turn, size = self.turn_number % self.config.n_dis, len(x)
        if turn == 0:
            self.evolve(x, y)
        self.turn_number += 1
        terms = self.turn("d", Batch(x, y, y, self.shown[turn * size :][:size]))
        return self.bred | named({"d": terms})

    def evolve(self, x: Tensor, y: Tensor) -> None:
        """Run one generation. All children get the same z, so that a lucky z cannot decide."""
        c, n = self.config, len(x)
        z = self.noise((1 + c.n_dis) * n)
        pairs = [(p, kind) for p in self.population or [self.keep()] for kind in c.mutations]
        count = min(c.survivors, len(pairs))  # the first generation has one parent
        if c.selection == "random":  # only the chosen children are bred
            pairs = [pairs[i] for i in torch.randperm(len(pairs))[:count].tolist()]
        children = [self.breed(*pair, x, y, z) for pair in pairs]
        survivors = sorted(children, key=lambda child: -float(child.fitness))[:count]
        self.population, updates = [], self.updates
        for child in reversed(survivors):  # the fittest is the last and stays in G
            self.load(child.state)
            self.updates = updates  # count one update per generation, not one per survivor
            self.update_average()
            self.population.insert(0, self.keep())
        # Each survivor has an equal share in every batch that D sees.
        rows = torch.arange(c.n_dis * n, device=self.device)
        self.shown = torch.stack([child.images for child in survivors])[rows % count, rows]
        numbers = {f"survived/{m}": sum(s.mutation == m for s in survivors) for m in c.mutations}
        numbers |= {"generator_steps/kept": count, "generator_steps/taken": len(children)}
        self.bred = survivors[0].report | {
            name: torch.tensor(float(value), device=self.device) for name, value in numbers.items()
        }

    def breed(self, parent: State, kind: Mutation, x: Tensor, y: Tensor, z: Tensor) -> Child:
        """Breed a parent's child by one mutation.

        The child is the parent after one step of G, with the parent's Adam, on the first len(x)
        rows of z. Its fitness is measured on images of the other rows.
        """
        self.load(parent)
        self.players["g"].weights = {term: float(term == kind) for term in self.config.mutations}
        self.unfreeze("g")
        with self.autocast():
            batch = Batch(x, y, y, self.generate(self.G, z[: len(x)], None))
        report = {f"loss/g/{term}": value for term, value in self.turn("g", batch).items()}
        with torch.no_grad(), self.autocast():
            images = self.generate(self.G, z[len(x) :], None).float()
        quality, diversity = self.fitness(x, images)
        report |= {"fitness/quality": quality, "fitness/diversity": diversity}
        return Child(kind, self.keep(), images, report, quality + self.config.gamma * diversity)

    def fitness(self, x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Quality and diversity, two scalars.

        Quality is the mean of D(G(z)). Diversity is -log |gradient of D's loss w.r.t. D's weights|.
        Both are computed in float32, because siblings are only one step apart.
        """
        self.unfreeze("d")
        real, fake = self.D(x)[:, 0], self.D(images)[:, 0]
        loss = losses.bce(real, 1.0) + losses.bce(fake, 0.0)
        grads = torch.autograd.grad(loss, [*self.D.parameters()])
        norm = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()
        return fake.detach().sigmoid().mean(), -norm.log()

    def keep(self) -> State:
        """A copy of what a child inherits: G, its average, and the state of its Adam."""
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
        own = ("population", "shown", "bred")
        return super().checkpoint() | {name: getattr(self, name) for name in own}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.population = state["population"]
        self.shown = state["shown"].to(self.device)
        self.bred = {name: value.to(self.device) for name, value in state["bred"].items()}


VARIANT = Egan
