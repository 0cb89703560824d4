"""What a prediction of a step rests on, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.cost.groups import AxisName
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.links import LevelName
from simulator.spec.scenario import Scenario
from simulator.spec.stragglers import StragglerSpec
from simulator.spec.units import format_count

_LINKS: Mapping[LevelName, str] = {
    "scale-up": "the scale-up link",
    "scale-out": "the network interface",
    "pods": "the uplink of the pod",
    "regions": "the link of the region",
}


def step_assumptions(scenario: Scenario, factors: Mapping[AxisName, float]) -> tuple[str, ...]:
    """Return what was assumed; `factors` are those of links priced as flows."""
    job, cluster = scenario.job, scenario.cluster
    notes = [*_by_default(job), f"software generation {job.software!r}"]
    if job.overlap.chosen:
        chosen = ", ".join(f"{name} {value:g}" for name, value in job.overlap.chosen.items())
        notes.append(f"overlap as the scenario chooses: {chosen}")
    if job.launch is not None:
        notes.append(f"kernels are launched as {job.launch}")
    if job.dropout and job.attention == "fused":
        notes.append("dropout inside fused attention costs nothing more")
    if cluster.calibration is None:
        notes.append("kernel and link efficiencies from the catalog, not measured on this cluster")
    notes += _of_the_cluster(cluster)
    if factors:
        shown = ", ".join(f"{axis} {factor:.3g}" for axis, factor in factors.items())
        notes.append(f"links as flows over the graph; times the closed form: {shown}")
    if scenario.model.moe is not None:
        notes.append(
            "tokens are spread evenly over the experts"
            if job.expert_imbalance == 1
            else f"the busiest expert rank gets {job.expert_imbalance:.3g} times the mean"
        )
    if scenario.stragglers != StragglerSpec():
        notes.append("a search prices stragglers to first order and times its finalists with them")
    return tuple(notes)


def _by_default(job: JobSpec) -> list[str]:
    """Return the sizes of the job that are those of a scenario that does not say them."""
    default = JobSpec()
    sizes = (
        (job.tokens == default.tokens, f"{format_count(job.tokens)} tokens"),
        (
            job.global_batch_sequences is None and job.global_batch_tokens is None,
            f"{job.batch_sequences:,} sequences a step",
        ),
        (
            job.sequence_length == default.sequence_length,
            f"sequences of {job.sequence_length:,} tokens",
        ),
        (job.precision == default.precision, job.precision),
        (job.optimizer == default.optimizer, job.optimizer),
    )
    defaults = [size for is_default, size in sizes if is_default]
    return [f"by default: {', '.join(defaults)}"] if defaults else []


def _of_the_cluster(cluster: ClusterSpec) -> list[str]:
    notes = [
        f"{_LINKS[fault.level]} of device {fault.device} at {100 * fault.remaining:.3g} % of its "
        "bandwidth"
        for fault in cluster.link_faults
    ]
    if cluster.clock_share < 1:
        notes.append(
            f"devices limited to {cluster.power_limit_w:g} W run at {cluster.clock_share:.0%} of "
            "their clock"
        )
    if cluster.collective_algorithm is not None:
        notes.append(f"collectives by {cluster.collective_algorithm}")
    return notes
