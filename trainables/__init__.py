"""GAN variants: one file each. The folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.core.gan import Gan


def names() -> list[str]:
    """Names of all variants, as a study's `variant` takes them."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def load(name: str) -> type[Gan]:
    """The variant of that name (its file's `VARIANT`). Imports torch.

    Raises:
        ValueError: no such variant (the message names the valid ones).
    """
    if name not in names():
        raise ValueError(f"unknown variant {name!r}: choose one of {', '.join(names())}")
    variant: type[Gan] = importlib.import_module(f"{__name__}.{name}").VARIANT
    return variant
