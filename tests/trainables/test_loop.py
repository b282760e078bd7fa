"""The training loop: its data cursor, and its clock, which counts images."""

import pytest
import torch

import trainables
from trainables.core.loop import DivergedError, Loop
from trainables.data.base import DataSpec


def make(n: int = 20, batch: int = 8, **values: object) -> Loop:
    torch.manual_seed(0)
    variant = trainables.load("acgan")
    config = variant.config_type.parse({"f": 2, "batch": batch, **values})
    gan = variant(config, DataSpec(2, 1, (28, 28)), torch.device("cpu"))
    x = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 28, 28).contiguous()
    return Loop(gan, x, torch.arange(n) % 2, seed=3)


def drawn(loop: Loop, batches: int) -> list[int]:
    found: list[int] = []
    for _ in range(batches):
        x, _ = loop.next_batch()
        found += ((x[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    return found


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_rest() -> None:
    loop = make(n=20, batch=8)
    first, second = drawn(loop, 2), drawn(loop, 2)
    assert len(set(first)) == len(set(second)) == 16
    assert first != second, "every epoch has the same order"


def test_the_order_of_images_does_not_depend_on_the_global_rng() -> None:
    orders = []
    for seed in (1, 2):
        loop = make()
        torch.manual_seed(seed)
        orders.append(drawn(loop, 4))
    assert orders[0] == orders[1]


def test_the_clock_counts_images_and_stops_at_or_after_the_mark() -> None:
    loop = make()
    loop.run(20)
    assert loop.seen == 24
    loop.run(24)
    assert loop.seen == 24, "nothing was left to do"


def test_pretraining_is_not_on_the_clock() -> None:
    loop = make(pretrain_kimg=0.016)
    loop.run(8)
    assert (loop.seen, loop.pretrained, loop.batches) == (8, 16, 3)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="batch=8 needs 8 images, and there are 4"):
        make(n=4)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    loop = make()
    with torch.no_grad():
        next(iter(loop.gan.G.parameters())).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"loss/.* is nan"):
        loop.run(16)
