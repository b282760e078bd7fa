"""`python -m study.report NAME --register`: each condition's best generator in MLflow's registry.

If these tests fail, a generator that is not the best is published, or the best is published twice,
in part, or as something that it is not.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.utils.validation import _validate_logged_model_name, _validate_model_name

import search_spaces
from study import load_generator as load
from study.planning.plan import Plan
from study.records.columns import is_of_one_judge
from study.records.files import write_json
from study.records.records import Row
from study.tracking import register
from tests.study.cells import cell_of
from tests.study.tracking.registered import (
    Lab,
    empty_lab,  # noqa: F401  the fixture `lab` of these tests
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]  # MLflow on SQLite is slow

BEST = {"classes=2": "models:/tiny.classes-2/1", "classes=3": "models:/tiny.classes-3/1"}


def mirrored(row: Row) -> Row:
    """What MLflow is told of a row: all but the values of single judges."""
    return {key: value for key, value in row.items() if not is_of_one_judge(key)}


def test_another_generator_than_the_best_is_published(lab: Lab, plan: Plan) -> None:
    cells = [cell_of(plan, "classes=2", seed) for seed in (0, 1)]
    cells.append(cell_of(plan, "classes=3"))
    made = [lab.run(cell, fcd) for cell, fcd in zip(cells, (3.0, 2.0, 4.0), strict=True)]
    lab.mirror()
    assert [line.split(" (")[0] for line in lab.register()] == [
        f"{condition}: {uri}" for condition, uri in BEST.items()
    ]
    versions, runs = lab.versions(), {}
    for uri, run in ((BEST["classes=2"], made[1]), (BEST["classes=3"], made[2])):
        version, cell = versions[uri], run.cell
        runs[cell.id] = lab.client.get_run(version.run_id)
        assert runs[cell.id].data.tags["cell"] == cell.id
        parent = runs[cell.id].data.tags["mlflow.parentRunId"]
        expected = {"cell": cell.id, "condition": cell.condition_name, "data": "bars"}
        expected |= {"seed": str(cell.seed), "verdicts": f"report.html of run {parent}"}
        assert expected.items() <= version.tags.items()
        assert f"report.html of run {parent}" in version.description
        row = lab.records.rows(cell.id)[-1]
        for metric in ("fcd", "label_accuracy", "class_loss_ratio"):
            assert f"| {metric} | {row[metric]:.4g} |" in version.description

        (model,) = [model for model in lab.models() if model.source_run_id == version.run_id]
        assert version.source == f"models:/{model.model_id}"
        assert {metric.key: metric.value for metric in model.metrics} == mirrored(row)
        assert {metric.dataset_name for metric in model.metrics} == {"bars"}
        assert model.params["variant"] == "acgan"
        files = {file.path for file in lab.client.list_logged_model_artifacts(model.model_id)}
        assert files == {"generator.json", "generator.safetensors"}
        history = lab.client.get_metric_history(version.run_id, "fcd")
        assert Counter(metric.step for metric in history) == Counter(range(4)), "a point twice"

        G = load(uri)
        assert G.manifest.classes == ("a", "b", "c")[: cell.condition["classes"]]
        y = torch.arange(8) % cell.condition["classes"]
        drawn = run.gan.sample(y, 8, torch.Generator().manual_seed(1))
        assert torch.equal(G(y, seed=1), drawn)


def test_cell_is_published_twice_or_a_better_one_never(lab: Lab, plan: Plan) -> None:
    cells = [cell_of(plan, "classes=2", seed) for seed in (0, 1)]
    lab.run(cells[0], 3.0)
    lab.mirror()
    first = lab.register()
    assert first[1] == "classes=3: no finished confirm cell"
    again = lab.register()
    assert again[0].startswith("classes=2: models:/tiny.classes-2/1 was there")
    assert len(lab.versions()) == len(lab.models()) == 1
    lab.run(cells[1], 2.0)
    lab.mirror()
    assert lab.register()[0].startswith("classes=2: models:/tiny.classes-2/2 (")
    assert lab.register()[0].startswith("classes=2: models:/tiny.classes-2/2 was there")
    assert {uri: version.tags["cell"] for uri, version in lab.versions().items()} == {
        f"models:/tiny.classes-2/{n}": cell.id for n, cell in enumerate(cells, 1)
    }


@pytest.mark.parametrize(
    "step", ["log_model_artifacts", "log_batch", "finalize_logged_model", "create_model_version"]
)
def test_interrupted_publishing_leaves_halves_or_doubles(
    lab: Lab, plan: Plan, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """MLflow answers, but the connection breaks before or after one of these steps."""
    lab.run(cell_of(plan, "classes=2"), 3.0)
    lab.mirror()
    done = getattr(MlflowClient, step)

    def breaking(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        if step != "create_model_version":
            done(self, *arguments, **named)
        raise ConnectionResetError("the connection broke")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, step, breaking)
        with pytest.raises(ValueError, match="ConnectionResetError: the connection broke"):
            lab.register()
    lab.register()
    (version,) = lab.versions().values()
    (model,) = lab.models()
    assert version.source == f"models:/{model.model_id}"
    row = mirrored(lab.records.rows(version.tags["cell"])[-1])
    assert {metric.key for metric in model.metrics} == set(row)
    load(BEST["classes=2"])


def test_generator_that_grows_is_published_at_another_size(lab: Lab, plan: Plan) -> None:
    """PGGAN's G is in the middle of fading a size in, which its weights do not show."""
    values = {"f": 2, "batch": 100, "stage_kimg": 1.7, "minibatch_stddev": True}
    cell = cell_of(plan, "classes=2")
    cell = dataclasses.replace(cell, variant="pggan", hyperparameters=values)
    lab.shared = dataclasses.replace(lab.shared, metrics=("fcd",))
    run = lab.run(cell, 3.0)
    level = run.gan.level
    assert level % 1, "no size was fading in: the test shows nothing"
    lab.mirror()
    lab.register()
    G = load(BEST["classes=2"])
    assert torch.equal(G(n=8), run.gan.sample(None, 8, torch.Generator().manual_seed(0)))


