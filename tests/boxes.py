"""Runs services of compose.yaml without Docker, each in a box of namespaces. This needs root.

A box has what a container has: its own root (an overlay on this machine's root, which goes away
with the box, and is read-only where the service's is), host name, processes and /dev/shm; an
address that the other boxes know by the service's name; the volumes, tmpfs and secrets that the
service mounts; and no more privileges than its user. It runs the service's command, word for word.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[1]
NET = "10.77.0"  # first three numbers of all the boxes' addresses
TOOLS = ("ip", "unshare", "nsenter", "setpriv")
FOLDERS = [Path(sys.executable).parent, ROOT / "docker", *Path("/usr/lib/postgresql").glob("*/bin")]
PATH = ":".join([*map(str, FOLDERS), os.environ["PATH"]])

START = """set -eu
name=$1 box=$2 shm=$3 user=$4 work=$5 how=$6; shift 6
mount -t tmpfs tmpfs "$box"
root=$box/root
mkdir "$box/up" "$box/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$box/up,workdir=$box/work" "$root"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o "size=$shm" tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
    place=$(chroot "$root" realpath -m "$1") # /var/run is a link
    mkdir -p "$root$place"
    mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmpfs "$root$place"
    shift
done
shift
while [ "$1" != -- ]; do
    mkdir -p "$root$(dirname "$2")"
    if [ -d "$1" ]; then mkdir -p "$root$2"; else touch "$root$2"; fi
    mount --bind "$1" "$root$2"
    shift 2
done
shift
while [ "$1" != -- ]; do chmod o+x "$root$1"; shift; done
shift
install -d -o "$user" -g "$user" "$root$work"
mount -o "remount,$how" "$root"
hostname "$name"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs \
    sh -c 'cd "$0" && exec "$@"' "$work" "$@"
"""

# What the entry point of PostgreSQL's own image does before it runs its command.
POSTGRES = """set -eu
initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \
    --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
printf "listen_addresses = '*'\nunix_socket_directories = '/var/run/postgresql'\n" \
    >> "$PGDATA/postgresql.conf"
echo "CREATE DATABASE $POSTGRES_USER" | postgres --single -D "$PGDATA" postgres
exec "$@"
"""


def missing(*tools: str) -> str | None:
    """Why no box with these tools in it can be made here; None where it can."""
    if os.geteuid() != 0:
        return "namespaces and mounts need root"
    absent = [tool for tool in (*TOOLS, *tools) if not shutil.which(tool, path=PATH)]
    return f"not installed: {', '.join(absent)}" if absent else None


def compose(**environment: str) -> dict[str, Any]:
    """The compose file, with its variables replaced by `environment` or by their defaults."""
    text = (ROOT / "docker" / "compose.yaml").read_text()
    filled = re.sub(r"\$\{(\w+):-(\w*)\}", lambda m: environment.get(m[1], m[2]), text)
    loaded: dict[str, Any] = yaml.safe_load(filled)
    return loaded


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@dataclass
class Box:
    name: str
    service: dict[str, Any]
    space: str
    port: str  # the box's port on the switch that joins all boxes
    log: Path
    outer: subprocess.Popen[bytes] | None = None

    @property
    def user(self) -> str:
        if self.service["image"].startswith("postgres:"):
            return "postgres"  # the image's entry point switches to this user, too
        return str(self.service.get("user", "1000:1000")).partition(":")[0]

    @property
    def work(self) -> str:
        return str(self.service.get("working_dir", "/shared"))

    @property
    def env(self) -> dict[str, str]:
        own = {"PATH": PATH, "HOME": "/root", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        own |= {"PGDATA": "/var/lib/postgresql/data"}
        own |= {"RAY_raylet_start_wait_time_s": "120"}  # boxes are not restarted, unlike containers
        return own | self.service.get("environment", {})

    @property
    def lives(self) -> bool:
        return self.outer is not None and self.outer.poll() is None

    @property
    def init(self) -> psutil.Process:
        """The box's first process."""
        assert self.outer is not None
        assert self.outer.poll() is None, f"{self.name} ended: {self.log.read_text()[-3000:]}"
        (first,) = psutil.Process(self.outer.pid).children()
        return first

    @property
    def memory(self) -> int:
        """Bytes that the box's processes have for themselves, without shared memory and tmpfs."""
        own = [self.init, *self.init.children(recursive=True)]
        return sum(process.memory_full_info().uss for process in own)

    @property
    def tmp(self) -> Path:
        return Path(f"/proc/{self.init.pid}/root/tmp")

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the box, as `docker exec` does."""
        enter = ["nsenter", f"--target={self.init.pid}", "--mount", "--uts", "--pid", "--net"]
        user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        work = f"--wd=/proc/{self.init.pid}/root{self.work}"
        return subprocess.run(
            [*enter, "--root", work, "--", *user, "--no-new-privs", "--", *command],
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=800,
        )

    def python(self, code: str) -> str:
        done = self.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self) -> None:
        """Wait until the service's own health check passes."""
        kind, *command = self.service["healthcheck"]["test"]
        assert kind == "CMD"
        until = time.monotonic() + 300
        while (done := self.run(*command)).returncode != 0:
            assert time.monotonic() < until, f"{self.name}: {done.stderr}\n{self.log.read_text()}"
            time.sleep(1)


