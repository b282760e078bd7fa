"""GAN variants: one file each. The folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.core.gan import Gan


def names() -> list[str]:
    """Names of all variants, in the form that a study's `variant` takes."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def load(name: str) -> type[Gan]:
    """The variant called `name`: the `VARIANT` of its file. Imports torch.

    Raises:
        ValueError: There is no such variant. The message names the valid ones.
    """
    if name not in names():
        raise ValueError(f"unknown variant {name!r}: choose one of {', '.join(names())}")
    variant: type[Gan] = importlib.import_module(f"{__name__}.{name}").VARIANT
    return variant
