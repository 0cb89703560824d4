"""The simulator's closed forms, asked about many plans of one scenario."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.bounds import StepFloor, step_floor
from planner.cores import ZERO_STAGES
from planner.objective import Outlook, Steps
from planner.resilience import Resilience, Works
from simulator.campaign.terms import CampaignTerms
from simulator.catalog import software_of
from simulator.cost.flops import model_flops_per_token
from simulator.cost.memory import MemoryTable, memory_held
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.recompute import in_groups, with_short_chunks
from simulator.cost.step import price_step
from simulator.cost.step_costs import StepCosts
from simulator.spec.errors import InputError
from simulator.spec.fit import margin_at_risk
from simulator.spec.plan import PlanSpec
from simulator.spec.profiles import SoftwareProfile
from simulator.spec.scenario import Scenario
from simulator.step.straggling import straggling_times


def memory_margin(scenario: Scenario) -> float:
    """Share of memory that a plan must leave free: as stated, or for the risk of not fitting."""
    limits = scenario.limits
    if limits.memory_margin is not None:
        return limits.memory_margin
    factor = software_of(scenario.job).memory.interval_factor
    return margin_at_risk(limits.memory_risk, factor)


def allowed_bytes(scenario: Scenario) -> float:
    """Memory that a plan may use on its fullest rank: device or limit, less the margin."""
    limits, device = scenario.limits, scenario.cluster.device
    capacity = min(device.memory_bytes, limits.memory or device.memory_bytes)
    return capacity * (1 - memory_margin(scenario))


def at_peak(scenario: Scenario) -> Outlook | None:
    """Return what no plan undercuts: all devices at the peak of their data sheet.

    Attention is not counted. None where the device has no such number format.
    """
    n_devices = scenario.n_devices
    peak = n_devices * scenario.cluster.device.peak.of(scenario.job.precision)
    if peak <= 0:
        return None
    flops = model_flops_per_token(scenario.model, 0) * scenario.job.batch_tokens
    everywhere = PlanTable.of([PlanSpec(dp_shard=n_devices, zero_stage=1)])
    return Pricing.of(scenario).promise(everywhere, np.array([flops / peak]))


@dataclass(frozen=True, slots=True)
class Pricing:
    """What plans of a scenario hold, take and cost."""

    scenario: Scenario
    software: SoftwareProfile
    resilience: Resilience
    allowed_bytes: float

    @classmethod
    def of(cls, scenario: Scenario) -> Pricing:
        """Resolve the profiles that the scenario names.

        Raises InputError where the goal needs a price or a power that nobody knows.
        """
        resilience = Resilience.of(scenario)
        _require_known(scenario, resilience.terms[0])
        return cls(
            scenario,
            software_of(scenario.job),
            resilience,
            allowed_bytes(scenario),
        )

    def floor(self, table: PlanTable) -> StepFloor:
        """Return lower bounds of the step time."""
        return step_floor(self._costs(table), table, self.scenario.model)

    def least_bytes(self, table: PlanTable) -> FloatArray:
        """Return what plans like these hold at least on their fullest rank, by ZeRO stage: (n, 4).

        Looks at the first pipeline stage. With whatever virtual stages it holds as many layers,
        rounded up; no schedule keeps fewer microbatches than 1F1B does; and nothing is divided
        over more than all data-parallel ranks. Layers of two kinds may be dealt otherwise, and
        groups of layers cut by chunks, so then nothing is known.
        """
        model = self.scenario.model
        least = np.zeros((len(table), len(ZERO_STAGES)))
        if len(table) == 0 or 0 < model.n_moe_layers < model.n_layers:
            return least
        table = with_short_chunks(table)
        one = np.ones_like(table.dp)
        for stage in ZERO_STAGES:
            divided = replace(
                table,
                zero_stage=stage * one,
                dp_shard=table.dp if stage else one,
                dp_replicate=one if stage else table.dp,
            )
            least[:, stage] = self._memory(divided).stage_bytes[:, 0]
        least[in_groups(table)] = 0.0
        return least

    def peak_bytes(self, table: PlanTable) -> FloatArray:
        """Return what the fullest rank holds."""
        return self._memory(table).peak_bytes

    def steps(self, table: PlanTable) -> Steps:
        """Return the steps of the plans, with the scenario's slow devices and jitter."""
        costs, stragglers = self._costs(table), self.scenario.stragglers
        times = straggling_times(costs, table, self.scenario.model, stragglers)
        step_s = times.step_s
        return Steps(step_s=step_s, communication_share=times.communication_s / step_s)

    def promise(self, table: PlanTable, step_s: FloatArray) -> Outlook:
        """Return the outlook if nothing failed and nothing were saved: none is better."""
        terms = self.resilience.terms[0]  # jobs, prices and powers are those of any recovery
        calendar_s = terms.n_steps * step_s
        device_s = calendar_s * table.n_ranks
        money, power = terms.money, terms.power
        return Outlook(
            table=table,
            peak_bytes=np.zeros(len(table)),
            step_s=step_s,
            calendar_s=calendar_s,
            cost_usd=(
                None if money is None else device_s / 3600 * money.lowest_usd_per_device_hour
            ),
            energy_j=None if power is None else device_s * power.least_busy_w * power.pue,
        )

    def outlook(self, table: PlanTable, steps: Steps) -> Outlook:
        """Return what the whole training would take, with its failures under the best recovery."""
        memory = self._memory(table)
        return self.resilience.outlook(
            Works(
                table=table,
                steps=steps,
                held_bytes=(memory.weights_bytes + memory.optimizer_bytes).max(axis=1),
                peak_bytes=memory.peak_bytes,
            )
        )

    def _costs(self, table: PlanTable) -> StepCosts:
        scenario = self.scenario
        return price_step(scenario.model, scenario.cluster, scenario.job, self.software, table)

    def _memory(self, table: PlanTable) -> MemoryTable:
        scenario = self.scenario
        return memory_held(scenario.model, scenario.cluster, scenario.job, self.software, table)


def _require_known(scenario: Scenario, terms: CampaignTerms) -> None:
    goal = scenario.goal
    if terms.money is None and (goal.minimize == "cost" or goal.budget is not None):
        raise InputError(
            f"goal: no price is known for {scenario.cluster.device.name}",
            fix="set economics.usd_per_device_hour",
        )
    if terms.power is None and goal.minimize in ("energy", "carbon"):
        raise InputError(
            f"goal: no power is known for {scenario.cluster.device.name}",
            fix="set economics.device_power",
        )
