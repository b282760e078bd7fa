"""SeaweedFS, an S3-compatible object store, as a process on this machine."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import boto3

SECRET = "not-a-secret-but-a-test"
IDENTITIES = {
    "identities": [
        {
            "name": "test",
            "actions": ["Admin"],
            "credentials": [{"accessKey": "test", "secretKey": SECRET}],
        }
    ]
}


def free_ports(count: int) -> list[int]:
    """Find free ports. SeaweedFS also takes the port 10,000 above each of them, for gRPC.

    Ray's workers take ports between 10,002 and 19,999, and Linux gives out those from 32,768.
    """
    ports: list[int] = []
    for port in random.sample(range(20_000, 22_700), 1_000):
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for one in (port, port + 10_000):
                probes.enter_context(socket.create_server(("127.0.0.1", one)))
            ports.append(port)
        if len(ports) == count:
            break
    return ports


@dataclass
class Weed:
    folder: Path
    ports: list[int] = field(default_factory=lambda: free_ports(4))
    process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[0]}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        (self.folder / "identities.json").write_text(json.dumps(IDENTITIES))
        s3, master, volume, filer = self.ports
        options = {
            "dir": self.folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 0,
            "s3.port": s3,
            "master.port": master,
            "volume.port": volume,
            "filer.port": filer,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": self.folder / "identities.json",
        }
        weed = Path(sys.executable).with_name("weed")
        command = [weed, "server", "-s3", *(f"-{key}={value}" for key, value in options.items())]
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "weed.log").read_text()[-3000:]
        client = boto3.client("s3")
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket="studies")
            client.put_object(Bucket="studies", Key="up", Body=b"")
        except Exception:  # of several kinds, while the store is starting
            return False
        return True

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
