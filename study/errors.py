"""The error for bad input. Any part of the project may raise it; the user sees its one line."""


class BadInputError(Exception):
    """What the user asked for cannot be done. The message is one line that names the bad value."""
