"""Whether progress bars can be shown: on a terminal, and in a notebook that has widgets."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows widgets."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config and bool(find_spec("ipywidgets"))


def bar_is_hidden() -> bool | None:
    """The argument `disable` of tqdm with which bars are shown on terminals and in notebooks."""
    return False if in_notebook() else None
