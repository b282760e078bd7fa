"""Draws the report's curves. Each figure is an SVG, returned as a data URI."""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from study.records.objective import Direction

# The palette of Okabe & Ito, whose colours colour-blind readers can tell apart. Its yellow is left
# out because it is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
REAL, FAKE = COLOURS[0], COLOURS[1]
LABELS = {  # column -> axis label: meaning and unit
    "fcd": "FCD (judge features)",
    "fid": "FID (Inception)",
    "label_accuracy": "label accuracy\n(judge, share of fakes)",
    "topk_accuracy": "top-k accuracy\n(judge, share of labels)",
    "variance_ratio": "variance within a class\nfake / real",
    "class_loss_ratio": "class loss ratio\nreal / fake",
}
REAL_IMAGES = "real images"
SHARES = {
    "label_accuracy",
    "classes_working",
    "label_accuracy_matched",
    "label_accuracy_real",
    "topk_accuracy",
    "exact_set",
}
AMOUNTS = {"variance_ratio"}  # their y axis starts at zero
MAX_PANELS_ACROSS = 4


def band(ticks: pd.DataFrame, column: str, log: bool) -> pd.DataFrame:
    """The mean (with `log` the geometric mean) at each kimg, with its 95 % interval.

    They are taken over the cells in `ticks`. Values that are not finite are left out, and with
    `log` those that are not positive. The interval is Student's; a single cell has none.

    Returns: columns mid, low, high, indexed by kimg; without an interval low and high are mid. The
    frame is empty where nothing was measured.
    """
    import numpy as np
    import pandas as pd
    from scipy.stats import t

    if column not in ticks.columns:
        return pd.DataFrame(columns=["mid", "low", "high"])
    rows = ticks[["kimg", column]].dropna()
    values = pd.to_numeric(rows[column])
    usable = np.isfinite(values) & ((values > 0) | (not log))
    kept = values[usable]
    groups = (np.log(kept) if log else kept).groupby(rows["kimg"][usable])
    mid, n = groups.mean(), groups.count()
    half = pd.Series(t.ppf(0.975, n - 1), n.index) * groups.std() / np.sqrt(n)
    half = half.where(n > 1, 0.0)
    frame = pd.DataFrame({"mid": mid, "low": mid - half, "high": mid + half})
    return frame.apply(np.exp) if log else frame


def class_losses(
    ticks: pd.DataFrame, conditions: Sequence[str], pair: tuple[str, str]
) -> str | None:
    """Draw D's class loss on real and on fake images, one panel per condition.

    Args:
        pair: the columns of the two losses, first that on real images.

    Returns: the figure as a data URI, or None if no class loss was measured.
    """
    columns = dict(zip(pair, (REAL, FAKE), strict=True))
    drawn = [c for c in conditions if has(ticks[ticks["condition"].eq(c)], columns)]
    if not drawn:
        return None
    across = min(len(drawn), MAX_PANELS_ACROSS)
    down = math.ceil(len(drawn) / across)
    figure = _figure(1.8 + 2.9 * across, 2.7 * down + 0.2)
    axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for ax, condition in zip(axes.flat, drawn, strict=False):
        mine = ticks[ticks["condition"].eq(condition)]
        for column, colour in columns.items():
            dash, what = ("-", "real") if column == pair[0] else ("--", "fake")
            _curve(ax, mine, column, colour, dash, f"on {what} images", log=True)
        ax.set_title(condition, fontsize=10)
    _span(axes.flat[0], ticks)
    shown = ticks.loc[ticks["condition"].isin(drawn), [c for c in columns if c in ticks]]
    _fit(axes.flat[0], shown, log=True)
    for ax in axes.flat:
        _log_axis(ax)
    for ax in list(axes.flat)[len(drawn) :]:
        ax.set_visible(False)
    for ax in list(axes.flat)[len(drawn) - across : len(drawn)]:
        # Label the x axis of the lowest panel in each column, also where the last row is not full.
        ax.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("class loss of D (nats)")
    _finish(figure)
    return svg(figure)


