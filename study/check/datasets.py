"""The contract of a function that makes data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from study.check import need
from trainables.data import Dataset
from trainables.data.own import check


def it_can_be_used(name: str, make: Callable[[], Dataset]) -> None:
    check(name, make())


def it_makes_the_same_each_time(name: str, make: Callable[[], Dataset]) -> None:
    """A study's data are known by a digest of their content."""
    first, again = make().digest, make().digest
    need(first == again, f"two calls give other data ({first}, {again}): draw with a fixed seed")


def held_out_images_are_not_trained_on(name: str, make: Callable[[], Dataset]) -> None:
    dataset = make()
    if dataset.spec.points:
        return
    seen = {image.tobytes() for image in dataset.train.x}
    shared = sum(image.tobytes() in seen for image in dataset.test.x)
    need(
        shared < 0.01 * len(dataset.test.x),
        f"{shared} of {len(dataset.test.x)} test images are among the training images",
    )


def images_of_a_class_differ(name: str, make: Callable[[], Dataset]) -> None:
    """The spread of fakes cannot be measured against a class of equal images."""
    dataset = make()
    if dataset.train.y.ndim > 1:
        return
    for label, said in enumerate(dataset.classes):
        images = dataset.train.x[dataset.train.y == label]
        need(np.any(images != images[0]), f"the training images of class {said} are all the same")


CHECKS = (
    it_can_be_used,
    it_makes_the_same_each_time,
    held_out_images_are_not_trained_on,
    images_of_a_class_differ,
)
