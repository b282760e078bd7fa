"""Every metric of this project, measured as `python -m study.check` measures a stranger's."""

from __future__ import annotations

from pathlib import Path

import pytest

import trainables
from study.check import metrics, variants
from study.check.example import stripes
from study.metrics.core import catalog
from study.metrics.core.train_judges import train_judges

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

DATA = stripes()


def able(name: str) -> list[str]:
    """The variants that a metric suits on images with one label."""
    every = trainables.names()
    return [v for v in every if catalog.suited([name], trainables.load(v), DATA.spec)]


@pytest.mark.parametrize("name", [n for n in catalog.names() if n != "fid" and able(n)])
def test_our_own_metric_is_broken(tmp_path: Path, name: str) -> None:
    judges = train_judges(DATA, tmp_path, share=0.02)
    gan = variants.make(able(name)[0], DATA.spec).gan
    for check in metrics.MEASURED:
        check(name, metrics.views(gan, DATA, judges, name))
