"""What the objects of every Kubernetes export share: the pod, its plan, its network.

References
----------
kubernetes.io/docs: headless Service, NetworkPolicy, ConfigMap, device plugins.
"""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML

from planner.export.launch import PORT, known_cores, nodes_and_ranks, torchrun_words
from planner.export.torchrun import PLAN, own_program, whole_job
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

Object = dict[str, Any]
RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
"""What a vendor's device plugin calls its devices."""
_NAME = "armillary.run"


def job_name(scenario: Scenario) -> str:
    """Return the name of all objects: a DNS label that leaves room for the index of a pod."""
    kept = re.sub(r"[^a-z0-9]+", "-", scenario.name.lower()).strip("-")
    return f"armillary-{kept}"[:50].rstrip("-")


def metadata(plan_file: PlanFile) -> Object:
    """Return the name and the label of an object, or of a pod."""
    name = job_name(plan_file.scenario)
    return {"name": name, "labels": {_NAME: name}}


def service(plan_file: PlanFile) -> Object:
    """Return the headless Service that gives the first pod a name, where all meet."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan_file),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {_NAME: job_name(plan_file.scenario)},
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }


def policy(plan_file: PlanFile) -> Object:
    """Return the NetworkPolicy: pods of this training hear each other and nobody else."""
    name = job_name(plan_file.scenario)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(plan_file),
        "spec": {
            "podSelector": {"matchLabels": {_NAME: name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {_NAME: name}}}]}],
        },
    }


def plan_map(plan_file: PlanFile) -> Object:
    """Return the plan as a file of every pod."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan_file),
        "data": {PLAN: whole_job(plan_file).model_dump_json()},
    }


def command(plan_file: PlanFile, first_pod: str) -> list[str]:
    """Return what every pod runs; several meet at the first one, by its name in the network."""
    name = job_name(plan_file.scenario)
    n_nodes, _ = nodes_and_ranks(plan_file)
    words = torchrun_words(plan_file)
    if n_nodes > 1:
        words += ["--rdzv-endpoint", f"{first_pod}.{name}:{PORT}", "--rdzv-id", name]
    return words + own_program(f"/plan/{PLAN}", run_folder(plan_file))


def run_folder(plan_file: PlanFile) -> str:
    """Return where a pod writes its run."""
    return f"/runs/{job_name(plan_file.scenario)}"


def pod_template(
    plan_file: PlanFile,
    words: list[str],
    *,
    container: str = "trainer",
    env: tuple[Object, ...] = (),
    spec: Object | None = None,
) -> Object:
    """Return the pod of one node: `words` in a container of that name; `spec` says more of it."""
    name = job_name(plan_file.scenario)
    trainer = {
        "name": container,
        "image": "armillary",
        "command": words,
        "env": [
            {"name": "PYTHONSAFEPATH", "value": "1"},
            {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"},
            *env,
        ],
        "resources": {"limits": _limits(plan_file)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "plan", "mountPath": "/plan", "readOnly": True},
            {"name": "runs", "mountPath": "/runs"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # NCCL's, in the pod
        ],
    }
    whole = {
        "restartPolicy": "Never",
        **(spec or {}),
        "automountServiceAccountToken": False,
        "containers": [trainer],
        "volumes": [
            {"name": "plan", "configMap": {"name": name}},
            {"name": "runs", "persistentVolumeClaim": {"claimName": "armillary-runs"}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    return {"metadata": {"labels": {_NAME: name}}, "spec": whole}


def _limits(plan_file: PlanFile) -> dict[str, str]:
    """Return what one pod takes of its node."""
    cluster = plan_file.scenario.cluster
    _, n_ranks = nodes_and_ranks(plan_file)
    if cluster.device.name == "cpu":
        cores = known_cores(cluster, n_ranks) or n_ranks * plan_file.scenario.run.threads_per_rank
        return {"cpu": str(cores)}
    if cluster.device.vendor.lower() not in RESOURCES:
        raise InputError(
            f"no Kubernetes resource is known for {cluster.device.name}",
            where="--to",
            fix=f"devices of {' and '.join(RESOURCES)} have one",
        )
    return {RESOURCES[cluster.device.vendor.lower()]: str(n_ranks)}


def yaml(value: Object) -> str:
    """Return an object as a YAML document."""
    writer = YAML(typ="safe", pure=True)
    writer.width = 100
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    writer.dump(value, text)
    return text.getvalue()


def objects(text: str) -> list[Object]:
    """Return the objects of a file."""
    return list(YAML(typ="safe", pure=True).load_all(text))
