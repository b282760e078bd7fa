"""A Ray of the test's own whose workers call a function of the test's as they start."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray


@contextlib.contextmanager
def hooked_ray(hook: Callable[[], None], notes: Path, **options: Any) -> Iterator[None]:
    """Workers find the folder `notes`, made here, as $NOTES; `options` are those of ray.init."""
    notes.mkdir()
    ray.cloudpickle.register_pickle_by_value(sys.modules[hook.__module__])  # workers lack its file
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
