"""The curves and the sample grids of a report.

If these tests fail, a figure shows other values than were measured, hides them, or is a traceback.
"""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study.records.records import Records
from study.report import curves, grid_panels
from study.report import page as report_page
from study.report.stats import estimate

pytestmark = pytest.mark.slow


def test_one_class_loss_ends_in_a_traceback() -> None:
    """The D of an SGAN has a class loss on real images alone."""
    ticks = pd.DataFrame({"condition": "a", "kimg": [0, 1], "real": [2.0, 1.0]})
    assert curves.class_losses(ticks, ["a"], ("real", "fake"))
    assert curves.class_losses(ticks, ["a"], ("fake", "other")) is None


def test_interval_of_two_seeds_hides_the_curve() -> None:
    ticks = pd.DataFrame(
        {"condition": "a", "kimg": [0, 0, 1, 1], "m": [1.0, 3.0, 1.0, 1.1], "m_real": 0.5}
    )
    figure = curves.figure({"reference": ticks}, ["m"], ["a"], {}, log=True)
    assert figure is not None
    (ax,) = figure.axes
    low, high = ax.get_ylim()
    assert 0.3 < low < 0.5
    assert 3.0 < high < 4.0
    dotted = [line for line in ax.get_lines() if set(line.get_ydata()) == {0.5}]
    assert dotted, "what real images score is not drawn"


def test_band_of_searches_is_that_of_their_seeds() -> None:
    """Seeds 0 and 2 share a search, and so do 1 and 3."""
    ticks = pd.DataFrame(
        {"condition": "a", "kimg": 1, "seed": [0, 1, 2, 3], "m": [1.0, 5.0, 3.0, 7.0]}
    )
    found = report_page._by_search(ticks, 2)
    assert found["m"].to_list() == [2.0, 6.0]
    assert found["kimg"].to_list() == [1, 1]
    assert report_page._by_search(ticks, 1) is ticks


def test_a_band_is_not_the_interval_of_the_mean() -> None:
    ticks = pd.DataFrame({"kimg": [1, 1, 2, 2], "m": [1.0, 4.0, 2.0, None]})
    for log in (False, True):
        wanted = estimate([1.0, 4.0], log=log).effect()
        found = curves.band(ticks, "m", log=log).loc[1].to_list()
        assert found == pytest.approx([wanted.value, wanted.low, wanted.high])
    assert curves.band(ticks, "m", log=False).loc[2].to_list() == [2, 2, 2]
    assert curves.band(ticks, "absent", log=False).empty


def test_a_wide_grid_is_thinned_to_ten_whole_columns(made_up: Records) -> None:
    path = made_up.cell_folder("r490") / "samples" / "000100.png"
    found = grid_panels.small(path)
    assert found is not None
    uri, columns = found
    assert len(columns) == 10
    assert (columns[0], columns[-1]) == (0, 48)
    width, height = np.frombuffer(
        base64.b64decode(uri.partition(",")[2])[16:24], dtype=">u4"
    )  # of the PNG's header
    assert (width, height) == (10 * 29 + 1, 5 * 29 + 1)


def test_every_class_of_a_wide_grid_has_its_column(made_up: Records) -> None:
    path = made_up.cell_folder("r490") / "samples" / "000100.png"
    found = grid_panels.strips(path)
    assert len(found) == 49
    with Image.open(path) as image:
        grid = image.convert("RGB")
    for column in (0, 48):
        with Image.open(io.BytesIO(base64.b64decode(found[column].partition(",")[2]))) as strip:
            box = (column * 29, 0, column * 29 + 30, 5 * 29 + 1)
            assert strip.convert("RGB").tobytes() == grid.crop(box).tobytes()
    narrow = made_up.cell_folder("r50") / "samples" / "000100.png"
    assert grid_panels.strips(narrow) == []


def test_conditions_are_told_apart() -> None:
    assert len({curves.style(i) for i in range(28)}) == 28
