"""Kubernetes: the plan with this product's own runtime, in objects that every cluster knows.

An indexed Job has one pod a node. A headless Service gives the first pod a name, where all meet. A
NetworkPolicy lets nobody else in, because torch neither authenticates nor encrypts. No operator is
needed.

References
----------
kubernetes.io/docs: Job (mode Indexed, pod-to-pod communication), NetworkPolicy, ConfigMap.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

from ruamel.yaml import YAML

from planner.export.exporter import Export, ExportedFile, Exporter, header
from planner.export.launch import PORT, known_cores, nodes_and_ranks, torchrun_words
from planner.export.torchrun import PLAN, RESUME, own_notes, own_program, whole_job
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import OWN_TARGET
from simulator.spec.units import format_bandwidth

JOB = "job.yaml"
RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
"""What a vendor's device plugin calls its devices."""
_NAME = "armillary.run"
_NEEDS = (
    "an image named armillary, which holds armillary[runtime] and the torch for your devices",
    "a claim named armillary-runs: storage that all nodes can write",
)


def _emit(plan_file: PlanFile) -> Export:
    parts = [_service(plan_file), _policy(plan_file), _plan(plan_file), _job(plan_file)]
    name = job_name(plan_file.scenario)
    notes = own_notes(plan_file)
    notes = replace(notes, needs=(*_NEEDS, *_network(plan_file), *notes.needs))
    advice = (
        f"to go on after a failure: kubectl delete job {name},",
        f"add {RESUME} as the last word of its command below, and kubectl apply -f {JOB}",
    )
    head = header(plan_file, notes) + "".join(f"# {line}\n" for line in advice)
    return Export(
        target="kubernetes",
        files=(ExportedFile(JOB, head + "---\n".join(map(_yaml, parts))),),
        notes=notes,
        start=f"kubectl apply -f {JOB}",
    )


def _network(plan_file: PlanFile) -> tuple[str, ...]:
    """Return what the prediction assumes between pods; pods of themselves have the overlay only."""
    n_nodes, _ = nodes_and_ranks(plan_file)
    if n_nodes == 1:
        return ()
    rate = format_bandwidth(plan_file.scenario.cluster.fabric.nic.bandwidth_bytes_per_s)
    return (
        f"a network of {rate} per device between the nodes, which the prediction assumes: the "
        "RDMA device plugin's resources, or hostNetwork, are yours to add",
    )


def job_name(scenario: Scenario) -> str:
    """Return the name of all objects: a DNS label that leaves room for the index of a pod."""
    kept = re.sub(r"[^a-z0-9]+", "-", scenario.name.lower()).strip("-")
    return f"armillary-{kept}"[:50].rstrip("-")


def _metadata(plan_file: PlanFile) -> dict[str, Any]:
    name = job_name(plan_file.scenario)
    return {"name": name, "labels": {_NAME: name}}


def _service(plan_file: PlanFile) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan_file),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {_NAME: job_name(plan_file.scenario)},
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }


def _policy(plan_file: PlanFile) -> dict[str, Any]:
    name = job_name(plan_file.scenario)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(plan_file),
        "spec": {
            "podSelector": {"matchLabels": {_NAME: name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {_NAME: name}}}]}],
        },
    }


def _plan(plan_file: PlanFile) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(plan_file),
        "data": {PLAN: whole_job(plan_file).model_dump_json()},
    }


def _job(plan_file: PlanFile) -> dict[str, Any]:
    name = job_name(plan_file.scenario)
    n_nodes, _ = nodes_and_ranks(plan_file)
    words = torchrun_words(plan_file)
    if n_nodes > 1:
        words += ["--rdzv-endpoint", f"{name}-0.{name}:{PORT}", "--rdzv-id", name]
    container = {
        "name": "trainer",
        "image": "armillary",
        "command": words + own_program(f"/plan/{PLAN}", f"/runs/{name}"),
        "env": [
            {"name": "PYTHONSAFEPATH", "value": "1"},
            {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"},
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
    pod = {
        "restartPolicy": "Never",
        "subdomain": name,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [
            {"name": "plan", "configMap": {"name": name}},
            {"name": "runs", "persistentVolumeClaim": {"claimName": "armillary-runs"}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(plan_file),
        "spec": {
            "completionMode": "Indexed",
            "completions": n_nodes,
            "parallelism": n_nodes,
            "backoffLimit": 0,
            "template": {"metadata": {"labels": {_NAME: name}}, "spec": pod},
        },
    }


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


def _yaml(value: dict[str, Any]) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.width = 100
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(value, text)
    return text.getvalue()


def objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of a file."""
    return list(YAML(typ="safe", pure=True).load_all(text))


def _read_back(export: Export, _scenario: Scenario) -> PlanSpec:
    plan = next(each for each in objects(export.text(JOB)) if each["kind"] == "ConfigMap")
    return PlanFile.model_validate_json(plan["data"][PLAN]).plan


EXPORTER = Exporter(
    name="kubernetes",
    description="a Kubernetes Job with this product's own runtime",
    executor=OWN_TARGET,
    emit=_emit,
    read_back=_read_back,
)
