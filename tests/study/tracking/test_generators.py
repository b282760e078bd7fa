"""Published generators: a loaded one draws what the cell's own G draws, and runs no stored code.

If these tests fail, a published generator is not the one that the study measured, or whoever can
write to the registry runs code on the machines of those who load from it.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import trainables
from study.check.variants import SEVERAL, SHAPES, labels, make
from study.records.tensors import load_tensors, save_tensors
from study.tracking import generators
from study.tracking.generators import MANIFEST, WEIGHTS, Generator, Manifest, pack_weights
from tests.trainables.test_variants import CASES
from trainables.core.gan import Gan
from trainables.data.base import DataSpec

pytestmark = pytest.mark.slow

POINTS = DataSpec(8, 1, (1, 2))
# Image sizes differ only by an argument of the same code, so one size is enough.
EVERY = [case for case in CASES if case.values[1] is not SHAPES[1]] + [
    pytest.param(name, POINTS, id=f"{name}-points")
    for name in trainables.names()
    if trainables.load(name).on_points
]
STEPS, BATCH = 12, 8
SEED = 5


def trained(name: str, images: DataSpec) -> Gan:
    """A GAN after a few steps of training. A G that grows is half-way to its next size."""
    loop = make(name, images, **({"stage_kimg": 0.05} if name == "pggan" else {}))
    loop.run(STEPS * BATCH)
    return loop.gan


def publish(gan: Gan, name: str, folder: Path, **changes: Any) -> None:
    """Write the two files of a published generator, from weights as a cell leaves them."""
    save_tensors(folder / "generator.pt", gan.G_ema.state_dict())
    kept = load_tensors(folder / "generator.pt")
    assert kept is not None
    weights = pack_weights(kept)
    spec = gan.data_spec
    given: dict[str, Any] = {
        "study": "made_up",
        "condition": "classes=3",
        "cell": "0" * 12,
        "data": "noise",
        "variant": name,
        "config": gan.config.model_dump(mode="json"),
        "spec": spec,
        "classes": tuple(map(str, range(spec.classes))),
        "bf16": gan.bf16,
        "seen": (STEPS - 1) * BATCH,
        "metrics": {"fcd": 1.0},
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    generators.write(folder, Manifest(**(given | changes)), weights)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Generator]:
    """A function that makes, publishes and reads a generator."""

    def of(name: str, images: DataSpec) -> Generator:
        torch.manual_seed(0)
        gan = make(name, images).gan
        publish(gan, name, tmp_path, seen=0)
        return generators.read(tmp_path)

    return of


@pytest.mark.parametrize(("name", "images"), EVERY)
def test_loaded_generator_draws_other_images(name: str, images: DataSpec, tmp_path: Path) -> None:
    """Images must be equal bit for bit, for every variant, including new ones."""
    gan = trained(name, images)
    publish(gan, name, tmp_path)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    G = generators.read(tmp_path)
    assert torch.equal(torch.get_rng_state(), state), "loading moved the caller's random state"
    if gan.translates:
        x = torch.randint(0, 256, (6, images.channels, *images.size), dtype=torch.uint8)
        for domain in (0, 1):
            assert torch.equal(G.translate(x, domain), gan.translate(x, domain))
        return
    y = labels(images, 10) if gan.conditional else None
    drawn = G(y, seed=SEED) if gan.conditional else G(n=10, seed=SEED)
    assert torch.equal(drawn, gan.sample(y, 10, torch.Generator().manual_seed(SEED)))
    assert not torch.equal(drawn, make(name, images).gan.sample(y, 10, torch.Generator()))
    if name == "pggan":
        level = gan.level
        assert level % 1, "no size was fading in: the test shows nothing"


def test_generator_of_another_precision_is_loaded(tmp_path: Path) -> None:
    loop = make("acgan", SHAPES[0])
    gan = loop.gan
    gan.bf16 = True
    loop.run(STEPS * BATCH)
    publish(gan, "acgan", tmp_path)
    y = labels(SHAPES[0], 10)
    expected = gan.sample(y, 10, torch.Generator().manual_seed(SEED))
    assert torch.equal(generators.read(tmp_path)(y, seed=SEED), expected)
    gan.bf16 = False
    assert not torch.equal(gan.sample(y, 10, torch.Generator().manual_seed(SEED)), expected)


def test_something_is_unpickled(
    tmp_path: Path, made: Callable[..., Generator], monkeypatch: pytest.MonkeyPatch
) -> None:
    made("acgan", SHAPES[0])

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    generators.read(tmp_path)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('this code was run')",)


def altered(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "core"}, "unknown variant 'core'"),
        ({"variant": "../os"}, "unknown variant '../os'"),
        ({"variant": "cgan"}, "unknown hyperparameter"),
        ({"config": {"f": 5}}, "not the weights of acgan's G"),
        ({"config": {"lr": "1"}}, "bad value lr='1'"),
        ({"spec": {"classes": "3", "channels": 1, "size": [28, 28]}}, "spec.classes"),
        ({"code": "import os"}, "code"),
        ({"format": 1}, "has format 1 and this version reads format 2"),
        ({"sha256": "0" * 64}, "damaged"),
    ],
)
def test_altered_manifest_is_taken(
    tmp_path: Path, made: Callable[..., Generator], change: dict[str, Any], message: str
) -> None:
    made("acgan", SHAPES[0])
    altered(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        generators.read(tmp_path)


def test_pickle_passes_for_weights(tmp_path: Path, made: Callable[..., Generator]) -> None:
    made("acgan", SHAPES[0])
    evil = pickle.dumps(Code())
    (tmp_path / WEIGHTS).write_bytes(evil)
    with pytest.raises(ValueError, match="damaged"):
        generators.read(tmp_path)
    altered(tmp_path, sha256=hashlib.sha256(evil).hexdigest())
    with pytest.raises(ValueError, match="no safetensors"):
        generators.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "images", "given", "message"),
    [
        ("acgan", SHAPES[0], {}, r"acgan takes labels, whole numbers, 0 to 2: \[N\]"),
        ("acgan", SHAPES[0], {"labels": [3]}, "0 to 2"),
        ("acgan", SHAPES[0], {"labels": [-1]}, "0 to 2"),
        ("acgan", SHAPES[0], {"labels": []}, "0 to 2"),
        ("acgan", SHAPES[0], {"labels": [0.5]}, "0 to 2"),
        ("acgan", SHAPES[0], {"labels": 1}, "0 to 2"),
        ("acgan", SHAPES[0], {"labels": [1], "n": 2}, "as many images as labels"),
        ("acgan", SHAPES[0], {"labels": [1], "truncation": 0.0}, "a number above 0"),
        ("acgan", SEVERAL, {"labels": [1]}, r"0 or 1 each: \[N, 5\]"),
        ("acgan", SEVERAL, {"labels": [[0, 1, 0, 2, 0]]}, "0 or 1 each"),
        ("acgan", SEVERAL, {"labels": [[0, 1]]}, "0 or 1 each"),
        ("dcgan", SHAPES[0], {}, "takes no labels: give n"),
        ("dcgan", SHAPES[0], {"n": 0}, "at least 1"),
        ("dcgan", SHAPES[0], {"labels": [1]}, "takes no labels"),
        ("gan", SHAPES[0], {"n": 1, "truncation": 0.5}, "not for gan"),
        ("cyclegan", DataSpec(4, 1, (28, 28), paired=True), {"labels": [1]}, "use translate"),
    ],
)
def test_call_that_cannot_be_draws_something(
    made: Callable[..., Generator],
    name: str,
    images: DataSpec,
    given: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        made(name, images)(**given)


def test_image_that_cannot_be_translated_is(made: Callable[..., Generator]) -> None:
    G = made("cyclegan", DataSpec(4, 1, (28, 28), paired=True))
    image = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    assert G.translate(image, 1).shape == image.shape
    for bad, domain in ((image.float(), 0), (image[:, :, 1:], 0), (image[0], 0), (image, 2)):
        with pytest.raises(ValueError, match=r"give uint8 images \[N, 1, 28, 28\]"):
            G.translate(bad, domain)
    with pytest.raises(ValueError, match="dcgan does not translate"):
        made("dcgan", SHAPES[0]).translate(image, 0)


def test_z_is_not_truncated(
    made: Callable[..., Generator], monkeypatch: pytest.MonkeyPatch
) -> None:
    G = made("biggan", SHAPES[0])
    plain, found = G([0, 1, 2]), []
    generate = G.gan.generate

    def seeing(network: Any, z: torch.Tensor, y: Any) -> torch.Tensor:
        found.append(z)
        return generate(network, z, y)

    monkeypatch.setattr(G.gan, "generate", seeing)
    cut = G([0, 1, 2], truncation=0.5)
    assert 0.4 < found[0].abs().max() <= 0.5
    assert cut.shape == plain.shape
    assert torch.equal(cut, G([0, 1, 2], truncation=0.5))
