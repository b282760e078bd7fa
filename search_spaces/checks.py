"""Checks of the values that a study is declared with."""

from __future__ import annotations

import json
from collections.abc import Mapping


def check_text(what: str, value: object) -> None:
    """Refuse a value that cannot stand on one line of a report.

    Raises:
        ValueError: the value is not a text, is empty, or has line breaks or other characters that
            are not printable.
    """
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError(f"{what}={value!r}: one line of printable text is needed")


def check_plain(what: str, values: object) -> None:
    """Refuse anything but a mapping of names to values that JSON can hold.

    Raises:
        ValueError: `values` is not a mapping, a name is not printable text, or JSON cannot hold a
            value.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{what}={values!r}: a mapping of names to values is needed")
    for name, value in values.items():
        check_text(f"a name in {what}", name)
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            needed = "numbers, texts and lists of them are needed"
            raise ValueError(f"{what}: {name}={value!r}: {needed}") from None


def check_choice(what: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        ValueError: one line that names the value and the choices.
    """
    if value not in choices:
        raise ValueError(f"{what}={value!r}: choose one of {', '.join(map(str, choices))}")


def check_region(what: str, region: object) -> None:
    """Refuse anything but a pair of numbers (low, high) with low < high.

    Raises:
        ValueError: one line that names the value.
    """
    pair = isinstance(region, tuple) and [type(bound) in (int, float) for bound in region]
    if not isinstance(region, tuple) or pair != [True, True] or not region[0] < region[1]:
        raise ValueError(f"{what}: region={region!r}: (low, high) is needed")  # NaN is refused, too


# Why a search cannot have some of Optuna's samplers. A suggestion has to follow from the cells that
# ended before alone, so that a search that is killed or rebuilt goes on as it would have.
NO_SAMPLERS = {
    "cmaes": "its state is more than the cells that ended; choose gp or tpe",
    "grid": "write the grid as conditions: search_spaces.core.crossed makes them",
    "qmc": "its points are counted by the order of asking, not by cell; choose random",
}


def check_sampler(name: object, choices: tuple[object, ...]) -> None:
    """Refuse what is none of the choices, and say why of some of Optuna's samplers.

    Raises:
        ValueError: one line that says why.
    """
    if isinstance(name, str) and name in NO_SAMPLERS:
        raise ValueError(f"sampler {name!r}: {NO_SAMPLERS[name]}")
    check_choice("sampler", name, choices)
