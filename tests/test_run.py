"""The command line: bad input ends with exit code 2 and one line, and leaves nothing behind.

Where these fail, a user reads a traceback, or finds a half-made folder, or waits for nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import names
from study import places, prepare
from study.records import Records, write_json
from study.run import main

NAME = "acgan_kmnist_classes"


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and in it the storage folder, not yet made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDY_DATA", str(tmp_path / "none"))
    return tmp_path / "runs"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a refusal; checks that it is one, and that nothing was written."""
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before
    return err


@pytest.mark.parametrize(
    ("arguments", "value", "valid"),
    [
        (["--scale", "huge"], "'huge'", "quick"),
        (["--trials", "-1"], "-1", "at least 0"),
        (["--trials", "2.5"], "'2.5'", "whole number"),
        (["--seeds", "0"], "0", "at least 1"),
        (["--max-concurrent", "0"], "0", "at least 1"),
        (["--cpus-per-trial", "4096"], "4096", str(os.cpu_count())),
        (["--gpus-per-trial", "half"], "'half'", "at least 0"),
        (["--gpus-per-trial", "nan"], "nan", "at least 0"),
        (["--gpus-per-trial", "900"], "900", "this machine has"),
        (["--only", "classes=7"], "'classes=7'", "classes=5"),
        (["--set", "lr"], "'lr'", "key=value"),
        (["--set", "learning_rate=1"], "'learning_rate'", "lr_ratio"),
        (["--set", "learning_rate=1"], "'learning_rate'", "search_kimg"),
        (["--set", "classes=5"], "'classes'", "lr"),
        (["--set", "lr=true"], "lr", "number"),
        (["--set", "lr=fast"], "fast", "number"),
        (["--set", "lr=-1"], "-1", "greater than 0"),
        (["--set", "lr=NaN"], "nan", "finite"),
        (["--set", "f=1.5"], "1.5", "integer"),
        (["--set", "f=100000000"], "100000000", "1024"),
        (["--set", "batch=1"], "1", "greater than or equal to 2"),
        (["--set", "adversarial=lsgan"], "lsgan", "hinge"),
        (["--set", "kimg=0"], "0", "at least 1"),
        (["--set", "kimg=1.5"], "1.5", "whole number"),
        (["--set", "kimg=99999999999999999999"], "99999999999999999999", "at most"),
        (["--set", "samples=1"], "1", "at least 2"),
        (["--data", "kmnits"], "'kmnits'", "kana"),
        (["--data", ""], "''", "kana"),
        (["--data", "nowhere.npz"], "nowhere.npz", "no such file"),
        (["--storage", "/proc/none"], "/proc/none", "/proc"),
        (["--tracking-uri", "ftp://host"], "'ftp://host'", "sqlite://"),
        (["--tracking-uri", "http://me:secret@host"], "password", "MLFLOW_TRACKING_PASSWORD"),
        (["--tracking-uri", "ftp://me:secret@host"], "password", "MLFLOW_TRACKING_PASSWORD"),
        (["--tracking-uri", "postgresql://host/db?password=secret"], "password", "PGPASSWORD"),
        (["--tracking-uri", "mysql://host/db?a=b&passwd=secret"], "password", "PGPASSWORD"),
        (["--tracking-uri", "sqlite:///none/x.db"], "none/x.db", "no folder"),
        (["--fid-weights", "none.pth"], "none.pth", "no FID weights"),
        (["--set", "samples=97"], "97", "classes=49 needs at least 98"),
        (["--set", "label_noise=one_sided"], "hinge", "--trials 0"),
        (["--sed", "1"], "--sed", "unrecognized"),
        (["again"], "again", "unrecognized"),
    ],
)
def test_bad_value_is_not_named_with_the_valid_ones(
    storage: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    value: str,
    valid: str,
) -> None:
    line = refused(capsys, NAME, "--storage", str(storage), *arguments)
    assert value in line
    assert valid in line
    assert "secret" not in line
    assert not storage.exists()


def test_set_makes_conditions_alike(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All would be the same, and a claim that they are alike would hold."""
    line = refused(capsys, "label_noise_kmnist", "--data", "kana", "--set", "label_noise=none")
    assert "--set label_noise: the conditions of label_noise_kmnist differ in it" in line


@pytest.mark.parametrize("arguments", [["acgan"], []])
def test_unknown_study_is_started(
    storage: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    line = refused(capsys, *arguments)
    assert all(name in line for name in names())


def test_condition_that_the_data_cannot_hold_is_started(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, NAME, "--data", "kana_digits", "--only", "classes=49")
    assert "no condition is left to run: classes=49: kana_digits has 10 classes" in line


def test_data_of_another_kind_are_refused_without_a_hint(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "cyclegan_kana", "--data", "kana")
    assert "needs images in pairs of two domains, and these data are of one" in line
    assert "; the study's own data are kana_styles" in line


def npz(path: Path, **changes: np.ndarray) -> Path:
    y = np.repeat(np.arange(10), 20)
    x = np.random.default_rng(0).integers(0, 256, (len(y), 16, 16), dtype=np.uint8)
    arrays = {"x": x, "y": y}
    np.savez(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"x": np.zeros((200, 16, 16), np.float32)}, "x is float32 200x16x16"),
        ({"y": np.repeat(np.arange(10), 19)}, "190"),
        ({"y": np.repeat([0, 2], 100)}, "no image has label 1"),
        ({"y": np.full(200, -1)}, "-1"),
    ],
)
def test_damaged_data_of_the_users_own_are_started(
    storage: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, np.ndarray],
    line: str,
) -> None:
    path = npz(storage.parent / "own.npz", **changes)
    assert line in refused(capsys, NAME, "--data", str(path), "--only", "classes=5")


def test_cut_off_data_of_the_users_own_are_started(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = npz(storage.parent / "own.npz")
    path.write_bytes(path.read_bytes()[:200])
    assert "own.npz: not a readable .npz file" in refused(capsys, NAME, "--data", str(path))


def test_batch_is_larger_than_the_condition(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each cell would fail after the judges were trained."""
    path = npz(storage.parent / "own.npz")
    with pytest.raises(SystemExit, match="2"):
        main([NAME, "--data", str(path), "--set", "batch=81", "--only", "classes=5"])
    error = capsys.readouterr().err
    assert "classes=5 on " in error
    assert "batch=81 needs 81 images, and there are 80" in error
    assert not storage.exists()


@pytest.mark.parametrize("place", ["a file", "a file/runs"])
def test_storage_is_no_folder(
    storage: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (storage.parent / "a file").touch()
    assert "a file: Not a directory" in refused(capsys, NAME, "--storage", place)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("gs://bucket/runs", "is neither a folder nor s3://BUCKET/PREFIX"),
        ("s3://bucket", "name a prefix in the bucket, too"),
        ("s3://", "name a prefix in the bucket, too"),
    ],
)
def test_store_of_another_kind_is_tried(
    capsys: pytest.CaptureFixture[str], place: str, why: str
) -> None:
    line = refused(capsys, NAME, "--storage", place)
    assert repr(place) in line
    assert why in line


