"""What a metric may need of a variant and of the data, and which variants and data offer it.

A need that is not listed here is an attribute of the variant's class: a metric with
NEEDS = frozenset({"inverts"}) suits the variants that have `inverts = True`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.core.gan import Gan
    from trainables.data.base import DataSpec

# For each need: a test whether a variant and its data offer it, and a description of the need for
# the error message. In the description, {} stands for the variant's name.
OFFERS: dict[str, tuple[Callable[[type[Gan], DataSpec], bool], str]] = {
    "networks": (lambda gan, _: hasattr(gan, "turn"), "networks, and {} has images alone"),
    "labels": (lambda gan, _: gan.conditional, "a generator that takes labels, which {} has not"),
    "classifies": (lambda gan, _: gan.classifies, "a class head in D, which {} has not"),
    "encodes": (lambda gan, _: gan.encodes, "an encoder, which {} has not"),
    "tangents": (lambda gan, _: gan.has_tangents, "tangents of the data, which {} does not know"),
    "truncates": (
        lambda gan, _: gan.truncates,
        "a normal z that is all of G's randomness and can be cut, which {} has not",
    ),
    "one_label": (
        lambda _, spec: spec.labels == 1,
        "one label per image, and these data have several",
    ),
    "several_labels": (
        lambda _, spec: spec.labels > 1,
        "several labels per image, and these data have one",
    ),
    "translates": (
        lambda gan, _: gan.translates,
        "a generator that translates images, which {} does not",
    ),
    "paired": (
        lambda _, spec: spec.paired,
        "images in pairs of two domains, and these data are of one",
    ),
    "points": (lambda _, spec: spec.points, "points in the plane, and these data are images"),
}


def is_offered(need: str, variant: type[Gan], spec: DataSpec) -> bool:
    """Whether a variant, on such data, offers what a metric needs."""
    if need in OFFERS:
        return OFFERS[need][0](variant, spec)
    return bool(getattr(variant, need, False))


def description(need: str) -> str:
    """What is needed, for a message. {} stands for the variant's name."""
    return OFFERS[need][1] if need in OFFERS else f"{need} = True, which {{}} has not"
