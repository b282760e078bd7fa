"""The commands that give the README's ratios must still run.

Each of them runs in small, and its times are not looked at.
"""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("bench_driver", "--repeats 1 --cells 20 40", marks=pytest.mark.long),
        pytest.param("bench_engine", "--repeats 1 --cells 3", marks=pytest.mark.long),
        ("bench_frechet", "--repeats 1 --dims 32"),
        ("bench_mirror", "--repeats 1 --cells 2"),
        pytest.param("bench_store", "--cells 2 3", marks=pytest.mark.long),
        pytest.param("bench_training", "--repeats 1 --steps 1 --f 2", marks=pytest.mark.long),
        pytest.param("bench_trial", "--repeats 1 --kimg 1 --f 2", marks=pytest.mark.long),
        ("bench_verdicts", "--repetitions 10"),
    ],
)
def test_a_benchmark_does_not_run(name: str, arguments: str) -> None:
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ratio" in done.stdout
