"""Somebody uses this project for a GAN of their own, from the wheel, in a folder of their own.

Where this fails, nobody can do that without working inside of our checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.records.records import Records
from tests import elsewhere

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
API = """
import study
results = study.load_results("runs/my_study")
print(results, results.plot("brightness"))
assert results.verify(results.cells["id"][0])
images = results.generator("fast")(n=20, seed=1)
print(tuple(images.shape))
one = study.run_cell("lsgan.py", "dots.py", {"f": 4}, kimg=2, samples=200, metrics=["fcd"])
assert len(one.cells) == 1
print(study.run_cell("lsgan.py", "dots.py", {"f": 4}, kimg=2, samples=200, metrics=["fcd"]))
"""
LOAD = """
import sys, mlflow, study
mlflow.set_tracking_uri("sqlite:///runs/mlflow.db")
try:
    study.load_generator("models:/my_study.fast/1")
except ValueError as error:
    print(error)
print(tuple(study.load_generator("models:/my_study.fast/1", code="lsgan.py")(n=3).shape))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, which is built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("study", "trainables", "search_spaces"):
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run(built, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stranger's folder."""
    return elsewhere.copy_to(tmp_path_factory.mktemp("own")).parent


def run(
    installed: Path, own: Path, *arguments: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "HOME": str(own)}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=own, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done


def test_strangers_study_does_not_run(installed: Path, own: Path) -> None:
    command = ("-m", "study.run", "my_study.py", "--scale", "smoke")
    code = "import study; print(study.__file__)"
    assert run(installed, own, "-c", code).stdout.startswith(str(installed))
    said = run(installed, own, *command).stdout
    assert "cells: 2 complete" in said
    records = Records(own / "runs" / "my_study")
    assert {cell["variant"] for cell in map(records.cell, records.ids())} == {"lsgan.py"}
    kept = {path.name for path in (records.folder / "sources").rglob("*.py")}
    assert kept == {*elsewhere.FILES}

    verified = run(installed, own, *command, "--verify", records.ids()[0]).stdout
    assert "equal, all 3 rows" in verified
    said = run(installed, own, "-c", API).stdout
    assert re.search(r"2 ended cells, finished Figure\(", said)
    assert "(20, 1, 16, 16)" in said
    assert "cells: 1 complete" in said
    assert "every cell has ended, nothing to run" in said

    said = run(installed, own, "-m", "study.report", "my_study", "--register", code=2).stderr
    assert "lsgan.py is no variant of this project: give code=" in said
    report = ("-m", "study.report", "my_study", "--register", "--study", "my_study.py")
    assert "models:/my_study.fast/1" in run(installed, own, *report).stdout
    said = run(installed, own, "-c", LOAD).stdout
    assert "lsgan.py is no variant of this project: give code=" in said
    assert "(3, 1, 16, 16)" in said

    path = own / "lsgan.py"
    path.write_text(path.read_text().replace("(real - 1)", "(real - 0.9)"))
    said = run(installed, own, *command, code=2).stderr
    assert re.search(r"holds another definition \(sources\.lsgan\.py: ", said)