def figure(
    by_config: Mapping[str, pd.DataFrame],
    metrics: Sequence[str],
    conditions: Sequence[str],
    directions: Mapping[str, Direction],
    *,
    log: bool = False,
    level: float | None = None,
) -> Figure | None:
    """Draw metrics over training: a row of panels per metric, a column per configuration.

    Each condition is a line in every panel. What real images score, a column `<metric>_floor` or
    `<metric>_real` of the ticks, is a dotted horizontal line in the condition's colour.

    Args:
        by_config: the ticks of each configuration.
        metrics: columns of the ticks. Metrics that were not measured are left out.
        directions: which values are better, by column; the axis says so.
        log: draw a logarithmic y axis and geometric means.
        level: draw a thin horizontal line at this value, which means "as on real images".

    Returns: the figure, or None if nothing was measured.
    """
    import pandas as pd

    shown = [m for m in metrics if any(has(t, [m]) for t in by_config.values())]
    configs = [c for c, t in by_config.items() if has(t, shown)]
    if not shown or not configs:
        return None
    legend = min(0.09 * max(len(c) for c in conditions) + 0.8, 3.5)
    drawn = _figure(4.6 * len(configs) + legend, 2.7 * len(shown) + 0.3)
    axes = drawn.subplots(len(shown), len(configs), squeeze=False, sharex=True, sharey="row")
    for row, metric in zip(axes, shown, strict=True):
        for ax, config in zip(row, configs, strict=True):
            for i, condition in enumerate(conditions):
                colour, dash = style(i)
                mine = by_config[config][by_config[config]["condition"].eq(condition)]
                _curve(ax, mine, metric, colour, dash, condition, log)
                for column in (f"{metric}_floor", f"{metric}_real"):
                    real = band(mine, column, log)["mid"]
                    if len(real):
                        ax.axhline(float(real.iloc[-1]), color=colour, lw=1, ls=(0, (1, 2)))
                        ax.plot([], [], color="#666666", lw=1, ls=(0, (1, 2)), label=REAL_IMAGES)
            if level is not None:
                ax.axhline(level, color="#666666", lw=0.8)
        beside = [metric, f"{metric}_floor", f"{metric}_real"]
        every = [t[[c for c in beside if c in t]].assign(level=level) for t in by_config.values()]
        _fit(row[0], pd.concat(every), log)
        for ax in row:
            if log:
                _log_axis(ax)
            elif metric in SHARES:
                ax.set_ylim(-0.03, 1.03)
            elif metric in AMOUNTS:
                ax.set_ylim(bottom=0)
        better = {"minimize": "\nlower is better", "maximize": "\nhigher is better"}
        end = better[directions[metric]] if metric in directions else ""
        row[0].set_ylabel(LABELS.get(metric, metric) + end)
    _span(axes[0, 0], by_config[configs[0]])
    for ax, config in zip(axes[0], configs, strict=True):
        ax.set_title(f"{config} configuration", fontsize=10)
    _finish(drawn)
    return drawn


def style(i: int) -> tuple[str, str]:
    """The colour and dash of the i-th condition. No two of the first 28 are alike."""
    return COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]


def _curve(
    ax: Axes, ticks: pd.DataFrame, column: str, colour: str, dash: str, label: str, log: bool
) -> None:
    values = band(ticks, column, log)
    if values.empty:
        return
    x = values.index.to_numpy(dtype=float)
    low, mid, high = (values[name].to_numpy(dtype=float) for name in ("low", "mid", "high"))
    ax.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
    marker = "o" if len(x) <= 15 else ""
    ax.plot(x, mid, color=colour, ls=dash, lw=1.7, marker=marker, ms=3, label=label)


def _log_axis(ax: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers. Label 2 and 5 too if the decades are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_yscale("log")
    low, high = ax.get_ylim()
    few = low > 0 and high / low < 500
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _fit(ax: Axes, values: pd.DataFrame, log: bool) -> None:
    """Let the y axis span the values of the seeds. Intervals of few seeds reach far beyond."""
    import numpy as np

    shown = values.to_numpy(dtype=float)
    shown = shown[np.isfinite(shown) & ((shown > 0) | (not log))]
    if not len(shown):
        return
    low, high = (np.log(shown.min()), np.log(shown.max())) if log else (shown.min(), shown.max())
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    ends = np.array([low - margin, high + margin])
    ax.set_ylim(*(np.exp(ends) if log else ends).tolist())


def _span(ax: Axes, ticks: pd.DataFrame) -> None:
    """Let the x axis span all of training, also for a metric that is measured only at the end."""
    end = float(ticks["kimg"].max())
    ax.set_xlim(-0.03 * end, 1.03 * end)


def has(ticks: pd.DataFrame, columns: Sequence[str] | dict[str, str]) -> bool:
    """Whether one of the columns was measured."""
    return any(c in ticks.columns and bool(ticks[c].notna().any()) for c in columns)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # By this method a notebook shows a figure that pyplot has not made.
    setattr(figure, "_repr_png_", functools.partial(_png, figure))  # noqa: B010
    return figure


def _finish(figure: Figure) -> None:
    """Style the axes, name the unit of x, and add one legend for all panels, outside of them."""
    entries: dict[str, Artist] = {}
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="#E4E4E4", lw=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(labelsize=8.5)
        ax.yaxis.label.set_fontsize(9.5)
        handles, labels = ax.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    if REAL_IMAGES in entries:  # the legend lists them after the conditions
        entries[REAL_IMAGES] = entries.pop(REAL_IMAGES)
    figure.supxlabel("images seen (thousands)", fontsize=9.5)
    figure.legend(
        list(entries.values()), list(entries), loc="outside right upper", frameon=False, fontsize=9
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """A figure as a data URI."""
    import matplotlib

    buffer = io.BytesIO()
    # The hash salt is fixed and the date left out, so that the same records give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "study"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_uri("image/svg+xml", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Embed `content` of the MIME type `kind` in a URI, so that the page loads no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
