"""Studies of GANs: run them, read their records, load their generators.

What whoever uses this project imports is named here; nothing heavy is loaded before it is used.

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
    from study.records.records import Records
    from study.tracking.generators import load_generator

__all__ = ["Records", "load_generator"]

_MODULES = {
    "Records": "study.records.records",
    "load_generator": "study.tracking.generators",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
