"""Classification accuracy score (Ravuri & Vinyals 2019): how well do fakes teach a classifier?

A small CNN is trained on fakes only, with the labels that G was asked for. The score is the CNN's
accuracy on held-out real images. Wrong labels, bad images and lack of diversity all lower it.
"""

from __future__ import annotations

import numpy as np
import torch

from study.metrics.core.class_counts import allocate
from study.metrics.core.classifier import Recipe, batched, repeatable, train
from study.metrics.core.networks import small_network
from study.metrics.core.view import View

NEEDS = frozenset({"networks", "labels", "one_label"})
WHEN = "end"
IMAGES = 10_000  # fakes, with the class shares of the real images
DRAWS = 20_000  # draws from these fakes that the CNN sees, all classes equally likely
COLUMNS = {
    "cas": f"accuracy on held-out real images of a small CNN trained on {IMAGES:,} fakes for the "
    "labels asked for",
    "cas_real": "the same of as many real training images in place of fakes",
    "cas_relative": "cas / cas_real; 1 is as good as real images",
}
DIRECTIONS = {"cas": "maximize", "cas_relative": "maximize"}
REAL = {"cas": "cas_real"}


def measure(view: View) -> dict[str, float]:
    reference, device = view.reference, view.gan.device
    counts = allocate(reference.marginal.numpy(), IMAGES)
    y = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    fakes = view.gan.sample(y, len(y), view.rng).cpu()
    _, channels, height, width = fakes.shape
    seed = int(torch.randint(2**31, (), generator=view.rng))
    with repeatable(device, seed):
        recipe = Recipe()
        network = small_network((channels, height, width), reference.classes).to(device)
        train(network, fakes.numpy(), y.numpy(), recipe, DRAWS, recipe.label_lr, seed)
    right = batched(network, reference.x).argmax(1) == reference.y
    accuracy = float(right.double().mean())
    # While the reference is built, real images stand in G's place and `cas_real` does not exist
    # yet. The real images are then measured against themselves, so `cas_relative` is 1.
    real = reference.on_real.get("cas_real", accuracy)
    return {"cas": accuracy, "cas_relative": accuracy / real}
