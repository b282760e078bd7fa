"""How many requests a study makes of an object store for each of its cells.

    python -m tests.benchmarks.bench_store [--cells 50 1000]

A command runs a study whose records are in a SeaweedFS on this machine. Everything is as for a
user, except that the cells run in this process, one after the other, and not on Ray: so all
requests, of the driver, the cells, MLflow's mirror and the report, are seen here as they are sent.
Locks are left out, because their owners write to the store every two seconds. A second command
finds that nothing is left to do. The ratio compares the requests per cell with those of the
smallest study.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from aiobotocore.httpsession import AIOHTTPSession

from study.run import main as study_run
from tests.chaos.weed import Weed
from tests.smoke import run_in_turn

NAME = "egan_ring"


def counted(storage: str, cells: int) -> Counter[str]:
    """Run the study with so many cells, or go on with it. Returns the requests by method."""
    counts, send = Counter[str](), AIOHTTPSession.send

    async def count(session: AIOHTTPSession, request: Any) -> Any:
        if ".lock" not in request.url:
            counts[request.method] += 1
        return await send(session, request)

    command = [NAME, "--scale=smoke", "--only=egan", f"--seeds={cells}", f"--storage={storage}"]
    command += [f"--tracking-uri=sqlite:///{os.environ['HOME']}/{cells}.db"]
    with (
        mock.patch.object(AIOHTTPSession, "send", count),
        mock.patch("study.engine.engine.run_cells", run_in_turn),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        assert study_run(command) == 0
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[50, 1000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        weed = Weed(Path(scratch))
        os.environ |= {**weed.env, "HOME": scratch}
        try:
            weed.start()
            least = 0.0
            for cells in sorted(arguments.cells):
                storage = f"s3://studies/of-{cells}"
                counts = counted(storage, cells)
                again = counted(storage, cells)
                each = counts.total() / cells
                least = least or each
                kinds = ", ".join(f"{n / cells:.1f} {kind}" for kind, n in counts.most_common())
                print(
                    f"{cells:6} cells: {each:.1f} requests per cell ({kinds}), ratio to the fewest "
                    f"cells {each / least:.2f}; {again.total() / cells:.1f} when all have ended",
                    flush=True,
                )
        finally:
            weed.kill()


if __name__ == "__main__":
    main()
