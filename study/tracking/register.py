"""Registers the best generator of each condition as a version in MLflow's model registry.

The source of a version is a logged model in the study's experiment, attached to the cell's run. The
model holds the files, hyperparameters and metrics. The version holds what a reader needs to know
before using it.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run
from torch import Tensor

import trainables
from study.metrics.core.judge import Judge
from study.metrics.core.reference import Reference, reference_name
from study.metrics.core.view import data_spec_of
from study.planning.cells import Cell
from study.records.columns import TIMING_COLUMNS, is_of_one_judge
from study.records.frames import natural
from study.records.records import Records
from study.records.tensors import load_tensors
from study.tracking import generators
from study.tracking.generators import Generator, Manifest
from study.tracking.rows import first_start, measured

MAX_DESCRIPTION = 5000  # characters of a version's description, at most


@dataclass(frozen=True)
class PackedGenerator:
    """The content of a generator's two files."""

    manifest: Manifest
    weights: bytes


def register(records: Records, uri: str) -> list[str]:
    """Register each condition's best generator in the store `uri`, unless its version exists.

    The best generator is that of the complete confirm cell with the best objective at its last
    tick.

    Returns: one line per condition that says what was done.

    Raises:
        ValueError: there is no generator to register, a file is damaged, MLflow lacks a cell, or
            MLflow cannot be reached. The message is one line. Nothing was registered, except where
            MLflow failed midway: what was registered until then stays.
    """
    found = best(records)
    made = {name: one for name, one in found.items() if isinstance(one, PackedGenerator)}
    if not made:
        why = "; ".join(f"{name}: {one}" for name, one in found.items())
        raise ValueError(f"{records.folder}: no generator to register ({why})")
    try:
        # Parts of MLflow read this global setting instead of the client's URI.
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        runs = _runs(client, records, [one.manifest.cell for one in made.values()])
        for name, one in made.items():
            found[name] = _register(client, records, one, runs[one.manifest.cell])
    except ValueError:
        raise
    except Exception as error:  # many types: MLflow, its database, its artifact store
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"MLflow at {uri}: {said}") from None
    return [f"{name}: {line}" for name, line in found.items()]


def registered_name(folder: str, condition: str) -> str:
    """The name of a condition's registered model, as in "remedies.D2D-CE-ReACGAN".

    MLflow accepts the name, and it can stand in a URI.
    """
    return f"{folder}.{_slug(condition)}"


def _slug(condition: str) -> str:
    return re.sub(r"\W+", "-", condition).strip("-")


def best(records: Records) -> dict[str, PackedGenerator | str]:
    """What to register of each condition, or the reason why there is nothing.

    Raises:
        ValueError: as for `manifest_of`, or two conditions would have the same registered name.
    """
    confirmed, found = records.confirmed(), dict[str, PackedGenerator | str]()
    conditions = sorted(records.study()["definition"]["conditions"], key=natural)
    for name in conditions:
        if len(others := [other for other in conditions if _slug(other) == _slug(name)]) > 1:
            raise ValueError(f"conditions {others} would be one registered model")
        mine = confirmed[confirmed["condition"].eq(name)]
        if mine.empty:
            found[name] = "no finished confirm cell"
            continue
        manifest, weights = manifest_of(records, mine["id"].iloc[0])
        # Building the Generator also makes sure that the weights load.
        if "g" not in Generator(manifest, weights).gan.players:
            found[name] = "nobody trains its generator"
            continue
        content = generators.pack_weights(weights)
        sha256 = hashlib.sha256(content).hexdigest()
        found[name] = PackedGenerator(manifest.model_copy(update={"sha256": sha256}), content)
    return found


