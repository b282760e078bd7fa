"""Somebody uses this project for a GAN of their own, from the wheel, in a folder of their own.

Where this fails, nobody can do that without working inside of our checkout.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.records.records import Records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
RUN_CELL = """
import study
call = dict(hyperparameters={"f": 4}, kimg=2, samples=200, metrics=["fcd"])
assert len(study.run_cell("lsgan.py", "shapes.npz", **call).cells) == 1
study.run_cell("lsgan.py", "shapes.npz", **call)
"""
LOAD = """
import sys, mlflow, study
mlflow.set_tracking_uri("sqlite:///runs/mlflow.db")
try:
    study.load_generator("models:/my_study.least-squares/1")
except ValueError as error:
    print(error)
print(tuple(study.load_generator("models:/my_study.least-squares/1", code="lsgan.py")(n=3).shape))
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


def as_script(notebook: Path) -> str:
    """The cells of a notebook as a script that prints what each cell would show.

    Its GANs are trained on fewer images, so that it takes a minute less.
    """
    lines = ["from pathlib import Path", "import matplotlib", "matplotlib.use('Agg')"]
    for cell in json.loads(notebook.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if source.startswith("%%writefile"):
            name, text = source.removeprefix("%%writefile ").split("\n", 1)
            source = f"Path({name!r}).write_text({text!r})"
        tree = ast.parse(source)
        if isinstance(last := tree.body[-1], ast.Expr):
            tree.body[-1] = ast.parse(f"print({ast.unparse(last)})").body[0]
        lines.append(ast.unparse(tree))
    long, short = "kimg=60, tick_kimg=15", "kimg=4, tick_kimg=1"
    script = "\n".join(lines)
    assert long in script
    return script.replace(long, short)


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


def test_notebook_does_not_run(installed: Path, tmp_path: Path) -> None:
    """It writes a variant and a study, runs them, and reads the results."""
    code = "import study; print(study.__file__)"
    assert run(installed, tmp_path, "-c", code).stdout.startswith(str(installed))
    said = run(installed, tmp_path, "-c", as_script(ROOT / "study" / "example.ipynb")).stdout
    assert "cells: 6 complete" in said
    assert re.search(r"\n0 +better +(supported|not supported|undecided) +\d", said)
    assert "equal, all 5 rows" in said
    assert "\nTrue\n{'fcd': " in said
    records = Records(tmp_path / "runs" / "my_study")
    assert {cell["variant"] for cell in map(records.cell, records.ids())} == {"dcgan", "lsgan.py"}
    kept = {path.name for path in (records.folder / "sources").rglob("*.py")}
    assert kept == {"lsgan.py", "my_study.py"}

    command = ("-m", "study", "run", "my_study.py")
    report = ("-m", "study.report", "my_study", "--register")
    said = run(installed, tmp_path, *report, code=2).stderr
    assert "lsgan.py is no variant of this project: give code=" in said
    said = run(installed, tmp_path, *report, "--study", "my_study.py").stdout
    assert "models:/my_study.least-squares/1" in said
    said = run(installed, tmp_path, "-c", LOAD).stdout
    assert "lsgan.py is no variant of this project: give code=" in said
    assert "(3, 1, 16, 16)" in said

    said = run(installed, tmp_path, "-c", RUN_CELL).stdout
    assert "cells: 1 complete" in said
    assert "every cell has ended, nothing to run" in said

    path = tmp_path / "lsgan.py"
    path.write_text(path.read_text().replace("(real - 1)", "(real - 0.9)"))
    said = run(installed, tmp_path, *command, code=2).stderr
    assert re.search(r"holds another definition \(sources\.lsgan\.py: ", said)
