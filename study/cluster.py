"""A Ray of our own, or a cluster: refused before anything starts where it cannot do the work."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

# Before Ray is imported.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray._private import services
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.environment import versions
from study.prepare import BadInputError
from study.resources import Node

ANSWER = 120  # seconds for a node to start a process and look around
IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # Ray's own mark: nodes get the job's files


def start_ray(cpus: int) -> None:
    """A Ray of our own on this machine, unless this process has one: no dashboard.

    Its processes get a group of their own: timeout(1), systemd and batch systems signal the whole
    group, and a raylet that hears SIGTERM itself takes cells and driver with it.

    Args:
        cpus: what its trials take together: Ray's own count may differ from ours.
    """
    if not ray.is_initialized():
        popen = functools.partial(services.ConsolePopen, process_group=0)
        with mock.patch.object(services, "ConsolePopen", popen):  # Ray has no option for it
            _init(address="local", num_cpus=cpus, include_dashboard=False)


def join(address: str) -> None:
    """Connect this process to the cluster at `address`, as Ray writes it (auto, HOST:PORT).

    Raises:
        BadInputError: nothing answers there, or not to us.
    """
    root = Path(__file__).parents[1]
    # What the nodes run is this code, not what they may have installed.
    code = {"py_modules": [str(root / name) for name in ("study", "trainables", "search_spaces")]}
    try:
        if address != "auto":  # Ray itself tries for five minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        _init(address=address, runtime_env=None if IN_JOB else code)
    # Ray has a RuntimeError for another version of Ray or Python, and for what is no GCS.
    except (OSError, ValueError, OverflowError, RuntimeError, ray.exceptions.RayError) as error:
        line = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise BadInputError(f"--address {address!r}: {line}; auto, or HOST:PORT") from None


def _init(**options: Any) -> None:
    """Token authentication is on, unless RAY_AUTH_MODE says otherwise."""
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    signal.signal(signal.SIGTERM, handler)  # Ray puts its own in its place


def check(storage: Path) -> list[Node]:
    """What the cluster's nodes have, once each was seen to share the storage and our versions.

    Raises:
        BadInputError: one does not.
    """
    if IN_JOB and not storage.is_absolute():
        raise BadInputError(
            f"--storage {storage}: a job's own folder goes with it: name one that stays, from /"
        )
    storage.mkdir(parents=True, exist_ok=True)
    token = storage / f".seen-{uuid.uuid4().hex}"
    token.touch()
    alive = _alive()
    try:
        look = ray.remote(num_cpus=0, max_retries=0)(_look)
        answers = {
            node: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(token.absolute())
            for node in alive
        }
        for node, answer in answers.items():
            try:
                _judge(alive[node]["NodeManagerAddress"], storage, answer)
            except BadInputError:
                if node in _alive():
                    raise
                del alive[node]  # dead: Ray notices after some seconds, while we ask
    finally:
        token.unlink()
    has = [node["Resources"] for node in alive.values()]
    return [Node(int(one.get("CPU", 0)), one.get("GPU", 0.0)) for one in has]


def _alive() -> dict[str, Any]:
    """What Ray knows of the nodes that it takes to be alive, by their ids."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node for node in nodes if node["Alive"]}


def _judge(host: str, storage: Path, answer: Any) -> None:
    try:
        sees, theirs = ray.get(answer, timeout=ANSWER)
    except (ray.exceptions.RayError, TimeoutError) as error:
        line = str(error).strip().splitlines()[-1]
        raise BadInputError(f"--address: node {host} does not answer: {line}") from None
    if not sees:
        raise BadInputError(f"--storage {storage}: node {host} does not share it")
    for package, ours in versions().items():
        if theirs[package] != ours:
            raise BadInputError(
                f"--address: node {host} has {package} {theirs[package]}, this one {ours}"
            )


def _look(token: Path) -> tuple[bool, dict[str, str]]:
    """On a node: whether it sees the driver's file, and its versions."""
    return token.exists(), versions()
