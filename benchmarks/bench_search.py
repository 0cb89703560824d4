"""Plans per second of the search: the 405B question, and the spaces of Calculon's own examples.

Two ways through each space: with bounds, as `armillary plan` goes (every legal plan is priced or
proven to be no answer), and pricing memory and step time of each plan without them. CPU seconds,
best of three runs.

Calculon takes 65.7 CPU s for 530B on 5,128 devices (8,112 executions) and does some 109 to 652
executions per CPU s on 175B and 64 devices, where its space has 3.2 M.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from planner.pricing import Pricing
from planner.space import Space
from planner.sweep import Sweep, sweep
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.scenario import Scenario

QUESTIONS = {
    "405B on 16,384 H100": ("llama3.1-405b", "h100-sxm:16384", "8192", "2048"),
    "530B on 5,128 A100": ("mt-nlg-530b", "a100-sxm-80gb:5128", "2048", "2564"),
    "175B on 64 A100": ("gpt3-175b", "a100-sxm-80gb:64", "2048", "64"),
    "DeepSeek-V3 on 2,048 H800": ("deepseek-v3", "h800-sxm-80gb:2048", "4096", "15360"),
}


def scenario_of(model: str, cluster: str, sequence_length: str, batch: str) -> Scenario:
    return scenario_from_flags(
        model=model, cluster=cluster, tokens="1T", sequence_length=sequence_length, batch=batch
    )


def with_bounds(scenario: Scenario) -> Sweep:
    pricing, space = Pricing.of(scenario), Space.of(scenario)
    return sweep(pricing, scenario, space, n_leaders=10, max_priced=10**9)


def without_bounds(scenario: Scenario) -> int:
    pricing = Pricing.of(scenario)
    n_fitting = 0
    for table in Space.of(scenario).tables():
        fitting = table.take(pricing.peak_bytes(table) <= pricing.allowed_bytes)
        if len(fitting):
            pricing.steps(fitting)
        n_fitting += len(fitting)
    return n_fitting


def best_of_three(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(3):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def main() -> None:
    print(
        f"{'space':<27}{'plans':>12}{'priced':>11}{'CPU s':>7}{'M plans/s':>11}{'all priced':>13}"
    )
    for name, question in QUESTIONS.items():
        scenario = scenario_of(*question)
        found = with_bounds(scenario)
        bounded_s = best_of_three(partial(with_bounds, scenario))
        row = f"{name:<27}{found.n_plans:>12,}{found.n_priced:>11,}{bounded_s:>7.2f}"
        row += f"{found.n_plans / bounded_s / 1e6:>11.2f}"
        if found.n_plans < 10_000_000:
            every_s = best_of_three(partial(without_bounds, scenario))
            row += f"{every_s:>8.2f} s {found.n_plans / every_s / 1e6:.2f} M/s"
        print(row)


if __name__ == "__main__":
    main()
