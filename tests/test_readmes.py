"""The README files say what the code says.

Where these fail, a reader is told of a variant, metric, option or file that is not there.
"""

from __future__ import annotations

import re
import tomllib
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


def test_files_name_another_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    told = {
        ".github/CITATION.cff": f"\nversion: {version}\n",
        ".github/CHANGELOG.md": f"\n## {version} (",
    }
    assert [path for path, text in told.items() if text not in (ROOT / path).read_text()] == []


def test_results_are_older_than_their_claims() -> None:
    """The table of results lists each claim of its studies as it is declared now."""
    sections = re.split(
        r"^## `(\w+)`$", (ROOT / "search_spaces" / "results.md").read_text(), flags=re.MULTILINE
    )
    assert len(sections) > 1
    for name, text in zip(sections[1::2], sections[2::2], strict=True):
        listed = re.findall(r"^\| ([\w.-]+)(\*?): (.*?) \| (.*?) \|", text, re.MULTILINE)
        told = [(i, p, t, re.sub(r"\[(.*?)\]\(.*?\)", r"\1", source)) for i, p, t, source in listed]
        claims = search_spaces.load(name).claims
        assert told == [(c.id, "*" * c.primary, c.text, c.source) for c in claims], (
            f"run {name} anew, then python -m study.report {name} --table search_spaces/results.md"
        )
