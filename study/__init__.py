"""Studies of GANs: run them, read their records, load their generators.

The names below are what users of this project import. Each name's module is loaded when the name is
first used, so that importing this package loads nothing heavy.

```
from study import Records, load_generator

cells = Records("runs/acgan_kmnist_classes").cells()
images = load_generator("models:/acgan_kmnist_classes.classes-5/1")(labels=[0, 1], seed=0)
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.errors import BadInputError
    from study.records.lock import LockedError
    from study.records.records import Records
    from study.tracking.generators import Generator, load_generator

__all__ = ["BadInputError", "Generator", "LockedError", "Records", "load_generator"]

_MODULES = {
    "BadInputError": "study.errors",
    "Generator": "study.tracking.generators",
    "LockedError": "study.records.lock",
    "Records": "study.records.records",
    "load_generator": "study.tracking.generators",
}


def __getattr__(name: str) -> object:
    """A public name, imported from its module when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
