"""The best generator of each condition, as a version in MLflow's model registry.

A version's source is a model of the study's experiment, made by the cell's run: the model has the
files, hyperparameters and metrics, the version what a reader needs to know before using it.
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
from study import published
from study.cell import load_tensors, look_of, task_of
from study.frames import natural
from study.metrics.judge import Judges
from study.metrics.reference import Reference
from study.plan import Cell
from study.published import Card, Generator
from study.records import CLOCK, Records
from study.tracking import first_start, measured

LONGEST = 5000  # characters of a version's description


@dataclass(frozen=True)
class Made:
    """A generator's two files."""

    card: Card
    weights: bytes


def register(records: Records, uri: str) -> list[str]:
    """Register each condition's best generator, unless its version is there; a line for each.

    The best is the complete confirm cell with the best objective at its last tick.

    Raises:
        ValueError: no generator to register, a damaged file, or an MLflow that lacks the study or
            cannot be reached; one line, and nothing was registered.
    """
    found = best(records)
    made = {name: one for name, one in found.items() if isinstance(one, Made)}
    if not made:
        why = "; ".join(f"{name}: {one}" for name, one in found.items())
        raise ValueError(f"{records.folder}: no generator to register ({why})")
    try:
        mlflow.set_tracking_uri(uri)  # MLflow's own store asks for it: not all goes by the client
        client = MlflowClient(uri)
        runs = _runs(client, records, [one.card.cell for one in made.values()])
        for name, one in made.items():
            found[name] = _register(client, records, one, runs[one.card.cell])
    except ValueError:
        raise
    except Exception as error:  # MLflow, its database, its artifact store: many kinds
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"MLflow at {uri}: {said}") from None
    return [f"{name}: {line}" for name, line in found.items()]


def registered_name(folder: str, condition: str) -> str:
    """A registered model's name, legal for MLflow and in a URI: "remedies.D2D-CE-ReACGAN"."""
    return f"{folder}.{_slug(condition)}"


def _slug(condition: str) -> str:
    return re.sub(r"\W+", "-", condition).strip("-")


def best(records: Records) -> dict[str, Made | str]:
    """Of each condition what is to be registered, or why there is nothing.

    Raises:
        ValueError: as for `card_of`; two conditions that would have one name.
    """
    confirmed, found = records.confirmed(), dict[str, Made | str]()
    conditions = sorted(records.study()["definition"]["conditions"], key=natural)
    for name in conditions:
        if len(others := [other for other in conditions if _slug(other) == _slug(name)]) > 1:
            raise ValueError(f"conditions {others} would be one registered model")
        mine = confirmed[confirmed["condition"].eq(name)]
        if mine.empty:
            found[name] = "no finished confirm cell"
            continue
        card, weights = card_of(records, mine["id"].iloc[0])
        if "g" not in Generator(card, weights).gan.players:  # it loads, too
            found[name] = "nobody trains its generator"
            continue
        content = published.pack_weights(weights)
        sha256 = hashlib.sha256(content).hexdigest()
        found[name] = Made(card.model_copy(update={"sha256": sha256}), content)
    return found


