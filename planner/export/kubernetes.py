"""Kubernetes: the plan with this product's own runtime, in objects of one of three kinds.

A Job, indexed, with one pod a node: every cluster knows it, no operator is needed. A JobSet, where
its controller is installed, starts all pods again after a failure, and they go on. A PyTorchJob is
for clusters with Kubeflow's training operator. With each goes a NetworkPolicy that lets nobody else
in, because torch neither authenticates nor encrypts.

References
----------
kubernetes.io/docs: Job (mode Indexed, pod-to-pod communication).
kubernetes-sigs/jobset: api/jobset/v1alpha2/jobset_types.go (Network, FailurePolicy, RestartsKey).
kubeflow/training-operator (v1): pkg/apis/kubeflow.org/v1/pytorch_types.go (Master, Worker, and the
container's name, "pytorch").
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.export.exporter import Export, ExportedFile, Exporter, header
from planner.export.kubernetes_objects import (
    Object,
    command,
    job_name,
    metadata,
    objects,
    plan_map,
    pod_template,
    policy,
    run_folder,
    service,
    yaml,
)
from planner.export.launch import nodes_and_ranks
from planner.export.torchrun import PLAN, RESUME, own_notes
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import OWN_TARGET
from simulator.spec.units import format_bandwidth

JOB = "job.yaml"
_NEEDS = (
    "an image named armillary, which holds armillary[runtime] and the torch for your devices",
    "a claim named armillary-runs: storage that all nodes can write",
)
_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
"""The annotation in which JobSet counts its restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of object that runs the pods."""

    target: str
    description: str
    needs: tuple[str, ...]
    """What must be installed in the cluster."""
    resource: str
    """What kubectl calls it."""
    goes_on: bool
    """Whether the cluster starts it again by itself."""
    parts: Callable[[PlanFile], tuple[Object, ...]]
    """It, and the service by which its pods meet."""


def _emit(plan_file: PlanFile, kind: Kind) -> Export:
    parts = (policy(plan_file), plan_map(plan_file), *kind.parts(plan_file))
    notes = own_notes(plan_file)
    notes = replace(notes, needs=(*_NEEDS, *kind.needs, *_network(plan_file), *notes.needs))
    head = header(plan_file, notes) + "".join(f"# {line}\n" for line in _advice(plan_file, kind))
    return Export(
        target=kind.target,
        files=(ExportedFile(JOB, head + "---\n".join(map(yaml, parts))),),
        notes=notes,
        start=f"kubectl apply -f {JOB}",
    )


def _advice(plan_file: PlanFile, kind: Kind) -> tuple[str, ...]:
    if kind.goes_on:
        return (
            "after each failure all pods start again and go on, for at most "
            f"{_max_restarts(plan_file)} failures: "
            "what the whole campaign expects, half as many more, and one",
        )
    name = f"{kind.resource} {job_name(plan_file.scenario)}"
    return (
        f"to go on after a failure: kubectl delete {name},",
        f"add {RESUME} as the last word of its command below, and kubectl apply -f {JOB}",
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


def _indexed(plan_file: PlanFile, template: Object) -> Object:
    """Return the spec of a Job with one pod a node."""
    n_nodes, _ = nodes_and_ranks(plan_file)
    return {
        "completionMode": "Indexed",
        "completions": n_nodes,
        "parallelism": n_nodes,
        "backoffLimit": 0,
        "template": template,
    }


def _job(plan_file: PlanFile) -> tuple[Object, ...]:
    name = job_name(plan_file.scenario)
    template = pod_template(plan_file, command(plan_file, f"{name}-0"), spec={"subdomain": name})
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(plan_file),
        "spec": _indexed(plan_file, template),
    }
    return service(plan_file), job


def _job_set(plan_file: PlanFile) -> tuple[Object, ...]:
    """Return a JobSet; it makes the service that gives its pods names itself."""
    name = job_name(plan_file.scenario)
    begun = f"{run_folder(plan_file)}/{PLAN}"
    words = shlex.join(command(plan_file, f"{name}-nodes-0-0"))
    script = f'[ "$ATTEMPT" = 0 ] || [ ! -e {begun} ] || set -- {RESUME}; exec {words} "$@"'
    attempt = {
        "name": "ATTEMPT",
        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{_ATTEMPT}']"}},
    }
    template = pod_template(plan_file, ["/bin/sh", "-c", script, "trainer"], env=(attempt,))
    job_set = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata(plan_file),
        "spec": {
            "network": {
                "enableDNSHostnames": True,
                "subdomain": name,
                "publishNotReadyAddresses": True,
            },
            "failurePolicy": {"maxRestarts": _max_restarts(plan_file)},
            "replicatedJobs": [
                {
                    "name": "nodes",
                    "replicas": 1,
                    "template": {"spec": _indexed(plan_file, template)},
                }
            ],
        },
    }
    return (job_set,)


def _max_restarts(plan_file: PlanFile) -> int:
    """Return how often a JobSet may begin again before it gives up."""
    return math.ceil(1.5 * plan_file.prediction.campaign.expected_failures) + 1


def _pytorch_job(plan_file: PlanFile) -> tuple[Object, ...]:
    """Return a PyTorchJob: one master, which all meet, and workers that are like it."""
    name = job_name(plan_file.scenario)
    n_nodes, _ = nodes_and_ranks(plan_file)
    words = command(plan_file, "first")

    def replicas(count: int, spec: Object) -> Object:
        template = pod_template(plan_file, words, container="pytorch", spec=spec)
        return {"replicas": count, "restartPolicy": "Never", "template": template}

    specs: Object = {"Master": replicas(1, {"hostname": "first", "subdomain": name})}
    if n_nodes > 1:
        specs["Worker"] = replicas(n_nodes - 1, {})
    job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": metadata(plan_file),
        "spec": {"runPolicy": {"backoffLimit": 0}, "pytorchReplicaSpecs": specs},
    }
    return service(plan_file), job


def _read_back(export: Export, _scenario: Scenario) -> PlanSpec:
    plan = next(each for each in objects(export.text(JOB)) if each["kind"] == "ConfigMap")
    return PlanFile.model_validate_json(plan["data"][PLAN]).plan


KINDS = (
    Kind(
        target="kubernetes",
        description="a Kubernetes Job with our own runtime",
        needs=(),
        resource="job",
        goes_on=False,
        parts=_job,
    ),
    Kind(
        target="kubernetes-jobset",
        description="a Kubernetes JobSet with our own runtime",
        needs=("JobSet's controller, v1alpha2, in the cluster",),
        resource="jobset",
        goes_on=True,
        parts=_job_set,
    ),
    Kind(
        target="kubernetes-pytorchjob",
        description="a Kubeflow PyTorchJob with our own runtime",
        needs=("Kubeflow's training operator, version 1, in the cluster",),
        resource="pytorchjob",
        goes_on=False,
        parts=_pytorch_job,
    ),
)


def _exporter(kind: Kind) -> Exporter:
    return Exporter(
        name=kind.target,
        description=kind.description,
        executor=OWN_TARGET,
        emit=lambda plan_file: _emit(plan_file, kind),
        read_back=_read_back,
    )


EXPORTERS = tuple(map(_exporter, KINDS))
