"""Collects what each section of the report's page shows. page.html holds the layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from search_spaces.core import IMPORTANCE
from study.records.frames import Frames, natural
from study.records.records import Records
from study.report import curves, evidence, grid_panels, tables
from study.report.configurations import configuration
from study.report.verdicts import Finding

if TYPE_CHECKING:
    import pandas as pd

    from search_spaces.core import Claim, Group

# Columns of D's class losses on real images and on fakes.
TRAINING = ("loss/d/class_real", "loss/d/class_fake")
HELD_OUT = ("class_loss/real", "class_loss/fake")
PLOT_WIDTH, PLOT_MARGIN = 150, 12  # pixels; of the plot of a claim's interval
CONFIGURATIONS = {"reference": "Reference recipe", "best": "Best found"}
SIGNS = {"supported": "✓", "not supported": "✗", "undecided": "?", "not run": "–"}
WHEN = {"start": "0 kimg", "early": "first tick", "best": "best tick", "last": "last tick"}
WHEN |= {"largest_relapse": "largest relapse"}
MAX_CONDITIONS = 50  # in figures, samples and configurations
MAX_OTHERS = 8  # metrics in the last figure, unless claims are on more


def render(records: Records, frames: Frames, findings: list[Finding]) -> str:
    """The whole page as HTML. Styles and figures are part of it, so it loads no other file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.Undefined,  # study.json may lack keys, such as a study's claims
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    study, definition = frames.study, frames.study["definition"]
    conditions, failures = _conditions(frames, findings), tables.failed_seeds(frames)
    shown, confirm = _shown(frames, conditions), frames.cells[frames.cells["phase"].eq("confirm")]
    return environment.get_template("page.html").render(
        study=study,
        definition=definition,
        source=(definition.get("data_source") or "").removeprefix("data: ").rstrip("."),
        environment=study.get("environment", {}),
        claims=[_claim(one, failures) for one in findings],
        verdicts={v: sum(one.verdict == v for one in findings) for v in SIGNS},
        signs=SIGNS,
        named=CONFIGURATIONS,
        objective=frames.objective,
        direction=frames.directions[frames.objective],
        conditions=(len(conditions), len(frames.conditions)),
        figures=_figures(frames, shown, findings),
        samples={
            config: grid_panels.rows(records, frames, ticks) for config, ticks in shown.items()
        },
        one_configuration=definition.get("space") and "best" not in shown,
        classes=definition.get("classes", []),
        cells=tables.cells(frames),
        confirmed=len(confirm),
        trained=confirm["condition"].nunique(),
        lost=int(evidence.failures(study, confirm).sum()),
        configurations=[configuration(frames, c) for c in conditions],
        outcomes=tables.outcomes(records, frames),
        seeds=tables.seeds(frames),
        runs=_runs(study),
        failures=failures,
        rule=study.get("failure"),
        importances=any(one.claim.metric.startswith(IMPORTANCE) for one in findings),
        unreadable=study.get("unreadable", {}).get("conditions", {}),
    )


