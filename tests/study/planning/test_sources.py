"""Studies, variants, metrics and data that are not this project's.

If these tests fail, a stranger's file cannot be named, or what it defines is taken unseen.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import trainables
from study.errors import BadInputError
from study.listing import listing
from study.metrics.core import catalog
from study.planning import sources, validation
from study.run import main
from tests import elsewhere
from tests.study.foreign import write
from tests.study.refusals import refused
from trainables import data

pytestmark = pytest.mark.usefixtures("forget")
ROOT = Path(__file__).parents[3]


def test_study_and_what_it_names_are_not_found(tmp_path: Path) -> None:
    """Names in a study are relative to its own file, wherever the command is given."""
    declared = sources.declared(str(elsewhere.copy_to(tmp_path / "own")))
    assert declared.name == "my_study"
    assert {(s.kind, s.name) for s in declared.sources} == {
        ("study", str(tmp_path / "own" / "my_study.py")),
        ("variant", "lsgan.py"),
        ("metric", "brightness.py"),
        ("data", "dots.py"),
    }
    assert trainables.load("lsgan.py").__name__ == "Lsgan"
    assert catalog.load("brightness.py").COLUMNS.keys() == {"brightness", "brightness_real"}
    assert data.describe("dots.py").classes == 2


def test_edited_data_are_taken_from_memory(tmp_path: Path) -> None:
    elsewhere.copy_to(tmp_path)
    found = []
    for seed in (0, 1):
        path = tmp_path / "dots.py"
        path.write_text(path.read_text().replace("default_rng(0)", f"default_rng({seed})"))
        source = sources.find_and_load("data", str(path), "dots.py")
        assert source is not None
        found.append(data.load(source.name).digest)
    assert found[0] != found[1]


def test_two_studies_have_one_folder(tmp_path: Path) -> None:
    study = elsewhere.copy_to(tmp_path)
    study.write_text(study.read_text() + "\nOTHER = STUDY\n")
    names = [sources.declared(f"{study}{end}").name for end in ("", ":STUDY", ":OTHER")]
    assert names == ["my_study", "my_study", "my_study_OTHER"]
    with pytest.raises(BadInputError, match="a folder of each storage is called cache"):
        sources.declared(str(study.rename(study.with_name("cache.py"))))


@pytest.mark.parametrize("name", ["data.v2", "sets:v2", "mnits:test", "no.such"])
def test_data_are_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "v2" in name:
        (tmp_path / name).mkdir()
    assert sources.find("data", name) is None


@pytest.mark.parametrize("column", ["fcd", "kimg", "seconds", "loss/d/mine"])
def test_metric_replaces_columns_of_others(tmp_path: Path, column: str) -> None:
    study = elsewhere.copy_to(tmp_path)
    path = tmp_path / "brightness.py"
    path.write_text(path.read_text().replace('"brightness"', f'"{column}"'))
    study.write_text(study.read_text().replace('metric="brightness"', 'metric="fcd_floor"'))
    declared = sources.declared(str(study)).study
    with pytest.raises(ValueError, match=f"have a column '{column}'|has a column '{column}'"):
        validation.check_study(declared)


@pytest.mark.parametrize("name", ["trainables.py", "study/__init__.py"])
def test_namesake_is_a_traceback(tmp_path: Path, name: str) -> None:
    """Ray's workers would import it in place of ours."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    code = "import sys\nsys.path.pop(0)\nfrom study.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--list"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr == (
        f"study: {tmp_path / name} hides this project's {name[:-3].partition('/')[0]}: rename it\n"
    )


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({}, r"my_study\.py cannot be read: No such file"),
        ({"my_study": "x ="}, r"my_study\.py cannot be read: invalid syntax"),
        (
            {"my_study": "\nx = 1 / 0"},
            r"ZeroDivisionError: .* \(my_study\.py, line 2\)",
        ),
        ({"my_study": "import nowhere"}, r"No module named 'nowhere' \(my_study\.py, line 1\)"),
        ({"my_study": ""}, r"my_study\.py' defines no STUDY"),
        ({"my_study": "STUDY = 1"}, r"STUDY=1 is no Study"),
    ],
)
def test_wrong_file_is_a_traceback(tmp_path: Path, files: dict[str, str], line: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(BadInputError, match=line):
        sources.declared(str(tmp_path / "my_study.py"))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("lsgan", "VARIANT = int", r"variant 'lsgan\.py': <class 'int'> is no subclass of Gan"),
        ("brightness", "COLUMNS = {'a': 'b'}", r"metric 'brightness\.py' defines no NEEDS"),
        ("brightness", "NEEDS = set()\nCOLUMNS = {}\nmeasure = 1", r"COLUMNS=\{\}: columns and"),
        ("dots", "load = 1", r"data 'dots\.py': 1 is no function that returns a Dataset"),
    ],
)
def test_wrong_part_is_a_traceback(tmp_path: Path, name: str, text: str, line: str) -> None:
    study = elsewhere.copy_to(tmp_path)
    write(tmp_path, **{name: text})
    with pytest.raises(BadInputError, match=line):
        sources.declared(str(study))


def test_name_of_ours_is_taken(tmp_path: Path) -> None:
    """Records of two studies would be in one folder; or a stranger's `study.py` would be ours."""
    study = elsewhere.copy_to(tmp_path)
    with pytest.raises(BadInputError, match="a study of this project is called egan_ring"):
        sources.declared(str(study.rename(study.with_name("egan_ring.py"))))
    write(tmp_path, study="")
    with pytest.raises(BadInputError, match=r"a module 'study' is in use already, .*: rename"):
        sources.declared(str(tmp_path / "study.py"))


