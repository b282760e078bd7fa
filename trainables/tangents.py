"""Manifold invariance (Kumar, Sattigeri, Fletcher 2017, arXiv:1705.08850): a feature-matching SGAN
whose D is kept from changing along tangents of the data, which an augmented BiGAN has learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainables.augmented_bigan import AugmentedBigan, AugmentedBiganConfig
from trainables.core.affine import GENERATORS, affine_tangents, orthonormal
from trainables.core.config import Config, NotNegative, Positive
from trainables.core.gan import Player, Terms
from trainables.sgan import Sgan, SganBatch, SganConfig

Whole = Annotated[int, Field(ge=1, le=1024, strict=True)]
LEARNED = ("encoder", "decoder")


class TangentsConfig(SganConfig, frozen=True):
    generator_loss: Literal["class", "feature_matching"] = "feature_matching"
    supervised_only: Literal[False] = False  # D is flat at images without labels
    d_norm: Literal["sn", "none"] = "none"  # BN mixes images: J of one would be that of all
    # Singular directions of the Jacobian of E, or of G at E(x); the controls are directions drawn
    # anew at each step, and how x changes as it is shifted, turned, scaled and sheared.
    directions: Literal["encoder", "decoder", "random", "affine"] = "encoder"
    k: Annotated[int, Field(ge=1, le=64, strict=True)] = 6  # how many at each image
    tangent: NotNegative = 0.01  # weight of D's change along them, lambda_1
    jacobian: NotNegative = 0.0  # of its change in all directions, lambda_2
    # Where they are learned: images that the augmented BiGAN is trained on before the game starts,
    # its learning rate and the length of its z. Its width is f.
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
    """The span of the first k right singular vectors of J [N, m, P], k <= m: [N, k, P] orthonormal.

    They are J^T u of the eigenvectors u of J J^T, which is m x m: a tenth of an SVD's time.

    Raises:
        FloatingPointError: J is not finite.
    """
    if not jacobian.isfinite().all():
        raise FloatingPointError("the Jacobian that tangents are read off is not finite")
    vectors = torch.linalg.eigh(jacobian @ jacobian.mT)[1]  # by ascending eigenvalues
    return orthonormal(vectors[:, :, -k:].mT @ jacobian)


def change(network: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """||J v||^2 [N], J the Jacobian of a network at x [N, ...] -> [N, K], and v as x; exact."""
    out: Tensor = torch.func.jvp(network, (x,), (v,))[1]
    return out.float().square().sum(1)


class Tangents(Sgan):
    """SGAN's players, and an augmented BiGAN that is trained before the game, then left as it is.

    D's term is lambda_1 E_x sum_v ||J_x v||^2 + lambda_2 E_x ||J_x||_F^2 (sec. 2.3) of its class
    logits at unlabelled images. Both sums are estimated without bias by one v per image, a standard
    normal vector in the span of the tangents or in all of the space. Learned directions are solved
    for at each step, and on a GPU each waits for it.
    """

    config_type: ClassVar[type[Config]] = TangentsConfig
    config: TangentsConfig
    spans: ClassVar[bool] = True

    def build(self) -> dict[str, Player]:
        players, c = super().build(), self.config
        # After SGAN's own networks, which thus begin as SGAN's do.
        inference = AugmentedBiganConfig(
            f=c.f,
            batch=c.batch,
            z_dim=c.latents,
            lr=c.inference_lr,
            lr_scale=c.lr_scale,
            ema=c.ema,
        )
        self.inference = AugmentedBigan(inference, self.images, self.device, self.bf16)
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
        """Of E at x, or transposed of the averaged G at E(x): [N, latents, C*H*W]."""
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
        del inference["networks"]  # they are among this GAN's own
        return super().checkpoint() | {"inference": inference}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.inference.restore(state["inference"] | {"networks": self.inference.state_dict()})


VARIANT = Tangents
