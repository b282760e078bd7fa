"""A local Ray for one test, whose workers call a function of that test when they start."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray


@contextlib.contextmanager
def hooked_ray(hook: Callable[[], None], notes: Path, **options: Any) -> Iterator[None]:
    """Start Ray for the duration of a `with` block. Its workers call `hook` when they start.

    The folder `notes` is made here, and workers find its path in $NOTES. `options` go to ray.init.
    """
    notes.mkdir()
    # Workers cannot import the test's module, so its content is sent to them.
    ray.cloudpickle.register_pickle_by_value(sys.modules[hook.__module__])
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"NOTES": str(notes)}, "worker_process_setup_hook": hook},
        **options,
    )
    try:
        yield
    finally:
        ray.shutdown()
