"""A Ray of our own is ours alone.

If these tests fail, other users of the machine, or other machines, can run code as the user who
runs a study.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

# Prints Ray's address, and what its processes listen on. Then it waits for its input to end.
OWNER = """
import sys
import psutil, ray
from study.engine.cluster import start_ray
start_ray(1)
ray.get(ray.remote(lambda: None).remote())  # a worker has started
print(ray.get_runtime_context().gcs_address)
for process in psutil.Process().children(recursive=True):
    for name in ("/monitor.py", "/log_monitor.py", "/dashboard.py"):
        if any(part.endswith(name) for part in process.cmdline()):
            print("needless", name)
    for socket in process.net_connections("inet"):
        if socket.status == psutil.CONN_LISTEN:
            print(process.name(), socket.laddr.ip)
print("end", flush=True)
sys.stdin.read()
"""
STRANGER = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False)
print("let in")
"""


def test_strangers_are_let_in(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env["HOME"] = str(tmp_path)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:  # at its end, the owner's input ends
        assert owner.stdout is not None
        address, *listening = iter(owner.stdout.readline, "end\n")
        assert any(line.startswith("gcs_server ") for line in listening), listening
        assert any(line.startswith("raylet ") for line in listening), listening
        assert [line for line in listening if line.startswith("needless")] == []
        for line in listening:
            ip = ipaddress.ip_address(line.split()[1])
            ip = getattr(ip, "ipv4_mapped", None) or ip
            assert ip.is_loopback, line
        # Whoever can read the user's files must not find the token in them.
        assert not list(tmp_path.rglob("*token*"))
        other = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        other["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray looks for it on other addresses
        stranger = subprocess.run(
            [sys.executable, "-c", STRANGER, address.strip()],
            env=env | other,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "AuthenticationError" in stranger.stderr
    assert "let in" not in stranger.stdout
