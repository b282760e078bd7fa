"""GAN variants: one file each. The folder is the registry."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.core.gan import Gan


_added: dict[str, type[Gan]] = {}


@functools.cache
def names() -> list[str]:
    """Names of all variants, in the form that a study's `variant` takes."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def add(name: str, variant: type[Gan]) -> None:
    """Make a variant from anywhere known by a name, until this process ends.

    Raises:
        ValueError: it is no subclass of Gan.
    """
    from trainables.core.gan import Gan

    if not (isinstance(variant, type) and issubclass(variant, Gan)):
        raise ValueError(f"variant {name!r}: {variant!r} is no subclass of Gan")
    _added[name] = variant


def load(name: str) -> type[Gan]:
    """The variant called `name`: the `VARIANT` of its file, or what was added. Imports torch.

    Raises:
        ValueError: There is no such variant. The message names the valid ones.
    """
    if name in _added:
        return _added[name]
    if name not in names():
        raise ValueError(f"unknown variant {name!r}: choose one of {', '.join(names())}")
    variant: type[Gan] = importlib.import_module(f"{__name__}.{name}").VARIANT
    return variant
