"""Every number of an answer: its formula, what went in, and where that came from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.campaign.bill import bill
from simulator.campaign.campaign_table import campaign_table
from simulator.campaign.decided import decided
from simulator.campaign.money import MONTH_S
from simulator.campaign.rhythm import checkpoint_rhythm
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.cost.attention import attention_passes_s
from simulator.cost.data_parallel import layer_sync, optimizer_s
from simulator.cost.exchange import (
    context_exchanges,
    expert_exchange,
    stage_transfer_s,
    tensor_exchange,
)
from simulator.cost.flops import model_flops_per_token
from simulator.cost.layer import price_layer
from simulator.cost.memory import memory_held
from simulator.cost.step import price_step
from simulator.spec.cluster import ClusterSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario
from simulator.spec.units import (
    format_bytes,
    format_count,
    format_energy,
    format_flops,
    format_seconds,
    format_usd,
)
from simulator.step.events import simulate_step
from simulator.step.predict import predict_step

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One plan of one scenario, and what is predicted of it."""

    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction

    @property
    def cluster(self) -> ClusterSpec:
        """The cluster of the scenario."""
        return self.scenario.cluster

    @property
    def terms(self) -> CampaignTerms:
        """Failures, prices and power of the scenario, resolved."""
        return campaign_terms(decided(self.scenario, self.plan))


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a number is made of."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Number:
    """How to explain one number of a prediction."""

    name: str
    formula: str
    """In the names of the inputs."""
    value: Callable[[Case], str]
    inputs: Callable[[Case], list[Input]]
    computed_by: Function
    """Its docstring says more and names the literature."""

    @property
    def meaning(self) -> str:
        """The docstring of the function that computes it, its parameters left out."""
        sections = (inspect.getdoc(self.computed_by) or "").split("\n\n")
        return "\n\n".join(part for part in sections if not part.startswith("Parameters\n"))


def place_of(function: Function) -> str:
    """Return file and name of a function, as one would look for it in the repository."""
    path = Path(*function.__module__.split(".")).with_suffix(".py")
    return f"{path}: {function.__name__}"


def device_source(cluster: ClusterSpec, field: str) -> str:
    """Return where a field of the device comes from, its basis first."""
    for source in cluster.device.sources:
        if source.field == field:
            date = f" ({source.date})" if source.date else ""
            return f"{source.basis}: {source.source}{date}"
    return f"device {cluster.device.name}"


_PART_FUNCTIONS: dict[str, Function] = {
    "forward": price_layer,
    "backward": price_layer,
    "recompute": price_layer,
    "tp": tensor_exchange,
    "cp": context_exchanges,
    "ep": expert_exchange,
    "pp": stage_transfer_s,
    "dp": layer_sync,
    "bubble": simulate_step,
    "optimizer": optimizer_s,
    "other": price_step,
}


def _step_inputs(case: Case) -> list[Input]:
    step = case.prediction.step
    return [
        Input(
            f"{name}_s",
            f"{format_seconds(seconds)} ({100 * seconds / step.step_s:.1f} %)",
            place_of(_PART_FUNCTIONS[name]),
        )
        for name, seconds in step.breakdown.parts()
        if seconds > 0
    ] + _rates(case)


def _rates(case: Case) -> list[Input]:
    """What all times rest on."""
    cluster, device = case.cluster, case.cluster.device
    peak = device.peak.of(case.plan.precision)
    nic = cluster.fabric.nic
    return [
        Input(
            f"peak {case.plan.precision}",
            format_flops(peak),
            device_source(cluster, f"peak.{case.plan.precision}_flops_per_s"),
        ),
        Input(
            "gemm_fraction",
            f"{device.efficiency.gemm_fraction:.3g}",
            device_source(cluster, "efficiency.gemm_fraction"),
        ),
        Input(
            "attention_fraction",
            f"{device.efficiency.attention_fraction:.3g}",
            f"{device_source(cluster, 'efficiency.attention_fraction')}; "
            + place_of(attention_passes_s),
        ),
        Input(
            "memory bandwidth",
            f"{device.memory_bandwidth_bytes_per_s / 1e9:,.0f} GB/s",
            device_source(cluster, "memory_bandwidth_bytes_per_s"),
        ),
        Input(
            "scale-up link",
            f"{cluster.scale_up.bandwidth_bytes_per_s / 1e9:,.4g} GB/s x "
            f"{cluster.scale_up.efficiency:.3g}",
            device_source(cluster, "scale_up.bandwidth_bytes_per_s"),
        ),
        Input(
            "network",
            f"{nic.bandwidth_bytes_per_s / 1e9:,.4g} GB/s x {nic.efficiency:.3g}",
            f"fabric {cluster.fabric.name}",
        ),
    ]


def _mfu_inputs(case: Case) -> list[Input]:
    job, step = case.scenario.job, case.prediction.step
    flops = model_flops_per_token(case.scenario.model, job.sequence_length)
    return [
        Input("model_flops_per_token", format_flops(flops).removesuffix("/s"), "6 N + 12 L h s"),
        Input("batch_tokens", format_count(job.batch_tokens), "the scenario's job"),
        Input("step_s", format_seconds(step.step_s), "explain --number step_s"),
        Input("n_ranks", f"{case.plan.n_ranks:,}", "the plan"),
        *_rates(case)[:1],
    ]


def _memory_inputs(case: Case) -> list[Input]:
    fullest = max(case.prediction.step.memory, key=lambda stage: stage.total_bytes)
    rows = [Input("stage", f"{fullest.stage}", "the fullest pipeline stage")]
    rows += [
        Input(f"{name}_bytes", format_bytes(size), place_of(memory_held))
        for name, size in fullest.parts()
        if size > 0
    ]
    return [
        *rows,
        Input(
            "capacity",
            format_bytes(case.prediction.step.memory_capacity_bytes),
            device_source(case.cluster, "memory_bytes"),
        ),
    ]


