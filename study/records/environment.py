"""What a result depends on apart from its definition: versions, code, hardware."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]  # the project's folder, where it is a checkout
PACKAGES = (
    "torch",
    "torchvision",
    "ray",
    "optuna",
    "mlflow",
    "pandas",
    "pytorch-fid",
    "torchmetrics",
    "numpy",
    "scipy",
    "scikit-learn",
)


def describe() -> dict[str, Any]:
    """Versions, code and hardware that a result depends on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return {
        "versions": versions(),
        "code": code_digest(ROOT),
        "git_commit": _git("rev-parse", "HEAD") or "none",
        "git_dirty": _git("diff", "HEAD"),
        "git_untracked": _git("ls-files", "--others", "--exclude-standard").splitlines(),
        "hardware": {"cpu": cpu, "cpus": cpus(), "gpus": _gpus(), "host": platform.node()},
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, in this process."""
    return {"python": platform.python_version()} | {p: version(p) for p in PACKAGES}


def code_digest(root: Path) -> str:
    """16 hex digits of SHA-256 over the names and contents of this project's Python files.

    The digest distinguishes versions of the code where git cannot. The folder of a submitted job
    and an installed package have no .git, and git has no name for uncommitted content.
    """
    sha = hashlib.sha256()
    for folder in ("search_spaces", "study", "trainables"):
        for path in sorted((root / folder).rglob("*.py")):
            content = path.read_bytes()
            sha.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return sha.hexdigest()[:16]


def cpus() -> int:
    """How many processors this process may use by its affinity and its control group's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = Path("/sys/fs/cgroup/cpu.max")  # microseconds: "200000 100000", "max 100000"
    if quota.exists():
        most, period = quota.read_text().split()
        if most != "max":
            count = min(count or 1, int(most) // int(period))
    return max(1, count or 1)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
