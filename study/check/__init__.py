"""The contracts of variants, metrics, studies and data, as checks that anyone can run.

A check is a function that raises BrokenError if what its name says does not hold. The tests of this
project run the same functions over everything that it has.
"""


class BrokenError(Exception):
    """A contract does not hold. The message is one line that says what was found."""


def need(holds: object, message: str) -> None:
    """Raise BrokenError with the message unless `holds`."""
    if not holds:
        raise BrokenError(message)
