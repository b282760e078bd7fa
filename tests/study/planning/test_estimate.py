"""The estimate of a study's time that is made before the study starts."""

from __future__ import annotations

import pytest

from study.planning.estimate import estimate
from study.planning.remaining import planned
from study.planning.resources import Resources
from tests.study import tiny
from trainables.pggan import Pggan


def test_growing_networks_pass_for_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timed in their first steps only, they would seem several times as fast as they are."""
    levels: list[float] = []
    step = Pggan.step
    monkeypatch.setattr(
        Pggan, "step", lambda self, x, y: (levels.append(self.level), step(self, x, y))[1]
    )
    study = tiny.study(
        variant="pggan",
        conditions={"grown": {"stage_kimg": 1.2, "fade": 0.5}},
        reference={},
        space=None,
        metrics=("fcd",),
        claims=(),
    )
    budget = tiny.budget(trials=0)  # 3 kimg
    plan = tiny.plan(study, budget)
    assert estimate(plan, Resources(cpus=1, gpus=0, concurrent=1), [planned(plan)])[0] > 0
    assert set(levels) >= {0, 2}


def test_pretraining_takes_no_time() -> None:
    def seconds(kimg: float) -> float:
        study = tiny.study(
            conditions={"one": {"pretrain_kimg": kimg}}, space=None, metrics=("fcd",), claims=()
        )
        one = Resources(cpus=1, gpus=0, concurrent=1)
        plan = tiny.plan(study, tiny.budget(trials=0))
        return estimate(plan, one, [planned(plan)])[0]

    assert seconds(3_000) > 10 * seconds(0)  # besides 3 kimg of training