def manifest_of(records: Records, cell_id: str) -> tuple[Manifest, dict[str, Tensor]]:
    """The manifest of an accepted cell's generator, and the weights of its averaged G.

    The manifest's `sha256` is still empty.

    Raises:
        ValueError: a file of the study is lost or damaged; the message is one line that names it.
    """
    cell, rows = Cell.from_json(records.cell(cell_id)), records.rows(cell_id)
    definition = records.study()["definition"]
    weights = _tensors(records.cell_folder(cell_id) / "generator.pt")
    kept = _tensors(records.folder / "judges.pt")
    judge = Judge.from_state(kept["judges"][0])
    name = reference_name(cell.condition.get("classes", judge.classes))
    spec = data_spec_of(judge, Reference.from_state(kept["references"][name][0]))
    batch = cell.hyperparameters["batch"]
    steps = -(-rows[-1]["kimg"] * 1000 // batch)
    manifest = Manifest(
        study=cell.study,
        condition=cell.condition_name,
        cell=cell_id,
        data=cell.data,
        variant=cell.variant,
        code=definition.get("sources", {}).get(cell.variant),
        config=dict(cell.hyperparameters),
        spec=spec,
        classes=tuple(definition["classes"][: spec.classes]),
        bf16=definition["bf16"],
        seen=max(0, steps - 1) * batch,
        metrics={
            key: value
            for key, value in rows[-1].items()
            if key not in TIMING_COLUMNS and not is_of_one_judge(key)
        },
        sha256="",
    )
    return manifest, weights


def _tensors(path: Path) -> dict[str, Any]:
    try:
        content = load_tensors(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if content is None:
        raise ValueError(f"{path} is damaged: its SHA-256 is another")
    return dict(content)


def _runs(client: MlflowClient, records: Records, cells: list[str]) -> dict[str, Run]:
    """The MLflow runs of the cells. The command that runs the study copies them to MLflow.

    Raises:
        ValueError: MLflow does not have a cell, or not all of it.
    """
    study, runs = records.study(), {}
    experiment = client.get_experiment_by_name(records.folder.name)
    for cell_id in cells:
        own = f"tags.folder = '{study['folder']}' and tags.cell = '{cell_id}'"
        found = experiment and client.search_runs([experiment.experiment_id], own, max_results=1)
        # The mirror copies only rows above the highest kimg of a run. If the last row were logged
        # to an incomplete run, the mirror would therefore never copy the rows that are missing.
        if not found or found[0].info.status != "FINISHED":
            again = f"python -m study.run {study['study']}"
            raise ValueError(f"MLflow lacks cell {cell_id}: `{again}`, with this store, copies it")
        runs[cell_id] = found[0]
    return runs


def _register(client: MlflowClient, records: Records, made: PackedGenerator, run: Run) -> str:
    """Find or make the version of one generator. Returns the line that reports it."""
    manifest = made.manifest
    objective = records.study()["definition"]["objective"]
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
    tags |= {"study": manifest.study, "sha256": manifest.sha256}
    own = " and ".join(f"tags.{key} = '{tags[key]}'" for key in ("folder", "cell", "sha256"))
    name = registered_name(records.folder.name, manifest.condition)
    said = f"{run.info.run_name}, {objective} {manifest.metrics[objective]:.4g}"
    if there := client.search_model_versions(f"name = '{name}' and {own}", max_results=1):
        return f"models:/{name}/{there[0].version} was there ({said})"
    model_id = _model(client, records, made, run, tags, own)
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        about = f"The best generators of {manifest.study}, condition {manifest.condition}."
        client.create_registered_model(name, {"study": manifest.study}, about)
    parent = run.data.tags["mlflow.parentRunId"]
    version = client.create_model_version(
        name,
        f"models:/{model_id}",
        run.info.run_id,
        tags | {"verdicts": f"report.html of run {parent}"},
        description=describe(records, manifest, said, parent),
        model_id=model_id,
    ).version
    # This tag leads from the model to its version. An MLflow server sets the tag by itself, but a
    # store that is used directly does not.
    link = json.dumps([{"name": name, "version": version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
    return f"models:/{name}/{version} ({said})"


def _model(
    client: MlflowClient,
    records: Records,
    made: PackedGenerator,
    run: Run,
    tags: Mapping[str, str],
    own: str,
) -> str:
    """Find or make the model with the files and metrics of one generator. Returns the model's id.

    `own` is the filter by which MLflow finds the model; `tags` are set on a new one.
    """
    manifest = made.manifest
    experiment, digest = run.info.experiment_id, records.study()["definition"]["digest"]
    found = client.search_logged_models([experiment], own, max_results=1)
    model = found[0] if found else None
    if model is None:
        model = client.create_logged_model(
            experiment,
            _slug(manifest.condition),
            run.info.run_id,
            dict(tags),
            {
                key: str(value)
                for key, value in {"variant": manifest.variant, **manifest.config}.items()
            },
            "generator",
        )
    if model.status != LoggedModelStatus.READY:  # new, or interrupted here earlier
        with tempfile.TemporaryDirectory() as scratch:
            generators.write(Path(scratch), manifest, made.weights)
            client.log_model_artifacts(model.model_id, scratch)
        of = {"model_id": model.model_id, "dataset_name": manifest.data, "dataset_digest": digest}
        row = records.rows(manifest.cell)[-1]
        started = first_start(records, manifest.cell)
        client.log_batch(run.info.run_id, metrics=measured(row, started, **of))
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, row["kimg"])])
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def describe(records: Records, manifest: Manifest, said: str, parent: str) -> str:
    """Describe a version in Markdown: what it is, what it is not, its metrics, how to load it.

    Metrics that would exceed MAX_DESCRIPTION are left out.

    Args:
        said: names the run and its objective.
        parent: id of the study's parent run, which has the report.
    """
    n = records.confirmed()["condition"].eq(manifest.condition).sum()
    if manifest.code:  # the variant is not this project's, and was not loaded
        call = f', code="{manifest.variant}")(...)'
    else:
        variant = trainables.load(manifest.variant)
        call = ")(labels=[...], seed=0)" if variant.conditional else ")(n=16, seed=0)"
        call = ").translate(images, domain=1)" if variant.translates else call
    name = registered_name(records.folder.name, manifest.condition)
    head = [
        f"{said}: the best of the {n} confirm cells of {manifest.condition} in {manifest.study}. "
        "One run that is chosen for being the best flatters its condition: the verdicts, over all "
        f"seeds, are in report.html of run {parent}.",
        "",
        f'`from study import load_generator`, then `load_generator("models:/{name}/..."{call}`.',
        "",
        f"| on {manifest.data} | after {manifest.metrics['kimg']:g} kimg |",
        "|---|---|",
    ]
    rows = [f"| {k} | {v:.4g} |" for k, v in sorted(manifest.metrics.items()) if k != "kimg"]
    while len("\n".join(head + rows)) > MAX_DESCRIPTION:
        rows.pop()
    return "\n".join(head + rows)
