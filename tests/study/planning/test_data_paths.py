"""Data by path are their content: where they lie, and how their path is written, is not part of it.

If these tests fail, a folder cannot go on after its data were moved, or with another spelling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from study.errors import BadInputError
from study.planning.prepare import Chosen, choose_data
from tests import elsewhere
from tests.study import tiny

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, level in (("cat", 40), ("dog", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (12, 9), level + i).save(tmp_path / "pets" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pets"


def choose(request: str, known: Any = None, image_size: int | None = None) -> Chosen:
    return choose_data(request, tiny.study(data="kana", stand_in="kana"), known, None, image_size)


def test_another_spelling_is_another_study(pets: Path) -> None:
    for spelling in ("pets", "pets/", "./pets", "../" + pets.parent.name + "/pets", str(pets)):
        chosen = choose(spelling)
        assert (chosen.name, chosen.line) == ("pets", "data: pets, read from pets")
        assert chosen.path is not None
        assert chosen.path.samefile(pets)
        assert chosen.spec.classes == 2


def test_study_does_not_go_on_with_its_data(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --data, from another working folder; and with --data, after the data were moved."""
    line = "data: pets, read from pets"
    definition = {"data": "pets", "data_source": line, "image_size": 16}
    known = {"definition": definition, "data_path": str(pets)}
    monkeypatch.chdir("/")
    chosen = choose("auto", known)
    assert (chosen.name, chosen.spec.size) == ("pets", (16, 16))
    assert chosen.line == f"{line} (with which this folder was begun)"
    (pets.parent / "new").mkdir()
    moved = pets.rename(pets.parent / "new" / "pets")
    assert choose(str(moved), known, 16).name == "pets"
    with pytest.raises(BadInputError, match="no such file or folder"):
        choose("auto", known)


def test_folder_written_by_its_whole_path_is_refused(pets: Path) -> None:
    """Folders of earlier versions hold the path as it was given."""
    known = {"definition": {"data": str(pets), "data_source": "data"}}
    assert choose("auto", known).name == str(pets)
    assert choose("pets", known).name == str(pets)


def test_folder_passes_for_a_set_of_ours(pets: Path) -> None:
    pets.rename(pets.with_name("kana"))
    assert choose("./kana").name == "./kana"
    assert choose("kana").name == "kana"
    assert choose("kana").spec.classes == 49


def test_size_of_images_that_are_not_resized(pets: Path) -> None:
    with pytest.raises(BadInputError, match="--image-size 16: only for data that --data gives"):
        choose("kana", image_size=16)
    assert choose("pets", image_size=16).spec.size == (16, 16)


def test_folder_called_auto_is_not_used(pets: Path) -> None:
    pets.rename(pets.with_name("auto"))
    chosen = choose("./auto")
    assert (chosen.name, chosen.spec.classes) == ("./auto", 2)


def test_function_of_another_name_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "gen.py"
    path.write_text((elsewhere.copy_to(tmp_path).parent / "dots.py").read_text())
    path.write_text(path.read_text().replace("def load", "def make"))
    chosen = choose(f"{path}:make")
    assert (chosen.name, str(chosen.path)) == ("gen.py:make", f"{path}:make")
    known = {
        "definition": {"data": chosen.name, "data_source": chosen.line},
        "data_path": str(chosen.path),
    }
    assert choose("auto", known).name == "gen.py:make"
