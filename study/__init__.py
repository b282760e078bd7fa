"""Studies of GANs: run them, read their records, load their generators.

What whoever uses this project imports is named here; nothing heavy is loaded before it is used.

```
from study import load_generator, load_results, run_study

results = run_study("acgan_kmnist_classes", scale="smoke")
claims = load_results("runs/acgan_kmnist_classes").claims
images = load_generator("models:/acgan_kmnist_classes.classes-5/1")(labels=[0, 1], seed=0)
```
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.api import Results, load_results, run_cell, run_study
    from study.errors import BadInputError
    from study.images import measure
    from study.records.records import Records
    from study.tracking.generators import load_generator

__all__ = [
    "BadInputError",
    "Records",
    "Results",
    "load_generator",
    "load_results",
    "measure",
    "run_cell",
    "run_study",
]

_MODULES = {
    "BadInputError": "study.errors",
    "Records": "study.records.records",
    "Results": "study.api",
    "load_generator": "study.tracking.generators",
    "load_results": "study.api",
    "measure": "study.images",
    "run_cell": "study.api",
    "run_study": "study.api",
}


def _refuse_namesakes() -> None:
    """End a command if the working folder has a module that hides one of this project's packages.

    Ray's workers look there first.
    """
    for name in ("search_spaces", "study", "trainables"):
        ours = Path(__file__).parents[1] / name
        for found in (Path.cwd() / f"{name}.py", Path.cwd() / name / "__init__.py"):
            if found.is_file() and not found.parent.samefile(ours):
                print(f"study: {found} hides this project's {name}: rename it", file=sys.stderr)
                raise SystemExit(2)


if sys.argv[:1] == ["-m"]:  # so it is while `python -m study.run` imports this package
    _refuse_namesakes()


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'study' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
