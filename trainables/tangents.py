"""Manifold invariance (Kumar, Sattigeri, Fletcher 2017, arXiv:1705.08850) for a semi-supervised D.

The variant is an SGAN with feature matching. A penalty keeps D from changing along tangents of the
data. An augmented BiGAN has learned these tangents before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainables.augmented_bigan import AugmentedBigan, AugmentedBiganConfig
from trainables.core.affine import GENERATORS, affine_tangents, orthonormal
from trainables.core.config import Config, NotNegative, Positive
from trainables.core.player import Player, Terms
from trainables.sgan import Sgan, SganBatch, SganConfig

Whole = Annotated[int, Field(ge=1, le=1024, strict=True)]
LEARNED = ("encoder", "decoder")


class TangentsConfig(SganConfig, frozen=True):
    generator_loss: Literal["class", "feature_matching"] = "feature_matching"
    supervised_only: Literal[False] = False  # no choice: the penalty uses unlabelled images
    # BN is no choice: it mixes the images of a batch, so J at one image would be that of all.
    d_norm: Literal["sn", "none"] = "none"
    # "encoder", "decoder": singular directions of the Jacobian of E at x, or of G at E(x). The
    # others are controls: "random" directions are drawn anew at each step, and "affine" ones are
    # the changes of x when it is shifted, turned, scaled and sheared.
    directions: Literal["encoder", "decoder", "random", "affine"] = "encoder"
    k: Annotated[int, Field(ge=1, le=64, strict=True)] = 6  # number of directions at each image
    tangent: NotNegative = 0.01  # lambda_1, weight of D's change along the directions
    jacobian: NotNegative = 0.0  # lambda_2, weight of D's change in all directions
    # For learned directions: kimg that the augmented BiGAN is trained on before the game starts,
    # its learning rate, and the length of its z. Its width is f.
    inference_kimg: Annotated[float, Field(gt=0, le=1_000_000, strict=True)] = 1.0
    inference_lr: Positive = 2e-4
    latents: Whole = 32

    @model_validator(mode="after")
    def _directions(self) -> Self:
        most = {"encoder": self.latents, "decoder": self.latents, "affine": len(GENERATORS)}
        if self.k > (n := most.get(self.directions, self.k)):
            raise ValueError(f"k={self.k}: directions={self.directions!r} has {n} at most")
        return self


def leading(jacobian: Tensor, k: int) -> Tensor:
    """An orthonormal basis [N, k, P] of the span of the first k right singular vectors of J.

    J is [N, m, P] with k <= m. The vectors are J^T u, where u are eigenvectors of J J^T. As J J^T
    is only m x m, this takes a tenth of the time of an SVD.

    Raises:
        FloatingPointError: J is not finite.
    """
    if not jacobian.isfinite().all():
        raise FloatingPointError("the Jacobian that tangents are read off is not finite")
    vectors = torch.linalg.eigh(jacobian @ jacobian.mT)[1]  # by ascending eigenvalues
    return orthonormal(vectors[:, :, -k:].mT @ jacobian)


def change(network: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """||J v||^2 [N], exactly, where J is the Jacobian of a network at x.

    The network maps x [N, ...] to [N, K]. v has the shape of x.
    """
    out: Tensor = torch.func.jvp(network, (x,), (v,))[1]
    return out.float().square().sum(1)


class Tangents(Sgan):
    """SGAN's players, and an augmented BiGAN that is trained before the game and then kept fixed.

    D has the further term lambda_1 E_x sum_v ||J_x v||^2 + lambda_2 E_x ||J_x||_F^2 (sec. 2.3).
    J_x is the Jacobian of D's class logits at an unlabelled image x. Both sums are estimated
    without bias by one v per image: a standard normal vector in the span of the tangents, or in the
    whole space. Learned directions are computed anew at each step. On a GPU each step waits for
    them.
    """

    config_type: ClassVar[type[Config]] = TangentsConfig
    config: TangentsConfig
    has_tangents: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        players, c = super().build(), self.config
        # Made after SGAN's own networks, so that these have the same first weights as in SGAN.
        inference = AugmentedBiganConfig(
            f=c.f,
            batch=c.batch,
            z_dim=c.latents,
            lr=c.inference_lr,
            lr_scale=c.lr_scale,
            ema=c.ema,
        )
        self.inference = AugmentedBigan(inference, self.data_spec, self.device, self.bf16)
        weights = {**players["d"].weights, "tangent": c.tangent, "jacobian": c.jacobian}
        players["d"].weights = weights
        return players

    def pretrain_images(self) -> int:
        c = self.config
        return round(c.inference_kimg * 1000) if c.directions in LEARNED else 0

    def pretrain(self, x: Tensor, y: Tensor) -> None:
        self.inference.step(x, y)

    @torch.no_grad()
    def tangents(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        c = self.config
        with torch.autocast(self.device.type, enabled=False):
            if c.directions == "affine":
                return orthonormal(affine_tangents(x)[:, : c.k].flatten(2))
            if c.directions == "random":
                shape, where = (len(x), c.k, x[0].numel()), "cpu" if rng else self.device
                return orthonormal(torch.randn(shape, generator=rng, device=where).to(self.device))
            return leading(self.jacobian(x), c.k)

    def jacobian(self, x: Tensor) -> Tensor:
        """The Jacobian of E at x, or the transposed one of the averaged G at E(x).

        Returns [N, latents, C*H*W].
        """
        E, G = self.inference.E.eval(), self.inference.G_ema
        rows: Tensor
        if self.config.directions == "encoder":
            of_one = torch.func.jacrev(lambda image: self.inference.code(image[None])[0])
            rows = torch.func.vmap(of_one)(x).flatten(2)
        else:
            of_one = torch.func.jacfwd(lambda z: G(z[None])[0].flatten())
            rows = torch.func.vmap(of_one)(self.inference.code(x)).mT
        E.train()
        return rows

    def losses_d(self, b: SganBatch) -> Terms:
        c, terms = self.config, super().losses_d(b)
        if c.tangent:
            tangents = self.tangents(b.x)
            inside = torch.randn(len(b.x), 1, c.k, device=self.device) @ tangents
            terms["tangent"] = change(self.D, self.noisy(b.x), inside.view_as(b.x)).mean()
        if c.jacobian:
            terms["jacobian"] = change(self.D, self.noisy(b.x), torch.randn_like(b.x)).mean()
        return terms

    def checkpoint(self) -> dict[str, Any]:
        inference = self.inference.checkpoint()
        del inference["networks"]  # this GAN's own networks include them
        return super().checkpoint() | {"inference": inference}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.inference.restore(state["inference"] | {"networks": self.inference.state_dict()})


VARIANT = Tangents