def test_generator_that_nobody_trained_is_published(lab: Lab, plan: Plan) -> None:
    """SGAN's control trains D alone."""
    cell = cell_of(plan, "classes=2")
    values = {"f": 2, "batch": 100, "labels": 0.5, "supervised_only": True}
    lab.shared = dataclasses.replace(lab.shared, metrics=("fcd",))
    lab.run(dataclasses.replace(cell, variant="sgan", hyperparameters=values), 3.0)
    with pytest.raises(ValueError, match="classes=2: nobody trains its generator"):
        lab.register()
    lab.run(cell_of(plan, "classes=3"), 3.0)
    lab.mirror()
    assert [line.split(" (")[0] for line in lab.register()] == [
        "classes=2: nobody trains its generator",
        f"classes=3: {BEST['classes=3']}",
    ]


def test_condition_has_no_name_of_its_own_in_the_registry() -> None:
    """Each condition needs a name of its own, which MLflow and a models:/ URI must accept."""
    for study in search_spaces.names():
        names = set()
        for condition in (conditions := search_spaces.load(study).conditions):
            name = register.registered_name(study, condition)
            _validate_model_name(name)
            _validate_logged_model_name(name.removeprefix(f"{study}."))
            parsed = _parse_model_uri(f"models:/{name}/3")
            assert (parsed.name, parsed.version) == (name, "3")
            assert name == name.strip("-.")
            names.add(name)
        assert len(names) == len(conditions)


def test_two_conditions_become_one_model(lab: Lab) -> None:
    study = lab.records.study()
    study["definition"]["conditions"] = {"a b": {}, "a+b": {}}
    write_json(lab.records.folder / "study.json", study)
    with pytest.raises(ValueError, match="would be one registered model"):
        lab.register()
