"""`python -m study.ui`: MLflow's page with the best cells of a study.

If these tests fail, the command compares the wrong runs, leaves a server behind, or answers a
missing store or a taken port with a traceback.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from study import ui
from study.records.records import Records
from study.tracking.compare import MAX_COMPARED, best_cells, compare_link
from tests.study import synthetic

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return synthetic.write_study(tmp_path_factory.mktemp("runs") / "made_up", seeds=4)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind((ui.HOST, 0))
        number: int = free.getsockname()[1]
    return number


def experiment(runs: dict[str, str]) -> SimpleNamespace:
    """A stand-in for the module `mlflow`. `runs` maps ids of cells to ids of MLflow runs.

    MLflow itself takes longer to make its first store than a test may take.
    """

    class Client:
        def __init__(self, uri: str) -> None:
            assert uri == "sqlite:///store"

        def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
            return SimpleNamespace(experiment_id="3") if name == "made_up" else None

        def search_runs(
            self, experiments: list[str], query: str, max_results: int
        ) -> list[SimpleNamespace]:
            cell = re.fullmatch(r"tags\.folder = 'f1' and tags\.cell = '(\w+)'", query)
            assert experiments == ["3"]
            assert max_results == 1
            assert cell
            found = [runs[cell[1]]] if cell[1] in runs else []
            return [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run in found]

    return SimpleNamespace(MlflowClient=Client)


def test_the_best_of_every_condition_come_first_and_unfinished_cells_never(
    made_up: Records,
) -> None:
    found = best_cells(made_up)
    cells = made_up.cells().set_index("id")
    assert len(found) == MAX_COMPARED
    assert set(cells.loc[found[:3], "condition"]) == {"classes=5", "classes=10", "classes=49"}
    for first in found[:3]:
        peers = cells[cells["condition"].eq(cells.loc[first, "condition"])]
        confirmed = peers[peers["phase"].eq("confirm") & peers["outcome"].eq("complete")]
        assert cells.loc[first, "last/fcd"] == confirmed["last/fcd"].min()


def test_the_link_names_the_runs_of_the_cells_in_mlflows_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", experiment({"a": "run1", "c": "run2"}))
    link = compare_link("http://127.0.0.1:1", "sqlite:///store", "made_up", "f1", list("abc"))
    assert link
    assert '"' not in link
    expected = 'http://127.0.0.1:1/#/compare-runs?runs=["run1","run2"]&experiments=["3"]'
    assert unquote(link) == expected
    assert compare_link("x", "sqlite:///store", "other", "f1", ["a"]) is None
    assert compare_link("x", "sqlite:///store", "made_up", "f1", ["b"]) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--storage", "{empty}"], "no MLflow store"),
        (["nope", "--storage", "{runs}"], "no records of study 'nope'"),
        (["--storage", "{runs}", "--port", "{taken}"], "cannot be used (Address already in use)"),
        (["--storage", "{runs}", "--port", "70000"], "port 70000 is not one of 1 to 65535"),
    ],
)
def test_bad_input_is_one_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        known = {"empty": tmp_path / "empty", "runs": tmp_path / "runs"}
        values = {**known, "taken": taken.getsockname()[1]}
        assert ui.main([text.format(**values) for text in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def start(storage: Path, port: int, server: str) -> subprocess.Popen[str]:
    """Start `python -m study.ui` in another process.

    The Python statement `server` can put another server in the place of MLflow's.
    """
    code = f"import sys; from study import ui; {server}; sys.exit(ui.main(sys.argv[1:]))"
    command = [sys.executable, "-u", "-c", code, "--storage", str(storage), "--port", str(port)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_server_and_its_children(
    tmp_path: Path, port: int, number: signal.Signals
) -> None:
    (tmp_path / "mlflow.db").touch()
    child = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'http.server', '{port}'])"
    )
    running = start(
        tmp_path, port, f"ui.server_command = lambda *_: [sys.executable, '-c', {child!r}]"
    )
    assert running.stdout
    try:
        assert f"http://127.0.0.1:{port}" in running.stdout.readline()
        running.send_signal(number)
        assert running.wait(8) == 0
        ui.check_port(port)  # nobody listens any more
    finally:
        running.terminate()  # not kill: it must still end its server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mlflow_itself_serves_the_store_and_finds_the_runs(made_up: Records, port: int) -> None:
    from mlflow import MlflowClient

    storage = made_up.folder.parent
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    number = client.create_experiment("made_up")
    runs = {
        c: client.create_run(number, tags={"cell": c, "folder": "f1"}) for c in best_cells(made_up)
    }
    command = [sys.executable, "-m", "study.ui", "made_up", "--storage", str(storage)]
    running = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert running.stdout
    try:
        lines = [running.stdout.readline() for _ in range(2)]
        assert all(run.info.run_id in lines[1] for run in runs.values())
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/runs/search",
            data=json.dumps({"experiment_ids": [number]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert len(json.load(answer)["runs"]) == len(runs)
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    finally:
        running.terminate()
