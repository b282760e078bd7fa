"""The studies. Every file of this folder except core.py and checks.py is one.

The folder is their registry.
"""

import importlib
import pkgutil

from search_spaces.core import Study

NO_STUDIES = ("checks", "core")


def names() -> list[str]:
    """Names of all studies, in the form that `python -m study.run NAME` takes."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in NO_STUDIES)


def load(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: there is no such study (the message names the valid ones), or its file is
            wrong.
    """
    if name not in names():
        raise ValueError(f"unknown study {name!r}: choose one of {', '.join(names())}")
    try:
        study = importlib.import_module(f"{__name__}.{name}").STUDY
    except Exception as error:  # an unfinished file may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"search_spaces/{name}.py cannot be read: {reason}") from error
    if not isinstance(study, Study):
        raise ValueError(f"search_spaces/{name}.py: STUDY={study!r} is no Study")
    return study
