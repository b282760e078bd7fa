"""Files that are kept begin with a digest: checkpoints, generators, judges, references.

Where these fail, a bit that flipped on a disk changes figures without a word.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from study.metrics.core.judge import Judge, read_judge, write_judge
from study.records.tensors import load_tensors, save_tensors

FLIPS = 300


@pytest.mark.parametrize("kind", ["tensors", "judge"])
def test_flipped_bit_is_not_seen(tmp_path: Path, judges: list[Judge], kind: str) -> None:
    path = tmp_path / "kept.pt"
    if kind == "tensors":
        save_tensors(path, {"x": torch.arange(300.0), "note": "as it was"})
    else:
        write_judge(path, judges[0])
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for at, bit in zip(rng.integers(0, len(whole), FLIPS), rng.integers(0, 8, FLIPS), strict=True):
        altered = bytearray(whole)
        altered[at] ^= 1 << bit
        path.write_bytes(altered)
        assert (load_tensors if kind == "tensors" else read_judge)(path) is None, (at, bit)
    for end in (0, 20, 32, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert (load_tensors if kind == "tensors" else read_judge)(path) is None, end
