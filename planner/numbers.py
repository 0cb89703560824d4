"""Every number of an answer: its formula, what went in, and where that came from."""

from __future__ import annotations

from collections.abc import Callable

from planner.number import Case, Function, Input, Number, device_source, place_of
from simulator.campaign.bill import bill
from simulator.campaign.campaign_table import campaign_table
from simulator.campaign.losses import Loss
from simulator.campaign.money import MONTH_S
from simulator.campaign.rhythm import checkpoint_rhythm
from simulator.catalog.offers import chosen_offer
from simulator.cost.attention import attention_passes_s
from simulator.cost.data_parallel import layer_sync, optimizer_s
from simulator.cost.exchange import (
    context_exchanges,
    expert_exchange,
    stage_transfer_s,
    tensor_exchange,
)
from simulator.cost.flops import matmul_weights, model_flops_per_token
from simulator.cost.input_pipeline import input_flow
from simulator.cost.layer import price_layer
from simulator.cost.layers import score_width
from simulator.cost.memory import memory_held
from simulator.cost.step import price_step
from simulator.spec.prediction import Interval
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
    "input": input_flow,
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
    model = case.scenario.model
    flops = model_flops_per_token(model, job.sequence_length)
    weights = "weights that a token meets: with the output head, without the input embedding; "
    return [
        Input("model_flops_per_token", format_flops(flops).removesuffix("/s"), "6 N + 12 L h s"),
        Input("N", f"{matmul_weights(model):,}", weights + place_of(matmul_weights)),
        Input("L", f"{model.n_layers:,}", "layers of the model"),
        Input("h", f"{score_width(model) / 2:,g}", "width of all heads together"),
        Input("s", f"{job.sequence_length:,}", "tokens of a sequence, the scenario's job"),
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
        *_useful_time(case),
        Input("device_hours", f"{campaign.device_hours:,.0f}", _PAID),
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


def _useful_time(case: Case) -> list[Input]:
    """Return the factors of the time that all devices would take without failures."""
    campaign, step = case.prediction.campaign, case.prediction.step
    job = case.scenario.job
    steps = f"{format_count(job.tokens)} tokens / {format_count(job.batch_tokens)} a step"
    return [
        Input("n_steps", f"{campaign.n_steps:,}", steps),
        Input("step_s", format_seconds(step.step_s), "explain --number step_s"),
        Input("devices", f"{case.n_devices:,}", "of the nodes that hold the plan's ranks"),
    ]


def _calendar_inputs(case: Case) -> list[Input]:
    campaign = case.prediction.campaign
    return [
        *_useful_time(case),
        Input("goodput", f"{100 * campaign.goodput:.2f} %", "explain --number goodput"),
        Input("paid_devices", f"{campaign.paid_devices:,.0f}", f"{_PAID}, on average"),
    ]


_PAID = "all that are paid for, spares among them"
_TERM = "at least, where the training is shorter (a reservation)"


def _cost_inputs(case: Case) -> list[Input]:
    money, economics = case.terms.money, case.scenario.economics
    sources = (
        (bool(economics.price_series), "economics.price_series, from the start on"),
        (economics.own is not None, "economics.own, written off over its years"),
        (economics.usd_per_device_hour is not None, "economics.usd_per_device_hour"),
    )
    offer = chosen_offer(economics, case.scenario.cluster.device.name)
    listed = "no price is known" if offer is None else f"price {offer.name} of {offer.date}"
    source = next((text for applies, text in sources if applies), listed)
    rows = [Input("device_hours", format_count(case.prediction.campaign.device_hours), _PAID)]
    if money is None:
        return [*rows, Input("usd_per_device_hour", "unknown", source)]
    extras = (
        ("usd_per_kwh", money.usd_per_kwh, "economics.own.usd_per_kwh"),
        ("storage", money.usd_per_s * MONTH_S, "economics.usd_per_tb_month, a month"),
        ("egress", money.usd_once, "economics.usd_per_tb_egress"),
    )
    rows.append(Input("usd_per_device_hour", f"${money.usd_per_device_hour[0]:.3g}", source))
    if money.committed_s:
        rows.append(Input("paid_for", format_seconds(money.committed_s), _TERM))
    return [
        *rows,
        *(Input(name, f"${usd:,.3g}", place) for name, usd, place in extras if usd),
    ]


def _energy_inputs(case: Case) -> list[Input]:
    power, campaign = case.terms.power, case.prediction.campaign
    rows = [Input("device_hours", format_count(campaign.device_hours), _PAID)]
    if power is not None:
        spare = campaign.losses.get(Loss.IDLE, 0.0)
        spent = sum(
            campaign.losses.get(loss, 0.0) for loss in (Loss.LOST_WORK, Loss.DEGRADED_SPEED)
        )
        busy = campaign.goodput + spent
        communication = case.prediction.step.communication_share
        tdp = device_source(case.cluster, "tdp_w")
        rows += [
            Input("busy_w", f"{power.busy_w:.0f} W", f"with its share of the host; {tdp}"),
            Input(
                "communicating_w",
                f"{power.communicating_w:.0f} W",
                "busy_w, unless economics.communication_power says otherwise",
            ),
            Input("idle_w", f"{power.idle_w:.0f} W", device_source(case.cluster, "idle_w")),
            Input("spare_w", f"{power.spare_w:.0f} W", "idle_w of the spares that are on"),
            Input("busy_share", f"{100 * busy:.2f} %", "goodput, lost work and degraded speed"),
            Input("communication_share", f"{100 * communication:.2f} %", "of the step: step_s"),
            Input("spare_share", f"{100 * spare:.2f} %", "the loss `idle`: devices without ranks"),
            Input("idle_share", f"{100 * (1 - busy - spare):.2f} %", "the other losses"),
            Input("pue", f"{power.pue:.3g}", "economics.pue"),
        ]
    return rows


def _share(share: float, *, like: float | None = None) -> str:  # noqa: ARG001  # one unit
    return f"{100 * share:.1f} %"


def _total(name: str) -> Callable[[Case], Interval | None]:
    """Return the interval of what the campaign comes to."""
    return lambda case: case.prediction.intervals.get(name)


_OF_STEP = "step_s over and times the factor that held 90 % of published runs"
_OF_CAMPAIGN = "interval of step_s, and of single campaigns with their failures, joined"

NUMBERS: dict[str, Number] = {
    number.name: number
    for number in (
        Number(
            name="step_s",
            formula="the sum of its parts on the critical rank",
            value=lambda case: case.prediction.step.step_s,
            form=format_seconds,
            interval=lambda case: case.prediction.step.interval_step_s,
            interval_source=f"{_OF_STEP}; {place_of(predict_step)}",
            inputs=_step_inputs,
            computed_by=simulate_step,
        ),
        Number(
            name="mfu",
            formula="model_flops_per_token x batch_tokens / step_s / n_ranks / peak",
            value=lambda case: case.prediction.step.mfu,
            form=_share,
            inputs=_mfu_inputs,
            computed_by=model_flops_per_token,
        ),
        Number(
            name="peak_memory_bytes",
            formula="the sum of what the fullest rank holds",
            value=lambda case: case.prediction.step.peak_memory_bytes,
            form=format_bytes,
            interval=lambda case: case.prediction.step.interval_memory_bytes,
            interval_source="the peak over and times the factor that held 90 % of published runs",
            inputs=_memory_inputs,
            computed_by=memory_held,
        ),
        Number(
            name="goodput",
            formula="n_steps x step_s x devices / (device_hours x 3600) = 1 - all losses",
            value=lambda case: case.prediction.campaign.goodput,
            form=_share,
            interval=lambda case: case.prediction.campaign.goodput_interval,
            interval_source="of single campaigns with their failures",
            inputs=_goodput_inputs,
            computed_by=campaign_table,
        ),
        Number(
            name="calendar_s",
            formula="n_steps x step_s x devices / (goodput x paid_devices)",
            value=lambda case: case.prediction.campaign.calendar_s,
            form=format_seconds,
            interval=_total("calendar_s"),
            interval_source=_OF_CAMPAIGN,
            inputs=_calendar_inputs,
            computed_by=campaign_table,
        ),
        Number(
            name="cost_usd",
            formula="device_hours x usd_per_device_hour, plus storage, egress and one's own "
            "electricity",
            value=lambda case: case.prediction.campaign.cost_usd,
            form=format_usd,
            interval=_total("cost_usd"),
            interval_source=_OF_CAMPAIGN,
            inputs=_cost_inputs,
            computed_by=bill,
        ),
        Number(
            name="energy_j",
            formula="device_hours x (busy_share x (busy_w - communication_share x (busy_w - "
            "communicating_w)) + idle_share x idle_w + spare_share x spare_w) x pue",
            value=lambda case: case.prediction.campaign.energy_j,
            form=format_energy,
            interval=_total("energy_j"),
            interval_source=_OF_CAMPAIGN,
            inputs=_energy_inputs,
            computed_by=bill,
        ),
    )
}
"""What `explain --number` knows. Adding one: an entry here."""