def card_of(records: Records, cell_id: str) -> tuple[Card, dict[str, Tensor]]:
    """What the generator of an accepted cell is, and the weights of its averaged G.

    Raises:
        ValueError: a file of the study is lost or damaged; one line names it.
    """
    cell, rows = Cell.from_json(records.cell(cell_id)), records.rows(cell_id)
    definition = records.study()["definition"]
    weights = _tensors(records.cell_folder(cell_id) / "generator.pt")
    yardstick = _tensors(records.folder / "yardstick.pt")
    judges = Judges.from_state(yardstick["judges"])
    task = task_of(cell.condition.get("classes", judges.classes))
    look = look_of(judges, Reference.from_state(yardstick["references"][task]))
    config = trainables.load(cell.variant).config_type.parse(cell.hyperparameters)
    steps = -(-rows[-1]["kimg"] * 1000 // config.batch)
    card = Card(
        study=cell.study,
        condition=cell.condition_name,
        cell=cell_id,
        data=cell.data,
        variant=cell.variant,
        config=config.model_dump(mode="json"),
        look=look,
        classes=tuple(definition["classes"][: look.classes]),
        bf16=definition["bf16"],
        seen=max(0, steps - 1) * config.batch,
        metrics={key: value for key, value in rows[-1].items() if key not in CLOCK},
        sha256="",
    )
    return card, weights


def _tensors(path: Path) -> dict[str, Any]:
    try:
        content = load_tensors(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if content is None:
        raise ValueError(f"{path} is damaged: its SHA-256 is another")
    return dict(content)


def _runs(client: MlflowClient, records: Records, cells: list[str]) -> dict[str, Run]:
    """The cells' runs, which the study's own command copies to MLflow."""
    study, runs = records.study(), {}
    experiment = client.get_experiment_by_name(records.folder.name)
    for cell_id in cells:
        own = f"tags.folder = '{study['folder']}' and tags.cell = '{cell_id}'"
        found = experiment and client.search_runs([experiment.experiment_id], own, max_results=1)
        # A row that is logged here would hide from the mirror that those before it are missing.
        if not found or found[0].info.status != "FINISHED":
            again = f"python -m study.run {study['study']}"
            raise ValueError(f"MLflow lacks cell {cell_id}: `{again}`, with this store, copies it")
        runs[cell_id] = found[0]
    return runs


def _register(client: MlflowClient, records: Records, made: Made, run: Run) -> str:
    """Find or make the version of one generator; what is to be said of it."""
    card = made.card
    objective = records.study()["definition"]["objective"]
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}
    tags |= {"study": card.study, "sha256": card.sha256}
    own = " and ".join(f"tags.{key} = '{tags[key]}'" for key in ("folder", "cell", "sha256"))
    name = registered_name(records.folder.name, card.condition)
    said = f"{run.info.run_name}, {objective} {card.metrics[objective]:.4g}"
    if there := client.search_model_versions(f"name = '{name}' and {own}", max_results=1):
        return f"models:/{name}/{there[0].version} was there ({said})"
    model_id = _model(client, records, made, run, tags, own)
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        about = f"The best generators of {card.study}, condition {card.condition}."
        client.create_registered_model(name, {"study": card.study}, about)
    parent = run.data.tags["mlflow.parentRunId"]
    version = client.create_model_version(
        name,
        f"models:/{model_id}",
        run.info.run_id,
        tags | {"verdicts": f"report.html of run {parent}"},
        description=describe(records, card, said, parent),
        model_id=model_id,
    ).version
    # A server does it by itself; it is what leads from the model to its version.
    link = json.dumps([{"name": name, "version": version}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
    return f"models:/{name}/{version} ({said})"


def _model(
    client: MlflowClient,
    records: Records,
    made: Made,
    run: Run,
    tags: Mapping[str, str],
    own: str,
) -> str:
    """Find or make the model with the files and metrics of one generator; its id."""
    card = made.card
    experiment, digest = run.info.experiment_id, records.study()["definition"]["digest"]
    found = client.search_logged_models([experiment], own, max_results=1)
    model = found[0] if found else None
    if model is None:
        model = client.create_logged_model(
            experiment,
            _slug(card.condition),
            run.info.run_id,
            dict(tags),
            {key: str(value) for key, value in {"variant": card.variant, **card.config}.items()},
            "generator",
        )
    if model.status != LoggedModelStatus.READY:  # else one was interrupted here
        with tempfile.TemporaryDirectory() as scratch:
            published.write(Path(scratch), card, made.weights)
            client.log_model_artifacts(model.model_id, scratch)
        of = {"model_id": model.model_id, "dataset_name": card.data, "dataset_digest": digest}
        row = records.rows(card.cell)[-1]
        started = first_start(records, card.cell)
        client.log_batch(run.info.run_id, metrics=measured(row, started, **of))
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, row["kimg"])])
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def describe(records: Records, card: Card, said: str, parent: str) -> str:
    """Markdown: what it is, what it is not, its metrics, how to load it."""
    n = records.confirmed()["condition"].eq(card.condition).sum()
    variant = trainables.load(card.variant)
    call = "(labels=[...], seed=0)" if variant.conditional else "(n=16, seed=0)"
    call = ".translate(images, domain=1)" if variant.translates else call
    name = registered_name(records.folder.name, card.condition)
    head = [
        f"{said}: the best of the {n} confirm cells of {card.condition} in {card.study}. One run "
        "that is chosen for being the best flatters its condition: the verdicts, over all seeds, "
        f"are in report.html of run {parent}.",
        "",
        f'`from study.published import load`, then `load("models:/{name}/...")' + f"{call}`.",
        "",
        f"| on {card.data} | after {card.metrics['kimg']:g} kimg |",
        "|---|---|",
    ]
    rows = [f"| {k} | {v:.4g} |" for k, v in sorted(card.metrics.items()) if k != "kimg"]
    while len("\n".join(head + rows)) > LONGEST:
        rows.pop()
    return "\n".join(head + rows)
