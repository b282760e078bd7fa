"""Start a Ray of our own, or join a cluster.

A cluster that cannot do the work is refused before any cell starts.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import signal
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

# These must be set before Ray is imported.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # no trial would use these workers

import ray
from ray._private import node, ray_constants, services
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.errors import BadInputError
from study.planning import sources
from study.planning.resources import Node
from study.planning.sources import Source
from study.records.environment import versions

# Starts processes for which a Ray of our own has no use: the autoscaler, the forwarder of logs, and
# what is left of a dashboard that is not included. They take four seconds and more of processor.
UNUSED: dict[str, Any] = dict.fromkeys(
    ("start_monitor", "start_log_monitor", "start_api_server"), lambda *_, **__: None
)
ANSWER_SECONDS = 120  # seconds that a node has to start a process and answer
# Whether this process is a submitted job. Ray sets the variable, and all nodes get a job's files.
IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def start_ray(cpus: int) -> None:
    """Start a Ray of our own on this machine, without a dashboard, unless this process has one.

    Other users and other machines cannot use it: it listens on 127.0.0.1 only, and its token is
    made here and is in the environment of its processes only, not in a file.

    Ray's processes get a process group of their own. timeout(1), systemd and batch systems signal a
    whole group, and a raylet that receives SIGTERM itself takes the cells and the driver with it.

    Args:
        cpus: CPUs that all running trials take together. They are given to Ray, because Ray's own
            count of the machine's CPUs may differ from ours.
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        popen = functools.partial(services.ConsolePopen, process_group=0)
        with (  # Ray has no options for these
            mock.patch.object(services, "ConsolePopen", popen),
            mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False),
            mock.patch.multiple(node.Node, **UNUSED),
        ):
            _init(address="local", num_cpus=cpus, include_dashboard=False)


def join(address: str, named_by: str) -> None:
    """Connect this process to the cluster at `address`, as Ray writes it (auto, HOST:PORT).

    Args:
        named_by: the option or environment variable that has the address.

    Raises:
        BadInputError: nothing answers at the address, or this process cannot join what answers.
    """
    root = Path(__file__).parents[2]
    # The nodes run this copy of the code, not a copy that may be installed on them.
    code = {"py_modules": [str(root / name) for name in ("study", "trainables", "search_spaces")]}
    try:
        if address != "auto":  # try for 5 s first: Ray itself tries for five minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        _init(address=address, runtime_env=None if IN_JOB else code)
    # Ray raises RuntimeError where the cluster has another version of Ray or Python, and where the
    # server at the address is not Ray's GCS.
    except (OSError, ValueError, OverflowError, RuntimeError, ray.exceptions.RayError) as error:
        line = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise BadInputError(f"{named_by} {address!r}: {line}; auto, or HOST:PORT") from None


def _init(**options: Any) -> None:
    """Call ray.init with little log output, and keep this process's own handler of SIGTERM.

    Token authentication is on, unless RAY_AUTH_MODE says otherwise.
    """
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    signal.signal(signal.SIGTERM, handler)  # ray.init replaces this process's handler


def check(storage: Path, declared: Sequence[Source] = ()) -> list[Node]:
    """CPUs and GPUs of the cluster's nodes, which all share the storage and our versions.

    Every node can load the study's variants and metrics: it has the packages that they need, in our
    versions. Files go to the nodes by themselves.

    A node that dies during the check is left out.

    Raises:
        BadInputError: a node does not answer, does not share the storage, or has other versions of
            Python or of the packages; or a submitted job has a relative storage folder.
    """
    if IN_JOB and not storage.is_absolute():
        raise BadInputError(
            f"--storage {storage}: a job's own folder goes with it: name one that stays, from /"
        )
    storage.mkdir(parents=True, exist_ok=True)
    needed = [source for source in declared if source.kind in ("variant", "metric")]
    token = storage / f".seen-{uuid.uuid4().hex}"
    token.touch()
    alive = _alive()
    try:
        inspect = ray.remote(num_cpus=0, max_retries=0)(_inspect)
        answers = {
            node: inspect.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(token.absolute(), needed)
            for node in alive
        }
        for node, answer in answers.items():
            try:
                _refuse_unfit(alive[node]["NodeManagerAddress"], storage, answer)
            except BadInputError:
                if node in _alive():
                    raise
                del alive[node]  # the node has died; Ray notices this only after some seconds
    finally:
        token.unlink()
    has = [node["Resources"] for node in alive.values()]
    return [Node(int(one.get("CPU", 0)), one.get("GPU", 0.0)) for one in has]


def _alive() -> dict[str, Any]:
    """Ray's descriptions of the nodes that it considers alive, by node id."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node for node in nodes if node["Alive"]}


def _refuse_unfit(host: str, storage: Path, answer: Any) -> None:
    try:
        sees, theirs, problem = ray.get(answer, timeout=ANSWER_SECONDS)
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
    if problem:
        raise BadInputError(f"--address: node {host}: {problem}")


def _inspect(token: Path, needed: Sequence[Source]) -> tuple[bool, dict[str, str], str]:
    """Run on a node: whether it sees the driver's file, its versions, and what it cannot load."""
    problem = ""
    for source in needed:
        try:
            sources.load(source)
            if not source.files and (found := sources.package(source.module)) != source.digest:
                problem = f"{source.name} is of {found}, here of {source.digest}"
        except BadInputError as error:
            problem = str(error)
    return token.exists(), versions(), problem