def test_two_files_of_one_name_are_mixed_up(tmp_path: Path) -> None:
    """In one study they are refused. A further study in the process gets its own files."""
    for name in ("a", "b"):
        study = elsewhere.copy_to(tmp_path / name)
        text = (tmp_path / name / "networks.py").read_text()
        (tmp_path / name / "networks.py").write_text(f"{text}\nPLACE = {name!r}\n")
        sources.declared(str(study))
        assert name == sys.modules["networks"].PLACE
    text = study.read_text().replace('{"lr": 1e-4}', '{"variant": "../a/lsgan.py"}')
    study.write_text(text)
    with pytest.raises(BadInputError, match=r"have one name: rename one of them"):
        sources.declared(str(study))


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        ("1", "a Dataset is needed, not int"),
        ("1 / 0", "ZeroDivisionError"),
        (
            "made(x=X.astype(float))",
            r"train\.x is float64 .*: uint8 \[N, C, H, W\]",
        ),
        ("made(x=X[:, :, :4])", "4x16: at least 8x8 is needed"),
        ("made(y=Y.astype('int32'))", r"train\.y is int32 \(100,\): int64 \[N\]"),
        ("made(y=Y[:9])", r"train\.y is int64 \(9,\)"),
        ("made(y=Y * 2)", "no image has label 1"),
        ("made(classes=('a', 'b', 'c'))", "has 2 classes, and 3 are named"),
    ],
)
def test_data_that_cannot_be_used_are_taken(tmp_path: Path, returned: str, line: str) -> None:
    text = f"""
import numpy as np
from trainables.data import Dataset, Split
X, Y = np.zeros((100, 1, 16, 16), np.uint8), np.arange(100) % 2
def made(x=X, y=Y, classes=("a", "b")):
    return Dataset("own", Split(x, y), Split(x, y), classes, "made")
def load():
    return {returned}
"""
    write(tmp_path, own=text)
    source = sources.find("data", str(tmp_path / "own.py"))
    assert source is not None
    sources.load(source)
    with pytest.raises(data.DataError, match=line):
        data.load(source.name)


def test_data_file_is_unknown_to_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--data takes a Python file, whose spelling is no part of the study."""
    elsewhere.copy_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for spelling in ("dots.py", "./dots.py", str(tmp_path / "dots.py")):
        code = main(["dcgan_mnist", "--scale", "smoke", "--data", spelling, "--dry-run"])
        assert code == 0
        assert "data: dots.py, made" in capsys.readouterr().out


def test_entry_point_or_module_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed package is named by its entry points, and by PACKAGE.MODULE:ATTRIBUTE."""
    package = write(tmp_path / "my_gans", __init__="VERSION = 1")
    for name in elsewhere.FILES:
        text = (ROOT / "tests" / "elsewhere" / name).read_text()
        (package / name).write_text(text.replace("from networks", "from my_gans.networks"))
    text = (package / "my_study.py").read_text().replace('"lsgan.py"', '"my_gans.lsgan"')
    (package / "my_study.py").write_text(text.replace('"dots.py"', '"dots"'))
    about = tmp_path / "my_gans-0.3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-gans\nVersion: 0.3\n")
    (about / "RECORD").write_text("my_gans/__init__.py,,\n")
    (about / "top_level.txt").write_text("my_gans\n")
    (about / "entry_points.txt").write_text(
        "[gan_study.studies]\ndotted = my_gans.my_study:STUDY\n"
        "[gan_study.data]\ndots = my_gans.dots:load\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for kind, entry in (("studies", "my_study:STUDY"), ("data", "dots:load")):
        listed = "\n".join(listing(kind))
        assert re.search(rf"^dot\S+ +my_gans.{entry} of my-gans$", listed, re.MULTILINE)
    for ref, name in (("dotted", "dotted"), ("my_gans.my_study:STUDY", "my_gans_my_study")):
        declared = sources.declared(ref)
        assert declared.name == name
        digests = {s.name: s.digest for s in declared.sources}
        assert digests["my_gans.lsgan"].startswith("my-gans 0.3 ")
        assert data.describe("dots").classes == 2
    before = sources.package("my_gans.lsgan")
    (package / "networks.py").write_text("")
    assert sources.package("my_gans.lsgan") != before


def test_unknown_ref_starts_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "choose one of acgan_kmnist_" in refused(capsys, "nothing")
    assert "no package 'no' is installed" in refused(capsys, "no.such:STUDY")


def test_needs_are_a_closed_list() -> None:
    """A stranger's metric may need what only a stranger's variant offers."""
    from study.metrics.core.needs import description, is_offered

    spec = data.DataSpec(2, 1, (16, 16))
    plain = trainables.load("dcgan")
    able = type("Able", (plain,), {"has_critic": True})
    assert is_offered("has_critic", able, spec)
    assert not is_offered("has_critic", plain, spec)
    assert description("has_critic").format("Dcgan") == "has_critic = True, which Dcgan has not"


def test_own_data_is_rendered_again(tmp_path: Path) -> None:
    made = []

    def load() -> data.Dataset:
        made.append(1)
        x, y = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), np.uint8), np.arange(60) % 2
        return data.Dataset("own", data.Split(x, y), data.Split(x, y), ("a", "b"), "made")

    data.add("own", load)
    data.describe("own")
    assert data.choose("auto", "own", "own") == ("own", "data: own, made")
    assert data.load("own").name == "own"
    assert made == [1]
