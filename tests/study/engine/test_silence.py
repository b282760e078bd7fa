"""Cells that hang.

Where these fail, a study whose cells hang says nothing for hours, or names cells that only have
long ticks.
"""

from __future__ import annotations

import time

import pytest

from study.engine import silence
from study.engine.engine import RunSupervisor
from study.planning.plan import Plan
from study.records.records import Records
from tests.study.fake_ray import Ray


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(silence, "time", type("", (), {"monotonic": made}))
    return made


@pytest.fixture
def ray(plan: Plan, records: Records, clock: Clock) -> Ray:
    return Ray(plan, records)


def test_silent_cell_is_named_once(ray: Ray, clock: Clock) -> None:
    cell, other = ray.must(), ray.must()
    clock.now += 599
    ray.searcher.observe(other.id, 1)
    assert ray.searcher.silence.lines() == []
    clock.now += 2
    (line,) = ray.searcher.silence.lines()
    assert line.startswith(f"cell {cell.id} has ended no tick for 10 minutes")
    assert ray.searcher.silence.lines() == []


def test_silence_after_a_tick_is_another_one(ray: Ray, clock: Clock) -> None:
    cell = ray.must()
    clock.now += 601
    assert len(ray.searcher.silence.lines()) == 1
    ray.searcher.observe(cell.id, 1)
    clock.now += 3 * 601 - 1
    assert ray.searcher.silence.lines() == [], "its ticks take that long"
    clock.now += 2
    assert len(ray.searcher.silence.lines()) == 1


def test_ended_cell_is_forgotten(ray: Ray, clock: Clock) -> None:
    ray.finish(ray.must())
    clock.now += 10_000
    assert ray.searcher.silence.lines() == []


def test_supervisor_reports_it(ray: Ray, clock: Clock) -> None:
    cell, said = ray.must(), list[str]()
    with RunSupervisor(ray.searcher, said.append):
        clock.now += 601
        until = time.monotonic() + 5
        while not said and time.monotonic() < until:
            time.sleep(0.05)
    assert [line.split()[:2] for line in said] == [["cell", cell.id]]
