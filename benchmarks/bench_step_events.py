"""CPU time of one training step by events: pricing, schedule and simulation, best of three.

SimuMax takes 32 to 37 CPU s for the 530B step with 3 chunks per stage (measured on such a machine),
1.7 for 175B, 5.2 for 405B with 7 chunks. The cost follows passes, not devices: one pipeline column
stands for all.
"""

from __future__ import annotations

import time

from simulator.catalog.scenario_file import scenario_from_flags
from simulator.schedule import make_schedule
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.step.predict import predict_step

INTERLEAVED = "interleaved-1f1b"
STEPS = {
    "175B on 64, PP8 VPP3": (
        ("gpt3-175b", "a100-sxm-80gb:64", "2048", "64"),
        PlanSpec(tp=8, pp=8, virtual_stages=3, schedule=INTERLEAVED, n_microbatches=64),
    ),
    "405B on 576, PP9 VPP7 CP2": (
        ("llama3.1-405b", "h100-sxm:576", "8192", "252"),
        PlanSpec(
            tp=8,
            pp=9,
            cp=2,
            dp_replicate=4,
            virtual_stages=7,
            schedule=INTERLEAVED,
            n_microbatches=63,
        ),
    ),
    "530B on 280, PP35 VPP3": (
        ("mt-nlg-530b", "a100-sxm-80gb:280", "2048", "280"),
        PlanSpec(tp=8, pp=35, virtual_stages=3, schedule=INTERLEAVED, n_microbatches=280),
    ),
    "405B on 16,384, PP16": (
        ("llama3.1-405b", "h100-sxm:16384", "8192", "2048"),
        PlanSpec(tp=8, pp=16, dp_replicate=128, n_microbatches=16),
    ),
    "405B on 16,384, FSDP": (
        ("llama3.1-405b", "h100-sxm:16384", "8192", "2048"),
        PlanSpec(tp=8, dp_replicate=2, dp_shard=1024, zero_stage=3, n_microbatches=1),
    ),
    "1T on 1,048,576, PP64": (
        ("megatron-1t", "h100-sxm:1048576", "2048", "1048576"),
        PlanSpec(tp=8, pp=64, dp_replicate=2048, n_microbatches=512),
    ),
}
"""Scenario flags (model, cluster, sequence length, batch) and the plan."""


def best_of_three(scenario: Scenario, plan: PlanSpec) -> float:
    times = []
    for _ in range(3):
        make_schedule.cache_clear()
        start = time.process_time()
        predict_step(scenario, plan, engine="events")
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    print(f"{'step':<28}{'passes':>8}{'CPU s':>8}{'passes/s':>10}{'step s':>9}{'closed form':>13}")
    for name, ((model, cluster, sequence_length, batch), plan) in STEPS.items():
        scenario = scenario_from_flags(
            model=model, cluster=cluster, sequence_length=sequence_length, batch=batch
        )
        cpu_s = best_of_three(scenario, plan)
        passes = 2 * plan.n_chunks * plan.n_microbatches
        events_s = predict_step(scenario, plan, engine="events").step_s
        error = predict_step(scenario, plan).step_s / events_s - 1.0
        print(
            f"{name:<28}{passes:>8,}{cpu_s:>8.3f}{passes / cpu_s:>10,.0f}{events_s:>9.2f}"
            f"{100 * error:>11.2f} %"
        )


if __name__ == "__main__":
    main()
