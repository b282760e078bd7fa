"""`python -m study.report NAME --register` with nothing to register, or no store to register in.

If these tests fail, a user reads a traceback, or a torn generator is published.
"""

from __future__ import annotations

import socket

import pytest

from study.planning.plan import Plan
from study.report.__main__ import main
from tests.study.cells import cell_of
from tests.study.tracking.registered import (
    Lab,
    empty_lab,  # noqa: F401  the fixture `lab` of these tests
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]  # MLflow on SQLite is slow


class TestBadInput:
    """Bad input ends with one line and exit code 2, and nothing is registered."""

    def refused(self, lab: Lab, capsys: pytest.CaptureFixture[str], *more: str) -> str:
        storage = str(lab.records.folder.parent)
        assert main(["tiny", "--storage", storage, *more]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        if (lab.records.folder.parent / "mlflow.db").exists():  # otherwise asking would make it
            assert not lab.versions()
        assert not (lab.records.folder / "report.html").exists()
        return err

    def test_no_cell_is_finished(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        line = self.refused(lab, capsys, "--register")
        assert "no generator to register (classes=2: no finished confirm cell; classes=3: " in line

    @pytest.mark.parametrize("name", ["generator.pt", "judges.pt"])
    def test_file_is_lost_or_torn(
        self, lab: Lab, plan: Plan, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        cell = cell_of(plan, "classes=2")
        lab.run(cell, 3.0)
        lab.mirror()
        (path,) = lab.records.folder.rglob(name)
        path.write_bytes(path.read_bytes()[:-1])
        assert f"{name} is damaged" in self.refused(lab, capsys, "--register")
        path.unlink()
        assert f"{name}: No such file" in self.refused(lab, capsys, "--register")

    def test_mlflow_lacks_the_study_or_is_not_there(
        self, lab: Lab, plan: Plan, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lab.run(cell_of(plan, "classes=2"), 3.0)
        line = self.refused(lab, capsys, "--register")
        assert "`python -m study.run tiny`, with this store, copies it" in line
        lab.mirror()
        experiment = lab.client.get_experiment_by_name("tiny")
        assert experiment is not None
        for run in lab.client.search_runs([experiment.experiment_id]):
            lab.client.update_run(run.info.run_id, status="RUNNING")  # its last rows are to come
        assert "copies it" in self.refused(lab, capsys, "--register")
        with socket.socket() as taken:  # nobody listens
            taken.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{taken.getsockname()[1]}"
            line = self.refused(lab, capsys, "--register", "--tracking-uri", address)
        assert f"MLflow at {address}: " in line
        line = self.refused(lab, capsys, "--register", "--tracking-uri", "nowhere")
        assert "'nowhere': begin with one of sqlite://" in line
        assert "--register" in self.refused(lab, capsys, "--tracking-uri", "sqlite:///x.db")
        (lab.records.folder.parent / "mlflow.db").rename(lab.records.folder.parent / "kept.db")
        assert "no MLflow store" in self.refused(lab, capsys, "--register")
