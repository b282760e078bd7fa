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
        ValueError: no such study (the message names the valid ones), or its file is wrong.
    """
    if name not in names():
        raise ValueError(f"unknown study {name!r}: choose one of {', '.join(names())}")
    try:
        study = importlib.import_module(f"{__name__}.{name}").STUDY
    except Exception as error:  # whatever a file in the making raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"search_spaces/{name}.py cannot be read: {reason}") from error
    if not isinstance(study, Study):
        raise ValueError(f"search_spaces/{name}.py: STUDY={study!r} is no Study")
    return study
