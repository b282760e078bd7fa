"""The README files say what the code says.

Where these fail, a reader is told of a variant, metric, option or file that is not there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import search_spaces
from study.arguments import parser
from tests.readmes import PARTS, ROOT, renewed

FOLDERS = ("", "study", "study/metrics", "trainables", "search_spaces", "tests", "docker")
READMES = [*(ROOT / folder / "README.md" for folder in FOLDERS), ROOT / ".github" / "SECURITY.md"]


@pytest.mark.slow  # it imports every metric
@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", PARTS)
def test_generated_part_is_stale(path: str) -> None:
    assert (ROOT / path).read_text() == renewed(path), "run `python -m tests.readmes`"


def test_readme_is_too_long() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_that_is_named_is_not_there(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    folders = "study|trainables|search_spaces|tests|docker"
    named = {*re.findall(rf"`((?:{folders})/[\w./]*)`", text)}
    named |= {link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_or_study_that_is_named_is_not_there(path: Path) -> None:
    text = path.read_text()
    for module in re.findall(r"python -m ((?:study|tests)(?:\.\w++)++)(?!\.`)", text):
        file = ROOT / Path(*module.split("."))
        assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module
    for name in re.findall(r"python\s+-m\s+study\.run ([a-z]\w+)", text):
        assert name in search_spaces.names()


def test_option_is_missing() -> None:
    """Each option of the command is in the table of study/README.md, and no other."""
    text = (ROOT / "study" / "README.md").read_text().partition("## Results")[0]
    table = {*re.findall(r"--[a-z-]+", "".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE)))}
    options = {o for action in parser()._actions for o in action.option_strings}
    assert table == {o for o in options if o.startswith("--")} - {"--help", "--list"}


def test_study_is_missing() -> None:
    text = (ROOT / "search_spaces" / "README.md").read_text()
    assert {*re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)} == {*search_spaces.names()}
