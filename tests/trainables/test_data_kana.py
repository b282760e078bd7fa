"""The rendered sets: the same bytes on all machines, no glyph missing, every typeface licensed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainables.data import DataError, Dataset, kana, load

ATLAS = Path(kana.__file__).parent / "kana_atlas.npz"
OPEN = {"OFL-1.1", "Apache-2.0", "BSD-3-Clause", "CC-BY-3.0", "IPA-1.0", "MIT", "public domain"}
OPEN |= {"M+ and BSD-3-Clause", "Oradano (free)", "UmeFont (free)"}  # in Debian's free part

pytestmark = pytest.mark.timeout(60)  # 232,365 images


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=sorted(kana.SETS))
def drawn(request: pytest.FixtureRequest, cache: Path) -> Dataset:
    return load(request.param, cache=cache)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `kana_digits` small: ten training images and two test images of each digit."""
    monkeypatch.setitem(kana.COUNTS, "kana_digits", ((10,) * 10, (2,) * 10))
    monkeypatch.setitem(kana.DIGESTS, "kana_digits", load("kana_digits").digest)


def faces() -> list[list[str]]:
    lines = (ATLAS.parent / "KANA.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return rows[2:]


@pytest.mark.slow
def test_images_differ_from_those_of_other_machines(drawn: Dataset) -> None:
    """Studies on two machines, or of two versions, would use different data of one name."""
    assert drawn.digest == kana.DIGESTS[drawn.name]


@pytest.mark.slow
def test_counts_are_not_kuzushijis(drawn: Dataset) -> None:
    """49 classes are hard partly because some are rare: 392 against 6000 images."""
    for split, counts in zip((drawn.train, drawn.test), kana.COUNTS[drawn.name], strict=True):
        assert tuple(np.bincount(split.y)) == counts
        assert split.x.shape == (sum(counts), 1, 28, 28)
    if drawn.name == "kana":
        assert (len(drawn.train.y), len(drawn.test.y)) == (232_365, 38_547)
        assert drawn.classes[:3] == ("あ", "い", "う")


@pytest.mark.slow
def test_class_holds_blanks_or_flooded_images(drawn: Dataset) -> None:
    x, y = drawn.test.x, drawn.test.y
    lit = (x > 64).mean((1, 2, 3))
    assert lit.min() > 0.005
    assert lit.max() < 0.8
    means = np.stack([x[y == label].mean(0).ravel() for label in range(len(drawn.classes))])
    similar = np.corrcoef(means) - np.eye(len(means))
    assert similar.max() < 0.99, "two classes look the same"


@pytest.mark.slow
def test_test_images_were_trained_on(drawn: Dataset) -> None:
    """Results on test images would say nothing."""
    train, test = ({x.tobytes() for x in split.x} for split in (drawn.train, drawn.test))
    assert not train & test
    assert len(test) == len(drawn.test.y)


def test_atlas_lacks_a_glyph_or_a_licence() -> None:
    with np.load(ATLAS) as file:
        atlas = file["atlas"]
    assert atlas.shape[1] == len(kana.HIRAGANA) + 10
    assert len(atlas) >= 30
    assert (atlas > 128).mean((2, 3)).min() > 0.005, "an empty glyph"
    rows = faces()
    assert len(rows) == len(atlas)
    assert len({row[0] for row in rows}) == len(rows)
    unknown = {row[3] for row in rows if not set(row[3].split(" or ")) & OPEN}
    assert not unknown
    assert all(row[4] for row in rows), "a face whose author is not named"


@pytest.mark.usefixtures("small")
def test_cache_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command would render 270,000 images first."""
    first = load("kana_digits", cache=tmp_path)
    monkeypatch.setattr(kana, "draw", None)
    assert load("kana_digits", cache=tmp_path).digest == first.digest


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damage", ["cut", "flipped", "other shape"])
@pytest.mark.slow
def test_damaged_cache_is_believed(tmp_path: Path, damage: str) -> None:
    first = load("kana_digits", cache=tmp_path)
    path = next((tmp_path / "data").glob("*train.npy"))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-1] ^= 255
        path.write_bytes(content)
    else:
        np.save(path, np.zeros((3, 1, 28, 28), np.uint8))
    assert load("kana_digits", cache=tmp_path).digest == first.digest
    assert load("kana_digits", cache=tmp_path).digest == first.digest  # from the mended cache


@pytest.mark.usefixtures("small")
def test_unwritable_cache_ends_in_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    with pytest.raises(DataError, match=r"cannot be written: Not a directory$"):
        load("kana_digits", cache=tmp_path / "cache")
