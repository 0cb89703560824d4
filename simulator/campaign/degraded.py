"""How long a step takes when some device or link is slow, asked of the step simulator once each."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.spec.cluster import ClusterSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.step.predict import predict_step


@dataclass(slots=True)
class StepClock:
    """The step time of a plan by degraded state.

    Everybody waits for the slowest, so that the step takes as long as on a cluster that is slow
    throughout. `healthy_step_s` may come from another clock or from a measurement; only the ratio
    to it is simulated.
    """

    scenario: Scenario
    plan: PlanSpec
    healthy_step_s: float
    _known: dict[tuple[float, float], float] = field(default_factory=dict)

    def step_s(self, compute_slowdown: float, network_slowdown: float) -> float:
        """Step time where the slowest device and the slowest link are that much slower."""
        state = (compute_slowdown, network_slowdown)
        if state == (1.0, 1.0):
            return self.healthy_step_s
        if state not in self._known:
            slow = self._predicted_s(*state) / self._predicted_s(1.0, 1.0)
            self._known[state] = self.healthy_step_s * slow
        return self._known[state]

    def _predicted_s(self, compute_slowdown: float, network_slowdown: float) -> float:
        cluster = slowed(self.scenario.cluster, compute_slowdown, network_slowdown)
        scenario = self.scenario.model_copy(update={"cluster": cluster})
        return predict_step(scenario, self.plan, engine="closed-form").fed_step_s


def slowed(cluster: ClusterSpec, compute_slowdown: float, network_slowdown: float) -> ClusterSpec:
    """Return the cluster with slower devices and slower links between nodes.

    What was measured of it is left out: it would say that nothing changed.
    """
    efficiency = cluster.device.efficiency
    fractions = ("gemm", "attention", "flash1", "flash2", "memory")
    names = [f"{name}_fraction" for name in fractions]
    slow = efficiency.model_copy(
        update={name: getattr(efficiency, name) / compute_slowdown for name in names}
    )
    nic = cluster.fabric.nic
    slow_nic = nic.model_copy(
        update={"bandwidth_bytes_per_s": nic.bandwidth_bytes_per_s / network_slowdown}
    )
    return cluster.model_copy(
        update={
            "device": cluster.device.model_copy(update={"efficiency": slow}),
            "fabric": cluster.fabric.model_copy(update={"nic": slow_nic}),
            "calibration": None,
        }
    )
