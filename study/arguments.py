"""The command line of `python -m study.run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from study.listing import KINDS

BAD_INPUT = 2  # exit code


class Parser(argparse.ArgumentParser):
    """An argument parser that reports bad input in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        from trainables.data.base import one_line

        print(one_line(f"{self.prog}: {message}"), file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def whole(low: int) -> Callable[[str], int]:
    """A function for argparse's `type` that reads a whole number of at least `low`."""

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        # The length is limited because Python refuses to read numbers with thousands of digits.
        if not digits.isdecimal() or len(digits) > 18 or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return int(text)

    return parse


def storage_folder(text: str) -> Path:
    """Parse the path of a folder, or s3://BUCKET/PREFIX."""
    from study.records import store

    try:
        return store.folder(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    ray_takes = 1e-4 <= value <= 1 or (0 <= value < 1e6 and value.is_integer())
    if not ray_takes:
        kinds = "a share of at least 0.0001, or a whole number of at least 0"
        raise argparse.ArgumentTypeError(f"{text!r} is not {kinds}")
    return value


def parser(kind: type[Parser] = Parser) -> Parser:
    about = "Run a study, or what is missing of it."
    p = kind(prog="python -m study.run", description=about, allow_abbrev=False, add_help=False)
    p.add_argument(
        "-h", "--help", action="store_true", help="show this, and with NAME what the study is"
    )
    p.add_argument("name", nargs="?", metavar="NAME", help="a study: see --list")
    p.add_argument(
        "--list", nargs="?", const="studies", choices=KINDS, help="list them and end: studies"
    )
    p.add_argument("--dry-run", action="store_true", help="show cells and resources, start nothing")
    p.add_argument(
        "--scale", choices=("smoke", "quick", "full"), help="default: quick, full on GPU"
    )
    p.add_argument("--trials", type=whole(0), metavar="N", help="search cells per condition")
    p.add_argument("--seeds", type=whole(1), metavar="N", help="seeds per confirmed configuration")
    p.add_argument("--first-seed", type=whole(0), default=0, metavar="N", help="default: 0")
    p.add_argument(
        "--pilot", type=storage_folder, metavar="FOLDER", help="use none of this study's seeds"
    )
    p.add_argument(
        "--decide", action="store_true", help="more seeds where primary claims are undecided"
    )
    budget = "kimg, search_kimg, tick_kimg, samples, search_parallelism, searches"
    fix = f"fix a hyperparameter, or {budget}"
    p.add_argument("--set", action="append", default=[], dest="settings", metavar="K=V", help=fix)
    p.add_argument("--data", default="auto", metavar="NAME|PATH", help="default: auto")
    p.add_argument(
        "--image-size", type=whole(8), metavar="N", help="resize images of a folder or zip file"
    )
    p.add_argument("--data-dir", type=Path, metavar="DIR", help="default: $STUDY_DATA or data/")
    p.add_argument("--fid-weights", type=Path, metavar="FILE", help="measure FID, on a CPU too")
    p.add_argument("--cpus-per-trial", type=whole(1), default=1, metavar="N")
    p.add_argument("--gpus-per-trial", type=share, metavar="F", help="default: 0.25 with a GPU")
    p.add_argument("--max-concurrent", type=whole(1), metavar="N", help="default: what fits")
    p.add_argument("--address", metavar="RAY", help="a cluster; default: $RAY_ADDRESS, else none")
    p.add_argument(
        "--storage", type=storage_folder, default="runs", metavar="DIR", help="or s3://..."
    )
    p.add_argument("--tracking-uri", metavar="URI", help="default: sqlite in the storage folder")
    p.add_argument("--retry-failed", action="store_true", help="run cells again that failed")
    p.add_argument("--fresh", action="store_true", help="begin anew in a folder of its own")
    p.add_argument("--only", metavar="CONDITION", help="run one condition")
    p.add_argument("--verify", metavar="CELL", help="run a cell again, compare it with its record")
    return p
