"""`python -m study.check`: what strangers learn about their files before they run them.

If these tests fail, a file that would spoil a study passes, or one that is right does not.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.check.__main__ import main
from tests import elsewhere
from tests.study.foreign import write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("forget"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    elsewhere.copy_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *refs: str, code: int) -> str:
    assert main(refs) == code
    out = capsys.readouterr()
    return out.out + out.err


def test_right_files_are_broken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "my_study.py", "lsgan.py", "dots.py", code=0)
    assert re.fullmatch(r"\d\d checks, none broken\n", lines), lines


def test_attribute_is_not_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "lsgan.py:VARIANT", "dots.py:load", code=0)
    assert re.fullmatch(r"\d\d checks, none broken\n", lines), lines


def test_variant_that_cannot_be_built_ends_all_checks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "lsgan.py"
    path.write_text(path.read_text().replace("pixels = shape[0]", "pixels = none"))
    lines = said(capsys, "my_study.py", code=1)
    assert "NameError: name 'none' is not defined (lsgan.py, line" in lines
    assert "checks, " in lines


BROKEN_VARIANTS = {
    # what is changed in lsgan.py: (from, to, what is said)
    "seed": (
        "return images",
        "import time\n        return images + time.time_ns() % 97 / 97",
        "losses are finite and repeat with the seed.*the same seed gives other numbers: loss/",
    ),
    "player": (
        "def losses_g(self, b: Batch) -> Terms:",
        "def losses_g(self, b: Batch) -> Terms:\n        self.D[1][0].weight.data.add_(0.1)",
        "a player changes its own networks only.*g's turn changes the networks of d",
    ),
    "shape": (
        "images: Tensor = G(z)",
        "images: Tensor = G(z)[:, :, :-1]",
        r"RuntimeError: mat1 and mat2 .* \(lsgan\.py, line \d+\)",
    ),
    "name": (
        "def losses_g(self, b: Batch) -> Terms:",
        "def losses_G(self, b: Batch) -> Terms:\n        return {}\n\n"
        "    def losses_g(self, b: Batch) -> Terms:",
        "losses_G overrides nothing: is losses_g meant",
    ),
    "lr": (
        "c.lr * c.lr_ratio)",
        "c.lr * c.lr_ratio / c.lr_scale)",
        "lr scale reaches every player.*gives other rates",
    ),
    "checkpoint": (
        "real, fake = self.D(b.x)",
        "self.n = getattr(self, 'n', 0) + 1\n        real, fake = self.n * self.D(b.x)",
        "a restored checkpoint takes the same next steps.*losses differ: loss/d/",
    ),
}


@pytest.mark.parametrize("name", BROKEN_VARIANTS)
def test_broken_variant_passes(folder: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    old, new, line = BROKEN_VARIANTS[name]
    text = (folder / "lsgan.py").read_text()
    assert old in text
    (folder / "lsgan.py").write_text(text.replace(old, new))
    assert re.search(line, said(capsys, "lsgan.py", code=1))


BROKEN_FILES = [
    # file, what is changed in it: from, to, and what is said
    ("brightness.py", "fakes - real)", "fakes / 0 - real)", "brightness_real is inf"),
    ("brightness.py", "fakes - real)", "fakes.new_ones(1).uniform_())", "global random state"),
    (
        "brightness.py",
        "fakes - real)",
        "real * bool(not hasattr(view.gan, 'eval') or view.gan.eval()))",
        "it leaves networks in another mode",
    ),
    ("brightness.py", "REAL = {", 'DIRECTION = {"a": "minimize"}\nREAL = {', "DIRECTIONS is"),
    ("brightness.py", "REAL = {", 'DIRECTIONS = {"b": "minimize"}\nREAL = {', "names b, which"),
    ("dots.py", "default_rng(0)", "default_rng()", "it makes the same each time: NO, two calls"),
    ("dots.py", "split(2000), split(600)", "*[split(2000)] * 2", "are among the training images"),
    ("my_study.py", "(-5, 5)", "(-1, 1)", "claim bright: a share ends at -1 or 1"),
    ("my_study.py", "kimg=2, tick", "kimg=40, tick", "scale smoke takes 80 kimg: at most 60"),
    ("my_study.py", "1e-4", "-1e-4", "the reference can run (scale smoke): NO"),
    ("my_study.py", "1e-4", "-1e-4", " more for the same reason: "),
]


@pytest.mark.parametrize(("file", "old", "new", "line"), BROKEN_FILES)
def test_broken_file_passes(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, line: str
) -> None:
    """A metric is measured with the variant of its study."""
    path = folder / file
    text = path.read_text()
    path.write_text(text.replace(old, new))
    assert path.read_text() != text
    assert line in said(capsys, "dots.py" if file == "dots.py" else "my_study.py", code=1)


def test_nothing_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is none of the four kinds, or is not there, must not pass."""
    assert "no study, variant, metric or function" in said(capsys, "networks.py", code=2)
    assert "cannot be read: No such file" in said(capsys, "none.py", code=2)
    write(folder, broken="import nowhere")
    assert "No module named 'nowhere' (broken.py, line 1)" in said(capsys, "broken.py", code=2)
