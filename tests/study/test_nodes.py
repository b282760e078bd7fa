"""What a cluster's nodes say before anything starts. Where these fail, cells are lost on a node
that does not share the storage, or numbers of two versions stand in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study import cluster
from study.environment import versions
from study.prepare import BadInputError
from study.resources import Node, fit


def judged(monkeypatch: pytest.MonkeyPatch, answer: tuple[bool, dict[str, str]]) -> None:
    def get(_: Any, timeout: float) -> tuple[bool, dict[str, str]]:
        return answer

    monkeypatch.setattr(cluster.ray, "get", get)
    cluster._judge("10.0.0.2", Path("/shared/runs"), None)


def test_node_that_is_like_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, (True, versions()))


def test_node_without_the_storage_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match=r"--storage /shared/runs: node 10\.0\.0\.2 does not"):
        judged(monkeypatch, (False, versions()))


def test_node_of_another_version_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match=r"node 10\.0\.0\.2 has torch 1\.0, this one "):
        judged(monkeypatch, (True, versions() | {"torch": "1.0"}))


def test_trials_are_not_packed_by_node() -> None:
    """Half a GPU each: two a GPU, as long as the node has processors."""
    nodes = [Node(8, 2.0), Node(1, 4.0), Node(16, 0.0)]
    assert fit(nodes, 1, 0.5, None).concurrent == 4 + 1
    assert fit(nodes, 2, 0.0, None).concurrent == 4 + 0 + 8
    assert fit(nodes, 1, None, 3).concurrent == 3
    assert fit(nodes, 1, None, None).gpus == 0.25
    with pytest.raises(BadInputError, match=r"2 --gpus-per-trial 4: no node has both: 8 CPU and 2"):
        fit(nodes, 2, 4.0, None)
