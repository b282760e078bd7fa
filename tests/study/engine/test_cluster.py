"""What a cluster's nodes answer before anything starts.

If these tests fail, cells are lost on a node that does not share the storage, or numbers of two
versions stand in one table.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from study.engine import cluster
from study.errors import BadInputError
from study.planning.resources import Node, Resources, device_of, fit
from study.records.environment import versions


def judged(monkeypatch: pytest.MonkeyPatch, answer: tuple[bool, dict[str, str], str]) -> None:
    def get(_: Any, timeout: float) -> tuple[bool, dict[str, str], str]:
        return answer

    monkeypatch.setattr(cluster.ray, "get", get)
    cluster._refuse_unfit("10.0.0.2", Path("/shared/runs"), None)


def test_node_that_is_like_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, (True, versions(), ""))


def test_node_without_the_storage_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match=r"--storage /shared/runs: node 10\.0\.0\.2 does not"):
        judged(monkeypatch, (False, versions(), ""))


def test_node_of_another_version_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match=r"node 10\.0\.0\.2 has torch 1\.0, this one "):
        judged(monkeypatch, (True, versions() | {"torch": "1.0"}, ""))


def test_node_that_lacks_a_package_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell would end as if its worker had died, and nobody would read why."""
    with pytest.raises(BadInputError, match=r"node 10\.0\.0\.2: lsgan cannot be imported: No mod"):
        judged(monkeypatch, (True, versions(), "lsgan cannot be imported: No module named 'x'"))


def test_trials_are_not_packed_by_node() -> None:
    """Trials of half a GPU each fit twice on a GPU, as long as their node has enough CPUs."""
    nodes = [Node(8, 2.0), Node(1, 4.0), Node(16, 0.0)]
    assert fit(nodes, 1, 0.5, None).concurrent == 4 + 1
    assert fit(nodes, 2, 0.0, None).concurrent == 4 + 0 + 8
    assert fit(nodes, 1, None, 3).concurrent == 3
    assert fit(nodes, 1, None, None).gpus == 0.25
    with pytest.raises(BadInputError, match=r"2 --gpus-per-trial 4: no node has both: 8 CPU and 2"):
        fit(nodes, 2, 4.0, None)


@pytest.mark.parametrize(
    ("gpus", "here", "kind"), [(0.25, True, "cuda"), (0.0, True, "cpu"), (0.25, False, "cpu")]
)
def test_trial_computes_elsewhere(
    gpus: float, here: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that has no share of a GPU computes on the CPU, even where there is a GPU.

    Otherwise the choice of bfloat16 and the estimated times would be wrong.
    """
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    assert device_of(Resources(1, gpus, 1)).type == kind


def test_node_that_dies_while_asked_refuses_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some seconds Ray takes a dead node to be alive.

    A job that continues a study in this time must not be refused.
    """
    a, b = "a" * 56, "b" * 56
    state = {a: True, b: True}

    def nodes() -> list[dict[str, Any]]:
        one = {"NodeManagerAddress": "10.0.0.2", "Resources": {"CPU": 2.0}}
        return [{"NodeID": name, "Alive": alive, **one} for name, alive in state.items()]

    class Inspect:
        def options(self, scheduling_strategy: Any) -> Any:
            return SimpleNamespace(remote=lambda *_: scheduling_strategy.node_id)

    def get(node: str, timeout: float) -> tuple[bool, dict[str, str], str]:
        if node == b:
            state[b] = alive_after
            raise cluster.ray.exceptions.RayError("not schedulable")
        return True, versions(), ""

    monkeypatch.setattr(cluster.ray, "nodes", nodes)
    monkeypatch.setattr(cluster.ray, "remote", lambda **_: lambda _: Inspect())
    monkeypatch.setattr(cluster.ray, "get", get)
    alive_after = False
    assert cluster.check(tmp_path) == [Node(2, 0.0)]
    state[b] = alive_after = True
    with pytest.raises(BadInputError, match=r"node 10\.0\.0\.2 does not answer"):
        cluster.check(tmp_path)
