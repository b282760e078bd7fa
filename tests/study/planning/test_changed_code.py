"""Code of anybody that changes while a study's folder is in use.

If these tests fail, cells of two codes stand in one table, and nobody says so.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from study.errors import BadInputError
from study.planning import sources, study_json
from study.planning.plan import Plan
from study.records import environment
from study.records.files import write_json
from study.records.records import Records
from tests import elsewhere
from tests.study import tiny

pytestmark = pytest.mark.usefixtures("forget")

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["lsgan", "networks"])
def test_changed_file_goes_unnoticed(tmp_path: Path, name: str) -> None:
    """Neither the variant's own file nor one that it imports may change in silence."""
    study = elsewhere.copy_to(tmp_path)
    first = {s.name: s.digest for s in sources.declared(str(study)).sources}
    same = {s.name: s.digest for s in sources.declared(str(study)).sources}
    assert same == first
    path = tmp_path / f"{name}.py"
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    changed = {s.name: s.digest for s in sources.declared(str(study)).sources}
    assert {key for key in first if first[key] != changed[key]} == {"lsgan.py"}
    assert sys.modules[name].CHANGED == 1, "the old code would run"


def test_other_code_goes_on_without_a_word(tmp_path: Path) -> None:
    """What a space computes is not in the definition, but the file's digest is in each run."""
    records = tiny.begin(Records(tmp_path / "study"), tiny.plan())
    declared = sources.declared(str(elsewhere.copy_to(tmp_path / "own")))
    value = records.study()
    digests = {source.name: source.digest for source in declared.sources}
    here = environment.code_digest(environment.ROOT)
    changed = {name: "0123" if "my_study" in name else digest for name, digest in digests.items()}
    lines = []
    for then in (digests, changed):
        runs = [{"code": here, "sources": then}]
        write_json(records.folder / "study.json", value | {"runs": runs})
        lines.append(study_json.other_code(Records(records.folder), declared.sources))
    assert lines[0] is None
    line = lines[1]
    assert line is not None
    assert "my_study.py: " in line
    assert " goes on, after 0123: if they train" in line


def plan_of(study: Path) -> Plan:
    """A plan that uses the sources of a study."""
    return dataclasses.replace(tiny.plan(), sources=sources.declared(str(study)).sources)


def test_changed_code_mixes_with_results(tmp_path: Path) -> None:
    """Changed code goes on only where it has made nothing yet, or nothing that did not fail."""
    study, records = elsewhere.copy_to(tmp_path / "own"), Records(tmp_path / "study")
    plan = plan_of(study)
    tiny.begin(records, plan)
    path = study.with_name("lsgan.py")
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    changed = plan_of(study).definition()
    known = {"definition": plan.definition()}

    study_json.adopt_changed_code(records, known, changed)
    study_json.refuse_changes(known, changed, records.folder)  # no cell has begun

    known = {"definition": plan.definition()}
    cell = plan.confirm_cells("classes=2", plan.hyperparameters("classes=2"))[0]
    tiny.write_cell(records, cell, tiny.rows(3, 2))
    cell_json = records.cell_folder(cell.id) / "cell.json"
    write_json(cell_json, records.cell(cell.id) | {"variant": "lsgan.py"})
    fresh = Records(records.folder)
    study_json.adopt_changed_code(fresh, known, changed)
    with pytest.raises(BadInputError, match=r"sources\.lsgan\.py: "):
        study_json.refuse_changes(known, changed, records.folder)

    result = fresh.cell_folder(cell.id) / "result.json"
    write_json(result, (fresh.result(cell.id) or {}) | {"outcome": "failed", "error": "mended"})
    study_json.adopt_changed_code(Records(records.folder), known, changed)
    study_json.refuse_changes(known, changed, records.folder)


def test_changed_metric_mixes_with_what_it_measured_before(tmp_path: Path) -> None:
    """judges.pt keeps what metrics measure of real images."""
    study, records = elsewhere.copy_to(tmp_path / "own"), Records(tmp_path / "study")
    plan = plan_of(study)
    tiny.begin(records, plan)
    path = study.with_name("brightness.py")
    path.write_text(path.read_text() + "\nCHANGED = 1\n")
    changed = plan_of(study).definition() | {"metrics": ["fcd", "brightness.py"]}
    for measured in (False, True):
        known = {"definition": plan.definition() | {"metrics": ["fcd", "brightness.py"]}}
        study_json.adopt_changed_code(records, known, changed)
        assert (known["definition"] == changed) != measured
        (records.folder / "judges.pt").touch()