def _runs(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The commands that ran in the folder, in their order, each once for each code that it ran."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for run in study.get("runs", []):
        commit = run.get("git_commit") or ""
        told = (run.get("command") or "", run.get("code") or "", commit)
        one = found.setdefault(told, {"started": run.get("started") or "", "times": 0})
        one |= {"command": told[0], "code": told[1], "commit": commit, "times": one["times"] + 1}
    return list(found.values())


def short(value: Any) -> str:
    """A number to three digits, whole from 1,000 up to 10 million; a dash for None and NaN."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _conditions(frames: Frames, findings: list[Finding]) -> list[str]:
    """The conditions that figures, samples and configurations show: first those of the claims."""
    if len(frames.conditions) <= MAX_CONDITIONS:
        return frames.conditions
    groups = [group for one in findings for group in (one.claim.of, one.claim.against) if group]
    ranked = dict.fromkeys([*(group.condition for group in groups), *frames.conditions])
    return sorted(list(ranked)[:MAX_CONDITIONS], key=natural)


def _shown(frames: Frames, conditions: list[str]) -> dict[str, pd.DataFrame]:
    """The ticks of the confirm cells of some conditions, by configuration.

    "best" is left out where it has the same cells as "reference", or where the study has neither
    such cells nor a search space.
    """
    shown = frames.by_configuration()
    reference, best = (set(one["id"]) for one in shown.values())
    if (best and best == reference) or not (best or frames.study["definition"].get("space")):
        del shown["best"]
    return {config: one[one["condition"].isin(conditions)] for config, one in shown.items()}


def effect_text(finding: Finding) -> str | None:
    """The effect for people, or None: "0.94", or "0.31×" where it is a ratio of two groups."""
    if finding.effect is None:
        return None
    ratio = "×" if finding.claim.log and finding.claim.against else ""
    return short(finding.effect.value) + ratio


def _claim(finding: Finding, failures: list[dict[str, Any]]) -> dict[str, Any]:
    claim, measured = finding.claim, finding.effect
    groups = [claim.of] if claim.against is None else [claim.of, claim.against]
    lost = {(f["condition"], f["config"]): f["failed"] if f["known"] else "?" for f in failures}
    failed = [lost.get((group.condition, group.config), 0) for group in groups]
    return {
        "id": claim.id,
        "primary": claim.primary,
        "text": claim.text,
        "source": claim.source,
        "metric": " ÷ ".join(claim.columns),
        "scale": ("ratio" if claim.log else "difference") if claim.against else "",
        "of": _group(claim.of),
        "against": _group(claim.against) if claim.against else None,
        "region": region_text(claim),
        "plot": _interval(finding),
        "effect": effect_text(finding),
        "low": measured.low if measured else None,
        "high": measured.high if measured else None,
        "n": " / ".join(map(str, measured.n)) if measured else "–",
        "failed": " / ".join(map(str, failed)) if any(failed) else None,
        "interquartile": finding.interquartile,
        "improvement": finding.improvement,
        "verdict": finding.verdict,
        "reason": finding.reason,
    }


def _group(group: Group) -> str:
    return f"{group.condition}, {group.config}, {WHEN[group.at]}"


def region_text(claim: Claim) -> str:
    """A claim's region for people."""
    low, high = claim.region
    if math.isinf(low) and math.isinf(high):
        return "anything"
    if math.isinf(low) or (claim.log and low <= 0):
        return f"≤ {short(high)}"
    return f"≥ {short(low)}" if math.isinf(high) else f"{short(low)} to {short(high)}"


def _interval(finding: Finding) -> Markup:
    """A small SVG plot of the effect's interval over the region in which the claim holds."""
    claim, measured = finding.claim, finding.effect
    if measured is None:
        return Markup("")

    def scale(value: float) -> float:
        if not claim.log:
            return value
        return math.log(value) if value > 0 else -math.inf

    low, high = (scale(bound) for bound in claim.region)
    value = scale(measured.value)
    ends = [value if end is None else scale(end) for end in (measured.low, measured.high)]
    marks = [x for x in (low, high, value, *ends) if math.isfinite(x)]
    if claim.against:
        marks.append(0.0)  # no difference, or the log of a ratio of 1
    first, span = min(marks), (max(marks) - min(marks)) or 1.0

    def x(position: float) -> float:
        share = (position - first) / span
        inside = PLOT_MARGIN + share * (PLOT_WIDTH - 2 * PLOT_MARGIN)
        return round(min(max(inside, 0), PLOT_WIDTH), 1)

    bounds = [(x(s), short(b)) for s, b in zip((low, high), claim.region, strict=True)]
    texts = [
        Markup('<text x="{}" y="33">{}</text>').format(min(max(at, 10), PLOT_WIDTH - 10), text)
        for (at, text), bound in zip(bounds, (low, high), strict=True)
        if math.isfinite(bound)
    ]
    left, right = bounds[0][0], bounds[1][0]
    null = Markup('<line class="null" x1="{0}" x2="{0}" y1="1" y2="23"/>').format(x(0.0))
    told = f"effect {short(measured.value)}"
    if measured.low is not None:
        told += f", interval {short(measured.low)} to {short(measured.high)}"
    return Markup(
        '<svg class="interval" viewBox="0 0 {w} 36" width="{w}" height="36" role="img" '
        'aria-label="{told}; the claim holds if it is {region}">'
        '<rect class="region" x="{left}" width="{width}" y="2" height="20"/>{null}'
        '<line class="bar" x1="{a}" x2="{b}" y1="12" y2="12"/>'
        '<circle class="dot" cx="{at}" cy="12" r="4.5"/>{texts}</svg>'
    ).format(
        w=PLOT_WIDTH,
        told=told,
        region=region_text(claim),
        left=left,
        width=max(round(right - left, 1), 1),
        null=null if claim.against else "",
        a=x(ends[0]),
        b=x(ends[1]),
        at=x(value),
        texts=Markup("").join(texts),
    )


def _by_search(ticks: pd.DataFrame, searches: int) -> pd.DataFrame:
    """The means over the seeds of each search, which share their configuration.

    So the spread of what is drawn is that of the searches, as in the verdicts.
    """
    if searches == 1 or ticks.empty:
        return ticks
    search = (ticks["seed"] % searches).rename("search")
    means = ticks.groupby(["condition", "kimg", search]).mean(numeric_only=True)
    return means.drop(columns=["kimg", "search"], errors="ignore").reset_index()


def _figures(
    frames: Frames, shown: Mapping[str, pd.DataFrame], findings: list[Finding]
) -> dict[str, Any]:
    """Each figure as a data URI, or None where nothing of it was measured.

    "losses" has one figure per configuration. "other_names" lists the metrics in "others", which
    no other figure shows: those of the claims, and then those that have a better end.
    """
    present = {name for ticks in shown.values() for name in ticks["condition"]}
    conditions = [c for c in frames.conditions if c in present]

    searches = frames.study["definition"].get("searches", 1)
    drawn_ticks = {c: _by_search(t, searches) if c == "best" else t for c, t in shown.items()}

    def draw(metrics: list[str], **options: Any) -> str | None:
        figure = curves.figure(drawn_ticks, metrics, conditions, frames.directions, **options)
        return curves.svg(figure) if figure else None

    # High values, such as shares, may be 0 at first, which a logarithmic axis cannot show.
    low = frames.directions[frames.objective] == "minimize"
    drawn = {*TRAINING, *HELD_OUT, "class_loss_ratio", "label_accuracy", "variance_ratio"}
    drawn.add(frames.objective)
    others = sorted({column for one in findings for column in one.claim.columns} - drawn)
    told = drawn | {*others}
    rest = [c for c in frames.directions if c in frames.ticks and c not in told]
    others += rest[: max(MAX_OTHERS - len(others), 0)]
    others = [name for name in others if any(curves.has(t, [name]) for t in shown.values())]
    training, held_out = (
        {c: curves.class_losses(ticks, conditions, columns) for c, ticks in drawn_ticks.items()}
        for columns in (TRAINING, HELD_OUT)
    )
    return {
        "training_losses": training,
        "losses": held_out,
        "ratio": draw(["class_loss_ratio"], log=True, level=1.0),
        "labels": draw(["label_accuracy", "variance_ratio"]),
        "objective": draw([frames.objective], log=low),
        "others": draw(others),
        "other_names": others,
    }
