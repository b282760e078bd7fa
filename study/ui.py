"""Open MLflow's UI on a study's store, with a link that compares its best confirm cells.

python -m study.ui [NAME] [--storage DIR] [--port N]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from study.arguments import storage_folder
from study.planning.mlflow_store import store_uri

HOST = "127.0.0.1"  # this machine only, because MLflow asks for no login
PATIENCE = 120  # seconds until the server must answer


def check_port(port: int) -> None:
    """Raise ValueError where a server could not listen on the port."""
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not one of 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why = error.strerror
            raise ValueError(f"port {port} cannot be used ({why}): give --port") from None


def server_command(uri: str, storage: Path, port: int) -> list[str]:
    artifacts = (storage.resolve() / "mlartifacts").as_uri()
    where = ["--backend-store-uri", uri, "--artifacts-destination", artifacts]
    return [
        *(sys.executable, "-m", "mlflow", "server", *where),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),  # no line per request
    ]


def serve(command: Sequence[str], port: int, lines: Sequence[str]) -> int:
    """Run the server until it ends or is interrupted; print `lines` once it listens.

    Returns: the server's own exit code.
    """
    # The server gets a session of its own. So Ctrl-C reaches this process alone, which then ends
    # the server and its workers. MLflow's job runners are switched off: they would be seven more
    # processes, for features that no study uses.
    quiet = {"MLFLOW_LOGGING_LEVEL": "WARNING"}
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | quiet
    server = subprocess.Popen(command, start_new_session=True, env=environment, stdout=sys.stderr)
    try:
        if _listening(server, port):
            print("\n".join(lines), flush=True)
        return server.wait()
    finally:
        _stop(server)


def _listening(server: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return True
        time.sleep(0.2)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
            return


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m study.ui", description="Open MLflow on the store of a storage folder."
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="print its compare link too")
    parser.add_argument("--storage", type=storage_folder, default="runs", help="default: runs")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    asked = parser.parse_args(arguments)
    # Set both handlers explicitly: a shell starts its background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    address = f"http://{HOST}:{asked.port}"
    lines = [f"MLflow: {address}  (Ctrl-C ends it)"]
    try:
        uri = store_uri(asked.storage)
        check_port(asked.port)
        if asked.name:
            from study.records.folders import find_study
            from study.tracking.compare import best_cells, compare_link

            records = find_study(asked.storage, asked.name)
            cells, folder = best_cells(records), records.study().get("folder", "")
            link = compare_link(address, uri, records.folder.name, folder, cells) if cells else None
            missing = f"nothing to compare: MLflow has no finished confirm cell of {asked.name}"
            lines.append(f"compare the best of {asked.name}: {link}" if link else missing)
        return serve(server_command(uri, asked.storage, asked.port), asked.port, lines)
    except ValueError as error:
        print(f"study.ui: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # this is how a user ends the UI
        return 0


if __name__ == "__main__":
    sys.exit(main())
