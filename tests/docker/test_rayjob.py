"""Checks the manifest for Kubernetes against the schemas of Kubernetes and KubeRay.

Where these fail, a job is refused, gives up its work, or runs with more rights than it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
CLAIM, POLICY, RAYJOB = yaml.safe_load_all((DOCKER / "rayjob.yaml").read_text())


def only(required: str, **optional: Any) -> dict[str, Any]:
    """A schema of objects that have all the `required` fields, and no unknown ones."""
    return {
        "type": "object",
        "properties": optional,
        "required": required.split(),
        "additionalProperties": False,
    }


# KubeRay's own schema is a megabyte and in no package. These are the fields of RayJob in its API
# reference (1.7) that the manifest may use. Its pods are checked against Kubernetes' own schema.
COUNT, TEXT, POD = {"type": "integer", "minimum": 0}, {"type": "string"}, {"type": "object"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
RAYJOB_SCHEMA = only(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=only("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
    spec=only(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        backoffLimit=COUNT,
        activeDeadlineSeconds=COUNT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        submitterConfig=only("", backoffLimit=COUNT),
        submitterPodTemplate=POD,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        suspend={"type": "boolean"},
        runtimeEnvYAML=TEXT,
        rayClusterSpec=only(
            "rayVersion headGroupSpec workerGroupSpecs",
            rayVersion=TEXT,
            authOptions=only("mode", mode={"enum": ["disabled", "token"]}, secretName=TEXT),
            headGroupSpec=only("template", rayStartParams=TEXTS, template=POD),
            workerGroupSpecs={
                "type": "array",
                "items": only(
                    "groupName template",
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    numOfHosts=COUNT,
                    rayStartParams=TEXTS,
                    template=POD,
                ),
            },
        ),
    ),
)


def pods() -> list[dict[str, Any]]:
    """Ray's pods: the head, then the workers."""
    cluster = RAYJOB["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def all_pods() -> list[dict[str, Any]]:
    return [*pods(), RAYJOB["spec"]["submitterPodTemplate"]]


def test_pod_breaks_the_restricted_standard() -> None:
    """What Kubernetes' Pod Security Standard "restricted" asks of a pod."""
    for pod in all_pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert pod["metadata"]["labels"] == POLICY["spec"]["podSelector"]["matchLabels"]
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"name": "HOME", "value": "/tmp"} in container["env"]
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        assert {"name": "tmp", "emptyDir": {}} in spec["volumes"]
    here, dashboard = POLICY["spec"]["ingress"]
    assert here == {"from": [{"podSelector": {}}]}
    assert dashboard == {"ports": [{"protocol": "TCP", "port": 8265}]}


def test_job_is_sent_before_the_dashboard_answers() -> None:
    head, worker = (pod["spec"]["containers"][0] for pod in pods())
    assert head["readinessProbe"]["httpGet"] == {"path": "/api/gcs_healthz", "port": 8265}
    agent = {"path": "/api/healthz", "port": 52365}
    for probe in (head["livenessProbe"], worker["livenessProbe"], worker["readinessProbe"]):
        assert probe["httpGet"] == agent


def test_kuberay_refuses_the_job() -> None:
    jsonschema.validate(RAYJOB, RAYJOB_SCHEMA)
    metadata = {"name": "pod"}
    for pod in all_pods():
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **pod}
        kubernetes_validate.validate(whole, "1.31", strict=True)
    for other in (CLAIM, POLICY):
        kubernetes_validate.validate(other, "1.31", strict=True)


def test_job_does_not_share_its_gpus_or_its_storage() -> None:
    command = RAYJOB["spec"]["entrypoint"].split()
    assert 0 < float(command[command.index("--gpus-per-trial") + 1]) < 1
    storage = Path(command[command.index("--storage") + 1])
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    head, worker = (pod["spec"] for pod in pods())
    for pod in (head, worker):
        (volume, _), (container,) = pod["volumes"], pod["containers"]
        assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        mount = container["volumeMounts"][0]
        assert storage.is_relative_to(mount["mountPath"])
        assert pod["securityContext"]["runAsNonRoot"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("change", ["field", "type", "pod"])
def test_check_of_the_job_sees_nothing(change: str) -> None:
    """The checks must fail for an unknown field, for a value of a wrong type and for a bad pod."""
    job = yaml.safe_load(yaml.safe_dump(RAYJOB))
    if change == "pod":
        job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["container"] = []
        pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **pod}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(whole, "1.31", strict=True)
        return
    job["spec"] |= {"backofLimit": 1} if change == "field" else {"backoffLimit": "1"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RAYJOB_SCHEMA)
