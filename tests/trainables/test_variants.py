"""The contract of every variant in trainables/. A new file in this folder is tested, too.

The contract itself is in study/check/variants.py, because strangers' variants have it, too.
"""

from typing import Any

import pytest
import torch

import trainables
from study.check import variants
from study.check.variants import SEVERAL, SHAPES, labels, make, weights
from trainables.core.loop import Loop

CASES = [
    pytest.param(name, images, id=f"{name}-{images.size[0]}px-{images.labels}")
    for name in trainables.names()
    for images in (*SHAPES, SEVERAL)
    if images.labels == 1 or trainables.load(name).multilabel
]
every_variant = pytest.mark.parametrize("name", trainables.names())
every_shape = pytest.mark.parametrize(("name", "images"), CASES)
# Trials on many processors compute in bfloat16.
every_precision = pytest.mark.parametrize(
    "bf16", [False, pytest.param(True, marks=pytest.mark.long)], ids=["fp32", "bf16"]
)


def named(checks: tuple[Any, ...]) -> Any:
    return pytest.mark.parametrize("check", checks, ids=[check.__name__ for check in checks])


@named(variants.ON_ALL_IMAGES)
@every_shape
@every_precision
def test_contract_is_broken(check: Any, name: str, images: Any, bf16: bool) -> None:
    check(name, images, bf16)


@named(variants.ONCE)
@every_variant
@every_precision
def test_contract_is_broken_once(check: Any, name: str, bf16: bool) -> None:
    check(name, SHAPES[0], bf16)


@pytest.mark.slow
@named(variants.SLOW)
@every_variant
def test_slow_contract_is_broken(check: Any, name: str) -> None:
    check(name, SHAPES[0], False)


def test_an_unknown_variant_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"'stylegan'.*acgan, .*cgan, .*dcgan"):
        trainables.load("stylegan")


class TestSeveralLabels:
    """Images of one to three labels: y is multi-hot."""

    @pytest.mark.parametrize("name", ["acgan", "cgan"])
    def test_g_ignores_a_label(self, name: str) -> None:
        """For the same z, each label and each pair of adjacent labels must give another image."""
        gan = make(name, SEVERAL).gan
        sets = torch.eye(5, dtype=torch.uint8)
        sets = torch.cat([sets, sets | sets.roll(1, 0)])
        z = gan.noise(1).expand(10, -1)
        x = gan.sample(sets, 10, torch.Generator(), z).flatten(1)
        assert len(x.unique(dim=0)) == 10

    @pytest.mark.parametrize("planes", ["constant", "learned"])
    def test_d_judges_the_image_alone(self, planes: str) -> None:
        torch.manual_seed(0)
        variant = trainables.load("cgan")
        config = variant.config_type.parse({"f": 4, "batch": 8, "d_planes": planes})
        gan = variant(config, SEVERAL, torch.device("cpu"))
        x = torch.rand(1, 3, 32, 32).expand(5, -1, -1, -1)
        out = gan.discriminate(x, torch.eye(5, dtype=torch.uint8))  # type: ignore[operator]
        assert len(out.unique(dim=0)) == 5

    def test_learned_plane_is_not_trained(self) -> None:
        torch.manual_seed(0)
        variant = trainables.load("cgan")
        config = variant.config_type.parse({"f": 4, "batch": 8, "d_planes": "learned"})
        gan = variant(config, SEVERAL, torch.device("cpu"))
        before = weights(gan, "d")
        rng = torch.Generator().manual_seed(1)
        x = torch.randint(0, 256, (40, 3, 32, 32), generator=rng).to(torch.uint8)
        Loop(gan, x, labels(SEVERAL, 40), 0).run(8)
        assert len(before) == len(weights(gan, "d"))
        assert all(not torch.equal(a, b) for a, b in zip(before, weights(gan, "d"), strict=True))

    def test_random_label_sets_are_of_one_size_or_one_label(self) -> None:
        """Label sets never asked for in training would be asked for in evaluation."""
        torch.manual_seed(0)
        sets = make("cgan", SEVERAL).gan.random_labels(6_000)
        assert sets.dtype == torch.uint8
        sizes = sets.sum(1).bincount()
        assert sizes[0] == 0
        assert (sizes[1:] - 2_000).abs().max() < 200
        assert (sets.sum(0) - 2_400).abs().max() < 200
        assert len(sets.unique(dim=0)) == 5 + 10 + 10

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("acgan", {"g_condition": "cbn", "class_cosine": True, "d_norm": "bn_joint"}),
            ("cgan", {"g_condition": "cbn", "d_planes": "learned", "shuffled": True, "r1": 1.0}),
            ("projgan", {"g_condition": "cbn", "d_norm": "sn", "d_dropout": 0.5}),
        ],
    )
    def test_a_remedy_takes_one_label_only(self, name: str, values: dict[str, Any]) -> None:
        """Sets that differ in one label must lead to other images, and losses must stay finite."""
        torch.manual_seed(0)
        variant = trainables.load(name)
        gan = variant(
            variant.config_type.parse({"f": 4, "batch": 8, **values}), SEVERAL, torch.device("cpu")
        )
        y = labels(SEVERAL, 8)
        for _ in range(3):  # conditional gains are equal for all labels at first
            report = gan.step(torch.rand(8, 3, 32, 32) * 2 - 1, y)
        assert all(value.isfinite() for value in report.values())
        sets = torch.eye(5, dtype=torch.uint8)
        sets = torch.cat([sets, sets | sets.roll(1, 0)])
        with torch.no_grad():
            images = gan.generate(gan.G.eval(), gan.noise(1).expand(10, -1), sets)
        assert len(images.flatten(1).unique(dim=0)) == 10

    def test_dropout_in_d_is_off(self) -> None:
        """D gets the same images twice. Its outputs must differ with dropout, and only then."""
        for rate, differs in ((0.0, False), (0.5, True)):
            torch.manual_seed(0)
            variant = trainables.load("acgan")
            config = variant.config_type.parse({"f": 4, "batch": 8, "d_dropout": rate})
            gan = variant(config, SEVERAL, torch.device("cpu"))
            x = torch.rand(8, 3, 32, 32)
            y = labels(SEVERAL, 8)
            assert torch.equal(gan.discriminate(x, y), gan.discriminate(x, y)) != differs
            assert torch.equal(gan.classify(x), gan.classify(x)), "dropout while measuring"
