"""Starts every service of compose.yaml outside Docker, by its own command, and runs a study there.

Where this fails, `docker compose up` does not come up, loses results, or lets strangers in.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from study.records.records import Records
from tests import boxes
from tests.boxes import ROOT, Boxes
from tests.docker.test_files import pods

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1200)]

TOOLS = ("weed", "wget", "initdb", "pg_isready")
NAME = "acgan_kmnist_classes"
STUDY = [NAME, "--scale=smoke", "--data=kana", "--trials=1", "--seeds=1"]

RUNS = """
import json, mlflow
client = mlflow.MlflowClient("http://mlflow:5000")
def files(run, path=None):
    for file in client.list_artifacts(run, path):
        yield from files(run, file.path) if file.is_dir else [file.path]
(experiment,) = client.search_experiments(filter_string="name != 'Default'")
runs = client.search_runs([experiment.experiment_id])
print(json.dumps([r.to_dictionary() | {"files": list(files(r.info.run_id))} for r in runs]))
"""
STORE = """
import json, boto3
client = boto3.client("s3", endpoint_url="http://s3:8333")
pages = client.get_paginator("list_objects_v2").paginate(Bucket="mlflow")
print(json.dumps({o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}))
"""
DATABASE = """
import psycopg
{password}
cursor = psycopg.connect("postgresql://mlflow@postgres:5432/mlflow", password=password).cursor()
cursor.execute("select count(*) from runs")
print(cursor.fetchone()[0])
"""
LOAD = """
import mlflow
from study import load_generator as load
mlflow.set_tracking_uri("http://mlflow:5000")
for classes in (5, 10, 49):
    G = load(f"models:/acgan_kmnist_classes.classes-{classes}/1")
    print(*G(labels=[0, classes - 1], seed=0).shape)
"""
STATUS = """
import urllib.request, urllib.error
request = urllib.request.Request({url!r}, headers={headers!r})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
"""


@pytest.fixture(scope="module")
def up() -> Iterator[Boxes]:
    """All services, healthy by their own health checks. Each worker has one processor."""
    if reason := boxes.missing(*TOOLS):
        warnings.warn(f"compose's services were NOT run: {reason}", stacklevel=1)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="compose"))
    secrets = folder / "secrets"
    subprocess.run([ROOT / "docker" / "secrets.sh", secrets], check=True)
    made = Boxes(folder, secrets, boxes.compose(WORKER_CPUS="1"))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def study(up: Boxes) -> Records:
    driver = up["driver"]
    done = driver.run(*driver.service["entrypoint"], *STUDY)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Records(up.folder / "shared" / "runs" / NAME)


def status(up: Boxes, url: str, **headers: str) -> str:
    return up["driver"].python(STATUS.format(url=url, headers=headers)).strip()


def test_probe_of_kubernetes_fails(up: Boxes) -> None:
    """A kubelet asks from another machine and without the token."""
    for pod, host in zip(pods(), ("head", "worker-1"), strict=True):
        for kind in ("livenessProbe", "readinessProbe"):
            get = pod["spec"]["containers"][0][kind]["httpGet"]
            assert status(up, f"http://{host}:{get['port']}{get['path']}") == "200", (host, kind)


def test_study_is_not_in_mlflow(up: Boxes, study: Records) -> None:
    """Runs and metrics must be in PostgreSQL, and artifacts in the S3-compatible store.

    All of them get there through MLflow.
    """
    runs = json.loads(up["driver"].python(RUNS))
    children = {run["data"]["tags"]["cell"]: run for run in runs if "cell" in run["data"]["tags"]}
    cells = study.cells().set_index("id")
    assert len(cells) >= 6  # 3 conditions x (a search cell, a confirm cell)
    assert set(cells["outcome"]) <= {"complete", "pruned", "diverged"}
    assert children.keys() == set(cells.index)
    (parent,) = [run for run in runs if "cell" not in run["data"]["tags"]]
    assert parent["info"]["status"] == "FINISHED"
    for cell, run in children.items():
        fcd = run["data"]["metrics"].get("fcd", math.nan)
        assert fcd == pytest.approx(cells.loc[cell, "last/fcd"], nan_ok=True)
        pictures = [*study.cell_folder(cell).glob("samples/*.png")]
        assert sum(file.startswith("images/") for file in run["files"]) >= len(pictures)
    assert cells["last/fcd"].notna().sum() >= 5
    assert "report.html" in parent["files"]

    stored = json.loads(up["mlflow"].python(STORE))
    for run in runs:
        for file in run["files"]:
            key = f"{run['info']['experiment_id']}/{run['info']['run_id']}/artifacts/{file}"
            assert stored[key] > 0
    assert len(stored) == sum(len(run["files"]) for run in runs)
    ours = "password = open('/run/secrets/postgres_password').read()"
    assert int(up["mlflow"].python(DATABASE.format(password=ours))) == len(runs)


def test_generator_does_not_reach_the_registry(up: Boxes, study: Records) -> None:
    """Generators are registered twice. Their files must be in the S3-compatible store once.

    They must load from there.
    """
    command = ("python", "-m", "study.report", NAME, "--register", "--storage=/shared/runs")
    for _ in range(2):
        done = up["driver"].run(*command, "--tracking-uri=http://mlflow:5000")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f": models:/{NAME}.classes-") == 3, done.stdout
    assert done.stdout.count("/1 was there") == 3
    assert up["driver"].python(LOAD).splitlines() == ["2 1 28 28"] * 3
    stored = json.loads(up["mlflow"].python(STORE))
    assert sum(key.endswith("/generator.safetensors") for key in stored) == 3


def test_workers_did_nothing(up: Boxes, study: Records) -> None:
    """Ray writes the name of a trial's actor to the log of its process."""
    trained = {
        name
        for name, box in up.items()
        for log in box.tmp.glob("ray/session_*/logs/worker-*.out")
        if ":actor_name:StudyTrial" in log.read_text()
    }
    assert trained == {"worker-1", "worker-2"}


