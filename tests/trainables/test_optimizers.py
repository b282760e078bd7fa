"""If this test fails, every process of a study takes two seconds longer to start.

It fails when torch keeps elsewhere what trainables/core/optimizers.py sets.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAIN = """
import sys, torch
from trainables.core.optimizers import Adam
network = torch.nn.Linear(2, 2)
optimizer = Adam(network.parameters(), fused=True)
network(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
assert network.weight.grad is None
sys.exit("the compiler was imported" if "torch._dynamo" in sys.modules else 0)
"""


@pytest.mark.slow
def test_optimizer_imports_torchs_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
