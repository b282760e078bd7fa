"""A condition's GAN on blank images, to time its steps and to see which losses it reports."""

from __future__ import annotations

import dataclasses

import torch

import trainables
from study.planning.plan import Plan
from trainables.core.loop import Loop


def probe(plan: Plan, condition: str, device: torch.device) -> Loop:
    """The training loop of a condition's reference recipe on black images, past its pretraining."""
    variant = trainables.load(plan.variant(condition))
    config = variant.config_type.parse(plan.hyperparameters(condition))
    classes = plan.conditions[condition].get("classes", plan.classes)
    spec = dataclasses.replace(plan.data_spec, classes=classes)
    gan = variant(config, spec, device)
    n = max(4 * config.batch, *config.images_needed().values())
    x = torch.zeros(n, plan.channels, *plan.size, dtype=torch.uint8, device=device)
    loop = Loop(gan, x, gan.random_labels(n), 0)
    loop.pretrained = gan.pretrain_images()
    return loop