def _goodput_inputs(case: Case) -> list[Input]:
    campaign, terms = case.prediction.campaign, case.terms
    asked = case.scenario.reliability
    profile = f"reliability.profile {asked.profile}"
    factor = "" if asked.failure_factor == 1 else f", failure_factor {asked.failure_factor:g}"
    rows = [
        Input(name, f"{100 * share:.2f} % lost", place_of(campaign_table))
        for name, share in campaign.losses.items()
        if share > 0
    ]
    return [
        *rows,
        Input(
            "failures_per_device_day",
            f"{terms.failures.per_device_s * 86400:.3g}",
            profile + factor,
        ),
        Input("restart_s", format_seconds(terms.restart_s), profile),
        Input(
            "checkpoint_interval_s",
            format_seconds(campaign.checkpoint_interval_s),
            place_of(checkpoint_rhythm),
        ),
        Input(
            "checkpoint_stall_s",
            format_seconds(campaign.checkpoint_stall_s),
            place_of(checkpoint_rhythm),
        ),
    ]


def _calendar_inputs(case: Case) -> list[Input]:
    campaign, step = case.prediction.campaign, case.prediction.step
    job = case.scenario.job
    steps = f"{format_count(job.tokens)} tokens / {format_count(job.batch_tokens)} a step"
    return [
        Input("n_steps", f"{campaign.n_steps:,}", steps),
        Input("step_s", format_seconds(step.step_s), "explain --number step_s"),
        Input("goodput", f"{100 * campaign.goodput:.2f} %", "explain --number goodput"),
    ]


def _cost_inputs(case: Case) -> list[Input]:
    money, economics = case.terms.money, case.scenario.economics
    sources = (
        (bool(economics.price_series), "economics.price_series, from the start on"),
        (economics.own is not None, "economics.own, written off over its years"),
        (economics.usd_per_device_hour is not None, "economics.usd_per_device_hour"),
        (economics.price is not None, f"price {economics.price}"),
    )
    source = next((text for applies, text in sources if applies), "the device's first price")
    rows = [
        Input("device_hours", format_count(case.prediction.campaign.device_hours), "all devices")
    ]
    if money is None:
        return [*rows, Input("usd_per_device_hour", "unknown", source)]
    extras = (
        ("usd_per_kwh", money.usd_per_kwh, "economics.own.usd_per_kwh"),
        ("storage", money.usd_per_s * MONTH_S, "economics.usd_per_tb_month, a month"),
        ("egress", money.usd_once, "economics.usd_per_tb_egress"),
    )
    return [
        *rows,
        Input("usd_per_device_hour", f"${money.usd_per_device_hour[0]:.3g}", source),
        *(Input(name, f"${usd:,.3g}", place) for name, usd, place in extras if usd),
    ]


def _energy_inputs(case: Case) -> list[Input]:
    power = case.terms.power
    rows = [
        Input("device_hours", format_count(case.prediction.campaign.device_hours), "all devices")
    ]
    if power is not None:
        tdp = device_source(case.cluster, "tdp_w")
        rows += [
            Input("busy_w", f"{power.busy_w:.0f} W", f"with its share of the host; {tdp}"),
            Input("idle_w", f"{power.idle_w:.0f} W", device_source(case.cluster, "idle_w")),
            Input("pue", f"{power.pue:.3g}", "economics.pue"),
        ]
    return rows


def _or_unknown(value: float | None, text: Callable[[float], str]) -> str:
    return "unknown" if value is None else text(value)


NUMBERS: dict[str, Number] = {
    number.name: number
    for number in (
        Number(
            "step_s",
            "the sum of its parts on the critical rank",
            lambda case: format_seconds(case.prediction.step.step_s),
            _step_inputs,
            simulate_step,
        ),
        Number(
            "interval_step_s",
            "step_s over and times the factor that held 90 % of published runs",
            lambda case: (
                f"{format_seconds(case.prediction.step.interval_step_s.low)} to "
                f"{format_seconds(case.prediction.step.interval_step_s.high)}"
            ),
            lambda case: _calendar_inputs(case)[1:2],
            predict_step,
        ),
        Number(
            "mfu",
            "model_flops_per_token x batch_tokens / step_s / n_ranks / peak",
            lambda case: f"{100 * case.prediction.step.mfu:.1f} %",
            _mfu_inputs,
            model_flops_per_token,
        ),
        Number(
            "peak_memory_bytes",
            "the sum of what the fullest rank holds",
            lambda case: format_bytes(case.prediction.step.peak_memory_bytes),
            _memory_inputs,
            memory_held,
        ),
        Number(
            "goodput",
            "1 - all losses",
            lambda case: f"{100 * case.prediction.campaign.goodput:.1f} %",
            _goodput_inputs,
            campaign_table,
        ),
        Number(
            "calendar_s",
            "n_steps x step_s / goodput (idle spares are paid, but stretch nothing)",
            lambda case: format_seconds(case.prediction.campaign.calendar_s),
            _calendar_inputs,
            campaign_table,
        ),
        Number(
            "cost_usd",
            "device_hours x usd_per_device_hour, plus storage, egress and one's own electricity",
            lambda case: _or_unknown(case.prediction.campaign.cost_usd, format_usd),
            _cost_inputs,
            bill,
        ),
        Number(
            "energy_j",
            "device_hours x (busy share x busy_w + idle share x idle_w) x pue",
            lambda case: _or_unknown(case.prediction.campaign.energy_j, format_energy),
            _energy_inputs,
            bill,
        ),
    )
}
"""What `explain --number` knows. Adding one: an entry here."""
