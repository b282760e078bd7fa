"""The command line: bad input ends with exit code 2 and one line, and leaves nothing behind.

If these tests fail, a user reads a traceback, finds a half-made folder, or waits for nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import search_spaces
from search_spaces import names
from search_spaces.core import Study
from study.errors import BadInputError
from study.planning import places
from study.run import main
from tests.study.refusals import NAME, refused


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
        (["--only", "classes=10", "--set", "f=1.5"], "classes=10", "integer"),
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
        (["--tracking-uri", "http://secret@host"], "password", "MLFLOW_TRACKING_TOKEN"),
        (["--tracking-uri", "https://host/?token=secret"], "password", "MLFLOW_TRACKING_TOKEN"),
        (["--tracking-uri", "https://host/?secret"], "password", "MLFLOW_TRACKING_TOKEN"),
        (["--tracking-uri", "mysql://me:se%40cret@host/db"], "password", "PGPASSWORD"),
        (["--tracking-uri", "mssql://h/?odbc_connect=P%57D%3Dsecret"], "password", "sslmode"),
        (["--tracking-uri", "http://[::secret@host"], "password", "MLFLOW_TRACKING_TOKEN"),
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
    """All conditions would be the same, so a claim that they are alike would be supported."""
    line = refused(capsys, "label_noise_kmnist", "--data", "kana", "--set", "label_noise=none")
    assert "--set label_noise: the conditions of label_noise_kmnist differ in it" in line


@pytest.mark.parametrize("arguments", [["acgan"], []])
def test_unknown_study_is_started(
    storage: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    line = refused(capsys, *arguments)
    assert all(name in line for name in names())


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("studies", ["acgan_kmnist_classes         "]),
        ("variants", ["biggan ", "    n_dis=2: from 1 to 100", "    adversarial='hinge': "]),
        ("metrics", ["fcd ", "    fcd: Frechet distance of fakes", "    label_accuracy: share"]),
        ("data", ["kana", "shapes", "cifar10"]),
    ],
)
def test_something_to_use_is_not_listed(
    capsys: pytest.CaptureFixture[str], kind: str, lines: list[str]
) -> None:
    assert main(["--list", kind]) == 0
    said = capsys.readouterr().out.splitlines()
    for line in lines:
        assert any(one.startswith(line) for one in said), line
    if kind == "metrics":
        assert any(line.startswith("    fcd:") and "(lower is better)" in line for line in said)


def test_help_does_not_say_what_a_study_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["egan_ring", "--help"]) == 0
    said = capsys.readouterr().out
    study = search_spaces.load("egan_ring")
    for text in (*study.conditions, *(claim.text for claim in study.claims), "--seeds N"):
        assert text in said, text
    assert "    n_dis=3: from 1 to 100  # turns of D per generation" in said
    assert "    balanced=False  # Draw real images so that every class is equally likely." in said
    assert "modes_covered: modes with a tenth of their share of fakes" in said
    with pytest.raises(SystemExit) as end:
        main(["nothing", "--help"])
    assert end.value.code == 2


def test_broken_study_hides_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One unfinished file in search_spaces/ made --list list nothing."""
    load = search_spaces.load

    def half(name: str) -> Study:
        if name == NAME:
            raise ValueError(f"search_spaces/{name}.py cannot be read: SyntaxError: a (")
        return load(name)

    monkeypatch.setattr(search_spaces, "load", half)
    with pytest.raises(SystemExit) as end:
        main(["--list"])
    said = capsys.readouterr()
    assert end.value.code == 2
    assert len(said.out.splitlines()) == len(names()) - 1
    assert f"search_spaces/{NAME}.py cannot be read" in said.err


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
        ({"x": np.full((200, 16, 16), 1.5)}, "x is float64 200x16x16 from 1.5"),
        ({"y": np.repeat(np.arange(10), 19)}, "190"),
        ({"y": np.repeat([0.5, 2], 100)}, "y is float64 200: N whole numbers or texts"),
        ({"y": np.full(200, -1)}, "no condition is left to run: classes=5: own.npz has 1 classes"),
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
@pytest.mark.usefixtures("storage")
def test_store_of_another_kind_is_tried(
    capsys: pytest.CaptureFixture[str], place: str, why: str
) -> None:
    line = refused(capsys, NAME, "--storage", place)
    assert repr(place) in line
    assert why in line


@pytest.mark.usefixtures("storage")
def test_mlflow_in_a_store_is_tried(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's default store is an SQLite file, which needs a file system."""
    monkeypatch.setattr("study.records.store.check", lambda _: None)
    line = refused(capsys, NAME, "--storage", "s3://bucket/runs")
    assert "s3://bucket/runs: name a --tracking-uri, too" in line


def test_fid_weights_are_something_else(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"root:x:0:0:root", os.urandom(500)):
        (storage.parent / "weights.pth").write_bytes(content)
        line = refused(capsys, NAME, "--fid-weights", "weights.pth")
        assert "weights.pth does not hold the weights" in line


def test_dry_run_writes_something(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = npz(storage.parent / "own.npz")
    assert main([NAME, "--scale", "smoke", "--dry-run", "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "left out: classes=49, for" in out
    assert "cells: 4 search + at most 8 confirm over classes=5 | classes=10" in out
    assert "1 CPU and 0 GPU per trial" in out
    assert "judges, trained once for these data: " in out
    assert "estimated time of the cells:" in out
    assert not storage.exists()


def test_places_that_are_there_are_refused(storage: Path) -> None:
    storage.mkdir()
    uris = ("http://host:5000", "postgresql+psycopg2://host/db", f"sqlite:///{storage}/new.db")
    for uri in (None, *uris):
        places.check(storage / "deep" / "er", uri, None)
    assert list(storage.iterdir()) == []


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%41"])
def test_database_lands_in_another_folder(storage: Path, name: str) -> None:
    """MLflow and SQLAlchemy cut an address at these characters, or read them as others."""
    with pytest.raises(BadInputError, match="MLflow cannot keep its database there"):
        places.check(storage / name, None, None)
    places.check(storage / name, "http://host:5000", None)