def test_stranger_is_let_in(up: Boxes, study: Records) -> None:
    driver = up["driver"]
    done = driver.run(*driver.service["entrypoint"], *STUDY, RAY_AUTH_TOKEN="0" * 64)
    assert "AuthenticationError" in done.stderr
    assert status(up, "http://head:8265/api/jobs/") == "401"
    assert status(up, "http://mlflow:5000/api/2.0/mlflow/experiments/get?experiment_id=0") == "200"
    evil = status(up, "http://mlflow:5000/api/2.0/mlflow/experiments/get?experiment_id=0", Host="e")
    assert evil == "403"
    assert status(up, "http://s3:8333/mlflow?list-type=2") == "403"
    assert status(up, "http://s3:8888/") == "ConnectionRefusedError", "SeaweedFS' own ports"
    wrong = up["mlflow"].run("python", "-c", DATABASE.format(password="password = 'x'"))
    assert "password authentication failed" in wrong.stderr


def test_secret_is_seen(up: Boxes, study: Records) -> None:
    """No secret may be in process lists, logs, records or MLflow."""
    made = {file.name: file.read_text() for file in up.secrets.iterdir()}
    key = made["s3_credentials"].split()[-1]
    assert key in made["s3_identities.json"]
    secrets = [made["ray_token"], made["postgres_password"], key]
    shown = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert any("mlflow server" in line for line in shown)
    shown.append(up["driver"].python(RUNS))
    files = [box.log for box in up.values()]
    for box in up.values():
        files += box.tmp.glob("ray/session_*/logs/**/*.*")
    files += study.folder.rglob("*")
    shown += [file.read_text(errors="replace") for file in files if file.is_file()]
    assert len(files) > 100
    for secret in secrets:
        assert len(secret) == 64
        assert not any(secret in text for text in shown)
