"""Random bad input: each command runs, or ends with exit code 2 and one line.

Hypothesis makes command lines and study definitions, most of them wrong. If these tests fail, a
user reads a traceback, waits for nothing, or finds a half-made folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

import search_spaces
from tests.study.fuzzing import (
    WORDS,
    hunt,
    quick,  # noqa: F401  a fixture, active in each test here
)
from tests.study.refusals import NAME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(WORDS, inner, max_size=2)
    ),
    max_leaves=4,
)

HYPERPARAMETERS = ["lr", "lr_ratio", "f", "batch", "adversarial", "label_noise", "noise_real"]
BUDGET = ["kimg", "search_kimg", "tick_kimg", "samples", "search_parallelism", "searches"]
BUDGET += ["classes"]
SETTINGS = st.tuples(
    st.sampled_from(HYPERPARAMETERS + BUDGET) | WORDS,
    WORDS | st.integers().map(str) | st.floats().map(str),
).map("=".join)
NUMBERS = WORDS | st.integers(-3, 5).map(str)
FLAGS = {
    "--scale": st.sampled_from(["smoke", "quick", "full"]) | WORDS,
    "--trials": NUMBERS,
    "--seeds": NUMBERS,
    "--set": SETTINGS | WORDS,
    "--data": st.sampled_from(["kana", "kana_digits", "auto", "kmnist", "."]) | WORDS,
    "--data-dir": WORDS,
    "--fid-weights": WORDS,
    "--cpus-per-trial": NUMBERS,
    "--gpus-per-trial": NUMBERS | st.floats().map(str),
    "--max-concurrent": NUMBERS,
    "--storage": WORDS,
    "--tracking-uri": st.sampled_from(["sqlite:///", "http://", "https://", "file:"]).flatmap(
        lambda head: WORDS.map(lambda rest: head + rest)
    ),
    "--only": st.sampled_from(["classes=5", "classes=49"]) | WORDS,
    "--verify": WORDS,
    "--first-seed": NUMBERS | st.sampled_from(["999", "1000", "2000"]),
    "--pilot": WORDS | st.sampled_from([".", "runs", "s3://bucket/runs"]),
}
OPTIONS = st.sampled_from(sorted(FLAGS)).flatmap(lambda flag: st.tuples(st.just(flag), FLAGS[flag]))
COMMANDS = st.tuples(
    st.sampled_from([[NAME]] * 9 + [[]]) | WORDS.map(lambda word: [word]),
    st.lists(OPTIONS, min_size=1, max_size=3),
    st.sampled_from(
        [[], [], [], ["--dry-run"], ["--dry-run", "--decide"], ["--fresh"], ["--list"], ["--none"]]
    ),
).map(lambda parts: [*parts[0], *(word for option in parts[1] for word in option), *parts[2]])


def test_command_line_is_neither_run_nor_refused() -> None:
    hunt(COMMANDS, lambda command: command)


def fields(owner: str, base: str, names: str) -> st.SearchStrategy[str]:
    """Python source of a copy of `base` in which one of the named fields holds junk."""
    field = st.sampled_from(names.split())
    return st.builds(
        lambda name, value: owner.format(f"replace({base}, {name}={value!r})"), field, JUNK
    )


STUDY_FIELDS = (
    "title variant data stand_in conditions reference reference_params metrics claims scales"
)
BUDGET_FIELDS = (
    "kimg search_kimg tick_kimg first_tick_kimg trials seeds samples search_parallelism "
    "searches schedule_scale scale_overrides"
)
DEFINITIONS = st.one_of(
    fields("{}", "STUDY", f"{STUDY_FIELDS} space searched objective fid"),
    fields("replace(STUDY, claims=({},))", "CLAIM", "id text metric of against region log"),
    fields("replace(STUDY, scales=SCALES | dict(smoke={}))", "SMOKE", BUDGET_FIELDS),
    st.builds("replace(STUDY, conditions={{{!r}: {{{!r}: {!r}}}}})".format, WORDS, WORDS, JUNK),
    st.builds(
        "replace(STUDY, reference={{**STUDY.reference, {!r}: {!r}}})".format,
        st.sampled_from(HYPERPARAMETERS) | WORDS,
        JUNK,
    ),
    st.builds("replace(STUDY, space=lambda trial: {!r})".format, JUNK),
    st.builds(
        "replace(STUDY, space=lambda trial: dict(lr=trial.suggest_float('lr', {!r}, {!r})))".format,
        JUNK,
        JUNK,
    ),
    st.builds(
        "replace(STUDY, reference_params={{{!r}: {!r}}})".format, st.just("lr") | WORDS, JUNK
    ),
    JUNK.map(repr),
    st.sampled_from(["STUDY.none", "1 / 0", "Study()", "(", "replace(STUDY, name='x')"]),
)
HEAD = f"""
from dataclasses import replace
from math import inf, nan
from search_spaces.core import Study
from search_spaces.{NAME} import STUDY
CLAIM, SCALES, SMOKE = STUDY.claims[0], STUDY.scales, STUDY.scales["smoke"]
STUDY = """


def test_definition_is_neither_run_nor_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_spaces, "__path__", [*search_spaces.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def arguments(source: str) -> list[str]:
        (tmp_path / "hunted.py").write_text(HEAD + source)
        sys.modules.pop("search_spaces.hunted", None)
        return ["hunted", "--scale", "smoke"]

    hunt(DEFINITIONS, arguments)
