"""The training loop: its data cursor, and its clock, which counts images."""

import copy

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


class TestTurns:
    """D takes three turns in a round, G takes one. The clock counts the images of every step."""

    def rounds(self, steps: int) -> tuple[Loop, list[dict[str, float]]]:
        loop = make(n=80)
        loop.gan.players["d"].turns = 3
        return loop, [loop.run(8 * n) for n in range(1, steps + 1)]

    def test_players_take_other_numbers_of_turns(self) -> None:
        loop, _ = self.rounds(7)
        taken = {
            name: optimizer.state[optimizer.param_groups[0]["params"][0]]["step"].item()
            for name, optimizer in loop.gan.optimizers.items()
        }
        assert taken == {"d": 7, "g": 3}
        assert loop.gan.updates == 3, "the average moved without a turn of G"

    def test_terms_of_a_player_without_a_turn_are_missing_or_new(self) -> None:
        _, reports = self.rounds(4)
        assert len({tuple(report) for report in reports}) == 1
        of_g = [report["loss/g/adversarial"] for report in reports]
        assert of_g[0] == of_g[1] == of_g[2] != of_g[3]
        assert len({report["loss/d/adversarial_real"] for report in reports}) == 4

    def test_continued_round_begins_anew(self) -> None:
        through, reports = self.rounds(6)
        loop, _ = self.rounds(2)
        state = copy.deepcopy(loop.checkpoint())
        again, _ = self.rounds(0)
        again.restore(state)
        assert [again.run(8 * n) for n in range(3, 7)] == reports[2:]
        assert again.gan.turn_number == through.gan.turn_number


def test_term_that_vanishes_is_reported_for_ever() -> None:
    """The last value that a player had reported would be averaged into every tick."""
    loop = make()
    loop.run(8)
    losses = loop.gan.players["g"].losses
    loop.gan.players["g"].losses = lambda batch: {"other": sum(losses(batch).values())}
    assert "loss/g/other" in (report := loop.run(16))
    assert "loss/g/adversarial" not in report


def test_terms_that_change_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of {"a": 1} and {"b": 100} was {"b": 50.5}."""
    loop = make()
    terms = iter([{"loss/d/a": torch.tensor(1.0)}, {"loss/g/b": torch.tensor(100.0)}])
    monkeypatch.setattr(loop.gan, "step", lambda x, y: next(terms))
    with pytest.raises(ValueError, match=r"a step reports .*loss/g/b.* before .*loss/d/a"):
        loop.run(16)
