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
