"""One table of the claims of many studies, from their records: for a README, a paper, or pandas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.records.files import write_atomically
from study.records.records import Records
from study.report.page import effect_text, region_text, short

if TYPE_CHECKING:
    import pandas as pd

    from study.report.verdicts import Finding

KINDS = (".md", ".csv", ".tex")
# Signs that LaTeX knows by commands only.
LATEX = {"≥": r"$\ge$", "≤": r"$\le$", "×": r"$\times$", "÷": r"$\div$", "–": "--"}
LATEX_COLUMNS = "lp{3cm}p{3cm}p{2.5cm}lp{2cm}p{2.5cm}"
HEAD = ("claim", "where it comes from", "measured", "holds if", "seeds", "verdict")


def results(records: Records) -> pd.DataFrame:
    """The claims of a study as `claims_frame` has them, with what the study cost.

    Further columns: study, title, data, scale, cells (that were accepted), cell_minutes (the sum of
    their minutes), machine, commit, started (the first run), command (of the last run), failed (how
    many seeds of the claim's groups failed: "1 of 5 / 0 of 5"), and as texts measured (the effect
    with its interval) and holds_if (the region).
    """
    from study.records.frames import Frames
    from study.report.evidence import assess
    from study.report.tables import failed_seeds
    from study.report.write import frame_of

    frames = Frames.read(records)
    findings, study = assess(frames), frames.study
    failures = {
        (f["condition"], f["config"]): f"{f['failed']} of {f['n']}" if f["known"] else "not known"
        for f in failed_seeds(frames)
    }
    frame, hardware = frame_of(findings), study["environment"]["hardware"]
    frame["failed"] = [
        " / ".join(
            failures.get((group.condition, group.config), "none run")
            for group in (one.claim.of, one.claim.against)
            if group is not None
        )
        for one in findings
    ]
    frame["measured"] = [_measured(one) for one in findings]
    frame["holds_if"] = [region_text(one.claim) for one in findings]
    machine = [hardware["cpu"], f"{hardware['cpus']} processors", *map(str, hardware["gpus"])]
    of_study: dict[str, Any] = {
        "study": _name(records),
        "title": study["title"],
        "data": study["definition"]["data"],
        "scale": study["definition"]["scale"],
        "cells": len(frames.cells),
        "cell_minutes": round(float(frames.cells["seconds"].sum()) / 60),
        "machine": ", ".join(machine),
        "commit": study["environment"]["git_commit"][:12],
        "started": study["environment"]["started"][:10],
        "command": study["command"],
    }
    return frame.assign(**of_study)[[*of_study, *frame]]


def write_results(path: Path, studies: Sequence[Records]) -> None:
    """Write the table of some studies to a file, as its ending says: Markdown, CSV or LaTeX.

    A Markdown file that is there keeps its other sections, each up to the next "## ".

    Raises:
        ValueError: the file's name has another ending, or no study states claims.
    """
    import pandas as pd

    if path.suffix not in KINDS:
        raise ValueError(f"--table {path}: the file's name must end in {', '.join(KINDS)}")
    frames = [frame for records in studies if len(frame := results(records))]
    if not frames:
        there = ", ".join(str(one.folder) for one in studies) or "no study is there"
        raise ValueError(f"--table {path}: no claims to list ({there}); --storage names the folder")
    if path.suffix == ".csv":
        content = pd.concat(frames).to_csv(index=False)
    elif path.suffix == ".tex":
        rows = [[frame["study"].iloc[0], *row] for frame in frames for row in _rows(frame)]
        whole = pd.DataFrame(rows, columns=["study", *HEAD])
        content = whole.to_latex(
            index=False, longtable=True, escape=True, column_format=LATEX_COLUMNS
        )
        for sign, command in LATEX.items():
            content = content.replace(sign, command)
    else:
        sections = _sections(path.read_text() if path.exists() else "")
        for frame in frames:
            sections[f"## `{frame['study'].iloc[0]}`"] = "\n".join(_section(frame))
        parts = [f"{head}\n\n{text.strip()}".strip() for head, text in sections.items()]
        content = "\n\n".join(part for part in parts if part) + "\n"
    write_atomically(path, content.encode())


def _name(records: Records) -> str:
    """The study's name. A folder of another name, such as that of a copy, has its own."""
    name, folder = str(records.study()["study"]), records.folder.name
    return name if re.fullmatch(rf"{re.escape(name)}(\.\d+)?", folder) else folder


def _measured(finding: Finding) -> str:
    text, effect = effect_text(finding) or "–", finding.effect
    if effect is None or effect.low is None:
        return text
    return f"{text} [{short(effect.low)}, {short(effect.high)}]"


def _sections(text: str) -> dict[str, str]:
    """A file's sections by their headings, each up to the next one; "": what stands above them."""
    above, *parts = re.split(r"^(## .*)\n", text, flags=re.MULTILINE)
    return {"": above, **dict(zip(parts[::2], parts[1::2], strict=True))}


def _section(frame: pd.DataFrame) -> Iterator[str]:
    """The Markdown of one study, without its heading."""
    one = frame.iloc[0]
    yield f"{one['title']}\n"
    yield f"On `{one['data']}` at scale {one['scale']}: {one['cells']} cells,"
    yield f"{one['cell_minutes']} minutes in all of them, on {one['machine']};"
    yield f"begun {one['started']} at commit {one['commit']}."
    yield f"\n    {one['command']}\n"
    yield f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}"
    for row in _rows(frame):
        cells = (cell.replace("|", "\\|") for cell in row)
        text = f"| {' | '.join(cells)} |"
        yield re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    yield "\n\\* primary: about one study in twenty at most has a wrong verdict among these."


def _rows(frame: pd.DataFrame) -> Iterator[list[str]]:
    """The claims of a study as texts, under HEAD."""
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        seeds = " / ".join(str(int(n)) for n in (row["n_of"], row["n_against"]) if n is not None)
        yield [
            f"{row['id']}{'*' if row['primary'] else ''}: {row['text']}",
            str(row["source"]),
            f"{row['measured']} ({row['metric']})",
            row["holds_if"],
            f"{seeds or '–'}; failed {row['failed']}",
            row["verdict"] + (f": {row['reason']}" if row["reason"] else ""),
        ]
