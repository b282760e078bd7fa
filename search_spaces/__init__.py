"""Studies: one file each. The folder is the registry."""

import importlib
import pkgutil

from search_spaces.core import Study


def names() -> list[str]:
    """Names of all studies, as `python -m study.run NAME` takes them."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "core")


def load(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: no such study (the message names the valid ones).
    """
    if name not in names():
        raise ValueError(f"unknown study {name!r}: choose one of {', '.join(names())}")
    study: Study = importlib.import_module(f"{__name__}.{name}").STUDY
    return study
