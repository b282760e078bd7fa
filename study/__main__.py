"""`gan-study run NAME` and the like: the same as `python -m study.run NAME`."""

from __future__ import annotations

import runpy
import sys

from study import _refuse_namesakes

COMMANDS = ("run", "report", "ui", "check")


def main() -> None:
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(f"gan-study {' | '.join(COMMANDS)}: each has a --help of its own")
        return
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print(f"gan-study: give one of {', '.join(COMMANDS)}, and its options", file=sys.stderr)
        raise SystemExit(2)
    _refuse_namesakes()
    command = sys.argv.pop(1)
    runpy.run_module(f"study.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