class Boxes(dict[str, Box]):
    """The boxes for a compose file's services, by the services' names.

    The replicas of a service are named NAME-1, NAME-2, ... A veth pair joins each box to one
    switch.
    """

    def __init__(self, folder: Path, secrets: Path, file: dict[str, Any]) -> None:
        self.folder, self.secrets, self.switch = folder, secrets, f"gan{os.getpid()}"
        folder.chmod(0o755)
        for name, service in file["services"].items():
            replicas = int(service.get("deploy", {}).get("replicas", 1))
            names = [f"{name}-{n + 1}" for n in range(replicas)] if replicas > 1 else [name]
            for one in names:
                space, log = f"{self.switch}{one}", folder / f"{one}.log"
                self[one] = Box(one, service, space, f"v{len(self) + 1}", log)
        for volume in file["volumes"]:
            (folder / volume).mkdir()
            owner = "postgres" if volume == "postgres" else 1000
            shutil.chown(folder / volume, owner, owner)

    def up(self) -> None:
        """Make the network, and start each box once the services it depends on are healthy."""
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        hosts = ["127.0.0.1 localhost", "::1 localhost"]  # as in a container
        for number, box in enumerate(self.values(), 1):
            link = ("-n", box.space, "link", "set")
            ip("netns", "add", box.space)
            peer = ("peer", "name", "eth0", "netns", box.space)
            ip("-n", self.switch, "link", "add", box.port, "type", "veth", *peer)
            ip("-n", self.switch, "link", "set", box.port, "master", "br0", "up")
            ip("-n", box.space, "address", "add", f"{NET}.{number}/24", "dev", "eth0")
            ip(*link, "lo", "up")
            ip(*link, "eth0", "up")
            ip("-n", box.space, "route", "add", "default", "via", f"{NET}.254")  # no box is there
            hosts.append(f"{NET}.{number} {box.name}")
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        (self.folder / "resolv.conf").write_text("")  # no name server
        healthy: set[str] = set()
        waiting = dict(self)
        while waiting:
            ready = [
                b for b in waiting.values() if b.service.get("depends_on", {}).keys() <= healthy
            ]
            for box in ready:
                self._start(box)
            for box in ready:
                if "healthcheck" in box.service:
                    box.wait()
                del waiting[box.name]
                if not any(b.service is box.service for b in waiting.values()):
                    healthy.add(re.sub(r"-\d+$", "", box.name))

    def cut(self, name: str) -> None:
        """Cut a box off from the network. Its processes live on."""
        ip("-n", self.switch, "link", "set", self[name].port, "down")

    def _start(self, box: Box) -> None:
        service, place = box.service, self.folder / f"{box.name}.box"
        place.mkdir()
        binds = [(str(self.folder / file), f"/etc/{file}") for file in ("hosts", "resolv.conf")]
        binds += [(path, path) for path in (sys.base_prefix, sys.prefix, str(ROOT))]
        empty = [*service.get("tmpfs", [])]
        for volume in service.get("volumes", []):
            name, _, target = volume.partition(":")
            if not target:  # a volume without a name is the container's own
                empty.append(name)
                continue
            binds.append((str(self.folder / name), target))
        binds += [(str(self.secrets / s), f"/run/secrets/{s}") for s in service.get("secrets", [])]
        closed = {p for _, end in binds for p in Path(end).parents if p.exists()}
        closed = {p for p in closed if not p.stat().st_mode & stat.S_IXOTH}
        command = [*service.get("entrypoint", []), *service["command"]]
        if "profiles" in service:  # its command is run by hand
            command = ["sleep", "infinity"]
        if service["image"].startswith("postgres:"):
            command = ["sh", "-c", POSTGRES, "sh", *command]
        with box.log.open("wb") as log:
            box.outer = subprocess.Popen(
                [
                    *("ip", "netns", "exec", box.space, "unshare", "--mount", "--uts", "--ipc"),
                    *("--pid", "--fork", "sh", "-c", START, "sh", box.name),
                    *(str(place), service.get("shm_size", "64mb").removesuffix("b"), box.user),
                    box.work,
                    "ro" if service.get("read_only") else "rw",
                    *empty,
                    "--",
                    *(path for bind in binds for path in bind),
                    "--",
                    *map(str, sorted(closed)),
                    "--",
                    *command,
                ],
                env=box.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + 60
        while not self._inside(box):  # before that, no command can be run in it
            assert time.monotonic() < until, box.log.read_text()
            time.sleep(0.05)

    def _inside(self, box: Box) -> bool:
        """Whether the box's first process has changed to the box's root."""
        assert box.outer is not None
        if not psutil.Process(box.outer.pid).children():
            return False
        return Path(f"/proc/{box.init.pid}/root").readlink() != Path("/")

    def down(self) -> None:
        for box in self.values():
            if box.outer:
                # When the first process is killed, all processes in the box end. unshare's
                # --kill-child would not work: it is lost when the process gives up root.
                with contextlib.suppress(psutil.NoSuchProcess):  # the box ended by itself
                    for first in psutil.Process(box.outer.pid).children():
                        first.kill()
                box.outer.wait()
        for space in [*(box.space for box in self.values()), self.switch]:
            subprocess.run(["ip", "netns", "del", space], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)