def test_mlflow_in_a_store_is_tried(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite needs a file system."""
    monkeypatch.setattr("study.store.check", lambda _: None)
    line = refused(capsys, NAME, "--storage", "s3://bucket/runs")
    assert "s3://bucket/runs: name a --tracking-uri, too" in line


def test_fid_weights_are_something_else(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"root:x:0:0:root", os.urandom(500)):
        (storage.parent / "weights.pth").write_bytes(content)
        line = refused(capsys, NAME, "--fid-weights", "weights.pth")
        assert "weights.pth does not hold the weights" in line


def begun(storage: Path) -> Records:
    """A folder that holds the smoke study on kana, begun."""
    plan: Any = None

    def keep(asked: object, *_: object) -> int:
        nonlocal plan
        plan = asked
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("study.run.dry_run", keep)
        main([NAME, "--data", "kana", "--scale", "smoke", "--dry-run"])
    records = Records(storage / NAME)
    more = {"data_source": "data: kana, rendered", "digest": "0" * 16, "scale": "smoke"}
    definition = plan.definition() | more
    write_json(records.folder / "study.json", {"definition": definition, "runs": []})
    return records


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["--set", "lr=0.5"], "reference.classes=10.lr: 0.0002 -> 0.5"),
        (["--set", "kimg=7"], "kimg: 1 -> 7"),
        (["--data", "kana_digits"], 'data: "kana" -> "kana_digits"'),
    ],
)
def test_folder_of_another_definition_is_gone_on_with(
    storage: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], change: str
) -> None:
    """Cells of two definitions would stand in one table."""
    begun(storage)
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "smoke", *arguments)
    assert f"runs/{NAME}, begun at scale smoke, holds another definition" in line
    assert change in line
    assert "--fresh" in line


def test_refusal_fills_the_screen(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another scale changes each condition's recipe."""
    begun(storage)
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "quick")
    assert "kimg: 1 -> " in line
    assert " more): ask for that one" in line
    assert len(line) < 500


def test_data_of_a_begun_folder_pass_for_the_wanted_ones(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its data, though the study's own are at hand by now."""
    begun(storage)
    monkeypatch.setattr("study.run.dry_run", lambda *_: 0)
    capsys.readouterr()
    assert main([NAME, "--scale", "smoke", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "data: kana, rendered (with which this folder was begun)" in " ".join(said.split())


def test_damaged_study_file_is_overwritten(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = begun(storage).folder / "study.json"
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert f"{NAME}/study.json is damaged" in refused(capsys, NAME, "--scale", "smoke")


def test_dry_run_writes_something(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = npz(storage.parent / "own.npz")
    assert main([NAME, "--scale", "smoke", "--dry-run", "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "left out: classes=49, for" in out
    assert "cells: 4 search + at most 8 confirm over classes=5 | classes=10" in out
    assert "1 CPU and 0 GPU per trial" in out
    assert "estimated time:" in out
    assert not storage.exists()


def test_two_commands_share_a_folder(storage: Path) -> None:
    """Both would run the same cells, and write over each other's checkpoints."""
    first = prepare.lock(storage)
    with pytest.raises(prepare.BadInputError, match=r"runs is being run by process \d+ on "):
        prepare.lock(storage)
    first.release()
    prepare.lock(storage).release()


def test_data_of_the_users_own_moved_away(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = begun(storage)
    known = records.study()
    known["definition"]["data"] = "own.npz"
    write_json(records.folder / "study.json", known)
    capsys.readouterr()
    assert "own.npz: no such file" in refused(capsys, NAME, "--scale", "smoke")


def test_setting_equal_to_the_recipe_slips_through(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It changes no reference, but takes a dimension out of the search."""
    begun(storage)
    capsys.readouterr()
    line = refused(capsys, NAME, "--scale", "smoke", "--set", "lr_ratio=1.0")
    assert "overrides.lr_ratio: null -> 1.0" in line


def test_places_that_are_there_are_refused(storage: Path) -> None:
    storage.mkdir()
    uris = ("http://host:5000", "postgresql+psycopg2://host/db", f"sqlite:///{storage}/new.db")
    for uri in (None, *uris):
        places.check(storage / "deep" / "er", uri, None)
    assert list(storage.iterdir()) == []
